//! Writes that depend on what is there.

use crate::support::Pair;

#[test]
fn existence_conditions_end_with_one_and_versions_with_seven() {
    let pair = Pair::start();
    pair.run(["set", "lock", "me", "--if-present"]).code(1);
    pair.run(["set", "lock", "me", "--if-absent"]).code(0);
    let refused = pair.run(["set", "lock", "you", "--if-absent"]).code(1);
    assert!(
        refused.stderr.contains("E_CONDITION_FALSE"),
        "{}",
        refused.stderr
    );
    pair.run(["set", "lock", "you", "--if-present"]).code(0);

    let version = pair.run(["-o", "json", "get", "lock"]).json()["version"].to_string();
    pair.run(["set", "lock", "x", "--if-version", &version])
        .code(0);
    let conflict = pair
        .run(["-o", "json", "set", "lock", "y", "--if-version", &version])
        .code(7);
    assert_eq!(conflict.json_error()["code"], "CONFLICT");
    assert_eq!(pair.ok("get lock"), "x");
    pair.run(["del", "lock", "--if-version", &version]).code(7);
    assert_eq!(pair.ok("get lock"), "x");
}

#[test]
fn a_value_can_be_swapped_for_another_one() {
    let pair = Pair::start();
    pair.run(["set", "k", "new", "--if-value", "old"]).code(7);
    pair.ok("set k old");
    pair.run(["set", "k", "new", "--if-value", "other"]).code(7);
    pair.run(["set", "k", "new", "--if-value", "old"]).code(0);
    assert_eq!(pair.ok("get k"), "new");
    pair.run(["set", "k", "v", "--if-value", "new", "--if-absent"])
        .code(2);
}

#[test]
fn the_value_before_is_printed_when_asked_for() {
    let pair = Pair::start();
    assert_eq!(pair.ok("set k one --get"), "");
    assert_eq!(pair.ok("set k two --get"), "one");
    let ran = pair
        .run(["-o", "json", "set", "k", "three", "--get"])
        .code(0)
        .json();
    assert_eq!(ran["previous_value"], "two");
    assert_eq!(pair.ok("-o human set k four --get"), "three\n");
}
