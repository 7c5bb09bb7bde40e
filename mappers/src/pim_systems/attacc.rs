//! AttAcc: a node of GPUs whose attention of decode runs in stacks of memory beside them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use banksia_hw::dram::{Device, catalog};
use banksia_hw::pim::queue::{QueueOutcome, QueueRules, run_apart};
use banksia_hw::roofline::node::{Cost, RooflineNode, Work};
use banksia_hw::roofline::stacks::PimStacks;
use banksia_input::InputError;

use super::attention_stream::{AttentionShape, AttentionStream, UnitLevel};
use super::operators::{Kind, Operator};
use super::transformer::{Batch, DenseModel};

/// Where attention of decode is computed.
#[derive(Debug, Clone, Copy)]
pub enum Attention<'a> {
    /// On the GPUs.
    Gpu,
    /// On the host's sockets.
    Host,
    /// In stacks.
    Stacks(Stacks<'a>),
}

/// Stacks, and what is made of them.
#[derive(Debug, Clone, Copy)]
pub struct Stacks<'a> {
    /// The stacks.
    pub stacks: &'a PimStacks,
    /// Whether the limit on power holds.
    pub limited: bool,
    /// Heads are pipelined against the products before and after attention.
    pub pipelined: bool,
    /// The units take a share of the feed-forward.
    pub feed_forward: bool,
    /// Runs that are known.
    pub runs: &'a StackRuns,
}

/// Runs of attention in a stack, each done once.
#[derive(Debug, Default)]
pub struct StackRuns(Mutex<BTreeMap<RunKey, Arc<QueueOutcome>>>);

/// The device, whether it is as the public simulator has it, and what runs on it.
type RunKey = (String, bool, [u32; 6]);

/// A priced operator of the node.
#[derive(Debug, Clone, Copy)]
pub struct Priced {
    /// The operator, one GPU's share.
    pub operator: Operator,
    /// What computes it: `GPU`, `CPU` or `PIM`.
    pub place: &'static str,
    /// Seconds, and whether arithmetic bounds them; the energy of the node.
    pub cost: Cost,
}

impl StackRuns {
    /// Attention in one stack of some heads: commands and cycles of its channels.
    ///
    /// # Errors
    /// The device cannot be used.
    pub fn attention(&self, device: &str, shape: &AttentionShape, queue: u32) -> Result<Arc<QueueOutcome>, InputError> {
        let level = shape.level as u32;
        let key = [level, shape.channels, shape.heads, shape.keys, shape.head_dim, shape.bytes];
        let key = (device.to_owned(), shape.reference, key);
        let find = || self.0.lock().ok().and_then(|known| known.get(&key).cloned());
        if let Some(known) = find() {
            return Ok(known);
        }
        let loaded = catalog::load(device)?;
        let stream = AttentionStream::new(&loaded, shape)?;
        let rows = if shape.reference { Arc::new(loaded.reference_rows()) } else { loaded };
        let rules = QueueRules { entries: queue as usize, refresh: true, closes_alone: shape.reference };
        let outcome = Arc::new(run_apart(&rows, rules, &stream));
        if let Ok(mut known) = self.0.lock() {
            known.insert(key, outcome.clone());
        }
        Ok(outcome)
    }
}

fn times(cost: Cost, n: f64) -> Cost {
    Cost { memory_pj: cost.memory_pj * n, on_chip_pj: cost.on_chip_pj * n, link_pj: cost.link_pj * n, ..cost }
}

/// One operator on the GPUs, of the node.
fn on_gpus(node: &RooflineNode, operator: &Operator) -> Priced {
    let cost = match operator.kind {
        Kind::Compute(work) => node.gpu_cost(work, &operator.sizes),
        Kind::Exchange => node.all_reduce(operator.moved_bytes()),
        Kind::Transfer => node.transfer(operator.moved_bytes(), node.link.gb_per_s),
    };
    Priced { operator: *operator, place: "GPU", cost: times(cost, f64::from(node.gpus)) }
}

/// A layer's prompt: all of it on the GPUs; keys and values go to where decode needs them.
#[must_use]
pub fn prefill(node: &RooflineNode, model: &DenseModel, batch: &Batch, apart: bool) -> Vec<Priced> {
    model.layer(batch, node.gpus, apart).iter().map(|operator| on_gpus(node, operator)).collect()
}

/// A layer's step of one new token in every sequence.
///
/// # Errors
/// The stacks' device cannot be used, or a host is asked for that the node lacks.
pub fn decode(
    node: &RooflineNode,
    model: &DenseModel,
    batch: &Batch,
    at: &Attention<'_>,
) -> Result<Vec<Priced>, InputError> {
    let layer = model.layer(batch, node.gpus, !matches!(at, Attention::Gpu));
    let attends =
        |o: &Operator| o.kind == Kind::Transfer || matches!(o.kind, Kind::Compute(Work::Products | Work::Softmax));
    let mut priced = Vec::with_capacity(layer.len());
    for operator in &layer {
        priced.push(match at {
            Attention::Host if attends(operator) => on_host(node, operator)?,
            Attention::Stacks(stacks) if attends(operator) => stacks.price(operator, batch)?,
            _ => on_gpus(node, operator),
        });
    }
    if let Attention::Stacks(stacks) = at {
        stacks.overlap(node, model, &mut priced);
        if stacks.feed_forward {
            stacks.share_feed_forward(node, batch, &mut priced);
        }
    }
    Ok(priced)
}

fn on_host(node: &RooflineNode, operator: &Operator) -> Result<Priced, InputError> {
    let host = node.host.as_ref().ok_or_else(|| {
        InputError::new(format!("node {}", node.name), "has no host to compute attention")
            .help("give it a table [host]")
    })?;
    let cost = match operator.kind {
        Kind::Compute(work) => node.host_cost(host, work, &operator.sizes),
        _ => Cost { link_pj: 0.0, ..node.transfer(operator.moved_bytes(), host.link_gb_per_s) },
    };
    Ok(Priced { operator: *operator, place: "CPU", cost })
}

impl Stacks<'_> {
    fn price(&self, operator: &Operator, batch: &Batch) -> Result<Priced, InputError> {
        let stacks = self.stacks;
        let (e, s) = (&stacks.energy, &operator.sizes);
        let cost = match operator.kind {
            Kind::Compute(Work::Softmax) => {
                let flops = Work::Softmax.flops(s);
                let bytes = 2.0 * s.m * s.n * s.count * s.bytes;
                let compute = flops / (stacks.softmax_tflop_per_s * 1e12 * (2.0 / s.bytes).floor());
                let moved = bytes / (stacks.softmax_gb_per_s * 1e9);
                Cost {
                    seconds: compute.max(moved),
                    compute_bound: compute > moved,
                    memory_pj: bytes * e.sram_pj_per_byte,
                    on_chip_pj: flops / 2.0 * e.mac_pj,
                    link_pj: 0.0,
                }
            }
            // Both products run as one stream, which is the scores'.
            Kind::Compute(_) if operator.name == "score" => self.attention(operator, batch)?,
            Kind::Compute(_) => Cost { compute_bound: true, ..Cost::default() },
            Kind::Exchange | Kind::Transfer => Cost {
                seconds: operator.moved_bytes() / (stacks.link_gb_per_s * 1e9 / 2.0),
                compute_bound: true,
                link_pj: operator.moved_bytes() * e.link_pj_per_byte,
                ..Cost::default()
            },
        };
        Ok(Priced { operator: *operator, place: "PIM", cost: times(cost, f64::from(stacks.devices)) })
    }

    fn attention(&self, operator: &Operator, batch: &Batch) -> Result<Cost, InputError> {
        let stacks = self.stacks;
        let s = &operator.sizes;
        let level: UnitLevel = stacks.units.parse()?;
        let shape = AttentionShape {
            level,
            channels: stacks.channels,
            heads: (s.count as u32).div_ceil(stacks.stacks),
            keys: batch.keys,
            head_dim: s.k as u32,
            bytes: batch.bytes,
            reference: stacks.reference,
        };
        let name = stacks.device.of(self.limited);
        let outcome = self.runs.attention(name, &shape, stacks.queue)?;
        let device = catalog::load(name)?;
        let pj = self.memory_pj(&device, &outcome, level) * f64::from(stacks.stacks);
        Ok(Cost {
            seconds: device.clock_fs as f64 * 1e-15 * outcome.cycles as f64,
            compute_bound: true,
            memory_pj: pj,
            on_chip_pj: Work::Products.flops(s) / 2.0 * stacks.energy.mac_pj,
            link_pj: 0.0,
        })
    }

    /// Energy of a stack's banks and ways.
    fn memory_pj(&self, device: &Device, outcome: &QueueOutcome, level: UnitLevel) -> f64 {
        let e = &self.stacks.energy;
        let count = |name: &str| {
            device.command(name).and_then(|c| outcome.commands.get(usize::from(c.0))).map_or(0.0, |n| *n as f64)
        };
        // Bytes of one pseudo-channel's column; a request reads it from so many banks of the channel.
        let column = 32.0;
        let (macs, banks) = match level {
            UnitLevel::Bank => (count("MACAB"), 64.0),
            UnitLevel::BankGroup => (count("MACSB"), 16.0),
            UnitLevel::Buffer => (count("MACPB"), 2.0),
        };
        let (loads, moves) = (count("WRGB"), count("WRGB") + count("MVSB") + count("MVGB"));
        // The simulator multiplies what is by bit with bytes.
        let bits = if self.stacks.reference { 1.0 } else { 8.0 };
        let way = e.tsv_pj_per_bit + e.global_pj_per_bit + e.bank_pj_per_bit;
        let ways = loads * column * e.interposer_pj_per_bit + moves * column * way;
        ways * bits + macs * banks * column * e.cell_pj_per_bit * 8.0
    }

    /// What runs at the same time: of the transfers, and of the products beside attention, all but one head's share is hidden behind what takes longer.
    fn overlap(&self, node: &RooflineNode, model: &DenseModel, layer: &mut [Priced]) {
        let sum = |layer: &[Priced], names: &[&str]| -> f64 {
            layer.iter().filter(|p| names.contains(&p.operator.name)).map(|p| p.cost.seconds).sum()
        };
        let one = f64::from(node.gpus) / f64::from(model.heads);
        let attention = sum(layer, &["score", "context", "softmax"]);
        let (mut qkv, mut proj, mut moved) = (sum(layer, &["qkv"]), sum(layer, &["proj"]), sum(layer, &["comm_x2g"]));
        let products = qkv + proj;
        if self.pipelined && attention > products {
            qkv *= one;
            proj *= one;
        }
        if self.pipelined && attention <= products {
            if products > moved {
                moved *= one;
                qkv -= attention * (1.0 - one) * 0.75;
                proj -= attention * (1.0 - one) * 0.25;
            } else {
                moved -= attention * (1.0 - one);
                qkv *= one;
                proj *= one;
            }
        } else if attention > moved {
            moved *= one;
        } else {
            moved -= attention * (1.0 - one);
        }
        for p in layer {
            match p.operator.name {
                "qkv" => p.cost.seconds = qkv,
                "proj" => p.cost.seconds = proj,
                "comm_x2g" => p.cost.seconds = moved / 2.0,
                // The simulator hides all of the softmax. The last heads' cannot be hidden: nothing is left to run beside it.
                "softmax" => p.cost.seconds *= if self.stacks.reference { 0.0 } else { one },
                _ => {}
            }
        }
    }

    /// The units take a share of the feed-forward's products, by their rate beside the GPUs'.
    fn share_feed_forward(&self, node: &RooflineNode, batch: &Batch, layer: &mut [Priced]) {
        let rate = self.stacks.stack_gb_per_s * 1e9 * self.stacks.gain.of(self.limited) * f64::from(self.stacks.stacks);
        let gain = rate / node.memory_rate();
        for p in layer.iter_mut().filter(|p| p.operator.name.starts_with("ff")) {
            let (own, theirs) = if p.cost.compute_bound {
                (node.compute_rate(), node.memory_rate() / f64::from(batch.bytes) * 2.0 * gain)
            } else {
                (node.memory_rate(), node.memory_rate() * gain / f64::from(batch.sequences))
            };
            p.cost.seconds *= own / (own + theirs);
        }
    }
}
