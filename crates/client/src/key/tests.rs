use std::path::Path;

use super::*;

const HEX: &str = "07070707070707070707070707070707070707070707070707070707070707ff";

fn home(files: &[(&str, &str)]) -> (tempfile::TempDir, Surroundings) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("kv")).unwrap();
    for (name, text) in files {
        fs::write(dir.path().join("kv").join(name), text).unwrap();
    }
    let surroundings = Surroundings {
        state_dir: Some(dir.path().into()),
        ..Default::default()
    };
    (dir, surroundings)
}

fn id_of(key: Result<Option<Key>, Error>) -> Option<String> {
    key.unwrap().map(|(id, _)| id.into())
}

#[test]
fn the_key_of_a_local_server_is_found_for_a_local_address_only() {
    let (_dir, here) = home(&[("dev.key", &format!("{HEX}\n"))]);
    assert_eq!(id_of(discover(&here, None, true)).as_deref(), Some("dev"));
    assert_eq!(id_of(discover(&here, None, false)), None);
}

#[test]
fn no_key_at_all_is_not_a_mistake_but_a_named_one_that_is_missing_is() {
    let (_dir, here) = home(&[]);
    assert_eq!(id_of(discover(&here, None, true)), None);
    assert!(discover(&here, Some("app"), true).is_err());
    let named = Surroundings {
        key_file: Some("/nonexistent/key".into()),
        ..here
    };
    assert!(discover(&named, None, true).is_err());
}

#[test]
fn the_address_names_the_key_before_the_environment_does() {
    let (dir, here) = home(&[("app.key", HEX), ("job.key", HEX)]);
    let here = Surroundings {
        key_id: Some("job".into()),
        ..here
    };
    assert_eq!(
        id_of(discover(&here, Some("app"), false)).as_deref(),
        Some("app")
    );
    assert_eq!(id_of(discover(&here, None, false)).as_deref(), Some("job"));
    let file = Surroundings {
        key_file: Some(dir.path().join("kv/app.key")),
        ..here
    };
    assert_eq!(id_of(discover(&file, None, false)).as_deref(), Some("job"));
}

#[test]
fn a_key_id_never_leaves_the_directory() {
    let (dir, here) = home(&[]);
    fs::write(dir.path().join("outside.key"), HEX).unwrap();
    assert_eq!(id_of(discover(&here, Some("../outside"), true)), None);
}

#[test]
fn weak_and_garbled_keys_are_refused() {
    let short = HEX.replacen("07", "", 1);
    for text in ["", "00", "zz", &short] {
        let (dir, _) = home(&[("dev.key", text)]);
        let path: &Path = dir.path();
        assert!(read("dev", path.join("kv/dev.key")).is_err(), "{text}");
    }
}
