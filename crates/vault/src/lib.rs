//! Salus: vault.
