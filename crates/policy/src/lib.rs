//! Salus: policy.
