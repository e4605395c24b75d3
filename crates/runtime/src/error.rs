//! What can go wrong behind the door, named for what the caller can do about it.
//!
//! Texts name tables, columns and objects, never the values in them.

use core::fmt;

use salus_proto::Digest;

/// The result of everything that touches tables or blobs.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// A refusal (a normal answer), a failure (the world misbehaves) or a bug (ours);
/// [`Error::class`] says which.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Refusal: a row with these unique columns exists already.
    #[error("already there: {columns} must be unique")]
    Duplicate {
        /// `table.column`, several separated by `, `.
        columns: String,
    },
    /// Refusal: the row points to one that does not exist, or others still point to it.
    #[error("a row that this one belongs to is missing, or rows that belong to it remain")]
    Dangling,
    /// Refusal: no such row or object.
    #[error("not found: {what}")]
    NotFound {
        /// What was looked for, by kind or object name.
        what: String,
    },
    /// Refusal: the bytes offered are not those that the digest names.
    #[error("the bytes offered do not have digest {expected}")]
    WrongDigest {
        /// The digest under which they were offered.
        expected: Digest,
    },
    /// Refusal: more than this store takes at once.
    #[error("{what}: {size} where at most {limit} are allowed")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// The size offered.
        size: u64,
        /// The largest size allowed.
        limit: u64,
    },

    /// Failure: no space left.
    #[error(
        "disk full while writing {what}: free space or move the store to a larger disk; \
         nothing acknowledged was lost"
    )]
    DiskFull {
        /// What was being written.
        what: String,
    },
    /// Failure: the disk or the database does not accept writes.
    #[error(
        "{what} is read-only: remount it for writing or correct its permissions; \
         reading goes on"
    )]
    ReadOnly {
        /// What could not be written.
        what: String,
    },
    /// Failure: stored bytes are not what was stored.
    #[error("{what} is damaged: {detail}; restore it from a replica")]
    Corrupt {
        /// The damaged table, database or object.
        what: String,
        /// How it shows.
        detail: String,
    },
    /// Failure: no connection, or the device failed. A write that ends so may have happened:
    /// writes are repeatable or looked up afterwards.
    #[error("{what} is unavailable")]
    Unavailable {
        /// The database or store.
        what: String,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// Failure: others kept writing the same rows, or hold the lock.
    #[error("transaction `{name}` gave way to others {attempts} times: try again")]
    Busy {
        /// The transaction's name.
        name: &'static str,
        /// Attempts made.
        attempts: u32,
    },
    /// Failure: the database was written by a newer Salus.
    #[error(
        "the database has schema {found}, this program knows schema {known}: \
         install the newer program again"
    )]
    NewerSchema {
        /// Version found in the database.
        found: i64,
        /// Newest version that this program knows.
        known: i64,
    },
    /// Failure: the configured address or the database's settings do not fit.
    #[error("{0}")]
    Configuration(String),

    /// Bug: a statement that the engine does not accept, a column of another type, a migration
    /// that changed after it was applied.
    #[error("{what}: {detail}")]
    Bug {
        /// The statement or migration.
        what: String,
        /// The engine's words, without values.
        detail: String,
    },
}

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A normal answer to the one who asked.
    Refusal,
    /// The operator's: disk, network, database, configuration.
    Failure,
    /// Ours.
    Bug,
}

impl Error {
    /// Refusal, failure or bug.
    pub fn class(&self) -> Class {
        match self {
            Self::Duplicate { .. }
            | Self::Dangling
            | Self::NotFound { .. }
            | Self::WrongDigest { .. }
            | Self::TooLarge { .. } => Class::Refusal,
            Self::DiskFull { .. }
            | Self::ReadOnly { .. }
            | Self::Corrupt { .. }
            | Self::Unavailable { .. }
            | Self::Busy { .. }
            | Self::NewerSchema { .. }
            | Self::Configuration(_) => Class::Failure,
            Self::Bug { .. } => Class::Bug,
        }
    }

    /// Whether this is [`Error::NotFound`].
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// The words of a library or the operating system under ours, stripped of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(pub(crate) String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Cause {}

/// An error of the operating system while working on `what`.
pub(crate) fn from_io(what: &str, error: &std::io::Error) -> Error {
    use std::io::ErrorKind;

    let what = what.to_owned();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Error::DiskFull { what }
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Error::ReadOnly { what },
        ErrorKind::NotFound => Error::NotFound { what },
        _ => Error::Unavailable {
            what,
            cause: Cause(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_and_a_read_only_disk_are_told_from_other_failures() {
        // Linux: ENOSPC, EDQUOT, EROFS, EACCES, EIO.
        let sorted = |code| from_io("x", &io::Error::from_raw_os_error(code));
        assert!(matches!(sorted(28), Error::DiskFull { .. }));
        assert!(matches!(sorted(122), Error::DiskFull { .. }));
        assert!(matches!(sorted(30), Error::ReadOnly { .. }));
        assert!(matches!(sorted(13), Error::ReadOnly { .. }));
        assert!(matches!(sorted(5), Error::Unavailable { .. }));
    }
}
