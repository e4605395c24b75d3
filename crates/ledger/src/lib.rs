//! Salus: ledger.
