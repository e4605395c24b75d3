//! Salus: clinical.
