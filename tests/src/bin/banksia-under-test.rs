//! The `banksia` command, built as a part of this package so that its tests can find it.

fn main() -> std::process::ExitCode {
    banksia::main()
}
