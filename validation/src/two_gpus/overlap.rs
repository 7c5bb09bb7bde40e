//! A product, or an attention, beside a collective: two streams of a graph.

use banksia_hw::gpu::sampling::Detail;
use banksia_hw::gpu::{Gpu, LaunchOptions, PeerLink, Together};
use banksia_hw::net::collective::algorithm::{Op, channels};
use banksia_hw::net::collective::links::Fabric;
use banksia_mappers::gpu::attention::Attention;
use banksia_mappers::gpu::collective::ring;
use banksia_mappers::gpu::launch::{Launch, Operand};
use banksia_mappers::gpu::streams::Streams;

use super::arguments::argument;
use super::collective::{links, operator};
use crate::gpus::Devices;
use crate::replay;
use crate::rows::SIDE;
use crate::streams::{FORK_S, attention, product, replayed};

const RANKS: u32 = 2;
/// Pairs of a product and a collective in a row.
const PAIRS: usize = 8;

/// Replays of one graph before the median one: the first call, two to warm up, three of the seven that are timed; and when the power controller has acted.
const REPLAYS_BEFORE: f64 = 6.0;
const CONTROLLER_S: f64 = 25e-3;
/// Rounds in which the clock settles.
const SETTLING: usize = 3;

/// A collective as a kernel of NCCL's.
fn kernel(f: &Fabric, op: Op, bytes: u64) -> Launch {
    let launch_us = if op.is_point_to_point() { f.latency.p2p_launch_us } else { f.latency.launch_us };
    // The last slice comes after one that overlaps nothing.
    let setup_us = launch_us + f.latency.slice_us;
    let kernel = ring(op, RANKS, bytes, channels(f, op, bytes), setup_us * 1e3);
    Launch::new(kernel, ["sent", "received", "channels"].map(Operand::own))
}

/// Two streams: some of `compute`, and some of `exchange`, at once and alone.
struct Pair<'a> {
    gpu: &'a mut Gpu,
    fabric: Fabric,
    options: LaunchOptions,
    compute: Vec<Launch>,
    exchange: Launch,
}

impl Pair<'_> {
    fn new<'a>(
        devices: &'a mut Devices,
        detail: Detail,
        exchange: (Op, u64),
        compute: impl FnOnce(&mut Gpu) -> Result<Vec<Launch>, String>,
    ) -> Result<Pair<'a>, String> {
        let gpu = devices.get("h200")?;
        let fabric = links()?;
        let peer = PeerLink {
            bytes_per_s: fabric.wire_bytes_per_s(),
            // Fence, counter and poll of a slice.
            latency_ns: fabric.latency.slice_us * 1e3,
        };
        let options = LaunchOptions { grain_bytes: detail.grain_bytes, peer: Some(peer), ..LaunchOptions::default() };
        let exchange = kernel(&fabric, exchange.0, exchange.1);
        Ok(Pair { compute: compute(gpu)?, gpu, fabric, options, exchange })
    }

    /// Microseconds of so many of each in their streams.
    fn us(&mut self, compute: usize, exchange: usize) -> Result<f64, String> {
        let gap_s = self.gpu.spec().launch.graph_gap_us * 1e-6;
        // What PyTorch's own stream adds comes before the kernel.
        let torch_s = self.fabric.torch.graph_us * 1e-6;
        let mut streams = Streams::default();
        let mut last = None;
        for _ in 0..compute {
            let first = if last.is_none() { FORK_S } else { gap_s };
            last = streams.chain(&self.compute, "", last.as_slice(), first, gap_s);
        }
        let mut last = None;
        for _ in 0..exchange {
            last = Some(streams.push(&self.exchange, "", last.as_slice(), torch_s));
        }
        let calls = compute.max(exchange).max(PAIRS) as f64;
        let together = self.settled(&streams, calls / compute.max(exchange).max(1) as f64)?;
        Ok((together.span_s + gap_s + replay::START_S / calls) * 1e6)
    }

    /// A run of the streams in a loop: where it lasts until the power controller acts, at the clock that keeps the limit.
    fn settled(&mut self, streams: &Streams, times: f64) -> Result<Together, String> {
        let power = self.gpu.spec().power.clone();
        let mut options = self.options.clone();
        let mut run = replayed(self.gpu, streams, &options)?;
        for _ in 0..SETTLING {
            let watts = run.energy.total_j() / run.span_s;
            let lasts = run.span_s * times * REPLAYS_BEFORE > CONTROLLER_S;
            if !lasts || (watts <= power.limit_w && options.clock_limit_mhz.is_infinite()) {
                break;
            }
            // Switching power goes with the cube of the clock, or nearly.
            let ratio = ((power.limit_w - power.active_idle_w) / (watts - power.active_idle_w).max(1.0)).cbrt();
            options.clock_limit_mhz = (run.clock_mhz * ratio).clamp(power.min_clock_mhz, self.gpu.spec().sm_clock_mhz);
            run = replayed(self.gpu, streams, &options)?;
        }
        Ok(run)
    }
}

/// Microseconds: one of each at once, the product alone, the collective alone, and eight of each for a pair.
pub(super) fn beside(op: &str, args: &str, devices: &mut Devices, detail: Detail) -> Result<Vec<f64>, String> {
    let side = |key| argument(args, key, u64::from(*SIDE.end())).map(|n| n.max(1) as u32);
    let (sizes, bytes) = ([side("m")?, side("n")?, side("k")?], argument(args, "bytes", 1 << 33)?.max(1));
    let mut pair = Pair::new(devices, detail, (operator(op)?, bytes), |gpu| product(gpu, sizes, detail))?;
    let many = pair.us(PAIRS, PAIRS)? / PAIRS as f64;
    Ok(vec![pair.us(1, 1)?, pair.us(1, 0)?, pair.us(0, 1)?, many])
}

/// A step of ring attention over two GPUs: attention over the keys and values that are here, while the other half travels.
pub(super) fn ring_attention(args: &str, devices: &mut Devices, detail: Detail) -> Result<Vec<f64>, String> {
    let get = |key, most| argument(args, key, most).map(|n| n.max(1) as u32);
    let (tokens, heads, head_dim) = (get("l", 1 << 20)?, get("h", 4096)?, get("d", 256)?);
    let a = Attention {
        batch: 1,
        heads,
        kv_heads: heads,
        queries: tokens,
        keys: tokens,
        head_dim,
        causal: false,
        ..Attention::default()
    };
    // Keys and values, of two bytes.
    let bytes = 4 * u64::from(tokens) * u64::from(heads) * u64::from(head_dim);
    let mut pair = Pair::new(devices, detail, (Op::Exchange, bytes), |gpu| attention(&a, gpu))?;
    Ok(vec![pair.us(1, 1)?, pair.us(1, 0)?, pair.us(0, 1)?])
}
