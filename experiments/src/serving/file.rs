//! The table `[serving]` as it is written: which requests come, when, and how the engine forms steps of them.

use schemars::JsonSchema;
use serde::Deserialize;

/// Most requests of a load.
pub(super) const MOST_REQUESTS: u64 = 1 << 20;
/// Most tokens of a prompt or an answer.
pub(super) const MOST_TOKENS: u64 = 1 << 30;

/// Requests that are served, and the engine that forms steps of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServingFile {
    /// Requests that are served: 100 where absent, or all of a trace.
    pub(super) requests: Option<u64>,
    /// Requests that are kept in flight: each answer is followed by the next request. One of `concurrency`, `rate_per_s` and `trace` is given.
    pub(super) concurrency: Option<u64>,
    /// Requests that come in a second, in the mean, whether or not others have been answered.
    pub(super) rate_per_s: Option<f64>,
    /// How those of `rate_per_s` come.
    #[serde(default)]
    pub(super) arrivals: Process,
    /// A CSV file with a row a request, beside the experiment: `arrival_s`, `prompt_tokens`, `output_tokens`.
    pub(super) trace: Option<String>,
    /// Tokens of a prompt; required without a trace.
    pub(super) prompt_tokens: Option<u64>,
    /// Tokens of an answer; required without a trace.
    pub(super) output_tokens: Option<u64>,
    /// Lengths are drawn evenly from `1 - spread` of their nominal value to all of it; 0 for all alike.
    #[serde(default)]
    pub(super) spread: f64,
    /// How the engine forms steps.
    #[serde(default)]
    pub(super) engine: EngineFile,
    /// Within which a request counts as served well.
    #[serde(default)]
    pub(super) limits: Limits,
}

/// How requests of a rate come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Process {
    /// Independently of each other: gaps are exponentially distributed.
    #[default]
    Poisson,
    /// At equal intervals.
    Constant,
}

/// When a request is let in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Admission {
    /// When its prompt has room in the cache; the last one in leaves where room ends, and begins again (vLLM, SGLang).
    #[default]
    Prompt,
    /// When its whole length has (TensorRT-LLM's GUARANTEED_NO_EVICT).
    Whole,
}

/// How the engine forms steps. Where nothing is said: vLLM's own values (version 0.11, for one large GPU).
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EngineFile {
    /// Most tokens that enter in a step.
    pub(super) token_budget: u64,
    /// A prompt that does not fit in what is left of the budget enters in part.
    pub(super) chunked: bool,
    /// Prompts enter beside the tokens of sequences that decode; else in steps of their own, before those.
    pub(super) mixed: bool,
    /// When a request is let in.
    pub(super) admission: Admission,
    /// Most sequences that are in at once.
    pub(super) max_sequences: u64,
    /// Share of the machine's memory for weights, states and the cache.
    pub(super) memory_share: f64,
    /// Tokens that the cache has room for, in place of what `memory_share` and the weights leave.
    pub(super) cache_tokens: Option<u64>,
}

impl Default for EngineFile {
    fn default() -> Self {
        Self {
            token_budget: 8192,
            chunked: true,
            mixed: true,
            admission: Admission::Prompt,
            max_sequences: 256,
            memory_share: 0.9,
            cache_tokens: None,
        }
    }
}

/// Within which a request counts as served well; none where absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// To the first token.
    pub(super) ttft_ms: Option<f64>,
    /// From one token to the next, in the mean over a request.
    pub(super) tpot_ms: Option<f64>,
}
