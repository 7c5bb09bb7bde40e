//! The `banksia` command.

fn main() -> std::process::ExitCode {
    banksia::main()
}
