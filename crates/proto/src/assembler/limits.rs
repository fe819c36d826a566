//! The bounds of the assembler: every quantity that a peer can grow has a name and a value here.

/// What the assembler of one connection may hold, and for how long.
///
/// Worst case of memory: `retained_bytes_max` per connection, whatever the peer sends. All values
/// must be positive; the configuration refuses zero before it gets here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssemblerLimits {
    /// Bytes of one assembled value. A longer one is refused at its first fragment.
    pub message_bytes_max: usize,
    /// Messages under way at one time: the peer chooses the request ids.
    pub messages_max: usize,
    /// Bytes held for all messages under way, counted by allocation, not by payload.
    pub retained_bytes_max: usize,
    /// What one fragment costs at least, so that tiny ones are not free.
    pub fragment_charge_min: usize,
    /// Shortest fragment that is not the last one; makes `fragments_max` small and honest.
    pub fragment_bytes_min: usize,
    /// Fragments of one message: `message_bytes_max / fragment_bytes_min`, rounded up.
    pub fragments_max: usize,
    /// Longest silence within one message.
    pub progress_timeout_ms: u64,
    /// Longest life of one message since its first fragment.
    pub message_timeout_ms: u64,
    /// Value bytes that all messages under way together must bring per second ...
    pub rate_bytes_per_second_min: u64,
    /// ... judged over windows of this length.
    pub rate_window_ms: u64,
}

impl AssemblerLimits {
    /// The default limits with another bound for one value; what follows from it is derived.
    #[must_use]
    pub const fn with_message_bytes_max(message_bytes_max: usize) -> Self {
        let fragment_bytes_min = 4 * 1024;
        Self {
            message_bytes_max,
            messages_max: 64,
            retained_bytes_max: retained_for(message_bytes_max),
            fragment_charge_min: 512,
            fragment_bytes_min,
            fragments_max: fragments_for(message_bytes_max, fragment_bytes_min),
            progress_timeout_ms: 10_000,
            message_timeout_ms: 60_000,
            rate_bytes_per_second_min: 16 * 1024,
            rate_window_ms: 5_000,
        }
    }

    /// Bytes that one window must bring.
    #[must_use]
    pub const fn window_bytes_min(&self) -> u64 {
        self.rate_bytes_per_second_min
            .saturating_mul(self.rate_window_ms)
            / 1_000
    }
}

impl Default for AssemblerLimits {
    /// 16 MiB per message and 32 MiB per connection.
    fn default() -> Self {
        Self::with_message_bytes_max(16 * 1024 * 1024)
    }
}

/// 32 MiB, and never too little for one message of the longest length with its head.
const fn retained_for(message: usize) -> usize {
    const RETAINED: usize = 32 * 1024 * 1024;
    const HEAD: usize = crate::ext::EXT_BYTES_MAX + crate::limits::KEY_BYTES_MAX;
    let needed = message.saturating_add(HEAD);
    if needed > RETAINED { needed } else { RETAINED }
}

/// How many fragments an honest sender needs at most, and never fewer than two.
const fn fragments_for(message: usize, fragment: usize) -> usize {
    let count = message.div_ceil(fragment);
    if count < 2 { 2 } else { count }
}
