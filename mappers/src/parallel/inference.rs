//! Inference over tensor-parallel devices: a prompt, and steps of decode, in the ways of Ladder-residual (arXiv 2501.06589).

use serde::{Deserialize, Serialize};

use super::compile::{Compiler, Part};
use super::ends::local_vocab;
use super::error::ParallelError;
use super::lists::Context;
use super::op::{Axis, Class, Comm, CommKind, HostWork, Item, LocalOp};
use super::settings::{Parallel, Train};
use super::shape::Shape;
use super::simulate::Machine;

/// How the parts of a layer follow each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Residual {
    /// Each part waits for the sum of the one before.
    #[default]
    Standard,
    /// A part reads the residual without the sum of the part before, which goes beside it (arXiv 2501.06589).
    Ladder,
    /// Attention and feed-forward part read the same, and are summed together (GPT-J, PaLM).
    Parallel,
    /// Nothing is summed: what communication costs.
    NoCommunication,
}

/// A batch of requests that are generated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// Sequences.
    pub batch: u32,
    /// Tokens of each prompt.
    pub prompt: u32,
    /// Tokens generated after it.
    pub generated: u32,
}

/// What requests take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct InferenceReport {
    /// Seconds of the prompt's step.
    pub prompt_s: f64,
    /// Seconds of a step of decode, over the whole cache.
    pub decode_s: f64,
    /// Generated tokens of all sequences over all seconds.
    pub tokens_per_s: f64,
    /// Seconds of a step of decode that collectives take if nothing hides them.
    pub communication_s: f64,
}

/// Requests on tensor-parallel devices.
///
/// # Errors
/// The device cannot run an operator, or the machine has no such group.
pub fn infer(
    shape: &Shape,
    machine: &mut Machine<'_>,
    tp: u32,
    residual: Residual,
    requests: Requests,
) -> Result<InferenceReport, ParallelError> {
    if tp == 0 || !shape.heads.is_multiple_of(tp) {
        let problem = format!("is {tp}, which does not divide the model's heads ({})", shape.heads);
        return Err(ParallelError::new("parallel.tp", problem));
    }
    let parallel = Parallel { tp, ..Parallel::default() };
    let train = Train { micro_batch: requests.batch, sequence: requests.prompt, ..Train::default() };
    let software = machine.software;
    let context = Context { shape, parallel: &parallel, train: &train, software: &software };
    let mut compiler = Compiler {
        context,
        operators: &mut *machine.operators,
        collectives: machine.collectives,
        gpu: machine.gpu,
        without: None,
    };
    // The cache is as long as it will get: frameworks that replay graphs attend to all of it, under a mask.
    let cache = requests.prompt + requests.generated;
    let prompt = step(&mut compiler, residual, [requests.prompt, requests.prompt])?;
    let decode = step(&mut compiler, residual, [1, cache])?;
    let (prompt_s, decode_s) = (prompt.map.span(), decode.map.span());
    let tokens = f64::from(requests.batch) * f64::from(requests.generated);
    Ok(InferenceReport {
        prompt_s,
        decode_s,
        tokens_per_s: tokens / (prompt_s + decode_s * f64::from(requests.generated)),
        communication_s: decode.tally.seconds[Class::TensorComm as usize],
    })
}

/// A step: new tokens of each sequence, and keys that they see.
fn step(compiler: &mut Compiler<'_>, residual: Residual, [new, keys]: [u32; 2]) -> Result<Part, ParallelError> {
    let c = compiler.context;
    let layer = compiler.part(&layer(&c, residual, [new, keys]))?;
    let mut all = compiler.part(&ends(&c))?;
    all.then(&layer, c.shape.layers);
    Ok(all)
}

fn row(read: u64, written: u64) -> Item {
    Item::Run(LocalOp::Stream { read, written }, Class::Rows, HostWork::Forward)
}

/// Embedding, and the head for the last token of each sequence.
fn ends(c: &Context<'_>) -> Vec<Item> {
    let (h, batch) = (u64::from(c.shape.hidden), u64::from(c.train.micro_batch));
    let head = LocalOp::product(batch, local_vocab(c), h, c.wide_dtype());
    vec![
        row(2 * batch * h, 2 * batch * h),
        row(2 * batch * h, 2 * batch * h),
        Item::Run(head, Class::Ends, HostWork::Forward),
    ]
}

fn layer(c: &Context<'_>, residual: Residual, [new, keys]: [u32; 2]) -> Vec<Item> {
    let s = c.shape;
    let h = u64::from(s.hidden);
    let tokens = u64::from(c.train.micro_batch) * u64::from(new);
    let dtype = c.wide_dtype();
    let sum = Comm { kind: CommKind::AllReduce, axis: Axis::Tensor, bytes: 2 * tokens * h };
    let product = |class: Class, n: u64, k: u64| super::lists::product(class, [tokens, n, k], dtype);
    let (q, kv) = (c.per_tp(s.query_width()), c.per_tp(s.kv_width()).max(u64::from(s.head_dim)));
    let norm = || row(2 * tokens * h, 2 * tokens * h);
    let mut attention = vec![norm(), product(Class::Qkv, q + 2 * kv, h)];
    // Rotation, and keys and values into the cache.
    attention.push(row(2 * tokens * (q + 2 * kv), 2 * tokens * (q + 2 * kv)));
    if new == 1 {
        // Decode is bound by the cache's bytes; a second kernel sums its parts.
        let cache = 4 * u64::from(c.train.micro_batch) * u64::from(keys) * kv;
        attention.push(Item::Run(LocalOp::Stream { read: cache, written: 0 }, Class::Attention, HostWork::Forward));
        attention.push(Item::Small(1, Class::Attention, HostWork::Forward));
    } else {
        let small = |v: u64| u32::try_from(v.max(1)).unwrap_or(u32::MAX);
        let op = LocalOp::Attention {
            batch: c.train.micro_batch,
            heads: small(q / u64::from(s.head_dim)),
            kv_heads: small(kv / u64::from(s.head_dim)),
            queries: new,
            keys,
            head_dim: s.head_dim,
            causal: true,
            backward: false,
            dtype,
        };
        attention.push(Item::Run(op, Class::Attention, HostWork::Forward));
    }
    attention.push(product(Class::Projection, h, q));
    let inner = c.per_tp(u64::from(s.ffn));
    let ups = if s.gated { 2 } else { 1 };
    let feed_forward = vec![
        norm(),
        product(Class::FfnIn, inner * ups, h),
        row(2 * tokens * inner * ups, 2 * tokens * inner),
        product(Class::FfnOut, h, inner),
    ];
    let class = Class::TensorComm;
    let mut items = attention;
    match residual {
        Residual::Standard => {
            items.push(Item::Comm(sum, class));
            items.extend(feed_forward);
            items.push(Item::Comm(sum, class));
        }
        Residual::Ladder => {
            // The sum of the part before is waited for when this part has ended, and its own goes off.
            items.push(Item::Join);
            items.push(Item::Beside(sum, class));
            items.extend(feed_forward);
            items.push(Item::Join);
            items.push(Item::Beside(sum, class));
        }
        Residual::Parallel => {
            items.extend(feed_forward.into_iter().skip(1));
            items.push(Item::Comm(sum, class));
        }
        Residual::NoCommunication => items.extend(feed_forward),
    }
    items
}
