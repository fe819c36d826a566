//! The command table: one row per opcode, and everything that is decided by opcode reads it.
//!
//! Decoding (direction, body bound, continuation), dispatch, permissions, retries, metric labels and
//! the table in `docs/protocol.md` are views of [`Opcode::info`]. Numbers are never reused.

use core::fmt;

use crate::ext::ExtSet;

/// Any opcode byte a peer may send, known to us or not. The raw value is never lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpcodeByte(pub u8);

impl fmt::Debug for OpcodeByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Opcode::try_from(*self) {
            Ok(opcode) => f.write_str(opcode.name()),
            Err(UnknownOpcode(byte)) => write!(f, "0x{byte:02x}"),
        }
    }
}

/// An opcode byte that stands for no command of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown opcode 0x{0:02x}")]
pub struct UnknownOpcode(pub u8);

/// Which side sends a frame with this opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Opcodes below 128.
    ToServer,
    /// Opcodes from 128 on.
    ToClient,
}

/// What the answer to a request looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not a request: nothing answers it.
    None,
    /// Exactly one OK, ERR or NOTFOUND (PING: PONG).
    Single,
    /// ITEMs under credit, then END or ERR.
    Stream,
}

/// What a caller may do with a request whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Changes nothing: send it again.
    Safe,
    /// May have been applied: only with the IDEMPOTENCY extension.
    WithIdempotency,
    /// Never sent again by itself.
    Never,
}

/// The permission a request needs; `service` knows what an identity holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any authenticated session.
    Session,
    /// Reading keys.
    Read,
    /// Changing keys.
    Write,
    /// Walking over keys and watching them.
    Scan,
    /// Server statistics and the list of clients.
    Observe,
    /// Administration.
    Admin,
    /// Publishing to topics and broadcasting.
    Publish,
    /// Subscribing to topics.
    Subscribe,
    /// Producing to and consuming from queues.
    Queue,
}

/// How large the body (extensions, key and value) of one message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyBound {
    /// At most this many bytes, whatever was negotiated.
    Bytes(u32),
    /// A whole message: the negotiated frame and message limits hold.
    Message,
}

/// One row of the command table.
#[derive(Clone, Copy, Debug)]
pub struct OpcodeInfo {
    /// The byte on the wire.
    pub number: u8,
    /// Upper-case name, as in the specification and in metric labels.
    pub name: &'static str,
    /// Lowest protocol version that has it.
    pub since: u8,
    /// Bound of the body.
    pub body: BodyBound,
    /// Whether the message may be cut into several frames.
    pub continued: bool,
    /// Permission it needs.
    pub needs: Needs,
    /// What a lost answer allows.
    pub repeat: Repeat,
    /// Shape of the answer.
    pub answer: Answer,
    /// Extensions that have a meaning here.
    pub ext: ExtSet,
    /// Whether this release implements it; the rest answers UNSUPPORTED.
    pub implemented: bool,
}

macro_rules! commands {
    ($( $(#[$doc:meta])* $number:literal $variant:ident $name:literal since $since:literal
        $body:expr, $cont:literal, $needs:ident, $repeat:ident, $answer:ident, [$($ext:ident)*], $implemented:literal; )*) => {
        /// A command of the protocol. Closed: what is not here is an [`OpcodeByte`] only.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Opcode { $( $(#[$doc])* $variant = $number, )* }

        impl Opcode {
            /// Every command, in the order of its number.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// The row of the command table.
            #[must_use]
            pub const fn info(self) -> &'static OpcodeInfo {
                match self { $( Self::$variant => {
                    const INFO: OpcodeInfo = OpcodeInfo {
                        number: $number, name: $name, since: $since, body: $body, continued: $cont,
                        needs: Needs::$needs, repeat: Repeat::$repeat, answer: Answer::$answer,
                        ext: ExtSet::NONE $( .with(ExtSet::$ext) )*,
                        implemented: $implemented,
                    };
                    &INFO
                } )* }
            }

            const fn from_byte(byte: u8) -> Option<Self> {
                match byte { $( $number => Some(Self::$variant), )* _ => None }
            }
        }
    };
}

const EMPTY: BodyBound = BodyBound::Bytes(255);
const SMALL: BodyBound = BodyBound::Bytes(512);
const HELLO: BodyBound = BodyBound::Bytes(4096);
/// Extensions and a key, and a cursor that is itself a key.
const KEYS: BodyBound = BodyBound::Bytes(255 + 2 * 65_535);
const MESSAGE: BodyBound = BodyBound::Message;

commands! {
    /// Reads one entry.
    1 Get "GET" since 1 KEYS, false, Read, Safe, Single, [REQUEST RETURN], true;
    /// Writes one entry.
    2 Set "SET" since 1 MESSAGE, true, Write, WithIdempotency, Single, [REQUEST WRITE TTL RETURN CONTENT_TYPE TOTAL_LEN], true;
    /// Removes one entry.
    3 Del "DEL" since 1 KEYS, false, Write, WithIdempotency, Single, [REQUEST WRITE RETURN], true;
    /// Streams the entries below a prefix in key order.
    4 Scan "SCAN" since 2 KEYS, false, Scan, Safe, Stream, [REQUEST CREDIT LIMIT REVERSE RETURN], true;
    /// Streams changes of a key or a prefix.
    5 Watch "WATCH" since 2 KEYS, false, Scan, Safe, Stream, [REQUEST CREDIT FROM_VERSION EXACT RETURN], false;
    /// Several requests under one tag.
    6 Batch "BATCH" since 2 MESSAGE, true, Session, WithIdempotency, Single, [REQUEST IDEMPOTENCY ATOMIC TOTAL_LEN], true;
    /// Adds to a decimal number.
    7 Incr "INCR" since 2 KEYS, false, Write, WithIdempotency, Single, [REQUEST WRITE TTL], true;
    /// Changes when an entry expires.
    8 Touch "TOUCH" since 2 KEYS, false, Write, WithIdempotency, Single, [REQUEST WRITE TTL], true;
    /// Opens the handshake.
    16 Hello "HELLO" since 2 HELLO, false, Session, Never, None, [], true;
    /// Proves the client's key.
    17 Auth "AUTH" since 2 HELLO, false, Session, Never, None, [], true;
    /// Asks for a sign of life.
    18 Ping "PING" since 2 SMALL, false, Session, Safe, Single, [], true;
    /// Answers the server's PING.
    19 Pong "PONG" since 2 SMALL, false, Session, Never, None, [], true;
    /// Returns its value.
    20 Echo "ECHO" since 2 MESSAGE, true, Session, Safe, Single, [REQUEST CONTENT_TYPE TOTAL_LEN], true;
    /// Ends a request early.
    21 Cancel "CANCEL" since 2 EMPTY, false, Session, Never, None, [], true;
    /// Grants a stream further items.
    22 Credit "CREDIT" since 2 SMALL, false, Session, Never, None, [], true;
    /// Moves the client's direction to its next keys.
    23 KeyUpdate "KEY_UPDATE" since 2 SMALL, false, Session, Never, None, [], true;
    /// The client is done.
    24 Goodbye "GOODBYE" since 2 EMPTY, false, Session, Never, None, [], true;
    /// Sends a message to a topic.
    32 Publish "PUBLISH" since 2 MESSAGE, true, Publish, WithIdempotency, Single, [REQUEST CONTENT_TYPE IDEMPOTENCY TOTAL_LEN], false;
    /// Streams the messages of topics.
    33 Subscribe "SUBSCRIBE" since 2 KEYS, false, Subscribe, Safe, Stream, [REQUEST CREDIT POLICY], false;
    /// Sends a message to every connection.
    34 Broadcast "BROADCAST" since 2 MESSAGE, true, Publish, WithIdempotency, Single, [REQUEST CONTENT_TYPE TOTAL_LEN], false;
    /// Puts a message into a queue.
    48 Enqueue "ENQUEUE" since 2 MESSAGE, true, Queue, WithIdempotency, Single, [REQUEST TTL CONTENT_TYPE DELAY_MS FAIRNESS_KEY IDEMPOTENCY TOTAL_LEN], false;
    /// Streams leased messages.
    49 Consume "CONSUME" since 2 KEYS, false, Queue, Never, Stream, [REQUEST CREDIT], false;
    /// Finishes a leased message.
    50 Ack "ACK" since 2 KEYS, false, Queue, WithIdempotency, Single, [REQUEST IDEMPOTENCY], false;
    /// Gives a leased message back.
    51 Nack "NACK" since 2 KEYS, false, Queue, WithIdempotency, Single, [REQUEST IDEMPOTENCY DELAY_MS], false;
    /// Lengthens a lease.
    52 Extend "EXTEND" since 2 KEYS, false, Queue, WithIdempotency, Single, [REQUEST IDEMPOTENCY], false;
    /// Creates a queue.
    53 QueueCreate "QUEUE_CREATE" since 2 MESSAGE, false, Queue, WithIdempotency, Single, [REQUEST IDEMPOTENCY], false;
    /// Deletes a queue.
    54 QueueDelete "QUEUE_DELETE" since 2 KEYS, false, Queue, WithIdempotency, Single, [REQUEST IDEMPOTENCY], false;
    /// Describes a queue.
    55 QueueInfo "QUEUE_INFO" since 2 KEYS, false, Queue, Safe, Single, [REQUEST], false;
    /// Moves dead letters back.
    56 Redrive "REDRIVE" since 2 KEYS, false, Queue, WithIdempotency, Single, [REQUEST IDEMPOTENCY], false;
    /// Empties a queue.
    57 Purge "PURGE" since 2 KEYS, false, Queue, WithIdempotency, Single, [REQUEST IDEMPOTENCY], false;
    /// Server statistics.
    112 Info "INFO" since 2 KEYS, false, Observe, Safe, Single, [REQUEST], true;
    /// The connections.
    113 Clients "CLIENTS" since 2 KEYS, false, Observe, Safe, Single, [REQUEST], true;
    /// Ends a connection.
    114 Kill "KILL" since 2 KEYS, false, Admin, Safe, Single, [REQUEST], true;
    /// The slowest requests.
    115 Slowlog "SLOWLOG" since 2 KEYS, false, Observe, Safe, Single, [REQUEST], false;
    /// Streams a consistent copy of the store.
    116 Backup "BACKUP" since 2 KEYS, false, Admin, Safe, Stream, [REQUEST CREDIT], true;
    /// The request succeeded.
    128 Ok "OK" since 1 MESSAGE, true, Session, Never, None, [TTL VERSION CONTENT_TYPE VALUE_LEN MESSAGE_ID TOTAL_LEN], true;
    /// The request failed.
    129 Err "ERR" since 1 KEYS, false, Session, Never, None, [VERSION], true;
    /// There is no such key.
    130 NotFound "NOTFOUND" since 1 EMPTY, false, Session, Never, None, [], true;
    /// One item of a stream.
    131 Item "ITEM" since 2 MESSAGE, true, Session, Never, None, [TTL VERSION CONTENT_TYPE VALUE_LEN ATTEMPT EVENT MESSAGE_ID LOST TOTAL_LEN], true;
    /// A stream, or a cancelled request, is over.
    132 End "END" since 2 EMPTY, false, Session, Never, None, [], true;
    /// Answers HELLO.
    144 Welcome "WELCOME" since 2 HELLO, false, Session, Never, None, [], true;
    /// The session is open.
    145 Ready "READY" since 2 HELLO, false, Session, Never, None, [], true;
    /// Asks the client for a sign of life.
    146 ServerPing "SERVER_PING" since 2 SMALL, false, Session, Never, None, [], true;
    /// Answers the client's PING.
    147 ServerPong "SERVER_PONG" since 2 SMALL, false, Session, Never, None, [], true;
    /// The server drains.
    148 Goaway "GOAWAY" since 2 HELLO, false, Session, Never, None, [], true;
    /// The server is done.
    149 ServerGoodbye "SERVER_GOODBYE" since 2 EMPTY, false, Session, Never, None, [], true;
    /// Moves the server's direction to its next keys.
    150 ServerKeyUpdate "SERVER_KEY_UPDATE" since 2 SMALL, false, Session, Never, None, [], true;
    /// A broadcast to this connection.
    160 Notice "NOTICE" since 2 MESSAGE, true, Session, Never, None, [CONTENT_TYPE TOTAL_LEN], false;
}

impl Opcode {
    /// The name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.info().number
    }

    /// Who sends it.
    #[must_use]
    pub const fn direction(self) -> Direction {
        if self.number() < 128 {
            Direction::ToServer
        } else {
            Direction::ToClient
        }
    }
}

impl From<Opcode> for OpcodeByte {
    fn from(opcode: Opcode) -> Self {
        Self(opcode.number())
    }
}

impl TryFrom<OpcodeByte> for Opcode {
    type Error = UnknownOpcode;

    fn try_from(byte: OpcodeByte) -> Result<Self, UnknownOpcode> {
        Self::from_byte(byte.0).ok_or(UnknownOpcode(byte.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_ascending() {
        for pair in Opcode::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number());
        }
        let mut names: Vec<_> = Opcode::ALL.iter().map(|o| o.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Opcode::ALL.len());
    }

    #[test]
    fn every_byte_is_either_a_command_or_kept_as_it_is() {
        let known = (0..=u8::MAX)
            .filter(|&byte| match Opcode::try_from(OpcodeByte(byte)) {
                Ok(opcode) => {
                    assert_eq!(opcode.number(), byte);
                    true
                }
                Err(UnknownOpcode(raw)) => {
                    assert_eq!(raw, byte);
                    false
                }
            })
            .count();
        assert_eq!(known, Opcode::ALL.len());
    }

    #[test]
    fn only_version_one_has_the_six_small_commands() {
        let small: Vec<_> = Opcode::ALL
            .iter()
            .filter(|o| o.info().since == 1)
            .map(|o| o.name())
            .collect();
        assert_eq!(small, ["GET", "SET", "DEL", "OK", "ERR", "NOTFOUND"]);
    }

    #[test]
    fn requests_are_answered_and_replies_are_not() {
        for opcode in Opcode::ALL {
            if opcode.direction() == Direction::ToClient {
                assert_eq!(opcode.info().answer, Answer::None, "{opcode:?}");
            }
        }
    }
}
