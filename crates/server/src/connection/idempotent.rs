//! IDEMPOTENCY: the name under which the store remembers an operation, and whether what it remembers
//! answers the request that came.
//!
//! The store keeps the windows; this side gives it names that no other identity can reach.

use kv_proto::{Idempotency, Opcode};
use kv_service::{Identity, OperationId, OwnedOutcome};
use sha2::{Digest as _, Sha256};

use super::request::Reject;

/// Goes into every name first, so that no other use of the hash gives the same one.
const CONTEXT: &[u8] = b"kv operation\0";

/// The store's name of an operation: the client id is hashed together with the identity, so that two
/// identities that choose the same id have windows of their own, and none can read the other's answers.
pub(super) fn operation_id(identity: &Identity, of: Idempotency) -> OperationId {
    let digest = Sha256::new()
        .chain_update(CONTEXT)
        // Of fixed length and last: no two pairs give the same bytes.
        .chain_update(identity.name().as_bytes())
        .chain_update(of.client)
        .finalize();
    let mut client = [0; 16];
    client.copy_from_slice(digest.get(..16).unwrap_or(&[0; 16]));
    OperationId {
        client,
        number: of.operation,
    }
}

/// Whether `outcome` is one that `opcode` can have. An answer of the wrong kind is that of another
/// request, which had the same operation number.
pub(super) const fn fits(opcode: Opcode, outcome: &OwnedOutcome) -> bool {
    match outcome {
        OwnedOutcome::Failed(_) => true,
        OwnedOutcome::Found(_) => matches!(opcode, Opcode::Get),
        OwnedOutcome::Missing => matches!(opcode, Opcode::Get | Opcode::Del | Opcode::Touch),
        OwnedOutcome::Written { .. } => matches!(opcode, Opcode::Set | Opcode::Touch),
        OwnedOutcome::Deleted { .. } => matches!(opcode, Opcode::Del),
        OwnedOutcome::Counted { .. } | OwnedOutcome::WrongType => matches!(opcode, Opcode::Incr),
        OwnedOutcome::Conflict { .. } => !matches!(opcode, Opcode::Get),
    }
}

/// The answer to a request whose operation number was another request's.
pub(super) fn number_used() -> Reject {
    Reject::argument("the operation number was used before, for another request")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, client: u8, operation: u64) -> OperationId {
        let client = [client; 16];
        operation_id(
            &Identity::new(name).unwrap(),
            Idempotency { client, operation },
        )
    }

    #[test]
    fn names_differ_by_identity_client_and_number_and_by_nothing_else() {
        assert_eq!(id("app", 1, 7), id("app", 1, 7));
        assert_ne!(id("app", 1, 7), id("app", 1, 8));
        assert_ne!(id("app", 1, 7).client, id("app", 2, 7).client);
        assert_ne!(id("app", 1, 7).client, id("other", 1, 7).client);
        // A name that ends like a client id begins is still another name.
        assert_ne!(id("a", 0x61, 7).client, id("aa", 0x61, 7).client);
    }

    #[test]
    fn an_answer_fits_the_commands_that_can_have_it() {
        let written = OwnedOutcome::Written {
            version: 1,
            expires_at: None,
            previous: None,
        };
        assert!(fits(Opcode::Set, &written) && fits(Opcode::Touch, &written));
        assert!(!fits(Opcode::Incr, &written) && !fits(Opcode::Del, &written));
        let conflict = OwnedOutcome::Conflict { version: 1 };
        assert!(fits(Opcode::Del, &conflict) && !fits(Opcode::Get, &conflict));
    }
}
