//! Broken configurations: each is refused with exit code 2 and a message that names the file, the line, the key and a remedy;
//! nothing panics and nothing goes to standard output.

#![allow(clippy::unwrap_used, clippy::panic)]

mod devices;
mod experiments;
mod programs;
mod settings;
mod sweeps_and_commands;

use crate::common::in_process;

/// A case's name, and what its message must contain.
type Expected<'a> = (&'a str, &'a [&'a str]);

/// Runs each case and reports every one that is not refused as it should be.
struct Judge {
    failures: Vec<String>,
    cases: usize,
}

impl Judge {
    fn new() -> Self {
        Self { failures: Vec::new(), cases: 0 }
    }

    fn refuses(&mut self, (name, fragments): Expected<'_>, args: &[String]) {
        self.refuses_with(2, (name, fragments), args);
    }

    fn refuses_with(&mut self, code: u8, (name, fragments): Expected<'_>, args: &[String]) {
        self.cases += 1;
        match in_process(args) {
            Ok(()) => self.failures.push(format!("{name}: accepted")),
            Err((got, message)) => {
                if got != code {
                    self.failures.push(format!("{name}: exit code {got}, not {code}: {message}"));
                }
                for fragment in fragments.iter().filter(|f| !message.contains(**f)) {
                    self.failures.push(format!("{name}: `{fragment}` is not in: {message}"));
                }
            }
        }
    }

    fn finish(self, least: usize) {
        assert!(self.cases >= least, "only {} cases", self.cases);
        assert!(self.failures.is_empty(), "{} failures\n{}", self.failures.len(), self.failures.join("\n"));
    }
}

fn run(path: &str, settings: &[&str]) -> Vec<String> {
    let mut args = vec!["run".to_owned(), path.to_owned()];
    args.extend(settings.iter().map(|s| format!("--set={s}")));
    args
}
