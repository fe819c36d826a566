//! How each system is started: one worker, listening on loopback only.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use kv_proto::Secret;

use super::{Certificates, Kind, Storage, Target};

/// A server to be started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// What it is.
    pub kind: Kind,
    /// Its name in results: that of its kind, unless one kind is measured in two ways.
    pub name: String,
    /// Its program.
    pub program: PathBuf,
    /// Whether it listens with TLS.
    pub tls: bool,
    /// For TLS.
    pub certificates: Certificates,
    /// Where it keeps what is written.
    pub storage: Storage,
    /// Whether Redis wants a password first. kv wants its key in any case.
    pub password: bool,
    /// The directory in which it is given one of its own; the system's when absent.
    pub parent: Option<PathBuf>,
    /// The processor it may use; all when absent.
    pub processor: Option<usize>,
    /// Added to its environment.
    pub environment: Vec<(String, String)>,
    /// Added to its arguments.
    pub arguments: Vec<String>,
}

/// A command that is ready to run, and where its server will be.
pub(super) struct Prepared {
    pub(super) command: Command,
    pub(super) target: Target,
}

/// The program of a system: beside this one, or on the path.
#[must_use]
pub(crate) fn find(kind: Kind) -> Option<PathBuf> {
    let name = match kind {
        Kind::Kv => "kv-server",
        Kind::Redis => "redis-server",
        Kind::Valkey => "valkey-server",
        Kind::Memcached => "memcached",
        Kind::Floor => "kv-bench",
    };
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join(name)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|directory| directory.join(name)))
        .find(|program| program.is_file())
        // `kv-cli bench` brings the floor along.
        .or_else(|| (kind == Kind::Floor).then(|| std::env::current_exe().ok())?)
}

impl Launch {
    /// Its version and what it is started with, in one line.
    #[must_use]
    pub(crate) fn describe(&self) -> String {
        let version = Command::new(&self.program)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .ok()
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default();
        let first = version.lines().next().unwrap_or_default();
        let storage = self.storage.describe(self.kind);
        let settings = match self.kind {
            Kind::Kv => format!("{storage}, log level warn, no admin listener"),
            Kind::Redis | Kind::Valkey => storage,
            Kind::Memcached => "-t 1 -m 8192 -I 2m".to_owned(),
            Kind::Floor => "echo on raw system calls".to_owned(),
        };
        let mut text = format!("{}: {first}; {settings}", self.name);
        for (name, value) in &self.environment {
            let _ = write!(text, " {name}={value}");
        }
        for argument in &self.arguments {
            let _ = write!(text, " {argument}");
        }
        text
    }

    pub(super) fn prepare(&self, directory: &Path, address: SocketAddr) -> Result<Prepared> {
        if self.tls {
            self.certificates.write(directory)?;
        }
        ensure!(
            self.storage == Storage::Memory || self.kind.persists(),
            "{} keeps nothing on disk",
            self.kind.name()
        );
        let mut command = Command::new(&self.program);
        let mut password = None;
        let key = match self.kind {
            Kind::Kv => Some(self.kv(&mut command, directory, address)?),
            Kind::Redis | Kind::Valkey => {
                self.redis(&mut command, directory, address);
                if self.password {
                    let secret = random_hex()?;
                    command.args(["--requirepass", &secret]);
                    password = Some(secret);
                }
                None
            }
            Kind::Floor => {
                ensure!(!self.tls, "the floor has no TLS");
                if self
                    .program
                    .file_stem()
                    .is_some_and(|name| name == "kv-cli")
                {
                    command.arg("bench");
                }
                command.args(["floor-server", &address.port().to_string()]);
                None
            }
            Kind::Memcached => {
                self.memcached(&mut command, directory, address);
                None
            }
        };
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(directory);
        let target = Target {
            kind: self.kind,
            name: self.name.clone(),
            address,
            authority: self.tls.then(|| self.certificates.authority.clone()),
            key,
            password,
            process: None,
        };
        Ok(Prepared { command, target })
    }

    fn kv(
        &self,
        command: &mut Command,
        directory: &Path,
        address: SocketAddr,
    ) -> Result<(Box<str>, Secret)> {
        let key = directory.join("bench.key");
        let digits = match std::fs::read_to_string(&key) {
            Ok(digits) => digits,
            Err(_) => {
                let digits = random_hex()?;
                std::fs::write(&key, &digits).context("the server's key")?;
                private(&key)?;
                digits
            }
        };
        let secret = Secret::from_hex(&digits).context("the key is in hex")?;
        let config = directory.join("kv.toml");
        let storage = self.storage.of_kv(directory);
        std::fs::write(&config, kv_config(address, self.tls, &storage))
            .context("the configuration")?;
        command
            .arg("--config")
            .arg(&config)
            .env("XDG_STATE_HOME", directory.join("state"))
            .env("XDG_DATA_HOME", directory.join("data"));
        Ok(("bench".into(), secret))
    }

    fn redis(&self, command: &mut Command, directory: &Path, address: SocketAddr) {
        let (plain, tls) = if self.tls {
            (0, address.port())
        } else {
            (address.port(), 0)
        };
        command
            .args(["--bind", "127.0.0.1"])
            .args(self.storage.of_redis())
            .args(["--daemonize", "no", "--maxclients", "10000"])
            .args(["--port", &plain.to_string()])
            .arg("--dir")
            .arg(directory);
        if self.tls {
            command
                .args(["--tls-port", &tls.to_string(), "--tls-auth-clients", "no"])
                .arg("--tls-cert-file")
                .arg(directory.join("server.pem"))
                .arg("--tls-key-file")
                .arg(directory.join("server.key"))
                .arg("--tls-ca-cert-file")
                .arg(directory.join("ca.pem"));
        }
    }

    fn memcached(&self, command: &mut Command, directory: &Path, address: SocketAddr) {
        command
            .args(["-l", "127.0.0.1", "-U", "0", "-t", "1", "-m", "8192"])
            .args(["-c", "10000", "-I", "2m", "-p", &address.port().to_string()]);
        if rustix::process::geteuid().is_root() {
            // It refuses to run as root unless it is told as whom.
            command.args(["-u", "root"]);
        }
        if self.tls {
            let option = |name: &str, file: &str| {
                let mut text = OsString::from(name);
                text.push(directory.join(file));
                text
            };
            command
                .arg("-Z")
                .arg("-o")
                .arg(option("ssl_chain_cert=", "server.pem"))
                .arg("-o")
                .arg(option("ssl_key=", "server.key"));
        }
    }
}

fn kv_config(address: SocketAddr, tls: bool, storage: &str) -> String {
    let files = if tls {
        "[tls]\ncert_file = \"server.pem\"\nkey_file = \"server.key\"\n"
    } else {
        ""
    };
    format!(
        "[listeners.native]\naddress = \"{address}\"\ntls = {tls}\n\
         [listeners.admin]\nenabled = false\n\
         [protocol]\nsuites = [\"hmac-sha256\", \"x25519-aes256ctr-hmac-sha256\", \"checksum\"]\n\
         [auth]\nanonymous = [\"read\", \"write\"]\n\
         [[auth.keys]]\nid = \"bench\"\nsecret_file = \"bench.key\"\nroles = [\"admin\"]\n\
         {storage}[log]\nlevel = \"warn\"\n{files}"
    )
}

fn random_hex() -> Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let mut digits = String::with_capacity(64);
    for byte in bytes {
        let _ = write!(digits, "{byte:02x}");
    }
    Ok(digits)
}

fn private(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).context("the key's permissions")
}
