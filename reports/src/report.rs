//! The one record that a run returns. Every table, plot and file is a pure function of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The version of the report's JSON; raised when a field is added. Fields are never removed or renamed.
pub const SCHEMA: u32 = 1;

/// What a run found out, with what it ran.
///
/// Laws, checked by [`RunReport::check`]: the operators' `latency_s` add up to `latency_s`, as do the steps'; the energy
/// parts, the operators' energies and the components' energies each add up to `energy_j`; the operators' bytes add up to
/// the components' bytes, channel of traffic by channel of traffic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// The version of Banksia that made the report.
    pub banksia_version: String,
    /// The experiment's name.
    pub name: String,
    /// The seed of every random stream.
    pub seed: u64,
    /// SHA-256 of `configuration`.
    pub configuration_sha256: String,
    /// The experiment as it was run: TOML with every `--set` applied and every device resolved.
    pub configuration: String,
    /// What machine ran.
    pub machine: MachineInfo,
    /// What it ran.
    pub workload: WorkloadInfo,

    /// Simulated time from the first instruction to the last completion.
    pub latency_s: f64,
    /// Energy of every component over that time.
    pub energy_j: f64,
    /// `energy_j / latency_s`.
    pub power_w: f64,
    /// Tokens generated, for generation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokens: Option<u64>,
    /// `tokens / latency_s`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokens_per_s: Option<f64>,
    /// Seconds to the first token: of the steps that process the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_s: Option<f64>,
    /// Seconds a token after the first, of each sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpot_s: Option<f64>,
    /// Bytes that the model takes of the machine's memory: `weights`, `kv` (with recurrent states), `activations`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub footprint_bytes: BTreeMap<String, u64>,

    /// Energy by cause (`activate`, `mac`, `background`, `refresh`, `io`, ...), over all components.
    pub energy_parts_j: BTreeMap<String, f64>,
    /// Bytes by channel of traffic (`bank_internal`, `pins_read`, `pins_write`, `sram_read`, ...), over all components.
    pub traffic_bytes: BTreeMap<String, u64>,
    /// Rates and shares with the unit in the name (`row_hit_rate`, `mac_utilization`, `bank_bandwidth_bytes_per_s`, ...).
    pub metrics: BTreeMap<String, f64>,
    /// Device commands issued, by name, over all channels.
    pub commands: BTreeMap<String, u64>,

    /// By operator, in the order of first execution.
    pub operators: Vec<OperatorReport>,
    /// By component.
    pub components: Vec<ComponentReport>,
    /// By step: a prompt, or one generated token.
    pub steps: Vec<StepReport>,
    /// What ran where and when, where it was recorded.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub timeline: Vec<TimelineSpan>,
}

/// The machine, as far as a reader of the result needs it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MachineInfo {
    /// The catalog's or file's name.
    pub name: String,
    /// `pim`, `gpu`, ...
    pub kind: String,
    /// Peak arithmetic rate at the workload's type, multiply and add counted as two.
    pub peak_flops_per_s: f64,
    /// Peak rate at which operands reach the arithmetic units from memory (all banks together, for PIM).
    pub peak_bandwidth_bytes_per_s: f64,
    /// Capacity for weights and KV cache.
    pub capacity_bytes: u64,
}

/// The workload, as far as a reader of the result needs it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WorkloadInfo {
    /// The model's name.
    pub model: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Bytes of all weights that the machine holds.
    pub weight_bytes: u64,
    /// Tokens in the prompt.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Sequences at once.
    pub batch: u64,
    /// Floating-point operations of the whole run, multiply and add counted as two.
    pub flops: f64,
}

/// One kind of operator (`qkv projection`, `softmax`), summed over layers and steps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct OperatorReport {
    /// The operator's name, without a layer number.
    pub name: String,
    /// How many times it ran.
    pub count: u64,
    /// Share of the run's latency for which this operator is the one that completion waited for: each advance of the
    /// frontier of completed work is charged to the operator that made it. These add up to the run's latency.
    pub latency_s: f64,
    /// Time for which any unit worked on it, summed over units; overlaps count twice.
    pub busy_s: f64,
    /// Energy: its own commands, and background energy by its share of the latency.
    pub energy_j: f64,
    /// Floating-point operations, multiply and add counted as two.
    pub flops: f64,
    /// Bytes by channel of traffic.
    pub traffic_bytes: BTreeMap<String, u64>,
}

/// One component (`channel 3`, `asic`), or a group of equal ones.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ComponentReport {
    /// Its name.
    pub name: String,
    /// Its kind (`pim channel`, `asic`).
    pub kind: String,
    /// Time for which it worked.
    pub busy_s: f64,
    /// `busy_s / latency_s`.
    pub utilization: f64,
    /// Energy by cause.
    pub energy_parts_j: BTreeMap<String, f64>,
    /// Bytes by channel of traffic.
    pub traffic_bytes: BTreeMap<String, u64>,
    /// Utilisation over time, in equal bins over the run; empty where not recorded.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub utilization_over_time: Vec<f32>,
}

/// One step of generation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepReport {
    /// `prefill` or `decode`.
    pub phase: String,
    /// Tokens in the KV cache that this step attends to, the new one included.
    pub context_tokens: u64,
    /// When it began.
    pub start_s: f64,
    /// How long it took.
    pub latency_s: f64,
    /// Energy over that time.
    pub energy_j: f64,
}

/// One stretch of work on one lane of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineSpan {
    /// Group of lanes (`pim`, `asic`, `operators`).
    pub group: String,
    /// Lane within the group (`channel 0`).
    pub lane: String,
    /// What ran.
    pub name: String,
    /// When it began.
    pub start_s: f64,
    /// How long it took.
    pub duration_s: f64,
    /// Details for the viewer (`rows`, `bytes`, ...).
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub details: BTreeMap<String, String>,
}

impl RunReport {
    /// Whether its energy is without parts that a device's file does not give: more than is said.
    pub fn lacks_energy(&self) -> bool {
        self.metrics.iter().any(|(name, n)| name.ends_with("energy_unknown_parts") && *n > 0.0)
    }

    /// Checks the laws named above, to a relative 1e-9; returns the first that fails, in words.
    ///
    /// # Errors
    /// A law does not hold: the report is wrong and must not be shown.
    pub fn check(&self) -> Result<(), String> {
        let close = |what: &str, sum: f64, whole: f64| {
            // Two infinities would differ by nothing that a comparison can see.
            if whole.is_finite() && (sum - whole).abs() <= 1e-9 * whole.abs().max(f64::MIN_POSITIVE) {
                Ok(())
            } else {
                Err(format!("{what} add up to {sum:e}, and the whole is {whole:e}"))
            }
        };
        close("the operators' latencies", self.operators.iter().map(|o| o.latency_s).sum(), self.latency_s)?;
        close("the operators' energies", self.operators.iter().map(|o| o.energy_j).sum(), self.energy_j)?;
        close("the energy parts", self.energy_parts_j.values().sum(), self.energy_j)?;
        let components = self.components.iter().flat_map(|c| c.energy_parts_j.values());
        close("the components' energies", components.sum(), self.energy_j)?;
        if !self.steps.is_empty() {
            close("the steps' latencies", self.steps.iter().map(|s| s.latency_s).sum(), self.latency_s)?;
            close("the steps' energies", self.steps.iter().map(|s| s.energy_j).sum(), self.energy_j)?;
        }
        let traffic = |maps: &mut dyn Iterator<Item = &BTreeMap<String, u64>>, channel: &str| -> u128 {
            maps.filter_map(|map| map.get(channel)).map(|&bytes| u128::from(bytes)).sum()
        };
        let by_operators = || self.operators.iter().map(|o| &o.traffic_bytes);
        let by_components = || self.components.iter().map(|c| &c.traffic_bytes);
        // A channel that only some operator or component knows is a broken law too.
        let channels: BTreeSet<&String> =
            by_operators().chain(by_components()).chain([&self.traffic_bytes]).flat_map(BTreeMap::keys).collect();
        for channel in channels {
            let whole = u128::from(self.traffic_bytes.get(channel).copied().unwrap_or(0));
            let by_operator = traffic(&mut by_operators(), channel);
            let by_component = traffic(&mut by_components(), channel);
            if by_operator != whole || by_component != whole {
                return Err(format!(
                    "{channel} bytes: {by_operator} by operator, {by_component} by component, {whole} in all"
                ));
            }
        }
        Ok(())
    }
}
