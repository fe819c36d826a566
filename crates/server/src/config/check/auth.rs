//! `[auth]` and its lists.

use std::collections::BTreeMap;
use std::sync::Arc;

use kv_service::{
    Identity, InvalidName, KEYS_PER_IDENTITY_MAX, Permission, Permissions, Role, check_key_id,
};

use crate::config::mistake::{MistakeKind, Warning};
use crate::config::read::Reader;
use crate::config::{Auth, CertificateGrant, KeyConfig, read_secret_file};

pub(super) fn auth(r: &mut Reader<'_>, warnings: &mut Vec<Warning>) -> Auth {
    let anonymous = permissions(r, "auth.anonymous");
    if !anonymous.is_empty() {
        warnings.push(Warning::Anonymous { granted: anonymous });
    }
    let keys = (0..r.raw.repetitions("auth.keys"))
        .filter_map(|index| key(r, &format!("auth.keys.{index}"), warnings))
        .collect::<Vec<_>>();
    let certificates = (0..r.raw.repetitions("auth.certificates"))
        .filter_map(|index| certificate(r, &format!("auth.certificates.{index}")))
        .collect();
    Auth {
        anonymous,
        keys: keys_agree(r, keys),
        certificates,
    }
}

/// One key with the place it was read from, for the rules between keys.
struct Placed {
    at: String,
    key: KeyConfig,
}

fn key(r: &mut Reader<'_>, at: &str, warnings: &mut Vec<Warning>) -> Option<Placed> {
    let id_key = format!("{at}.id");
    let id = needed(r, &id_key, "every key needs an id, which clients send")
        .and_then(|id| usable(r, &id_key, check_key_id(&id)).map(|()| id));
    let secret_file = r.path(&format!("{at}.secret_file"));
    let secret_key = format!("{at}.secret_file");
    match &secret_file {
        Some(path) => match read_secret_file(path) {
            Ok(file) => warnings.extend(file.loose_mode.map(|mode| Warning::LooseKeyFile {
                path: path.clone(),
                mode,
            })),
            Err(error) => r.mistake(&secret_key, MistakeKind::Secret(error)),
        },
        None => {
            let because = "every key needs the file that holds it";
            missing(r, &secret_key, because);
        }
    }
    let identity_key = format!("{at}.identity");
    let identity = match r.text(&identity_key) {
        Some(name) => identity(r, &identity_key, &name),
        None => id.as_ref().and_then(|id| identity(r, &id_key, id)),
    };
    let permissions = grants(r, at);
    let id: Arc<str> = id?.into();
    let key = KeyConfig {
        id,
        secret_file: secret_file?,
        identity: identity?,
        permissions,
    };
    Some(Placed {
        at: at.to_owned(),
        key,
    })
}

fn certificate(r: &mut Reader<'_>, at: &str) -> Option<CertificateGrant> {
    let key = format!("{at}.identity");
    let name = needed(
        r,
        &key,
        "every entry needs the name of a certificate, or \"*\"",
    );
    let permissions = grants(r, at);
    let name = name?;
    let identity = if name == "*" {
        None
    } else {
        Some(identity(r, &key, &name)?)
    };
    Some(CertificateGrant {
        identity,
        permissions,
    })
}

/// No id twice, and not too many keys of one identity.
fn keys_agree(r: &mut Reader<'_>, keys: Vec<Placed>) -> Vec<KeyConfig> {
    let mut ids: BTreeMap<Arc<str>, ()> = BTreeMap::new();
    let mut held: BTreeMap<Identity, usize> = BTreeMap::new();
    for Placed { at, key } in &keys {
        if ids.insert(Arc::clone(&key.id), ()).is_some() {
            let name = key.id.to_string();
            r.mistake(&format!("{at}.id"), MistakeKind::Duplicate { name });
        }
        let count = held.entry(key.identity.clone()).or_default();
        *count += 1;
        if *count == KEYS_PER_IDENTITY_MAX + 1 {
            let identity = key.identity.name().to_owned();
            r.mistake(&format!("{at}.id"), MistakeKind::TooManyKeys { identity });
        }
    }
    keys.into_iter().map(|placed| placed.key).collect()
}

fn needed(r: &mut Reader<'_>, key: &str, because: &'static str) -> Option<String> {
    let text = r.text(key);
    if text.is_none() {
        missing(r, key, because);
    }
    text
}

/// Notes that a key is missing, unless it is there and wrong, which was noted already.
fn missing(r: &mut Reader<'_>, key: &str, because: &'static str) {
    if r.raw.explicit(key).is_none() {
        r.mistake(key, MistakeKind::Missing { because });
    }
}

fn identity(r: &mut Reader<'_>, key: &str, name: &str) -> Option<Identity> {
    usable(r, key, Identity::new(name))
}

/// A name, or a mistake at its key.
fn usable<T>(r: &mut Reader<'_>, key: &str, name: Result<T, InvalidName>) -> Option<T> {
    name.map_err(|error| r.mistake(key, MistakeKind::Name(error)))
        .ok()
}

fn permissions(r: &mut Reader<'_>, key: &str) -> Permissions {
    r.words(key)
        .into_iter()
        .filter_map(|word| Permission::from_name(word).ok())
        .collect()
}

/// What an entry grants: its roles and its permissions, which together must be something.
fn grants(r: &mut Reader<'_>, at: &str) -> Permissions {
    let mistakes = r.mistakes.0.len();
    let roles = r.words(&format!("{at}.roles"));
    let mut granted = permissions(r, &format!("{at}.permissions"));
    for role in roles
        .into_iter()
        .filter_map(|word| Role::from_name(word).ok())
    {
        granted |= role.permissions();
    }
    if granted.is_empty() && r.mistakes.0.len() == mistakes {
        let because = "neither roles nor permissions allow anything";
        r.mistake(&format!("{at}.roles"), MistakeKind::Missing { because });
    }
    granted
}
