//! A run beside the roofline of another device.

use banksia_hw::roofline::Roofline;
use banksia_input::InputError;
use banksia_reports::RunReport;

use crate::experiment::Experiment;

/// What a device could do at best, beside what a run took.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Versus {
    /// The device.
    pub device: String,
    /// The least time in which it could do the same steps: every step's operations at its peak, or the weights and the KV
    /// cache at its bandwidth, whichever is longer.
    pub roofline_s: f64,
    /// The most energy: its power limit over that time.
    pub roofline_j: f64,
    /// `roofline_s / latency_s`.
    pub speedup: f64,
    /// `roofline_j / energy_j`.
    pub energy_ratio: f64,
}

/// Compares a report with the rooflines of some names.
///
/// # Errors
/// There is no such device.
pub fn versus(experiment: &Experiment, report: &RunReport, names: &[String]) -> Result<Vec<Versus>, InputError> {
    names.iter().map(|name| Ok(against(experiment, report, &Roofline::load(name)?))).collect()
}

fn against(experiment: &Experiment, report: &RunReport, device: &Roofline) -> Versus {
    let generation = experiment.mapped_generation();
    let mut roofline_s = 0.0;
    for step in generation.steps() {
        let graph = experiment.model.graph(&step, generation);
        let bytes = graph.weight_bytes_read() + graph.kv_bytes_read() + graph.state_bytes();
        roofline_s += device.seconds(graph.flops() as f64, bytes as f64);
    }
    let roofline_j = roofline_s * device.power_w;
    Versus {
        device: device.name.clone(),
        roofline_s,
        roofline_j,
        speedup: roofline_s / report.latency_s,
        energy_ratio: roofline_j / report.energy_j,
    }
}
