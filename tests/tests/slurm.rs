//! A sweep on a real Slurm of one node (Debian's `slurm-wlm` and `munge`, started by `tests/slurm/cluster.sh`): a task is killed midway, and the
//! table is that of a local run. Where Slurm is not installed the test says so and passes.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{EXPERIMENT, Folder, binary, succeeds};

/// The cluster; it is stopped when the test is over, however it ends.
struct Cluster {
    folder: PathBuf,
    conf: String,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("slurm/cluster.sh")
}

impl Cluster {
    /// None where Slurm is not installed.
    fn start() -> Option<Self> {
        // Paths of sockets are short.
        let folder = std::env::temp_dir().join(format!("bks-{}", std::process::id()));
        let output = Command::new("bash").arg(script()).arg("start").arg(&folder).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() == Some(77) {
            println!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let conf = text.lines().find_map(|l| l.strip_prefix("export SLURM_CONF=")).unwrap_or_else(|| panic!("{text}"));
        Some(Self { folder, conf: conf.trim_matches(['\'', '"']).to_owned() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", &self.conf);
        command
    }

    fn running(&self) -> Vec<String> {
        let output = self.command("squeue").args(["-h", "-r", "-t", "RUNNING", "-o", "%i"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().map(|l| l.trim().to_owned()).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new("bash").arg(script()).arg("stop").arg(&self.folder).output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn export(folder: &Folder, store: &str) -> String {
    let out = format!("{store}.csv");
    succeeds(&["results", &folder.path(store), "--export", &folder.path(&out)]);
    folder.read(&out)
}

#[test]
fn two_hundred_points_in_four_tasks_of_which_one_is_killed() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = Folder::new("slurm");
    folder.write("exp.toml", EXPERIMENT.replace("generated_tokens = 2", "generated_tokens = 12"));
    let sweep = folder.write(
        "s.toml",
        "name = \"cluster\"\nexperiments = [\"exp.toml\"]\n[slurm]\ntasks = 4\npoll_s = 0.5\ncopy_s = 0.3\n\
         [[vary]]\nkey = \"machine.memory.channels\"\nrange = { from = 1, to = 50, step = 1 }\n\
         [[vary]]\nkey = \"machine.vector_unit.clock_mhz\"\nvalues = [250, 500, 750, 1000]\n",
    );
    let store = folder.path("cluster.db");
    // Submitted by a shell that ends, as one that logs out.
    let submit = cluster
        .command(binary())
        .args(["sweep", &sweep, "--store", &store, "--engine", "slurm", "--submit-only"])
        .output()
        .unwrap();
    assert!(submit.status.success(), "{}", String::from_utf8_lossy(&submit.stderr));
    // Followed again by another.
    let mut follow = cluster
        .command(binary())
        .args(["sweep", &sweep, "--store", &store, "--engine", "slurm"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let killed = loop {
        if let Some(task) = cluster.running().into_iter().next() {
            std::thread::sleep(Duration::from_millis(700));
            let done = cluster.command("scancel").args(["--signal=KILL", "--full", &task]).status().unwrap();
            break done.success().then_some(task);
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no task began");
        std::thread::sleep(Duration::from_millis(50));
    };
    println!("killed {killed:?}");
    let ended = loop {
        if let Some(status) = follow.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(240), "the sweep does not end");
        std::thread::sleep(Duration::from_millis(100));
    };
    let said = std::io::read_to_string(follow.stderr.take().unwrap()).unwrap();
    println!("{said}");
    assert!(ended.success(), "{said}");
    let local = folder.path("local.db");
    succeeds(&["sweep", &sweep, "--store", &local]);
    assert_eq!(export(&folder, "local.db"), export(&folder, "cluster.db"));
    assert_eq!(export(&folder, "local.db").lines().count(), 201);
    // The same command again finds everything done.
    let again =
        cluster.command(binary()).args(["sweep", &sweep, "--store", &store, "--engine", "slurm"]).output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
}
