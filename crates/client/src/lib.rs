//! A typed client of a node's API that checks what it is told: used by the command line, by sites
//! and by tests.
//!
//! [`Node`](node::Node) is one node as anybody reaches it. [`Person`](person::Person) is somebody
//! with keys and a session there; keys never leave this process. What a person reads is opened here
//! and only after its digest, its anchor and its signatures were checked.

pub mod account;
pub mod care;
pub mod error;
pub mod intake;
pub mod node;
pub mod person;
pub mod records;
pub mod training;
mod trust;
pub mod upload;

pub use error::{Error, Result};
