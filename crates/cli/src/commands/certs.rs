//! `certs`: certificates for TLS, made so that rustls accepts them, and what is in one.

mod issue;
mod read;
mod show;
mod snippet;

use std::path::Path;

use crate::args::{CertsInitArgs, CertsShowArgs};
use crate::error::{CliError, Code, Exit};
use crate::files::{self, Access};
use crate::output::Output;

pub(super) use read::{CertificateFacts, of_der, read_file};

/// Names of the certificates; each has a `.crt` and a `.key`.
const NAMES: [&str; 3] = ["ca", "server", "client"];

/// Makes an authority, a server certificate and a client certificate.
pub(super) fn init(output: &mut Output, args: &CertsInitArgs) -> Result<Exit, CliError> {
    let request = issue::Request::new(args)?;
    // Looked at before anything is made: all files are new, or none is touched.
    if !args.force {
        refuse_to_overwrite(&args.dir)?;
    }
    let issued = issue::issue(&request)?;
    files::create_private_dir(&args.dir)?;
    for (name, pair) in NAMES
        .iter()
        .zip([&issued.ca, &issued.server, &issued.client])
    {
        for (ending, content, access) in [
            ("key", &pair.key_pem, Access::Private),
            ("crt", &pair.certificate_pem, Access::Public),
        ] {
            let path = args.dir.join(format!("{name}.{ending}"));
            let written = if args.force {
                files::replace(&path, access, content.as_bytes())
            } else {
                files::create_new(&path, access, content.as_bytes())
            };
            written.map_err(|error| CliError::file("write", &path, &error))?;
        }
    }
    let dir = std::path::absolute(&args.dir)
        .map_err(|error| CliError::file("find", &args.dir, &error))?;
    snippet::write(output, &dir, &request)?;
    Ok(Exit::Ok)
}

fn refuse_to_overwrite(dir: &Path) -> Result<(), CliError> {
    let there: Vec<String> = NAMES
        .iter()
        .flat_map(|name| [format!("{name}.crt"), format!("{name}.key")])
        .filter(|file| dir.join(file).exists())
        .collect();
    if there.is_empty() {
        return Ok(());
    }
    Err(CliError::new(
        Code::FILE,
        format!("{} holds certificates already", dir.display()),
    )
    .cause(format!("there is {}", there.join(", ")))
    .hint("--force replaces them; whatever trusts the old authority then no longer connects"))
}

/// Shows what is in a file of certificates.
pub(super) fn show(output: &mut Output, args: &CertsShowArgs) -> Result<Exit, CliError> {
    show::write(output, &read_file(&args.file)?)?;
    Ok(Exit::Ok)
}
