//! The commit that the program is built from, for `--version` and for every row of a results store.

use std::process::Command;

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    Some(text).filter(|t| !t.is_empty())
}

fn main() {
    let revision = match std::env::var("BANKSIA_REVISION") {
        // A build without the repository, a container's say, is told.
        Ok(told) => told,
        Err(_) => git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown commit".to_owned()),
    };
    println!("cargo:rustc-env=BANKSIA_REVISION={revision}");
    println!("cargo:rerun-if-env-changed=BANKSIA_REVISION");
    println!("cargo:rerun-if-changed=build.rs");
    // A debug build is for development, where every commit would build the tests anew.
    if std::env::var("PROFILE").as_deref() == Ok("release")
        && let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
    {
        println!("cargo:rerun-if-changed={log}");
    }
}
