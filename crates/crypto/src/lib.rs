//! Salus: crypto.
