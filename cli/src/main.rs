//! The `banksia` command.

use std::process::ExitCode;

/// Steps are lowered into many small lists, which the system's own allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    banksia::main()
}
