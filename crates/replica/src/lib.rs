//! Salus: replica.
