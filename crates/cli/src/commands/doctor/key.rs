//! Which key there is.

use super::Finding;
use crate::connect::KEY_ID;
use crate::error::CliError;
use crate::files;
use crate::keyfile;
use crate::settings::Settings;

/// Looks at the key that will be used, if there is one.
pub(super) fn examine(settings: &Settings) -> Result<((), Finding), CliError> {
    let id = settings.key_id.as_deref().unwrap_or(KEY_ID);
    let path = match (&settings.key_file, &settings.cert) {
        (Some(path), _) => path.clone(),
        (None, Some(cert)) => {
            let detail = format!("none; the client certificate {} says who", cert.display());
            return Ok(((), Finding::Fine(detail)));
        }
        // Where the client library looks: the key that a server of this account has made.
        (None, None) => files::state_dir()?.join(format!("{id}.key")),
    };
    if settings.key_file.is_none() {
        let elsewhere = !settings.url.is_local() && settings.key_id.is_none();
        if elsewhere || !path.exists() {
            let detail = if elsewhere {
                format!("none was named for {}", settings.url)
            } else {
                format!("none: there is no {}", path.display())
            };
            let fix = "a local server makes one at its first start; for another server: --key-file \
                       FILE --key-id ID";
            return Ok(((), Finding::Odd(detail, fix.to_owned())));
        }
    }
    let print = keyfile::fingerprint(&keyfile::read(&path)?);
    let detail = format!("`{id}` from {}, fingerprint {print}", path.display());
    let finding = if keyfile::others_may_read(&path) {
        let fix = format!("chmod 600 {}", path.display());
        Finding::Odd(format!("{detail}; others may read the file"), fix)
    } else {
        Finding::Fine(detail)
    };
    Ok(((), finding))
}
