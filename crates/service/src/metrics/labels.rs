//! The values labels may have: closed sets, so that cardinality is bounded and a counter is found by
//! index.
//!
//! Invariant: `ALL[value.index()] == value`.

/// A closed set of label values: an enum, its members in order, and their texts.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$member_doc])* $member,)+
        }

        impl $name {
            /// Every member, in order.
            pub const ALL: &'static [Self] = &[$(Self::$member,)+];
            /// How many members there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The text of the label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$member => $text,)+
                }
            }

            /// The place in [`Self::ALL`].
            #[inline]
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// A front door: the protocol a request came through.
    Door {
        /// The native protocol.
        Native = "native",
    }
}

labels! {
    /// A listener.
    Listener {
        /// The native protocol.
        Native = "native",
        /// HTTP for operators.
        Admin = "admin",
    }
}

labels! {
    /// What a request asks for.
    Operation {
        /// One entry's value.
        Get = "get",
        /// Store an entry.
        Set = "set",
        /// Remove an entry.
        Del = "del",
        /// Add to a number.
        Incr = "incr",
        /// Change the expiry.
        Touch = "touch",
        /// Walk over entries.
        Scan = "scan",
        /// Several operations in one message.
        Batch = "batch",
        /// Is anybody there.
        Ping = "ping",
        /// Give back what was sent.
        Echo = "echo",
        /// Figures of the server.
        Info = "info",
        /// Connections of the server.
        Clients = "clients",
        /// End a connection.
        Kill = "kill",
        /// Copy the whole store.
        Backup = "backup",
        /// Everything else, also what is not known.
        Other = "other",
    }
}

labels! {
    /// How a request ended. The names are those of the error codes.
    Code {
        /// It did what was asked.
        Ok = "OK",
        /// There is no such entry.
        NotFound = "NOT_FOUND",
        /// A condition did not hold.
        Conflict = "CONFLICT",
        /// The request makes no sense.
        InvalidArgument = "INVALID_ARGUMENT",
        /// Above a limit of size.
        TooLarge = "TOO_LARGE",
        /// The entry is of another kind.
        WrongType = "WRONG_TYPE",
        /// Not known here.
        Unsupported = "UNSUPPORTED",
        /// Writes are refused.
        ReadOnly = "READ_ONLY",
        /// The identity is not proven any more.
        AuthFailed = "AUTH_FAILED",
        /// The identity may not.
        PermissionDenied = "PERMISSION_DENIED",
        /// Unknown version of the protocol.
        UnsupportedVersion = "UNSUPPORTED_VERSION",
        /// Too many requests in too little time.
        RateLimited = "RATE_LIMITED",
        /// No place for it now.
        Overloaded = "OVERLOADED",
        /// The server is going away.
        ShuttingDown = "SHUTTING_DOWN",
        /// Too many requests without an answer.
        TooManyInFlight = "TOO_MANY_IN_FLIGHT",
        /// Its deadline passed.
        DeadlineExceeded = "DEADLINE_EXCEEDED",
        /// Nobody knows whether it was applied.
        OutcomeUnknown = "OUTCOME_UNKNOWN",
        /// No memory for it.
        OutOfMemory = "OUT_OF_MEMORY",
        /// No room on the disk.
        DiskFull = "DISK_FULL",
        /// What is stored is damaged.
        Corrupt = "CORRUPT",
        /// The client gave it up.
        Cancelled = "CANCELLED",
        /// A mistake of the server.
        Internal = "INTERNAL",
        /// Every other code.
        Other = "OTHER",
    }
}

labels! {
    /// Why a connection was refused at once.
    Rejection {
        /// All places and all waiting places were taken.
        Limit = "limit",
        /// Too many unauthenticated connections of one address.
        PerIp = "per_ip",
        /// Too many unauthenticated connections in all.
        Unauthenticated = "unauthenticated",
        /// It waited too long for a place.
        WaitTimeout = "wait_timeout",
        /// The server is going away.
        Draining = "draining",
        /// No memory for it.
        Memory = "memory",
    }
}

labels! {
    /// Why a connection that was served ended.
    Closure {
        /// The client ended it.
        Client = "client",
        /// Silence.
        Idle = "idle",
        /// A mistake of the peer or of the network.
        Error = "error",
        /// The peer did not read, or did not finish what it began.
        Slow = "slow",
        /// The server went away.
        Drain = "drain",
        /// The peer did not prove who it is, or its key was removed.
        Auth = "auth",
        /// Memory was short and this connection held the most.
        Shed = "shed",
        /// An operator ended it.
        Killed = "killed",
        /// A mistake of the server.
        Internal = "internal",
    }
}

labels! {
    /// Why a frame was refused.
    FrameRejection {
        /// Its tag is wrong.
        BadMac = "bad_mac",
        /// It is larger than allowed.
        Oversize = "oversize",
        /// It is no frame, or not a legal one here.
        Malformed = "malformed",
        /// A version nobody speaks.
        Version = "version",
    }
}

labels! {
    /// How a peer proves who it is.
    Mechanism {
        /// A pre-shared key.
        Key = "key",
        /// A client certificate alone.
        Certificate = "certificate",
        /// Not at all.
        Anonymous = "anonymous",
        /// The static key of version 1.
        Version1 = "v1",
    }
}

labels! {
    /// How such an attempt ended.
    AuthResult {
        /// The peer has a session.
        Ok = "ok",
        /// No key has this id.
        UnknownKey = "unknown_key",
        /// The proof is wrong.
        WrongProof = "wrong_proof",
        /// Key and certificate name different identities, or the certificate names none.
        Mismatch = "mismatch",
        /// The identity may do nothing here.
        Denied = "denied",
        /// It took too long.
        Timeout = "timeout",
    }
}

labels! {
    /// Whose rate limit refused a request.
    RateScope {
        /// The identity's.
        Client = "client",
        /// Everybody's.
        Global = "global",
        /// The network's.
        Ip = "ip",
    }
}

labels! {
    /// How a TLS handshake ended.
    TlsResult {
        /// Encrypted.
        Ok = "ok",
        /// The client's certificate is missing or bad.
        Certificate = "certificate",
        /// No common application protocol.
        Alpn = "alpn",
        /// Every other failure.
        Error = "error",
        /// It took too long.
        Timeout = "timeout",
    }
}

labels! {
    /// How something that is repeated ended.
    Success {
        /// Well.
        Ok = "ok",
        /// Not.
        Error = "error",
    }
}

labels! {
    /// Which certificate.
    Certificate {
        /// The server's own.
        Server = "server",
        /// The first to end among those that vouch for clients.
        ClientCa = "client_ca",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_at_their_index_and_names_are_unique() {
        macro_rules! check {
            ($($name:ident),+) => {$(
                let names: std::collections::HashSet<_> =
                    $name::ALL.iter().map(|member| member.name()).collect();
                assert_eq!(names.len(), $name::COUNT);
                for (index, member) in $name::ALL.iter().enumerate() {
                    assert_eq!(member.index(), index);
                }
            )+};
        }
        check!(
            Door,
            Listener,
            Operation,
            Code,
            Rejection,
            Closure,
            FrameRejection,
            Mechanism
        );
        check!(AuthResult, RateScope, TlsResult, Success, Certificate);
    }
}
