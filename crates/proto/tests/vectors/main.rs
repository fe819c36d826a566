//! Every golden vector of `docs/protocol/vectors` against this crate.
//!
//! The vectors come from a second implementation that shares no code with this one
//! (`docs/protocol/reference`), so a disagreement is a mistake in one of the two. A file that is empty,
//! or that no test here knows, fails.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a vector without the fields it needs must fail the test"
)]

mod bodies;
mod codes;
mod continuation;
mod handshake;
mod header;
mod session;
mod vector;

use vector::{Run, Vector, directory, load};

/// What runs the vectors of each file.
const FILES: &[(&str, Run)] = &[
    ("batch", bodies::batch),
    ("codes", codes::code),
    ("compression", bodies::compression),
    ("continuation", continuation::continuation),
    ("errors", bodies::error_body),
    ("extensions", bodies::extensions),
    ("handshake", handshake::handshake),
    ("handshake_fields", handshake::fields),
    ("header", header::header),
    ("session", session::single_frame),
    ("typed", bodies::typed),
    ("v1_frames", header::version_1),
];

#[test]
fn every_vector_gives_what_it_says() {
    let mut failures = Vec::new();
    let mut count = 0;
    for (file, run) in FILES {
        let vectors = load(file);
        assert!(!vectors.is_empty(), "{file}.json has no vectors");
        for vector in &vectors {
            count += 1;
            if let Err(why) = run(vector) {
                failures.push(format!("{file}: {}: {why}", vector.name()));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {count} vectors disagree:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn every_session_replays_from_its_first_frame() {
    session::replay(&load("session"), &load("handshake"));
}

#[test]
fn the_tables_hold_every_number_of_this_crate() {
    codes::complete(&load("codes"));
}

#[test]
fn every_file_of_vectors_is_known() {
    let mut found = 0;
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(
                FILES.iter().any(|(known, _)| *known == name),
                "nothing runs {name}.json"
            );
            found += 1;
        }
    }
    assert_eq!(found, FILES.len());
}

#[test]
fn a_vector_with_another_result_is_noticed() {
    // The canary: each runner must find a vector that was bent.
    for (file, run) in FILES {
        let bent = load(file)
            .iter()
            .filter_map(Vector::bent)
            .find(|bent| run(bent).is_err());
        assert!(bent.is_some(), "{file}: no bent vector was noticed");
    }
}
