//! The only door to clock, entropy, SQL tables and blobs; everything above takes them from here.
//!
//! | Module | What comes in | Real | For tests and the simulation |
//! |---|---|---|---|
//! | [`clock`] | time | [`SystemClock`] | [`ManualClock`] |
//! | [`entropy`] | randomness | [`SystemEntropy`] | [`SeededEntropy`] |
//! | [`table`] | SQL | SQLite, PostgreSQL | `testing::for_each_database` |
//! | [`blob`] | sealed bytes | a folder, S3 | [`FaultyDisk`](fault::FaultyDisk) |
//! | [`shelf`] | models and updates | a folder | a folder |

pub mod blob;
pub mod clock;
pub mod disk;
pub mod entropy;
pub mod error;
pub mod fault;
pub mod shelf;
pub mod table;
#[cfg(feature = "test-util")]
pub mod testing;

pub use blob::BlobStore;
pub use clock::{Clock, ManualClock, SystemClock};
pub use entropy::{SeededEntropy, SystemEntropy};
pub use error::{Error, Result};
pub use shelf::Shelf;
