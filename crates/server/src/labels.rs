//! From the protocol's command table and error codes to the labels of the metrics.

use kv_proto::{ErrorCode, Opcode};
use kv_service::{Code, Operation};

/// The label of a command.
pub(crate) const fn operation(opcode: Opcode) -> Operation {
    match opcode {
        Opcode::Get => Operation::Get,
        Opcode::Set => Operation::Set,
        Opcode::Del => Operation::Del,
        Opcode::Incr => Operation::Incr,
        Opcode::Touch => Operation::Touch,
        Opcode::Scan => Operation::Scan,
        Opcode::Batch => Operation::Batch,
        Opcode::Ping => Operation::Ping,
        Opcode::Echo => Operation::Echo,
        Opcode::Info => Operation::Info,
        Opcode::Clients => Operation::Clients,
        Opcode::Kill => Operation::Kill,
        Opcode::Backup => Operation::Backup,
        _ => Operation::Other,
    }
}

/// The label of an answer; `None` is success.
pub(crate) const fn code(error: Option<ErrorCode>, missing: bool) -> Code {
    let Some(error) = error else {
        return if missing { Code::NotFound } else { Code::Ok };
    };
    match error {
        ErrorCode::Conflict => Code::Conflict,
        ErrorCode::InvalidArgument => Code::InvalidArgument,
        ErrorCode::TooLarge => Code::TooLarge,
        ErrorCode::WrongType => Code::WrongType,
        ErrorCode::Unsupported => Code::Unsupported,
        ErrorCode::ReadOnly => Code::ReadOnly,
        ErrorCode::AuthFailed => Code::AuthFailed,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::UnsupportedVersion => Code::UnsupportedVersion,
        ErrorCode::RateLimited => Code::RateLimited,
        ErrorCode::Overloaded => Code::Overloaded,
        ErrorCode::ShuttingDown => Code::ShuttingDown,
        ErrorCode::TooManyInFlight => Code::TooManyInFlight,
        ErrorCode::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorCode::OutcomeUnknown => Code::OutcomeUnknown,
        ErrorCode::OutOfMemory => Code::OutOfMemory,
        ErrorCode::DiskFull => Code::DiskFull,
        ErrorCode::Corrupt => Code::Corrupt,
        ErrorCode::Internal => Code::Internal,
        _ => Code::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_names_of_the_protocol() {
        for &error in ErrorCode::ALL {
            let label = code(Some(error), false);
            assert!(
                label == Code::Other || label.name() == error.name(),
                "{error:?}"
            );
        }
        assert_eq!(code(None, true), Code::NotFound);
        assert_eq!(code(None, false), Code::Ok);
    }

    #[test]
    fn implemented_requests_have_their_own_label() {
        for &opcode in Opcode::ALL {
            let info = opcode.info();
            if info.implemented && info.answer != kv_proto::Answer::None {
                assert_eq!(operation(opcode).name(), info.name.to_lowercase());
            }
        }
    }
}
