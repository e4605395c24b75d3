//! The consensus engine, embedded: orders signed commands among the members, executes them, keeps
//! state and log in one durable store, and has every checkpoint signed by a quorum.
//!
//! ```text
//! start(Config, Contract) ─▶ Running ─▶ Replica: submit, read, prove, certified, subscribe, status
//! ```
//!
//! [`Machine`] is the deterministic part; [`Replica`] is the handle. Which engine orders is known to
//! one private module only. A member alone orders by itself and keeps the same chain, which others
//! can join.

mod chain;
mod engine;
mod error;
mod fsck;
mod journal;
pub mod machine;
mod pool;
mod replica;
pub mod simulated;
mod start;
mod store;
mod tree;

pub use engine::epochs::engine_public;
pub use engine::{NoteSigner, Timing};
pub use error::Error;
pub use fsck::{Finding, Report, fsck};
pub use machine::{Contract, Machine, Ready};
pub use replica::{
    Block, Certified, Committed, Peer, ProvenValue, ReadView, Replica, Stall, Status, SubmitError,
    Values,
};
pub use start::{Config, Running, start};
