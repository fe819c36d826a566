//! Placeholder crate root: replaced by the first piece of work.
