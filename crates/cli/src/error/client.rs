//! What the client library reports, as failures of the program.

use std::io;

use kv_client::{Error, ErrorCode, ErrorKind};

use super::{CliError, Code, Exit};

/// The exit code of a code that the server sent.
const fn exit_of(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::Conflict => Exit::Conflict,
        ErrorCode::AuthFailed | ErrorCode::PermissionDenied => Exit::Auth,
        ErrorCode::DeadlineExceeded => Exit::Timeout,
        ErrorCode::UnsupportedVersion => Exit::Connect,
        _ => Exit::Server,
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Closed => Self::new(Code::CLOSED, "the connection is closed"),
            ErrorKind::Connect(source) => no_connection(source),
            ErrorKind::ConnectionLost => Self::new(Code::LOST, error.to_string())
                .hint("nothing was changed: it is safe to try again"),
            ErrorKind::OutcomeUnknown => Self::new(Code::UNKNOWN, error.to_string())
                .hint("it may have been done or not: read before writing again"),
            ErrorKind::InvalidArgument(what) => Self::usage(*what),
            ErrorKind::NotAuthentic { key_id } => not_authentic(key_id),
            ErrorKind::Protocol(reason) => Self::new(
                Code::PROTOCOL,
                "there is no kv server at the other end, or a broken one",
            )
            .cause(reason.to_string())
            .hint(
                "if it wants TLS: kvs:// instead of kv://; `kv-cli doctor` finds out what is there",
            ),
            ErrorKind::Refused(text) => {
                Self::new(Code::REFUSED, "the server refused the connection")
                    .cause(text.to_string())
                    .hint("the server's log says why")
            }
            ErrorKind::Server {
                code,
                number,
                message,
                version,
                ..
            } => of_server(*code, *number, message, *version, &error),
            ErrorKind::Timeout => Self::new(Code::TIMEOUT, error.to_string())
                .hint("--timeout 30s waits longer; a write may have been done or not"),
            ErrorKind::UnusableReply(what) => {
                Self::new(Code::UNUSABLE, "the server's answer cannot be used").cause(*what)
            }
            ErrorKind::Tls(text) => tls(text),
            _ => Self::new(Code::UNUSABLE, error.to_string()),
        }
    }
}

fn no_connection(source: &io::Error) -> CliError {
    let error = |code, sentence: &str| CliError::new(code, sentence).cause(source.to_string());
    match source.kind() {
        io::ErrorKind::TimedOut => {
            CliError::new(Code::TIMEOUT, "no connection to the server in time")
                .hint("`kv-cli doctor` says how far it gets; --timeout 30s waits longer")
        }
        io::ErrorKind::ConnectionRefused => error(Code::CONNECT, "nobody listens at this address")
            .hint("start a server with `kv-server`, or name another one: --url kv://host:7777"),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => {
            error(Code::CONNECT, "the server closed the connection at once")
                .hint("it may want TLS (kvs://), or a key; `kv-cli doctor` finds out")
        }
        // The server judges a client's certificate when this side takes the handshake for done.
        _ if source.to_string().contains("fatal alert") => tls(&source.to_string()),
        _ if source.to_string().contains("lookup") => {
            error(Code::DNS, "there is no address for this name").hint("check the name in --url")
        }
        _ => error(Code::CONNECT, "no connection to the server")
            .hint("`kv-cli doctor` finds out why"),
    }
}

fn not_authentic(key_id: &str) -> CliError {
    let code = Code::new(ErrorCode::AuthFailed.name(), Exit::Auth);
    if key_id.is_empty() {
        return CliError::new(code, "the server wants a key, and there is none")
            .hint("--key-file FILE --key-id ID, or KV_AUTH_KEY_FILE and KV_AUTH_KEY_ID");
    }
    let key_id = key_id.escape_debug();
    CliError::new(code, "the server does not accept this key")
        .cause(format!(
            "it does not hold the key `{key_id}`, or holds another one under this id"
        ))
        .hint("compare `kv-cli keygen --fingerprint FILE` on both sides, and the key's id")
}

fn of_server(
    code: Option<ErrorCode>,
    number: u16,
    message: &str,
    version: Option<u64>,
    error: &Error,
) -> CliError {
    let Some(code) = code else {
        return CliError::new(
            Code::UNUSABLE,
            format!("the server answered with error {number}"),
        )
        .cause(message)
        .hint("it is newer than this program");
    };
    let failure = CliError::new(Code::new(code.name(), exit_of(code)), sentence(code));
    // Of a conflict, the version that is there says more than any sentence.
    let failure = match version {
        None if !message.is_empty() => failure.cause(message),
        _ => failure,
    };
    match (code, version, error.retry_after()) {
        (ErrorCode::Conflict, Some(0), _) => failure.hint("there is no such entry"),
        (ErrorCode::Conflict, Some(version), _) => {
            failure.hint(format!("the entry has version {version}"))
        }
        (ErrorCode::PermissionDenied, ..) => failure
            .hint("`roles` and `permissions` in the server's configuration say who may do what"),
        (_, _, Some(wait)) => failure.hint(format!("try again after {} ms", wait.as_millis())),
        _ => failure,
    }
}

/// What a code means, for people.
const fn sentence(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Conflict => "a condition did not hold",
        ErrorCode::InvalidArgument => "the server does not understand the request",
        ErrorCode::TooLarge => "key or value is larger than the server allows",
        ErrorCode::WrongType => "the entry is of another type",
        ErrorCode::Unsupported => "the server does not support this",
        ErrorCode::ReadOnly => "the server takes no writes",
        ErrorCode::AuthFailed => "the server no longer accepts this identity",
        ErrorCode::PermissionDenied => "this identity may not do that",
        ErrorCode::UnsupportedVersion => "the server speaks another version of the protocol",
        ErrorCode::RateLimited => "too many requests",
        ErrorCode::Overloaded => "the server has no room for the request",
        ErrorCode::ShuttingDown => "the server is shutting down",
        ErrorCode::TooManyInFlight => "too many requests in flight",
        ErrorCode::DeadlineExceeded => "the request's time was over",
        ErrorCode::OutcomeUnknown => "it is not known whether it was done",
        ErrorCode::OutOfMemory => "the store's memory is used up",
        ErrorCode::DiskFull => "the store's disk is used up",
        ErrorCode::Corrupt => "stored data is damaged",
        _ => "the server failed",
    }
}

/// A failure of Code::TLS, with what to do about the usual ones.
pub(super) fn tls(text: &str) -> CliError {
    let error = CliError::new(Code::TLS, "TLS failed").cause(text);
    match tls_hint(text) {
        Some(hint) => error.hint(hint),
        None => error.hint("`kv-cli doctor` shows the certificates and what is wrong with them"),
    }
}

/// What to do about a failure of Code::TLS, judged by its text: rustls's errors keep their variant's name in
/// it, and alerts of the server their description.
pub(crate) fn tls_hint(text: &str) -> Option<&'static str> {
    const HINTS: [(&[&str], &str); 9] = [
        (
            &["UnknownIssuer"],
            "the server's certificate was not issued by the authority in --ca: use the ca.crt that belongs to it",
        ),
        (
            &["peer certificate: BadSignature"],
            "the authority in --ca has the name of the one that issued the certificate, and another key: \
             use the ca.crt that belongs to the server",
        ),
        (
            &["NotValidForName", "not valid for name"],
            "the certificate is for other names: connect to one of them, or name it with --server-name",
        ),
        (
            &["Expired", "NotValidYet"],
            "the certificate is outside of its time: renew it, or set this machine's clock",
        ),
        (
            &["CaUsedAsEndEntity"],
            "the server shows an authority's certificate as its own: `kv-cli certs init` makes right ones",
        ),
        (
            &["CertificateRequired", "certificate required"],
            "the server wants a client certificate: --cert FILE --cert-key FILE",
        ),
        (
            &[
                "UnknownCA",
                "BadCertificate",
                "CertificateUnknown",
                "DecryptError",
                "CertificateExpired",
            ],
            "the server does not accept the client certificate: it wants one of its own authority, in force",
        ),
        (
            &[
                "InvalidContentType",
                "corrupt message",
                "InvalidMessage",
                "eof",
                "end of file",
            ],
            "the server does not speak TLS on this port: kv:// instead of kvs://",
        ),
        (
            &["does not speak kv/2", "NoApplicationProtocol"],
            "something else than a kv server speaks TLS on this port",
        ),
    ];
    HINTS
        .iter()
        .find(|(words, _)| words.iter().any(|word| text.contains(word)))
        .map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_of_the_server_ends_with_its_exit_code() {
        for &code in ErrorCode::ALL {
            let expected = match code.name() {
                "CONFLICT" => 7,
                "AUTH_FAILED" | "PERMISSION_DENIED" => 5,
                "DEADLINE_EXCEEDED" => 6,
                "UNSUPPORTED_VERSION" => 4,
                _ => 3,
            };
            assert_eq!(exit_of(code).number(), expected, "{}", code.name());
            assert!(!sentence(code).is_empty());
        }
    }

    #[test]
    fn the_usual_failures_of_tls_come_with_their_fix() {
        for (text, word) in [
            ("invalid peer certificate: UnknownIssuer", "--ca"),
            ("invalid peer certificate: NotValidForName", "--server-name"),
            ("received fatal alert: CertificateRequired", "--cert"),
            ("received fatal alert: DecryptError", "client certificate"),
            ("certificate not valid for name \"a\"", "--server-name"),
            (
                "received corrupt message of type InvalidContentType",
                "kv://",
            ),
        ] {
            assert!(tls(text).hint_text().unwrap().contains(word), "{text}");
        }
        assert!(tls("something new").hint_text().unwrap().contains("doctor"));
    }
}
