//! What the tests here share: a server in this process, and clients for it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kv_client::{ClientBuilder, MultiplexedClient};
use kv_proto::typed::Value;
use kv_proto::{ErrorCode, Extensions, Opcode, Secret, Suite};
use kv_server::config::Loaded;
use kv_server::{Command, Control, Server, Stopped};
use kv_service::{Engine, MemoryConfig, MemoryEngine};
use kv_testkit::peer::Received;
use kv_testkit::raw::{self, RawClient};
use kv_testkit::wait::within;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The key of the administrator, `app`, which may do everything.
pub(crate) const KEY: [u8; 32] = [0x5A; 32];
/// The key `reader`, which may read and scan.
pub(crate) const READER_KEY: [u8; 32] = [0x33; 32];
/// The scripted client over loopback.
pub(crate) type Raw = RawClient<TcpStream>;

/// How a server is set up.
#[derive(Default)]
pub(crate) struct Setup {
    /// Sections of the configuration besides the listeners and the keys.
    toml: String,
    tls: bool,
    engine: Option<Arc<dyn Engine>>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds sections.
    pub(crate) fn toml(mut self, text: &str) -> Self {
        self.toml.push_str(text);
        self.toml.push('\n');
        self
    }

    /// Sets keys of `[limits]`.
    pub(crate) fn limits(self, text: &str) -> Self {
        self.toml(&format!("[limits]\n{text}"))
    }

    /// TLS on the listener; `[tls]` is in the sections, its files in `directory`.
    pub(crate) fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    pub(crate) fn engine(mut self, engine: Arc<dyn Engine>) -> Self {
        self.engine = Some(engine);
        self
    }

    pub(crate) async fn start(self) -> TestServer {
        self.start_in(tempfile::tempdir().unwrap()).await
    }

    /// Starts with files that the test has put into a directory.
    pub(crate) async fn start_in(self, directory: tempfile::TempDir) -> TestServer {
        let file = directory.path().join("server.toml");
        let text = format!(
            "[listeners.native]\naddress = \"127.0.0.1:0\"\ntls = {}\n\
             [listeners.admin]\nenabled = false\n{}\n\
             [[auth.keys]]\nid = \"app\"\nsecret_file = \"app.key\"\nroles = [\"admin\"]\n\
             [[auth.keys]]\nid = \"reader\"\nsecret_file = \"reader.key\"\nroles = [\"reader\"]\n",
            self.tls, self.toml,
        );
        write_key(directory.path(), "app", &KEY);
        write_key(directory.path(), "reader", &READER_KEY);
        let loaded = kv_server::config::parse(&file, &text);
        let Loaded { config, .. } = loaded.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let keys = kv_server::keys::load(&config.auth, |_| None).unwrap();
        let engine = self.engine.unwrap_or_else(memory);
        let server = Server::bind_with_engine(config, keys, engine).unwrap();
        let address = server.native_address().unwrap();
        let control = server.control();
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run());
        TestServer {
            address,
            control,
            directory,
            tasks,
        }
    }
}

/// An engine that keeps everything in memory.
pub(crate) fn memory() -> Arc<dyn Engine> {
    Arc::new(MemoryEngine::new(MemoryConfig::default()))
}

/// Writes a key file as the configuration names it.
pub(crate) fn write_key(directory: &Path, name: &str, secret: &[u8]) {
    use std::fmt::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let mut digits = String::new();
    for byte in secret {
        write!(digits, "{byte:02x}").unwrap();
    }
    let path = directory.join(format!("{name}.key"));
    std::fs::write(&path, digits).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A server in this process. Dropped, it is gone, with all its connections.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) control: Control,
    directory: tempfile::TempDir,
    tasks: JoinSet<Stopped>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Setup::new().start().await
    }

    /// Where its files are.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(&mut self) -> Stopped {
        self.control.send(Command::Stop);
        self.stopped().await
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(&mut self) -> Stopped {
        within(self.tasks.join_next()).await.unwrap().unwrap()
    }

    /// A connection without a session.
    pub(crate) async fn dial(&self) -> TcpStream {
        dial(self.address).await
    }

    /// A scripted client with the administrator's key.
    pub(crate) async fn raw(&self) -> Raw {
        self.raw_in(Suite::Hmac).await
    }

    pub(crate) async fn raw_in(&self, suite: Suite) -> Raw {
        raw_to(self.address, suite).await.unwrap()
    }

    /// A scripted client that names this key.
    pub(crate) async fn raw_as(&self, id: &str, secret: &[u8]) -> std::io::Result<Raw> {
        let settings = raw::settings(Some((id, Secret::new(secret))), &[Suite::Hmac]);
        within(RawClient::connect(self.dial().await, settings)).await
    }

    /// The client library's settings for this server.
    pub(crate) fn builder(&self) -> ClientBuilder {
        builder()
    }

    pub(crate) async fn client(&self) -> MultiplexedClient {
        client_to(self.address).await
    }
}

/// No extension.
pub(crate) fn plain() -> Extensions<'static> {
    Extensions::default()
}

/// Connects, without Nagle's delays.
pub(crate) async fn dial(address: SocketAddr) -> TcpStream {
    let stream = within(TcpStream::connect(address)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A scripted client with the administrator's key; without one in suite 0.
pub(crate) async fn raw_to(address: SocketAddr, suite: Suite) -> std::io::Result<Raw> {
    let key = (suite != Suite::Checksum).then(|| ("app", Secret::new(&KEY)));
    let settings = raw::settings(key, &[suite]);
    within(RawClient::connect(dial(address).await, settings)).await
}

/// The client library's settings with the administrator's key.
pub(crate) fn builder() -> ClientBuilder {
    MultiplexedClient::builder().key("app", Secret::new(&KEY))
}

pub(crate) async fn client_to(address: SocketAddr) -> MultiplexedClient {
    within(builder().connect(address.to_string()))
        .await
        .unwrap()
}

/// Sends a request and waits for its answer.
#[track_caller]
pub(crate) fn call<'c>(
    client: &'c mut Raw,
    opcode: Opcode,
    ext: Extensions<'c>,
    key: &'c [u8],
    value: &'c [u8],
) -> impl Future<Output = Received> + 'c {
    let answer = async move { client.call(opcode, &ext, key, value).await.unwrap() };
    within(answer)
}

/// The next message, which must be there.
pub(crate) async fn next(client: &mut Raw) -> Received {
    within(client.next()).await.unwrap().expect("a message")
}

/// Everything to the end of the connection, which must come.
pub(crate) async fn rest(client: &mut Raw) -> Vec<Received> {
    within(client.rest()).await
}

#[track_caller]
pub(crate) fn assert_ok(message: &Received) {
    assert!(message.is(Opcode::Ok), "{}", raw::describe(message));
}

#[track_caller]
pub(crate) fn assert_code(message: &Received, code: ErrorCode) {
    assert_eq!(raw::code(message), code, "{}", raw::describe(message));
}

/// What CLIENTS says: one map per connection.
pub(crate) async fn clients(client: &mut Raw) -> Vec<Value> {
    let reply = call(client, Opcode::Clients, plain(), &[], &[]).await;
    assert_ok(&reply);
    match Value::decode(&reply.value).unwrap() {
        Value::Array(all) => all,
        other => panic!("no array: {other:?}"),
    }
}

/// A number of one section of INFO.
pub(crate) async fn info(client: &mut Raw, section: &str, name: &str) -> u64 {
    let reply = call(client, Opcode::Info, plain(), section.as_bytes(), &[]).await;
    assert_ok(&reply);
    let value = Value::decode(&reply.value).unwrap();
    value
        .at(section)
        .and_then(|section| section.at(name))
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("no {section}.{name} in {value:?}"))
}

/// Bytes that do not compress and differ with the seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = kv_testkit::rng::Rng::new(seed);
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        out.extend_from_slice(&rng.next().to_be_bytes());
    }
    out.truncate(len);
    out
}
