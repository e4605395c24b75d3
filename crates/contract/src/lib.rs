//! Salus: contract.
