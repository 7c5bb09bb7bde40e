//! How the servers and loads of the rows were set up.
//!
//! Rows whose source names a day's export or a dump are InferenceMAX's: `benchmarks/*_h200*.sh` give its servers' settings, `bench_serving` its load.
//! The others are aiconfigurator's own runs: its generator writes the servers' settings (`generator/rule_plugin/benchmark/*.rule`), its runner
//! (`eval/benchmarks/genai_perf_runner.py`) is the load.

use banksia_experiments::serving::load::{Engine, Lengths};
use banksia_workloads::model::Mixer;

use super::models::Served;
use super::taken::Taken;

/// Requests of a run for each that is in flight: `--request-count` of aiconfigurator's runner and `--num-prompts` of InferenceMAX are ten times the
/// concurrency.
const ROUNDS: usize = 10;
/// InferenceMAX draws lengths from so much of the nominal one (`--random-range-ratio 0.8`) to all of it.
const SHORTEST_PERCENT: u64 = 80;
/// Tokens that enter in a step beside those of one prompt, and of each sequence: `max_num_tokens = max_batch_size + isl + 1500` of aiconfigurator's rules.
const BESIDE_A_PROMPT: u64 = 1500;
/// Most tokens that enter in a step: `max-num-batched-tokens` of InferenceMAX's vLLM, `chunked_prefill_size` of SGLang by itself on GPUs of this size.
const BUDGET: u64 = 8192;
/// What SGLang keeps from weights and cache (`server_args.py`): 1.5 MB for each token of its budget, 512 MB, and 2 MB for each of 256 sequences in graphs.
const SGLANG_RESERVE: f64 = (1.5 * BUDGET as f64 + 512.0 + 512.0) * 1_048_576.0;

/// What a GPU has, and what the model takes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Bytes of a GPU.
    pub(super) capacity: f64,
    /// Of its weights.
    pub(super) weights: f64,
    /// Of a token's keys and values, those that one GPU keeps.
    pub(super) cache_share: f64,
}

impl Taken {
    /// Lengths of the requests of a run, in the order in which they are sent.
    pub(super) fn requests(self, isl: u64, osl: u64, at_once: u32) -> Vec<Lengths> {
        let mut state = 1u64;
        let mut draw = |longest: u64| {
            if self == Self::Aiconfigurator {
                return longest;
            }
            // Knuth's linear congruences; the high bits.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let least = (longest * SHORTEST_PERCENT / 100).max(1);
            least + (state >> 33) % (longest - least + 1)
        };
        (0..ROUNDS * at_once as usize).map(|_| (draw(isl), draw(osl))).collect()
    }

    /// Mean lengths of those.
    pub(super) fn means(self, isl: u64, osl: u64) -> Lengths {
        let mean = |longest: u64| match self {
            Self::Aiconfigurator => longest,
            Self::InferenceMax => (longest * (100 + SHORTEST_PERCENT) / 200).max(1),
        };
        (mean(isl), mean(osl))
    }

    /// How the framework forms steps, where weights leave memory for the cache.
    ///
    /// # Errors
    /// Weights leave none.
    pub(super) fn engine(
        self,
        served: &Served,
        memory: Memory,
        nominal: Lengths,
        at_once: u64,
    ) -> Result<Engine, String> {
        let Memory { capacity, weights, cache_share } = memory;
        let theirs = self == Self::InferenceMax;
        let mixture = served.model.mixers().any(|(m, _)| matches!(m, Mixer::Experts(_)));
        let (budget, share) = match (served.framework, self) {
            // `--max_num_tokens` and `free_gpu_memory_fraction` of its scripts.
            ("trtllm", Self::InferenceMax) if mixture => (20_000, 0.85),
            ("trtllm", Self::InferenceMax) => (16_384, 0.9),
            (_, Self::InferenceMax) => (BUDGET, 0.9),
            ("sglang", Self::Aiconfigurator) => (BUDGET.min(nominal.0 + BESIDE_A_PROMPT), 0.9),
            // Its template for the version of the rows gives the cache 0.8.
            ("trtllm", Self::Aiconfigurator) => (at_once + nominal.0 + BESIDE_A_PROMPT, 0.8),
            (_, Self::Aiconfigurator) => (at_once + nominal.0 + BESIDE_A_PROMPT, 0.9),
        };
        let (chunked, reserves, cache) = match served.framework {
            // Of what weights leave; `GUARANTEED_NO_EVICT`.
            "trtllm" => (false, true, share * (capacity - weights)),
            // `gpu_memory_utilization`.
            "vllm" => (true, false, share * capacity - weights),
            _ => (true, false, capacity - SGLANG_RESERVE - weights),
        };
        // SGLang gives prompts steps of their own unless it is asked to mix them in, as aiconfigurator does (`enable_mixed_chunk`).
        let mixed = served.framework != "sglang" || !theirs;
        if cache <= 0.0 {
            return Err("weights do not fit in one GPU".into());
        }
        // `batch_wait_max_tokens_ratio: 0.9` and `batch_wait_timeout_iters: 20` for a thousand tokens in and out.
        let holds = theirs && !mixture && served.framework == "trtllm" && nominal == (1024, 1024);
        let hold = if holds { (budget * 9 / 10, 20) } else { (0, 0) };
        let per_token = served.model.kv_bytes_per_token().max(1) as f64 * cache_share;
        Ok(Engine { budget, chunked, mixed, reserves, room: (cache / per_token) as u64, most: u64::MAX, hold })
    }
}
