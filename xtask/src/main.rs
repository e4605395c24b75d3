//! Checks of the house itself; no dependencies.
fn main() {}
