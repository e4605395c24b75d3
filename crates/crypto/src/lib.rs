//! Sealing, signing and keys: a narrow face over reviewed libraries, and nothing invented.
//!
//! | I want to | Use |
//! |---|---|
//! | hash, derive | [`digest`] |
//! | hold a principal's keys | [`keys::SecretKeys`] |
//! | sign and verify a command | [`sign::Ed25519Signer`], [`sign::Ed25519Verifier`] |
//! | sign and verify what must stand for decades | [`hybrid`] |
//! | hand a key to someone | [`wrap`] |
//! | encrypt a record | [`seal`] |
//! | encrypt a file for people | [`mod@file`] |
//! | log in with a password | [`opaque`] |
//! | log in with a passkey | [`passkey`] |
//! | keep a person's keys behind password, passkey and recovery code | [`keyring`] |
//!
//! Randomness comes in as [`salus_proto::Entropy`]; ML-DSA-65 signing alone adds some of the
//! library's own. Every use of a key has its [`label`].
//!
//! **Invariant:** nothing here opens a file or a socket or reads a clock; streams are generic over
//! `Read` and `Write`.

pub mod digest;
mod entropy;
mod error;
pub mod file;
pub mod hybrid;
pub mod keyring;
pub mod keys;
pub mod label;
pub mod opaque;
pub mod passkey;
pub mod seal;
pub mod sign;
pub mod wrap;

pub use digest::Secret;
pub use error::Error;
pub use label::Label;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod vectors;
