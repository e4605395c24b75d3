//! Salus: imaging.
