//! Federated learning as arithmetic: updates in, next model out, the same bits on every machine.
//! Training itself is the business of `imaging`, transport that of `server`.
//!
//! ```text
//!   site: Layout + base model + trained model ── site::encode ──► Payload (i32 × values)
//!                                                                    │
//!   server: Round::apply(Upload) ── who counts ──► Aggregation::add ─┘   order does not matter
//!           Round::apply(Deadline) ─ Closed ─────► Server::close ──► next model, next state
//! ```
//!
//! An update is the difference to the base model, clipped, weighed by the site's public share of
//! the roster and rounded to a multiple of 2^-`fraction_bits`. Sums are taken in the ring of
//! integers modulo 2^32, so they are exact in any order; what follows (division, server optimiser)
//! is `f64` in one fixed order with IEEE basic operations only, so it is the same bits on every
//! machine too.
//!
//! **Invariant:** no I/O, no clock, no entropy, no tensors.

mod error;
pub mod fixed;
pub mod job;
pub mod layout;
pub mod round;
pub mod server;
pub mod site;
pub mod strategy;

pub use error::Refusal;
pub use job::Job;
pub use layout::{Layout, Model};
pub use round::Round;
pub use server::{Aggregation, Server};

pub use salus_crypto::digest::sha256 as digest;
