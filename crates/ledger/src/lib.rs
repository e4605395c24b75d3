//! The evidence that nobody can rewrite: the Merkle log, its checkpoints, the authenticated state,
//! and the proofs that an auditor checks without us.
//!
//! ```text
//! entries ──▶ tree ──▶ root ─┐
//!                            ├─▶ checkpoint ──▶ certificate (a quorum's signatures)
//! state keys ──▶ state root ─┘        │
//!                                     ▼
//! proof, state::StateProof ──▶ bundle: one file from the genesis digest to one record
//! ```
//!
//! **Invariant:** nothing here does I/O, reads a clock or draws entropy, and bytes from outside
//! never panic it.

pub mod bundle;
pub mod certificate;
mod error;
mod hash;
pub mod proof;
mod signature;
pub mod state;
#[cfg(test)]
mod testing;
pub mod tile;
pub mod tree;
#[cfg(test)]
mod vectors;

pub use bundle::{Bundle, Report};
pub use certificate::{CertifiedCheckpoint, MemberList};
pub use error::Error;
pub use proof::{ConsistencyProof, InclusionProof, MemoryTree, NodeRead};
pub use state::{StateChange, StateProof, StateTree};
pub use tree::Frontier;
