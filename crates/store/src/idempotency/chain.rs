//! Items in an order that can be changed in any place at once: a doubly linked list in chunks of
//! memory, addressed by small numbers that stay valid until the item is removed.
//!
//! Invariant: every place below `places()` is in the order (it holds an item) or in the list of
//! free places (it holds none).

/// The place of no item.
const NONE: u32 = u32::MAX;

/// Nodes allocated together: growing never moves what there is.
const CHUNK: usize = 512;

struct Node<T> {
    item: Option<T>,
    before: u32,
    /// Of a free place: the next free one.
    after: u32,
}

/// A list of items, in an order of the caller's.
pub(super) struct Chain<T> {
    chunks: Vec<Vec<Node<T>>>,
    free: u32,
    first: u32,
    last: u32,
    len: usize,
}

impl<T> Chain<T> {
    /// What an item takes beside itself.
    pub(super) const OVERHEAD_BYTES: usize = size_of::<Node<T>>() - size_of::<T>();

    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: NONE,
            first: NONE,
            last: NONE,
            len: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, place: u32) -> Option<&T> {
        self.node(place)?.item.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.node_mut(place)?.item.as_mut()
    }

    /// The place of the first item.
    pub(super) const fn first(&self) -> Option<u32> {
        match self.first {
            NONE => None,
            place => Some(place),
        }
    }

    /// Puts an item behind all others; its place, unless all places are taken.
    pub(super) fn push(&mut self, item: T) -> Option<u32> {
        let place = match self.free {
            NONE => self.fresh()?,
            place => {
                self.free = self.node(place)?.after;
                place
            }
        };
        self.node_mut(place)?.item = Some(item);
        self.len += 1;
        self.link_last(place);
        Some(place)
    }

    /// Takes the item at `place` out.
    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let item = self.node_mut(place)?.item.take()?;
        self.unlink(place);
        let free = self.free;
        self.node_mut(place)?.after = free;
        self.free = place;
        self.len -= 1;
        Some(item)
    }

    /// Moves the item at `place` behind all others.
    pub(super) fn move_last(&mut self, place: u32) {
        if self.last != place && self.get(place).is_some() {
            self.unlink(place);
            self.link_last(place);
        }
    }

    /// Brings the items into ascending order of `key`; equal ones stay as they are.
    pub(super) fn sort_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K) {
        let mut places = Vec::with_capacity(self.len);
        let mut next = self.first();
        while let Some((place, node)) = next.and_then(|place| Some((place, self.node(place)?))) {
            places.extend(node.item.as_ref().map(|item| (key(item), place)));
            next = (node.after != NONE).then_some(node.after);
        }
        places.sort_by(|a, b| a.0.cmp(&b.0));
        for (_, place) in places {
            self.move_last(place);
        }
    }

    /// A place that has never been used.
    fn fresh(&mut self) -> Option<u32> {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let full = self.chunks.len() - 1;
        let chunk = self.chunks.last_mut()?;
        let place = u32::try_from(full * CHUNK + chunk.len()).ok()?;
        if place == NONE {
            return None;
        }
        chunk.push(Node {
            item: None,
            before: NONE,
            after: NONE,
        });
        Some(place)
    }

    fn link_last(&mut self, place: u32) {
        let last = self.last;
        if let Some(node) = self.node_mut(place) {
            (node.before, node.after) = (last, NONE);
        }
        match self.node_mut(last) {
            Some(node) => node.after = place,
            None => self.first = place,
        }
        self.last = place;
    }

    fn unlink(&mut self, place: u32) {
        let Some(node) = self.node(place) else { return };
        let (before, after) = (node.before, node.after);
        match self.node_mut(before) {
            Some(node) => node.after = after,
            None => self.first = after,
        }
        match self.node_mut(after) {
            Some(node) => node.before = before,
            None => self.last = before,
        }
    }

    fn node(&self, place: u32) -> Option<&Node<T>> {
        let place = place as usize;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    fn node_mut(&mut self, place: u32) -> Option<&mut Node<T>> {
        let place = place as usize;
        self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn items(chain: &Chain<u32>) -> Vec<u32> {
        let mut items = Vec::new();
        let mut next = chain.first;
        while let Some(node) = chain.node(next) {
            items.push(node.item.unwrap());
            next = node.after;
        }
        items
    }

    proptest! {
        #[test]
        fn a_chain_is_a_list(acts in vec((0_u8..4, any::<u16>()), 1..2_000)) {
            let mut chain = Chain::new();
            let mut model: Vec<(u32, u32)> = Vec::new();
            for (act, number) in acts {
                let at = usize::from(number) % model.len().max(1);
                match act {
                    0 if !model.is_empty() => {
                        let (place, item) = model.remove(at);
                        prop_assert_eq!(chain.remove(place), Some(item));
                        prop_assert_eq!(chain.get(place), None);
                    }
                    1 if !model.is_empty() => {
                        let moved = model.remove(at);
                        chain.move_last(moved.0);
                        model.push(moved);
                    }
                    2 if number % 16 == 0 => {
                        chain.sort_by_key(|item| item % 64);
                        model.sort_by_key(|(_, item)| item % 64);
                    }
                    _ => {
                        let item = u32::from(number);
                        model.push((chain.push(item).unwrap(), item));
                    }
                }
                prop_assert_eq!(chain.len(), model.len());
                prop_assert_eq!(chain.first(), model.first().map(|(place, _)| *place));
            }
            let expected: Vec<u32> = model.iter().map(|(_, item)| *item).collect();
            prop_assert_eq!(items(&chain), expected);
            for (place, item) in model {
                prop_assert_eq!(chain.get(place), Some(&item));
            }
        }
    }

    #[test]
    fn places_are_used_again() {
        let mut chain = Chain::new();
        for turn in 0..10_000 {
            let place = chain.push(turn).unwrap();
            assert!(place < 10);
            if chain.len() == 10 {
                chain.remove(chain.first().unwrap());
            }
        }
    }
}
