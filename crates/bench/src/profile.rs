//! From samples of `perf` to shares of the server's time that add up to a hundred.
//!
//! A sample is a stack of functions. It is counted to the share of the innermost function that
//! [`RULES`] names: SHA-256 inside of `Opener` is verification, inside of `Sealer` it is signing. What
//! no rule names is the rest. Does not run anything.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a server does, in the order of a request's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Share {
    Accept,
    Read,
    Verify,
    LookUp,
    Encode,
    Sign,
    Write,
    Rest,
}

impl Share {
    pub(crate) const ALL: [Self; 8] = [
        Self::Accept,
        Self::Read,
        Self::Verify,
        Self::LookUp,
        Self::Encode,
        Self::Sign,
        Self::Write,
        Self::Rest,
    ];

    /// The name in tables.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Read => "read",
            Self::Verify => "verify",
            Self::LookUp => "look-up",
            Self::Encode => "encode",
            Self::Sign => "sign",
            Self::Write => "write",
            Self::Rest => "rest",
        }
    }
}

/// Parts of function names, and what a function with such a name is for. The first that fits counts.
const RULES: [(&str, Share); 21] = [
    ("sys_accept", Share::Accept),
    ("kv_server::accept", Share::Accept),
    ("kv_server::listener", Share::Accept),
    ("sys_recv", Share::Read),
    ("sys_read", Share::Read),
    ("read_buffer", Share::Read),
    ("Session<S>::read", Share::Read),
    ("kv_proto::open::", Share::Verify),
    ("Opener", Share::Verify),
    ("kv_proto::seal::Sealer", Share::Sign),
    ("Sealer", Share::Sign),
    // The sealer is inlined into it.
    ("Outbox::seal", Share::Sign),
    ("kv_proto::seal::write_frame", Share::Encode),
    ("kv_server::connection::reply", Share::Encode),
    ("kv_server::connection::egress", Share::Encode),
    ("kv_server::connection::outbox", Share::Encode),
    ("kv_server::connection::run::Replies", Share::Encode),
    ("sys_send", Share::Write),
    ("sys_write", Share::Write),
    ("Session<S>::write", Share::Write),
    ("kv_store::", Share::LookUp),
];

fn rule(function: &str) -> Option<Share> {
    RULES
        .iter()
        .find(|(part, _)| function.contains(part))
        .map(|&(_, share)| share)
}

/// Samples by share, and by innermost function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    shares: BTreeMap<Share, u64>,
    functions: BTreeMap<(String, Share), u64>,
}

impl Profile {
    /// Reads what `perf script -F ip,sym` prints: a line for each function of a stack, the innermost
    /// first, and an empty line behind each stack.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Self {
        let mut profile = Self::default();
        let mut stack = Vec::new();
        for line in text.lines().chain(std::iter::once("")) {
            let line = line.trim();
            if let Some((_, function)) = line.split_once(' ') {
                stack.push(function.trim().trim_end_matches(" (inlined)"));
            } else if line.is_empty() && !stack.is_empty() {
                profile.note(&stack);
                stack.clear();
            }
        }
        profile
    }

    fn note(&mut self, stack: &[&str]) {
        let named = stack.iter().find_map(|function| rule(function));
        let share = named.unwrap_or(Share::Rest);
        *self.shares.entry(share).or_default() += 1;
        if let Some(&innermost) = stack.first() {
            let key = (innermost.to_owned(), share);
            *self.functions.entry(key).or_default() += 1;
        }
    }

    /// How many samples there are.
    #[must_use]
    pub(crate) fn samples(&self) -> u64 {
        self.shares.values().sum()
    }

    /// Tenths of a per cent of every share; they add up to 1,000 if there is any sample. What rounding
    /// leaves over goes to those that lost most by it.
    #[must_use]
    pub(crate) fn per_mille(&self) -> Vec<(Share, u64)> {
        let total = self.samples();
        if total == 0 {
            return Vec::new();
        }
        let mut parts: Vec<(Share, u64, u64)> = Share::ALL
            .into_iter()
            .map(|share| {
                let scaled = self.shares.get(&share).copied().unwrap_or(0) * 1_000;
                (share, scaled / total, scaled % total)
            })
            .collect();
        let missing = 1_000 - parts.iter().map(|part| part.1).sum::<u64>();
        parts.sort_by_key(|part| std::cmp::Reverse(part.2));
        for part in parts.iter_mut().take(usize::try_from(missing).unwrap_or(0)) {
            part.1 += 1;
        }
        parts.sort_by_key(|part| part.0);
        parts
            .into_iter()
            .map(|(share, whole, _)| (share, whole))
            .collect()
    }

    /// The functions with most samples: `12.3 % share function`, a line each.
    #[must_use]
    pub(crate) fn functions(&self, count: usize) -> String {
        let mut functions: Vec<_> = self.functions.iter().collect();
        functions.sort_by_key(|&(_, samples)| std::cmp::Reverse(*samples));
        let total = self.samples().max(1) as f64;
        let mut text = String::new();
        for ((function, share), &samples) in functions.into_iter().take(count) {
            let percent = samples as f64 * 100.0 / total;
            // Writing into a string does not fail.
            let _ = writeln!(text, "{percent:5.1} %  {:<8} {function}", share.name());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "
        55d0 sha2::sha256::x86::compress
        55d1 <kv_proto::open::Opener>::next (inlined)
        55d2 kv_server::connection::session::Session<S>::walk

        55d0 sha2::sha256::x86::compress
        55d3 kv_server::connection::outbox::Outbox::seal
        55d2 kv_server::connection::run::Replies

        ffff tcp_sendmsg
        fffe __x64_sys_sendto
        55d4 tokio::net::tcp

        55d5 kv_store::table::map::Map::find

        55d6 somewhere else
";

    #[test]
    fn a_sample_counts_to_its_innermost_function_that_a_rule_names() {
        let profile = Profile::parse(SCRIPT);
        assert_eq!(profile.samples(), 5);
        let named: Vec<_> = profile
            .per_mille()
            .into_iter()
            .filter(|&(_, share)| share > 0)
            .collect();
        let expected = [
            Share::Verify,
            Share::LookUp,
            Share::Sign,
            Share::Write,
            Share::Rest,
        ];
        assert_eq!(named, expected.map(|share| (share, 200)));
    }

    #[test]
    fn shares_add_up_to_a_hundred_whatever_rounding_does() {
        for samples in 1..200_u64 {
            let mut profile = Profile::default();
            profile.shares.insert(Share::Read, samples);
            profile.shares.insert(Share::Verify, samples / 3 + 1);
            profile.shares.insert(Share::Rest, 7);
            let sum: u64 = profile.per_mille().iter().map(|(_, share)| share).sum();
            assert_eq!(sum, 1_000, "{profile:?}");
        }
        assert!(Profile::parse("").per_mille().is_empty());
    }

    #[test]
    fn the_list_of_functions_says_what_each_was_counted_to() {
        let text = Profile::parse(SCRIPT).functions(2);
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("verify   sha2::sha256"), "{text}");
    }
}
