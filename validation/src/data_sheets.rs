//! Rows of GPUs that are known from data sheets and published microbenchmarks alone (`docs/new-gpus.md`). They belong to their suite where its
//! device is asked for by name, and say what a chip that nobody has measured costs in accuracy; no bound is held to them.

/// The GPUs.
const DEVICES: [&str; 3] = ["a40", "b200", "l40s"];

/// A suite's rows of them, in the columns of its own.
fn file(suite: &str) -> Option<&'static str> {
    match suite {
        "gemm" => Some(include_str!("../../tests/reference/gpu/new_gpus_gemm.csv")),
        "context-attention" => Some(include_str!("../../tests/reference/gpu/new_gpus_context_attention.csv")),
        "generation-attention" => Some(include_str!("../../tests/reference/gpu/new_gpus_generation_attention.csv")),
        _ => None,
    }
}

/// The rows that stand for a suite's own when this device is asked for.
pub(crate) fn rows(suite: &str, device: Option<&str>) -> Option<&'static str> {
    device.filter(|d| DEVICES.contains(d)).and_then(|_| file(suite))
}
