//! Salus: proto.
