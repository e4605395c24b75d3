//! Salus: server.
