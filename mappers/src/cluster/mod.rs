//! Generation on the ranks of a cluster: a model shared out by `[parallel]`, every rank's part lowered as for a GPU by itself.
//!
//! What a rank has is a pass over the model's graph ([`banksia_workloads::shard`]); what it launches is the gpu mapping's. Ranks that do the same
//! are one device of the machine, which stands for so many; collectives are instructions of the fabric between them.

mod emit;
mod layout;
mod placement;
mod plan;
mod ranks;
mod stages;
mod state;

use banksia_hw::system::Machine;
use banksia_input::InputError;
use schemars::{JsonSchema, Schema, SchemaGenerator};

pub use ranks::{AllReduce, Exchange, Placement, Ranks, Residual};

use crate::gpu::model::launches;
use crate::plan::{Mapper, Plan, Problem};
use crate::space::Knob;
use ranks::ClusterOptions;
use state::Cluster;

/// The strategy of this module.
#[derive(Debug, Clone, Copy)]
pub struct ClusterMapper;

impl Mapper for ClusterMapper {
    fn name(&self) -> &'static str {
        "ranks"
    }

    fn description(&self) -> &'static str {
        "generation on the GPUs of a cluster: tensor, pipeline, expert and data parallel, as [parallel] says"
    }

    fn page(&self) -> &'static str {
        include_str!("../../../docs/parallel-inference.md")
    }

    fn keys(&self) -> &'static [&'static str] {
        &["launch", "attention", "framework", "all_reduce"]
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        ClusterOptions::json_schema(generator)
    }

    fn space(&self, problem: &Problem<'_>) -> Result<Vec<Knob>, InputError> {
        // One tensor-parallel rank has nothing to sum.
        let sums = ranks::written(problem.source)?.tp > 1;
        Ok(launches().into_iter().chain(sums.then(ranks::all_reduces)).collect())
    }

    fn accepts(&self, machine: &Machine) -> bool {
        machine.fabric.is_some()
    }

    fn plan(&self, problem: &Problem<'_>) -> Result<Box<dyn Plan>, InputError> {
        Ok(Box::new(Cluster::new(problem, problem.options(self)?)?))
    }
}
