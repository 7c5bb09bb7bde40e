//! Over which ranks a row's model lies.

use banksia_workloads::model::Mixer;

use super::models::Served;
use crate::rows::{Row, number};

/// Ranks of a row: as `[parallel]` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// Tensor parallel.
    pub(super) tp: u32,
    /// Expert parallel.
    pub(super) ep: u32,
}

/// GPUs of a node of the machines that rows are of.
const NODE: u32 = 8;

impl Placed {
    /// Of a row.
    ///
    /// # Errors
    /// It has ranks of a kind that is not modelled.
    pub(super) fn of(row: &Row, served: &Served) -> Result<Self, String> {
        let text = |key: &str| row.get(key).map_or("", |t| t.trim());
        if !matches!(text("mode"), "" | "agg") {
            return Err("prefill and decode on GPUs of their own are not modelled".into());
        }
        let ranks = |key: &str| -> Result<u32, String> {
            if text(key).is_empty() { Ok(1) } else { Ok(number(row, key)?.max(1.0) as u32) }
        };
        if ranks("pp_size")? > 1 {
            return Err("a server's pipeline is not modelled".into());
        }
        if ranks("attention_dp_size")? > 1 {
            return Err("replicas of a server that exchange tokens are not modelled".into());
        }
        let tp = ranks("tp_size")?;
        if tp > NODE {
            return Err("servers of several nodes are not modelled".into());
        }
        let mixture = served.model.mixers().any(|(m, _)| matches!(m, Mixer::Experts(_)));
        let ep = if mixture { ranks("moe_ep_size")? } else { 1 };
        if !tp.is_multiple_of(ep) {
            return Err(format!("{ep} ranks of experts do not divide {tp} of tensors"));
        }
        Ok(Self { tp, ep })
    }

    /// The cluster of the catalog whose nodes have such GPUs.
    pub(super) fn cluster(gpu: &str) -> Result<&'static str, String> {
        match gpu {
            "h100" => Ok("h100-eos"),
            "h200" => Ok("h200"),
            "b200" => Ok("b200"),
            "a100" => Ok("a100-selene"),
            other => Err(format!("nodes of {other} are not modelled")),
        }
    }
}
