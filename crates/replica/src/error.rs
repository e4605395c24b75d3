//! What can go wrong in a replica, told apart by what the caller can do about it.

use std::io;

/// The world misbehaving around the replica's store or its network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No space left; free some and start the node again.
    #[error("the disk under the ledger is full")]
    DiskFull,
    /// The file system does not let us write.
    #[error("the ledger's directory cannot be written: {0}")]
    ReadOnly(String),
    /// Another process has the store open.
    #[error("the ledger's store is in use by another process")]
    Locked,
    /// The store belongs to another consortium.
    #[error("the ledger's store was made for another genesis")]
    WrongGenesis,
    /// Stored bytes are not what they must be.
    #[error("the ledger's store is damaged: {0}")]
    Corrupt(String),
    /// Any other failure of the operating system.
    #[error("the ledger's store failed: {0}")]
    Io(String),
    /// The configuration cannot work.
    #[error("the replica cannot start: {0}")]
    Configuration(String),
    /// The engine ended.
    #[error("the replica has stopped: {0}")]
    Stopped(String),
    /// This node's own history differs from what a quorum certified.
    #[error("this node's ledger differs from what the quorum certified at {size} entries")]
    Diverged {
        /// Log size of the certified checkpoint that differs.
        size: u64,
    },
}

impl Error {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                Self::ReadOnly(error.to_string())
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::Corrupt(error.to_string())
            }
            _ => Self::Io(error.to_string()),
        }
    }
}

impl From<redb::Error> for Error {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
            redb::Error::DatabaseAlreadyOpen => Self::Locked,
            redb::Error::Corrupted(what) => Self::Corrupt(what),
            other => Self::Io(other.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_redb!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

impl From<salus_ledger::Error> for Error {
    fn from(error: salus_ledger::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl From<salus_proto::encode::Malformed> for Error {
    fn from(error: salus_proto::encode::Malformed) -> Self {
        Self::Corrupt(error.to_string())
    }
}
