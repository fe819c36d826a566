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
    let path = match &settings.key_file {
        Some(path) => path.clone(),
        // Where the client library looks: the key that a server of this account has made.
        None => files::state_dir()?.join(format!("{id}.key")),
    };
    if settings.key_file.is_none() && !path.exists() {
        let missing = path.display();
        let detail = match &settings.cert {
            Some(cert) => format!("none; the client certificate {} says who", cert.display()),
            None => format!("none: there is no {missing}"),
        };
        let finding = match &settings.cert {
            Some(_) => Finding::Fine(detail),
            None => Finding::Odd(
                detail,
                "a local server makes it at its first start; for another server: --key-file FILE \
                 --key-id ID"
                    .to_owned(),
            ),
        };
        return Ok(((), finding));
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
