//! Salus: runtime.
