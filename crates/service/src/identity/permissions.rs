//! Permissions as a bit set, and the role names that stand for common sets.
//!
//! Owns the names users write in the configuration. Does not own which command needs what: that is
//! the command table's business. Invariant: a set only ever has bits of [`Permission::ALL`].

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// One thing a peer may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Permission {
    /// Read single entries.
    Read = 1,
    /// Create, change and delete entries.
    Write = 1 << 1,
    /// Walk over keys, and watch them.
    Scan = 1 << 2,
    /// See the state of the server: its figures and its connections.
    Observe = 1 << 3,
    /// Change the state of the server: end connections, make backups.
    Admin = 1 << 4,
    /// Publish to topics and broadcast to connections.
    Publish = 1 << 5,
    /// Subscribe to topics.
    Subscribe = 1 << 6,
    /// Put messages into queues and take them out.
    Queue = 1 << 7,
}

impl Permission {
    /// Every permission, in the order in which they are listed to users.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Scan,
        Self::Observe,
        Self::Admin,
        Self::Publish,
        Self::Subscribe,
        Self::Queue,
    ];

    /// The name in configuration files and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Scan => "scan",
            Self::Observe => "observe",
            Self::Admin => "admin",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Queue => "queue",
        }
    }

    /// The permission with this name.
    ///
    /// # Errors
    /// [`UnknownName`] when there is none.
    pub fn from_name(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|p| p.name() == name)
            .ok_or(UnknownName)
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u16);

impl Permissions {
    /// Nothing is allowed.
    pub const NONE: Self = Self(0);
    /// Everything is allowed.
    pub const ALL: Self = Self(0xFF);

    /// Whether the set holds this permission. One AND and one compare: fit for every request.
    #[inline]
    #[must_use]
    pub const fn allows(self, permission: Permission) -> bool {
        self.0 & permission as u16 != 0
    }

    /// Whether the set holds all of `other`.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What both sets hold.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether nothing is allowed.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The bits, for the wire.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The members, in the order of [`Permission::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |p| self.allows(*p))
    }
}

impl From<Permission> for Permissions {
    fn from(permission: Permission) -> Self {
        Self(permission as u16)
    }
}

impl BitOr for Permissions {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Permissions {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(members: I) -> Self {
        members
            .into_iter()
            .fold(Self::NONE, |set, p| set | p.into())
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, permission) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(permission.name())?;
        }
        Ok(())
    }
}

/// A named set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Read, scan, subscribe.
    Reader,
    /// What a reader may, and write, publish, use queues.
    Writer,
    /// See figures and connections, and no data.
    Observer,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Writer, Self::Observer, Self::Admin];

    /// The name in configuration files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Observer => "observer",
            Self::Admin => "admin",
        }
    }

    /// The role with this name.
    ///
    /// # Errors
    /// [`UnknownName`] when there is none.
    pub fn from_name(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|r| r.name() == name)
            .ok_or(UnknownName)
    }

    /// What the role stands for.
    #[must_use]
    pub fn permissions(self) -> Permissions {
        use Permission::{Observe, Publish, Queue, Read, Scan, Subscribe, Write};
        match self {
            Self::Reader => [Read, Scan, Subscribe].into_iter().collect(),
            Self::Writer => {
                Self::Reader.permissions() | [Write, Publish, Queue].into_iter().collect()
            }
            Self::Observer => Observe.into(),
            Self::Admin => Permissions::ALL,
        }
    }
}

/// No permission or role has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such name")]
pub struct UnknownName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_has_its_own_bit_and_name() {
        let all: Permissions = Permission::ALL.into_iter().collect();
        assert_eq!(all, Permissions::ALL);
        assert_eq!(all.bits().count_ones(), 8);
        for permission in Permission::ALL {
            assert_eq!(Permission::from_name(permission.name()), Ok(permission));
            assert!(!Permissions::NONE.allows(permission));
        }
        assert_eq!(Permission::from_name("root"), Err(UnknownName));
    }

    #[test]
    fn roles_grow_from_reader_to_admin() {
        let [reader, writer, observer, admin] = Role::ALL.map(Role::permissions);
        assert!(writer.contains(reader) && !reader.contains(writer));
        assert!(admin.contains(writer) && admin.contains(observer));
        assert!(!writer.allows(Permission::Admin) && !writer.allows(Permission::Observe));
        assert_eq!(reader.to_string(), "read,scan,subscribe");
        assert_eq!(Permissions::NONE.to_string(), "none");
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Ok(role));
        }
    }
}
