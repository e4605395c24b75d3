//! The seeded consortium: real replicas, contract and keys under a simulated network, clock and
//! disk. One number decides every crash, partition, delay and command; the same number gives the
//! same run again.

mod consortium;
mod scenario;

pub use scenario::{Failure, Last, Summary, simulate};
