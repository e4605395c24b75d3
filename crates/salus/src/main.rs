//! The `salus` program.
fn main() {}
