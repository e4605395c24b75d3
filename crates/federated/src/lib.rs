//! Salus: federated.
