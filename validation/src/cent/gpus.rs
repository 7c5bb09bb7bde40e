//! The artifact's measured GPUs: Llama-2 by vLLM on one, two and four A100, 7B, 13B and 70B.
//!
//! A GPU of several has its share of heads, of the feed-forward layer and of the vocabulary, as a model of its own; what they add up after attention and after the
//! feed-forward layer of every block comes on top. The files say little of how they were taken. That every answer has 3584 tokens, and what is left of the
//! context is the prompt, follows from the artifact's `run_sim.py`; that latencies are of one request where no batch is given, from its README's figure 13.
//! That the GPUs are PCIe cards is assumed: in the artifact's `GPU_power.csv` each draws 274 to 293 W and never more than a card's limit of 300 W, where an SXM module's
//! is 400 W.

use std::sync::Arc;

use banksia_hw::gpu::sampling::Detail;
use banksia_hw::net::collective::algorithm::Op;
use banksia_hw::net::collective::{Library, links, time};
use banksia_hw::system::{Machine, RunOptions, System};
use banksia_input::{InputError, Source};
use banksia_mappers::gpu::GpuMapper;
use banksia_mappers::{Mapper, Problem};
use banksia_workloads::{Generation, GptConfig, Model, Run, zoo};

use super::artifact::value;
use crate::rows::{Row, number, whole};
use crate::value::Value;

/// Tokens of every answer.
const ANSWER: u64 = 3584;
/// The context where a file does not say one.
const CONTEXT: u64 = 4096;
/// Share of a GPU's memory that the framework takes.
const USED_MEMORY: f64 = 0.9;

/// Memory of the card, and of the module that the catalog has: data sheets of the A100 80GB, GB/s.
const CARD_GB_PER_S: f64 = 1935.0;
const MODULE_GB_PER_S: f64 = 2039.0;
/// PCI Express 4.0, 16 lanes, GB/s in one direction.
const PCIE_GB_PER_S: f64 = 31.5;
/// NCCL, src/graph/tuning.cc, hwLatencies of rings, us: LL, LL128 and Simple over PCIe; and LL over NVLink, over which a measured hop is scaled.
const PCIE_HOP_US: [f64; 3] = [1.0, 2.5, 5.7];
const NVLINK_HOP_US: f64 = 0.6;

/// Columns that tell the layouts apart.
pub(super) const ONE: &str = "End-to-end Latency (s)";
pub(super) const BATCH: &str = "Query Lat. (s)";
const BATCH_MODEL: &str = "llama2-70b";

/// A model on so many GPUs.
struct Served {
    ranks: u32,
    whole: GptConfig,
    share: Model,
    machine: Machine,
}

fn first_line(e: &InputError) -> String {
    e.to_string().lines().next().unwrap_or_default().to_owned()
}

impl Served {
    fn new(name: &str) -> Result<Self, String> {
        let ranks: u32 = match name {
            "llama2-7b" => 1,
            "llama2-13b" => 2,
            "llama2-70b" => 4,
            other => return Err(format!("the artifact does not say on how many GPUs {other} ran")),
        };
        let whole = zoo::gpt(name).map_err(|e| first_line(&e))?;
        let of = |n: u64| n.div_ceil(u64::from(ranks));
        let share = GptConfig {
            name: format!("{name}-of-{ranks}"),
            heads: of(whole.heads),
            kv_heads: of(whole.kv_heads),
            ffn_width: of(whole.ffn_width),
            vocab: of(whole.vocab),
            ..whole.clone()
        };
        let mut spec = banksia_hw::gpu::device("a100").map_err(|e| first_line(&e))?;
        spec.dram.megatransfers_per_s *= CARD_GB_PER_S / MODULE_GB_PER_S;
        Ok(Self { ranks, whole, share: Model::from(&share), machine: Machine::of_gpu(&spec) })
    }

    /// Seconds of a step: of the GPU's share, and of what all add up.
    fn step(&self, run: Run) -> Result<f64, String> {
        let generation =
            Generation { prompt_tokens: run.new, batch: run.sequences, runs: vec![run], ..Generation::default() };
        let source = Source::from_text("cent", "[mapping]\nframework = \"vllm\"\n");
        let problem = Problem { model: &self.share, generation: &generation, machine: &self.machine, source: &source };
        let mut plan = GpuMapper.plan(&problem).map_err(|e| first_line(&e))?;
        let detail = Detail::DEFAULT;
        let mut system = System::new(&self.machine, RunOptions { detail, ..RunOptions::default() });
        let program = Arc::new(plan.lower(0, &mut system).map_err(|e| e.to_string())?);
        system.run(&program).map_err(|e| e.to_string())?;
        Ok(system.finish().latency.as_secs_f64() + self.sums(run.sequences * run.new)?)
    }

    /// Seconds of the sums over GPUs, of a step of so many tokens.
    fn sums(&self, tokens: u64) -> Result<f64, String> {
        if self.ranks == 1 {
            return Ok(0.0);
        }
        let mut fabric = links::fabric("a100").map_err(|e| first_line(&e))?;
        let [ll, ll128, simple] = PCIE_HOP_US;
        fabric.link.bandwidth_gb_s = PCIE_GB_PER_S;
        fabric.latency.hop_us *= ll / NVLINK_HOP_US;
        fabric.latency.ll128_hop_us = ll128;
        fabric.latency.slice_us = simple;
        let bytes = tokens * self.whole.width * 2;
        let one = time(&fabric, Library::Nccl, Op::AllReduce, self.ranks, bytes).latency_s;
        Ok(2.0 * f64::from(self.whole.layers) * one)
    }

    /// Seconds of a batch of requests, all there at once: prompts one after the other, then answers side by side.
    fn request(&self, batch: u32, context: u64) -> Result<f64, String> {
        let prompt = context.checked_sub(ANSWER).filter(|p| *p > 0);
        let prompt = prompt.ok_or_else(|| format!("a context of {context} has no room for an answer of {ANSWER}"))?;
        let Some(gpu) = self.machine.devices.iter().find_map(|(_, d)| match d {
            banksia_hw::system::Device::Gpu(spec) => Some(spec.dram.capacity_bytes as f64),
            banksia_hw::system::Device::Pim(_) => None,
        }) else {
            return Err("the machine has no GPU".to_owned());
        };
        let (weights, cache) = (self.whole.weight_bytes() as f64, (self.whole.kv_bytes_per_token() * context) as f64);
        let room = gpu * f64::from(self.ranks) * USED_MEMORY - weights;
        if cache * f64::from(batch) > room {
            return Err(format!(
                "keys and values of {batch} requests of {context} tokens do not fit: who waits is not modelled"
            ));
        }
        let batches = u64::from(batch);
        let prompts = self.step(Run { sequences: 1, new: prompt, past: 0 })? * batches as f64;
        // A step's time grows evenly with its context but for its tiles: Simpson's rule over the answer.
        let at = |past| self.step(Run { sequences: batches, new: 1, past });
        let token = (at(prompt)? + 4.0 * at(prompt + ANSWER / 2)? + at(context - 1)?) / 6.0;
        Ok(prompts + token * ANSWER as f64)
    }
}

/// The context in a file's name, as of `GPU_70B_16k.csv`.
fn context_of(file: &str) -> u64 {
    let stem = file.rsplit(['/', '\\']).next().unwrap_or(file).trim_end_matches(".csv");
    let word = stem.rsplit('_').next().and_then(|w| w.strip_suffix(['k', 'K']));
    word.and_then(|n| n.parse::<u64>().ok()).filter(|k| (1..=1024).contains(k)).map_or(CONTEXT, |k| k * 1024)
}

/// The values of a row of measured latencies.
pub(super) fn values(row: &Row, file: &str) -> Vec<Value> {
    let one = row.contains_key(ONE);
    let name = if one { row.get("Model").map_or("", String::as_str).to_lowercase() } else { BATCH_MODEL.to_owned() };
    let context = if one { CONTEXT } else { context_of(file) };
    let batch = if one { Ok(1) } else { whole(row, "Batch", 1..=1 << 16) };
    let column = if one { ONE } else { BATCH };
    let predicted = batch.clone().and_then(|batch| Served::new(&name)?.request(batch, context));
    let batch = batch.unwrap_or(0);
    let label = format!("{name}, batch {batch}, context {context}");
    vec![value("a100", "latency_s", &label, number(row, column), predicted)]
}

#[cfg(test)]
mod tests {
    use super::context_of;

    #[test]
    fn contexts_are_in_names_of_files() {
        for (file, context) in [
            ("GPU_70B_16k.csv", 16_384),
            ("a/b/GPU_70B_4k.csv", 4096),
            ("GPU_latency.csv", 4096),
            ("rows", 4096),
            ("x_0k.csv", 4096),
        ] {
            assert_eq!(context_of(file), context, "{file}");
        }
    }
}
