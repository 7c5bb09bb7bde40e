//! The tables of an experiment on a published system.

use schemars::JsonSchema;
use serde::Deserialize;

/// An experiment on a published system, by its own simulator's rules.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishedFile {
    /// What reports and sweeps call it. The file's name where absent.
    pub(crate) name: Option<String>,
    /// Of every random stream; these systems have none.
    #[serde(default)]
    pub(crate) seed: u64,
    /// The system.
    pub(crate) published: Settings,
    /// What is computed.
    pub(crate) workload: PublishedWorkload,
}

/// A published system and its settings.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Whose simulator.
    pub(crate) system: Published,
    /// The node of GPUs: `dgx-a100-hbm3` or `dgx-h100` for AttAcc, `pimba-a100`, `pimba-h100` or `pimba-b200` for Pimba.
    pub(crate) node: String,
    /// GPUs of the node; as many as its file says where absent.
    pub(crate) gpus: Option<u32>,
    /// AttAcc: the stacks that compute attention of decode, `attacc-bank`, `attacc-bank-group` or `attacc-buffer`; the GPUs where absent.
    pub(crate) stacks: Option<String>,
    /// AttAcc: whether the limit on the stacks' power holds.
    #[serde(default = "yes")]
    pub(crate) power_limit: bool,
    /// AttAcc: whether heads are pipelined against the products beside attention.
    #[serde(default)]
    pub(crate) pipelined: bool,
    /// AttAcc: whether the units take a share of the feed-forward.
    #[serde(default)]
    pub(crate) feed_forward: bool,
    /// Pimba: the design of the units, `Pimba`, `Pipelined`, `Time-multiplexed` or `HBM-PIM`; GPUs alone where absent.
    pub(crate) design: Option<String>,
    /// Pimba: bytes of a number of a state, 1 or 2.
    #[serde(default = "two")]
    pub(crate) state_bytes: u32,
    /// Whether what the public simulator is known to have wrong is kept.
    #[serde(default = "yes")]
    pub(crate) reference: bool,
}

fn yes() -> bool {
    true
}

fn two() -> u32 {
    2
}

/// A system whose public simulator is reproduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Published {
    /// AttAcc (Park et al., ASPLOS 2024): dense transformers, their attention of decode in stacks of memory.
    Attacc,
    /// Pimba (Kim et al., MICRO 2025): recurrent models, their states updated in the GPU's memory.
    Pimba,
}

/// What is computed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishedWorkload {
    /// A model of that simulator, by its name there.
    pub(crate) model: String,
    /// Prompt, tokens and batch.
    pub(crate) generation: PublishedGeneration,
}

/// How the model is used.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishedGeneration {
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: u32,
    /// Tokens that are generated, of which the prompt's pass gives the first.
    pub(crate) generated_tokens: u32,
    /// Sequences at once.
    #[serde(default = "one")]
    pub(crate) batch: u32,
}

fn one() -> u32 {
    1
}
