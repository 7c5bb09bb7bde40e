//! Strategies that lower operator graphs to programs: where data lies, in what order work is done, which unit does it.
//! Mappers know what a machine has; how long anything takes is the machine's to find out.

pub mod cent;
pub mod cluster;
pub mod gpu;
pub mod hybrid;
pub mod nmp;
pub mod offload;
pub mod parallel;
pub mod pim;
pub mod pim_gpt;
pub mod pim_stages;
pub mod pim_systems;
mod plan;
pub mod replay;
pub mod schema;
pub mod space;

use banksia_hw::gpu::program::Dtype;
use banksia_hw::system::Machine;
use banksia_input::InputError;
use banksia_workloads::DataType;

pub use space::Knob;

pub use plan::{Bound, Footprint, Judges, LayoutReport, Mapper, Plan, Problem, Unsupported};

/// Every strategy; of those that accept a machine, the first is what it has where nothing is said.
pub fn mappers() -> &'static [&'static dyn Mapper] {
    &[
        &pim_gpt::PimGptMapper,
        &pim::PimMapper,
        &gpu::GpuMapper,
        &hybrid::HybridMapper,
        &pim_stages::PimStagesMapper,
        &cluster::ClusterMapper,
    ]
}

/// The strategies that map to a machine.
pub fn accepting(machine: &Machine) -> impl Iterator<Item = &'static dyn Mapper> + '_ {
    mappers().iter().copied().filter(|m| m.accepts(machine))
}

/// The strategy of a problem: what `mapping.strategy` names, or the machine's first.
///
/// # Errors
/// There is no such strategy, or it does not map to the machine.
pub fn choose(problem: &Problem<'_>) -> Result<&'static dyn Mapper, InputError> {
    #[derive(Default, serde::Deserialize)]
    struct Outer {
        #[serde(default)]
        mapping: Inner,
    }
    #[derive(Default, serde::Deserialize)]
    struct Inner {
        strategy: Option<String>,
    }
    let source = problem.source;
    let machine = problem.machine;
    let names: Vec<&str> = accepting(machine).map(Mapper::name).collect();
    let help = || format!("use {}", names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or "));
    let Some(name) = source.parse::<Outer>()?.mapping.strategy else {
        return accepting(machine).next().ok_or_else(|| {
            let problem = format!("is `{}`, to whose devices no strategy maps", machine.name);
            source.error("machine.base", problem)
        });
    };
    let Some(mapper) = mappers().iter().copied().find(|m| m.name() == name) else {
        return Err(source.unknown_name("mapping.strategy", "strategy", &name, mappers().iter().map(|m| m.name())));
    };
    if !mapper.accepts(machine) {
        let problem = format!("is `{name}`, which does not map to a machine of kind `{}`", machine.kind);
        return Err(source.error("mapping.strategy", problem).help(help()));
    }
    Ok(mapper)
}

/// The type that matrix units multiply, of a model's: those of four bits are multiplied in 16.
pub fn dtype_of(dtype: DataType) -> Dtype {
    match dtype {
        DataType::F32 => Dtype::Fp32,
        DataType::F16 => Dtype::Fp16,
        DataType::Fp8 => Dtype::Fp8,
        DataType::Int8 | DataType::Int32 => Dtype::Int8,
        DataType::Bf16 | DataType::Int4 | DataType::Nf4 | DataType::Fp4 | DataType::E8m0 => Dtype::Bf16,
    }
}
