//! Starts that fail, each with its exit code and words on standard error.

use crate::program::{Program, config};

#[test]
fn an_address_that_is_taken_ends_it_with_4() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = Program::spawn(&config("").replace("127.0.0.1:0", &address), None).wait();
    assert_eq!(ended.code, Some(4), "{}", ended.said);
    assert!(ended.said.contains(&address), "{}", ended.said);
}

#[test]
fn a_configuration_with_mistakes_ends_it_with_3_and_names_them_all() {
    let wrong = config("[limits]\nmax_conections = 5\nmax_in_flight_per_connection = 0");
    let ended = Program::spawn(&wrong, None).wait();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    for words in [
        "max_conections",
        "max_connections",
        "max_in_flight_per_connection",
    ] {
        assert!(ended.said.contains(words), "{words} in {}", ended.said);
    }
}

#[test]
fn a_key_that_cannot_be_read_ends_it_with_3() {
    let ended = Program::spawn(&config("").replace("app.key", "none.key"), None).wait();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains("none.key"), "{}", ended.said);
}

#[test]
fn an_address_for_everybody_without_keys_is_refused_with_3() {
    let open = "[listeners.native]\naddress = \"0.0.0.0:0\"\n[listeners.admin]\nenabled = false\n";
    let ended = Program::spawn(open, None).wait();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains("auth.keys"), "{}", ended.said);
}
