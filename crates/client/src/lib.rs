//! Salus: client.
