//! What every report says of its experiment, whatever is run: who it is, on which machine, of which model.

use banksia_hw::system::Machine;
use banksia_mappers::dtype_of;
use banksia_reports::{MachineInfo, RunReport, SCHEMA, WorkloadInfo};
use banksia_workloads::Model;

/// An experiment, as far as reports tell of it.
#[derive(Debug, Clone)]
pub(crate) struct About<'a> {
    pub(crate) name: &'a str,
    pub(crate) seed: u64,
    pub(crate) configuration: &'a str,
    /// The hash of all that a result depends on.
    pub(crate) sha256: String,
    pub(crate) model: &'a Model,
    pub(crate) machine: &'a Machine,
}

impl About<'_> {
    /// A report with that, and nothing of a run.
    pub(crate) fn report(&self) -> RunReport {
        let facts = self.machine.facts(dtype_of(self.model.types.operands()));
        RunReport {
            schema: SCHEMA,
            banksia_version: env!("CARGO_PKG_VERSION").to_owned(),
            name: self.name.to_owned(),
            seed: self.seed,
            configuration_sha256: self.sha256.clone(),
            configuration: self.configuration.to_owned(),
            machine: MachineInfo {
                name: self.machine.name.clone(),
                kind: self.machine.kind.clone(),
                peak_flops_per_s: facts.peak_flops_per_s,
                peak_bandwidth_bytes_per_s: facts.peak_bandwidth_bytes_per_s,
                capacity_bytes: facts.capacity_bytes,
            },
            workload: WorkloadInfo {
                model: self.model.name.clone(),
                parameters: self.model.parameters(),
                weight_bytes: self.model.weight_bytes(),
                ..WorkloadInfo::default()
            },
            ..RunReport::default()
        }
    }
}
