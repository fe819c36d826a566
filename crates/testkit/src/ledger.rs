//! What a server acknowledged, kept outside of it, and what may therefore be found after a crash.
//!
//! Owns the account of every key: its last acknowledged state, and the writes whose outcome nobody
//! knows. A crash may keep or drop the latter; anything else that is found is a [`Loss`]. Does not
//! talk to any server. What was found once counts as acknowledged from then on: a server shows only
//! what it will keep.

mod found;
mod prefix;
mod value;

use std::collections::BTreeMap;

pub use found::{Found, Loss};
pub use prefix::Script;
pub use value::{number_of, value_of};

/// What a write does to its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes the value of this write's number.
    Put,
    /// Removes the entry.
    Delete,
}

/// A write that has begun: its number, which no other has.
#[derive(Clone, Debug)]
#[must_use = "say how it ended"]
pub struct Intent {
    number: u64,
    change: Change,
    keys: Vec<Vec<u8>>,
}

impl Intent {
    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// What it does.
    #[must_use]
    pub const fn change(&self) -> Change {
        self.change
    }

    /// The keys it writes, all or none.
    #[must_use]
    pub fn keys(&self) -> &[Vec<u8>] {
        &self.keys
    }

    /// The value for one of its keys.
    #[must_use]
    pub fn value(&self, key: &[u8]) -> Vec<u8> {
        value_of(key, self.number)
    }
}

/// What was known of a key when a read of it was begun.
#[derive(Clone, Copy, Debug)]
pub struct Look(u64);

/// A state of a key: the number that was written, or none when there is no entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    number: Option<u64>,
    /// Of the entry, or at least that of the last one there was.
    version: u64,
}

#[derive(Clone, Debug, Default)]
struct Account {
    acknowledged: State,
    /// Begun and not known to have ended either way.
    open: Vec<(u64, Change)>,
    /// The key that is always written together with this one.
    partner: Option<Vec<u8>>,
    /// Counts what became known of the key.
    age: u64,
}

/// How many writes ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged, and therefore demanded after a crash.
    pub acknowledged: u64,
    /// With an outcome nobody knows, or acknowledged after the cut.
    pub unknown: u64,
    /// Certainly not applied.
    pub refused: u64,
    /// Shown to a reader before the writer was told.
    pub seen: u64,
}

/// The account of all keys.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<Vec<u8>, Account>,
    last: u64,
    is_cut: bool,
    counts: Counts,
}

impl Ledger {
    /// An empty account of an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a write: before it is sent. Several keys are written as one, all or none, and always
    /// the same two together.
    pub fn begin(&mut self, keys: &[&[u8]], change: Change) -> Intent {
        self.last += 1;
        for key in keys {
            let account = self.accounts.entry(key.to_vec()).or_default();
            account.open.push((self.last, change));
            account.partner = keys
                .iter()
                .find(|other| *other != key)
                .map(|other| other.to_vec());
        }
        Intent {
            number: self.last,
            change,
            keys: keys.iter().map(|key| key.to_vec()).collect(),
        }
    }

    /// The write was acknowledged, with the new version of each of its keys; a removal has none.
    ///
    /// After [`cut`](Self::cut) that only counts as unknown.
    pub fn acknowledged(&mut self, intent: &Intent, versions: &[u64]) {
        if self.is_cut {
            self.unknown(intent);
            return;
        }
        self.counts.acknowledged += 1;
        for (at, key) in intent.keys.iter().enumerate() {
            let Some(account) = self.accounts.get_mut(key) else {
                continue;
            };
            account.open.retain(|(number, _)| *number != intent.number);
            account.age += 1;
            match intent.change {
                Change::Put => {
                    // Of several writers, the later version is the later write.
                    let version = versions.get(at).copied().unwrap_or_default();
                    if version > account.acknowledged.version {
                        account.acknowledged = State {
                            number: Some(intent.number),
                            version,
                        };
                    }
                }
                Change::Delete => account.acknowledged.number = None,
            }
        }
    }

    /// Begins a read of `key`: before it is sent.
    #[must_use]
    pub fn look(&self, key: &[u8]) -> Look {
        Look(self.accounts.get(key).map_or(0, |account| account.age))
    }

    /// A read has found a write: what was shown once counts as acknowledged, whether its writer was
    /// told or not. A read during which more became known of the key says nothing, since it may have
    /// been before that.
    pub fn seen(&mut self, key: &[u8], look: Look, found: &Found) {
        let Some(account) = self.accounts.get_mut(key) else {
            return;
        };
        let is_later = found.version > account.acknowledged.version;
        if !self.is_cut && account.age == look.0 && is_later && found.number.is_some() {
            self.counts.seen += 1;
            account.acknowledged = State {
                number: found.number,
                version: found.version,
            };
        }
    }

    /// Nobody knows whether the write was applied.
    pub fn unknown(&mut self, intent: &Intent) {
        let _ = intent;
        self.counts.unknown += 1;
    }

    /// The write was certainly not applied.
    pub fn refused(&mut self, intent: &Intent) {
        self.counts.refused += 1;
        for key in &intent.keys {
            if let Some(account) = self.accounts.get_mut(key) {
                account.open.retain(|(number, _)| *number != intent.number);
            }
        }
    }

    /// From here on the disk takes nothing more: acknowledgements that come later are not demanded.
    pub fn cut(&mut self) {
        self.is_cut = true;
    }

    /// How many writes ended how, so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Every key that was ever written.
    #[must_use]
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.accounts.keys().cloned().collect()
    }

    /// Compares what is found after a crash; a key that is missing in `found` has no entry. From
    /// then on what was found is what is demanded.
    #[must_use]
    pub fn settle(&mut self, found: &BTreeMap<Vec<u8>, Found>) -> Vec<Loss> {
        let mut losses: Vec<Loss> = found
            .keys()
            .filter(|key| !self.accounts.contains_key(*key))
            .map(|key| Loss::Unheard { key: key.clone() })
            .collect();
        for (key, account) in &self.accounts {
            losses.extend(account.judge(key, found.get(key)));
            if let Some(partner) = account.partner.as_ref().filter(|partner| *partner > key) {
                losses.extend(half(key, partner, found));
            }
        }
        for (key, account) in &mut self.accounts {
            account.settle(found.get(key));
        }
        self.is_cut = false;
        losses
    }
}

impl Account {
    fn judge(&self, key: &[u8], found: Option<&Found>) -> Option<Loss> {
        let State { number, version } = self.acknowledged;
        let Some(found) = found else {
            let may_be_gone = self
                .open
                .iter()
                .any(|(_, change)| *change == Change::Delete);
            return match number {
                Some(number) if !may_be_gone => Some(Loss::Gone {
                    key: key.to_vec(),
                    number,
                }),
                _ => None,
            };
        };
        let Some(found_number) = found.number else {
            return Some(Loss::WrongValue { key: key.to_vec() });
        };
        if number == Some(found_number) && found.version == version {
            return None;
        }
        let was_open = self.open.contains(&(found_number, Change::Put));
        if was_open && found.version > version {
            return None;
        }
        Some(Loss::Back {
            key: key.to_vec(),
            acknowledged: (number, version),
            found: (found_number, found.version),
        })
    }

    fn settle(&mut self, found: Option<&Found>) {
        self.open.clear();
        self.age += 1;
        self.acknowledged = State {
            number: found.and_then(|found| found.number),
            version: found
                .map_or(0, |found| found.version)
                .max(self.acknowledged.version),
        };
    }
}

/// Two keys that are always written together have to be found with the same number.
fn half(key: &[u8], partner: &[u8], found: &BTreeMap<Vec<u8>, Found>) -> Option<Loss> {
    let number = |key| found.get(key).and_then(|found| found.number);
    let numbers = (number(key), number(partner));
    (numbers.0 != numbers.1).then(|| Loss::Half {
        key: key.to_vec(),
        partner: partner.to_vec(),
        numbers,
    })
}

#[cfg(test)]
mod tests;
