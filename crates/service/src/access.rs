//! What an operation needs to be allowed.
//!
//! Owns the rule that whoever is shown what an entry holds must be allowed to read, whichever
//! operation shows it. Front doors that speak of commands check their own table first; this is
//! what holds for all of them.

use kv_store::Op;

use crate::identity::{Permission, Permissions};

/// The permissions without which `op` must not be executed.
#[must_use]
pub fn needed(op: &Op<'_>) -> Permissions {
    let write = Permissions::from(Permission::Write);
    match op {
        Op::Get { .. } => Permission::Read.into(),
        // The previous entry is shown.
        Op::Set { previous: true, .. } | Op::Del { previous: true, .. } => {
            write | Permission::Read.into()
        }
        // An Incr shows its sum to whoever may write: a counter is of no use otherwise.
        Op::Set { .. } | Op::Del { .. } | Op::Incr { .. } | Op::Touch { .. } => write,
    }
}

/// An operation that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operation {index} needs the permissions {needed}")]
pub struct Denied {
    /// Which one, counted from 0.
    pub index: usize,
    /// What it needs.
    pub needed: Permissions,
}

/// Checks a run before any of it is executed.
///
/// # Errors
///
/// [`Denied`] names the first operation that `held` does not allow.
pub fn check_access(held: Permissions, ops: &[Op<'_>]) -> Result<(), Denied> {
    for (index, op) in ops.iter().enumerate() {
        let needed = needed(op);
        if !held.contains(needed) {
            return Err(Denied { index, needed });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Role;
    use kv_store::{Condition, Expiry, Value};

    fn ops() -> Vec<(Op<'static>, Vec<Permission>)> {
        let key = b"key".as_slice();
        let (expiry, condition) = (Expiry::Never, Condition::Always);
        let value = Value::Inline(b"value");
        let set = |previous| Op::Set {
            key,
            value,
            content_type: 0,
            expiry,
            condition,
            previous,
        };
        let del = |previous| Op::Del {
            key,
            condition,
            previous,
        };
        vec![
            (Op::Get { key }, vec![Permission::Read]),
            (set(false), vec![Permission::Write]),
            (set(true), vec![Permission::Write, Permission::Read]),
            (del(false), vec![Permission::Write]),
            (del(true), vec![Permission::Write, Permission::Read]),
            (
                Op::Incr {
                    key,
                    delta: 1,
                    expiry,
                    condition,
                },
                vec![Permission::Write],
            ),
            (
                Op::Touch {
                    key,
                    expiry,
                    condition,
                },
                vec![Permission::Write],
            ),
        ]
    }

    #[test]
    fn each_operation_is_allowed_with_exactly_what_it_needs() {
        for (op, needs) in ops() {
            let held: Permissions = needs.iter().copied().collect();
            assert_eq!(check_access(held, &[op]), Ok(()), "{op:?}");
            assert_eq!(check_access(Permissions::ALL, &[op]), Ok(()));
            for missing in needs {
                let held: Permissions = Permission::ALL
                    .into_iter()
                    .filter(|other| *other != missing)
                    .collect();
                let denied = check_access(held, &[op]).unwrap_err();
                assert!(denied.needed.allows(missing), "{op:?} without {missing:?}");
            }
        }
    }

    #[test]
    fn the_first_operation_that_is_not_allowed_is_named() {
        let ops: Vec<_> = ops().into_iter().map(|(op, _)| op).collect();
        let denied = check_access(Role::Reader.permissions(), &ops).unwrap_err();
        assert_eq!(denied.index, 1);
        assert_eq!(check_access(Permissions::NONE, &[]), Ok(()));
    }
}
