//! What a sweep file's `[slurm]` says.

use banksia_input::InputError;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::sweep::Sweep;

/// How a cluster runs a sweep: an array of tasks. Keys that Slurm has are handed to `sbatch` as they are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlurmOptions {
    /// Tasks of the array; each runs an equal part of the points.
    pub tasks: usize,
    /// Cores of a task: points that it runs at once.
    pub cpus_per_task: u32,
    /// `--mem` of a task, as `16G`.
    pub memory: Option<String>,
    /// `--time` of a task, as `04:00:00`.
    pub time: Option<String>,
    /// `--partition`.
    pub partition: Option<String>,
    /// `--account`.
    pub account: Option<String>,
    /// `--qos`.
    pub qos: Option<String>,
    /// `--constraint`.
    pub constraint: Option<String>,
    /// Further arguments of `sbatch`.
    pub extra: Vec<String>,
    /// Lines of shell before the program: modules, say.
    pub setup: Vec<String>,
    /// A folder on each node's own disk.
    pub scratch: String,
    /// Seconds between copies of a task's store.
    pub copy_s: f64,
    /// Seconds between looks at the queue.
    pub poll_s: f64,
    /// How often a lost shard is sent again.
    pub retries: u32,
    /// Tasks that run at once; all where absent.
    pub at_once: Option<u32>,
}

impl Default for SlurmOptions {
    fn default() -> Self {
        Self {
            tasks: 16,
            cpus_per_task: 1,
            memory: None,
            time: None,
            partition: None,
            account: None,
            qos: None,
            constraint: None,
            extra: Vec::new(),
            setup: Vec::new(),
            scratch: "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}".to_owned(),
            copy_s: 30.0,
            poll_s: 5.0,
            retries: 3,
            at_once: None,
        }
    }
}

impl SlurmOptions {
    /// The options of a sweep.
    ///
    /// # Errors
    /// A key is unknown or has a value of no use.
    pub fn read(sweep: &Sweep) -> Result<Self, InputError> {
        let (table, source) = sweep.slurm();
        let read: Result<Self, _> = toml::Value::Table(table.clone()).try_into();
        let options = read.map_err(|e| {
            let message = e.message().to_owned();
            source
                .error("slurm", message)
                .help("docs/slurm.md lists its keys; what only sbatch knows goes into `extra`")
        })?;
        let counts =
            [("tasks", options.tasks as u64, 100_000), ("cpus_per_task", u64::from(options.cpus_per_task), 4096)];
        for (key, value, most) in counts {
            if value == 0 || value > most {
                return Err(source.error(&format!("slurm.{key}"), format!("is {value}: must be from 1 to {most}")));
            }
        }
        for (key, value) in [("copy_s", options.copy_s), ("poll_s", options.poll_s)] {
            if !(0.1..=86_400.0).contains(&value) {
                return Err(source.error(&format!("slurm.{key}"), format!("is {value}: must be from 0.1 to 86400")));
            }
        }
        Ok(options)
    }

    /// The arguments of `sbatch` that they stand for.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut all = vec![format!("--cpus-per-task={}", self.cpus_per_task)];
        let named = [
            ("mem", &self.memory),
            ("time", &self.time),
            ("partition", &self.partition),
            ("account", &self.account),
            ("qos", &self.qos),
            ("constraint", &self.constraint),
        ];
        all.extend(named.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value.as_ref()?))));
        all.extend(self.extra.iter().cloned());
        all
    }
}
