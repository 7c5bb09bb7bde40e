//! The same layers by the plan that `banksia run` makes of a model and `[parallel]`: tensor parallel over two ranks.
//!
//! What was measured has no rotation, and puts nothing into its cache; the plan appends.

use std::sync::Arc;

use banksia_hw::gpu::sampling::Detail;
use banksia_hw::program::Program;
use banksia_hw::system::{ClusterTable, Machine, RunOptions, System};
use banksia_input::Source;
use banksia_mappers::cluster::ClusterMapper;
use banksia_mappers::{Mapper, Problem};
use banksia_workloads::model::{Layers, Mixer, Model};
use banksia_workloads::{Generation, zoo};

use super::arguments::argument;
use super::layers::lasts;
use crate::replay;

/// Two ranks of PyTorch.
const EXPERIMENT: &str = "[parallel]\ntp = 2\n[mapping]\nframework = \"torch\"\n";

/// Some layers of a model of the zoo, without rotation, and nothing before and after them.
fn layers_of(name: &str, layers: u32) -> Result<Model, String> {
    let mut model = zoo::load(match name {
        "llama3_8b" => "llama3.1-8b",
        "llama3_70b" => "llama3.1-70b",
        other => return Err(format!("model {other} is not modelled")),
    })
    .map_err(|e| e.to_string())?;
    let block = model.pattern.first().map(|run| run.block.clone()).unwrap_or_default();
    model.pattern = vec![Layers { block, layers }];
    model.head.norm = None;
    for branch in model.blocks.iter_mut().flat_map(|b| &mut b.stages).flat_map(|s| &mut s.branches) {
        if let Mixer::Attention(a) = &mut branch.mixer {
            a.rotary_dim = 0;
        }
    }
    Ok(model)
}

/// Seconds of a program that is replayed: the second time.
fn replayed_s(machine: &Machine, program: &Arc<Program>, detail: Detail, settle: bool) -> Result<f64, String> {
    let mut system = System::new(machine, RunOptions { detail, settle, ..RunOptions::default() });
    let mut at = [0.0; 2];
    for at in &mut at {
        system.run(program).map_err(|e| e.to_string())?;
        *at = system.elapsed().as_secs_f64();
    }
    Ok(at[1] - at[0])
}

/// Microseconds of a row.
pub(super) fn microseconds(name: &str, args: &str, detail: Detail) -> Result<f64, String> {
    let get = |key, most| argument(args, key, most).map(|n| n.max(1));
    let (layers, batch, new, keys) =
        (get("layers", 1 << 10)?, get("b", 1 << 16)?, get("q", 1 << 20)?, get("kv", 1 << 20)?);
    let model = layers_of(name, u32::try_from(layers).unwrap_or(1))?;
    let (context_tokens, prompt_tokens) = if new > 1 { (0, new) } else { (keys - 1, 0) };
    let generation = Generation {
        context_tokens,
        prompt_tokens,
        generated_tokens: 1,
        batch,
        embedding: false,
        lm_head: false,
        ..Generation::default()
    };
    let source = Source::from_text("two_gpus.csv", EXPERIMENT);
    let table = ClusterTable { cluster: "h200".into(), nodes: Some(1) };
    let machine = Machine::read_cluster(&table, &source, None).map_err(|e| e.to_string())?;
    let problem = Problem { model: &model, generation: &generation, machine: &machine, source: &source };
    let mut plan = ClusterMapper.plan(&problem).map_err(|e| e.to_string())?;
    let machine = plan.machine().unwrap_or(machine);
    let mut system = System::new(&machine, RunOptions { detail, ..RunOptions::default() });
    let mut program = plan.lower(0, &mut system).map_err(|e| e.to_string())?;
    if argument(args, "comm", 1)? == 0 {
        let sums: Vec<String> =
            program.operators.iter().map(|o| o.name.clone()).filter(|n| n.ends_with("all-reduce")).collect();
        program = program.without(&sums.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let program = Arc::new(program);
    let burst_s = replayed_s(&machine, &program, detail, false)?;
    let seconds = if lasts(burst_s) { replayed_s(&machine, &program, detail, true)? } else { burst_s };
    Ok((seconds + replay::START_S) * 1e6)
}
