//! A kernel of a step, as `map` shows it.

use serde::Serialize;

/// A kernel as `banksia map` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// The operator.
    pub operator: String,
    /// Times that the step runs it.
    pub count: u64,
    /// The kernel, with its tile.
    pub kernel: String,
    /// CTAs.
    pub grid: u32,
    /// Threads of each.
    pub threads: u32,
    /// Shared memory of each.
    pub shared_bytes: u32,
    /// CTAs of a cluster.
    pub cluster: u32,
    /// CTAs that fit one SM.
    pub ctas_per_sm: u32,
    /// Rounds of work items over the CTAs that run at once.
    pub waves: u32,
    /// What the search's estimate says, for a product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate_s: Option<f64>,
    /// What simulation says of it by itself, its inputs found in L2 and its weights not, with the gap to the next kernel.
    pub latency_s: f64,
}
