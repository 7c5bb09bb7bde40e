//! Slurm's own commands: `sbatch` and `squeue`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::options::SlurmOptions;
use crate::error::Error;

/// Tries of a command of which the controller is busy; each waits twice as long as the one before.
const TRIES: u32 = 8;

/// Shards that are with Slurm.
#[derive(Debug, Default)]
pub(super) struct Queued {
    pub(super) waiting: BTreeSet<usize>,
    pub(super) running: BTreeSet<usize>,
}

impl Queued {
    pub(super) fn contains(&self, shard: usize) -> bool {
        self.waiting.contains(&shard) || self.running.contains(&shard)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }
}

/// Whether Slurm is there to be asked.
pub fn available() -> bool {
    Command::new("sbatch").arg("--version").output().is_ok_and(|o| o.status.success())
}

fn missing(command: &str, e: &std::io::Error) -> Error {
    Error::Failed(format!(
        "{command} cannot be started ({e}): run this on a machine that submits to Slurm, or use --shard with another scheduler"
    ))
}

/// Runs a command of Slurm's; of a controller that is busy, or away for a moment, again and again.
fn asked(command: &str, arguments: &[String]) -> Result<String, Error> {
    let mut wait = Duration::from_millis(500);
    for attempt in 1..=TRIES {
        let output = Command::new(command).args(arguments).output().map_err(|e| missing(command, &e))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // Jobs that ended some time ago are forgotten.
        if command == "squeue" && said.contains("Invalid job id") {
            return Ok(String::new());
        }
        let busy =
            ["temporarily", "timed out", "Unable to contact", "Connection refused", "Try again", "try again", "limit"];
        if attempt == TRIES || !busy.iter().any(|b| said.contains(b)) {
            return Err(Error::Failed(format!("{command} {}: {said}", arguments.join(" "))));
        }
        std::thread::sleep(wait);
        wait *= 2;
    }
    Ok(String::new())
}

/// Submits shards as an array: the job's number.
pub(super) fn submit(folder: &Path, shards: &[usize], options: &SlurmOptions) -> Result<String, Error> {
    let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let at_once = options.at_once.map_or(String::new(), |n| format!("%{n}"));
    let mut arguments = vec![
        "--parsable".to_owned(),
        "--job-name=banksia".to_owned(),
        format!("--array={}{at_once}", ranges(shards)),
        format!("--output={}/task-%a.log", folder.display()),
        "--open-mode=append".to_owned(),
        // What is lost is sent again here, once.
        "--no-requeue".to_owned(),
    ];
    arguments.extend(options.arguments());
    arguments.push(folder.join("task.sh").display().to_string());
    let said = asked("sbatch", &arguments)?;
    // With several clusters a semicolon and the cluster's name follow.
    let job = said.trim().split(';').next().unwrap_or_default().to_owned();
    match job.is_empty() {
        true => Err(Error::Failed(format!("sbatch gave no job number: `{}`", said.trim()))),
        false => Ok(job),
    }
}

/// Numbers as Slurm writes them: 0-3,7.
fn ranges(shards: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &shard in shards {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == shard => *last = shard,
            _ => parts.push((shard, shard)),
        }
    }
    let part = |(a, b): &(usize, usize)| if a == b { a.to_string() } else { format!("{a}-{b}") };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

/// The shards of some jobs that wait or run.
pub(super) fn tasks(jobs: &[String]) -> Result<Queued, Error> {
    let mut queued = Queued::default();
    for job in jobs {
        let arguments = ["-h", "-r", "-j", job, "-o", "%K %T"].map(str::to_owned);
        for line in asked("squeue", &arguments)?.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(index), Some(state)) = (words.next().and_then(|w| w.parse().ok()), words.next()) else {
                continue;
            };
            match state {
                "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_HOLD" | "SUSPENDED" => queued.waiting.insert(index),
                "RUNNING" | "COMPLETING" | "STAGE_OUT" | "SIGNALING" | "RESIZING" => queued.running.insert(index),
                _ => false,
            };
        }
    }
    Ok(queued)
}

#[cfg(test)]
mod tests {
    #[test]
    fn shards_are_written_as_ranges() {
        assert_eq!(super::ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
    }
}
