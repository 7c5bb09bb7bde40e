//! What the end-to-end tests share: folders of their own, the binary, and the command line in this process.

#![allow(dead_code, clippy::unwrap_used, clippy::panic)] // each test file uses its part

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use banksia::args::Cli;
use clap::Parser;

/// A small experiment: lines are counted on by the tests of errors.
pub(crate) const EXPERIMENT: &str = "\
name = \"small\"

[machine]
base = \"pim-gpt\"

[workload]
model = \"gpt2-small\"

[workload.generation]
prompt_tokens = 1
generated_tokens = 2

[mapping]
strategy = \"pim-gpt\"
";

/// A model of two narrow layers, as a table of an experiment: 25 heads of 96 on a width of 320, so that nothing divides evenly.
pub(crate) const ODD_MODEL: &str = "\
{ name = \"odd\", layers = 2, width = 320, heads = 25, head_dim = 96, vocab = 1003, max_positions = 64 }";

/// A folder that is removed when the test is over.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.0.join(name), content).unwrap();
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the binary.
pub(crate) fn banksia<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_banksia-under-test")).args(args).output().unwrap()
}

/// Runs the binary, which must succeed; what it printed.
pub(crate) fn succeeds<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> String {
    let output = banksia(args);
    let error = String::from_utf8_lossy(&output.stderr);
    let given: Vec<_> = args.iter().map(|a| a.as_ref().to_string_lossy()).collect();
    assert_eq!(output.status.code(), Some(0), "{given:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The binary.
pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_banksia-under-test")
}

/// Runs the binary, which must fail: its exit code, and what it says of it.
pub(crate) fn fails<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> (i32, String) {
    let output = banksia(args);
    let code = output.status.code().unwrap_or(-1);
    assert_ne!(code, 0, "{}", String::from_utf8_lossy(&output.stdout));
    (code, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Does what the command line says in this process. `Err` has the exit code and the message; a panic says so.
pub(crate) fn in_process(args: &[String]) -> Result<(), (u8, String)> {
    let all = std::iter::once("banksia".to_owned()).chain(args.iter().cloned());
    let cli = Cli::try_parse_from(all).map_err(|e| (2, e.to_string()))?;
    match std::panic::catch_unwind(|| banksia::commands::execute(&cli)) {
        Ok(result) => result.map_err(|e| (e.exit_code(), e.to_string())),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Err((101, format!("PANIC: {}", text.unwrap_or_default())))
        }
    }
}
