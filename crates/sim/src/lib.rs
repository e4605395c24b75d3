//! The seeded consortium, of four members or one: real replicas, contract and keys under a simulated network, clock and
//! disk. One number decides every crash, partition, delay and command.

mod consortium;
mod scenario;

pub use scenario::{Failure, Last, Summary, simulate, simulate_alone, simulate_full_disk};
