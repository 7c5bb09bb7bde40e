//! The `banksia` command.
fn main() {}
