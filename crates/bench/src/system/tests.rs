//! Servers are started and ended, and what goes wrong is told.

use std::process::Command;

use super::*;

fn launch(program: &str) -> Launch {
    Launch {
        kind: Kind::Redis,
        name: "redis".into(),
        program: program.into(),
        tls: false,
        storage: Storage::Memory,
        password: false,
        parent: None,
        certificates: Certificates::new().unwrap(),
        processor: None,
        environment: Vec::new(),
        arguments: Vec::new(),
    }
}

fn is_running(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_child_ends_with_its_guard_also_when_a_test_fails_under_it() {
    let start = || {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        Guard::new(child, "/nonexistent".into())
    };
    let guard = start();
    let pid = guard.id();
    assert!(is_running(pid));
    drop(guard);
    assert!(!is_running(pid));

    let guard = start();
    let pid = guard.id();
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _guard = guard;
        panic!("on purpose");
    }));
    assert!(failed.is_err());
    assert!(!is_running(pid));
}

#[test]
fn a_server_that_ends_at_once_is_told_with_what_it_said() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("server");
    std::fs::write(&program, "#!/bin/sh\necho no port for you\nexit 3\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&program, mode).unwrap();
    let Err(error) = Server::start(&launch(program.to_str().unwrap())) else {
        panic!("it cannot have started");
    };
    let text = format!("{error:#}");
    assert!(text.contains("ended at once: no port for you"), "{text}");
    assert!(Server::start(&launch("/no/such/program")).is_err());
}

#[test]
fn load_is_put_on_this_machine_only() {
    let target = Target {
        kind: Kind::Redis,
        name: "redis".into(),
        address: "192.0.2.1:6379".parse().unwrap(),
        authority: None,
        key: None,
        password: None,
        process: None,
    };
    let error = target.endpoint(false, None).unwrap_err();
    assert!(error.to_string().contains("loopback"));
}

#[test]
fn tls_without_an_authority_is_refused() {
    let target = Target {
        kind: Kind::Redis,
        name: "redis".into(),
        address: "127.0.0.1:6379".parse().unwrap(),
        authority: None,
        key: None,
        password: None,
        process: None,
    };
    assert!(target.endpoint(true, None).is_err());
    let known = Target {
        authority: Some(Certificates::new().unwrap().authority),
        ..target
    };
    assert!(known.endpoint(true, Some(b"kv/2")).unwrap().tls.is_some());
}
