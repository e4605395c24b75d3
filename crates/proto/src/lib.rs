//! Every word and every byte of Salus: ids, units, ledger commands, records, API bodies.
//!
//! What is signed, hashed or stored is deterministic CBOR ([RFC 8949] section 4.2.1): integer map
//! keys in ascending order, absent instead of null, no floats. Decoders are bounded and refuse
//! trailing bytes; whoever verifies uses the received bytes, never a re-encoding.
//!
//! **Invariant:** nothing here does I/O, reads a clock or draws entropy.
//!
//! [RFC 8949]: https://www.rfc-editor.org/rfc/rfc8949

pub mod api;
pub mod checkpoint;
pub mod command;
pub mod digest;
pub mod encode;
pub mod entropy;
pub mod federated;
pub mod ids;
pub mod keys;
pub mod member;
pub mod record;
pub mod role;
pub mod sealed;
pub mod statistics;
pub mod time;

pub use digest::Digest;
pub use entropy::Entropy;
pub use time::TimestampMs;
