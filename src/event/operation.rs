//! What happened to an item.

use std::fmt;
use std::str::FromStr;

/// The kind of a change event, as the system column `_op` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The item is new.
    Insert,
    /// The item existed and has changed.
    Update,
    /// The item is new or has changed: the source cannot tell.
    Upsert,
    /// The item was deleted on purpose.
    Delete,
    /// The store's own time-to-live removed the item; the fact it records still stands.
    Expire,
    /// The item as a snapshot found it.
    Snapshot,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 6] =
        [Self::Insert, Self::Update, Self::Upsert, Self::Delete, Self::Expire, Self::Snapshot];

    /// The word used in YAML, columns and metrics; at most eight bytes, so it fits inside a view.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Upsert => "upsert",
            Self::Delete => "delete",
            Self::Expire => "expire",
            Self::Snapshot => "snapshot",
        }
    }

    /// True for a delete and an expire: the row carries the image before the change.
    pub const fn removes(self) -> bool {
        matches!(self, Self::Delete | Self::Expire)
    }

    /// The same of an operation's word, as it stands in `_op`.
    pub fn word_removes(word: &str) -> bool {
        word == Self::Delete.as_str() || word == Self::Expire.as_str()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Operation {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == word).ok_or(())
    }
}
