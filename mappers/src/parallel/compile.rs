//! From lists of items to maps of clocks: each item gets its time, and its bytes and operations are counted.

use banksia_hw::gpu::GpuSpec;

use super::error::ParallelError;
use super::lists::Context;
use super::maxplus::{COMPUTE, DATA, NETWORK, Segment};
use super::op::{Axis, Class, Comm, CommKind, HostWork, Item, LocalOp};
use super::power::limited_seconds;
use super::times::{CollectiveTimes, CommCost, OpCost, OperatorTimes, Placed};

/// What a list takes and moves.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Seconds on the device or a link, by class.
    pub seconds: [f64; Class::COUNT],
    /// Operations.
    pub flops: f64,
    /// Joules of switching at the boost clock, by class.
    pub joules: [f64; Class::COUNT],
    /// Joules of device memory, by class.
    pub memory_joules: [f64; Class::COUNT],
    /// Kernels and collectives, by class.
    pub times: [f64; Class::COUNT],
    /// Seconds of matrix units.
    pub tensor_s: f64,
    /// Bytes that the rank sends within its node.
    pub node_bytes: f64,
    /// Bytes that it sends to other nodes.
    pub network_bytes: f64,
    /// Seconds of the host.
    pub host_s: f64,
}

impl Tally {
    /// With another so many times over.
    #[must_use]
    pub fn plus(mut self, other: &Self, times: f64) -> Self {
        for (mine, theirs) in [
            (&mut self.seconds, &other.seconds),
            (&mut self.joules, &other.joules),
            (&mut self.memory_joules, &other.memory_joules),
            (&mut self.times, &other.times),
        ] {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                *mine += times * theirs;
            }
        }
        self.flops += times * other.flops;
        self.tensor_s += times * other.tensor_s;
        self.node_bytes += times * other.node_bytes;
        self.network_bytes += times * other.network_bytes;
        self.host_s += times * other.host_s;
        self
    }

    /// Joules of switching and of device memory, of all classes.
    pub fn energy_j(&self) -> f64 {
        self.joules.iter().zip(&self.memory_joules).map(|(switching, memory)| switching + memory).sum()
    }

    /// Seconds of everything but communication.
    pub fn compute_s(&self) -> f64 {
        Class::ALL.iter().zip(self.seconds).filter(|(c, _)| !c.is_communication()).map(|(_, s)| s).sum()
    }
}

/// A map, and what it stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Part {
    /// Clocks.
    pub map: Segment,
    /// Sums.
    pub tally: Tally,
}

impl Part {
    /// This, and then another so many times.
    pub fn then(&mut self, other: &Self, times: u32) {
        let repeated = if times == 1 { other.map } else { other.map.times(times) };
        self.map = self.map.then(&repeated);
        self.tally = self.tally.plus(&other.tally, f64::from(times));
    }
}

/// Turns lists into maps.
pub struct Compiler<'a> {
    /// Sizes.
    pub context: Context<'a>,
    /// Times of operators.
    pub operators: &'a mut dyn OperatorTimes,
    /// Times of collectives.
    pub collectives: &'a dyn CollectiveTimes,
    /// The device, whose power limit kernels keep.
    pub gpu: &'a GpuSpec,
    /// Communication of this class takes no time: what is left is what it exposes.
    pub without: Option<Class>,
}

impl Compiler<'_> {
    /// A list as a map.
    ///
    /// # Errors
    /// The device cannot run an operator, or the machine has no such group.
    pub fn part(&mut self, items: &[Item]) -> Result<Part, ParallelError> {
        let host = self.context.software.host;
        let graphs = self.context.software.graphs;
        let mut part = Part::default();
        let work = |part: &mut Part, what: HostWork, times: f64| {
            if !graphs {
                let seconds = times * host.seconds(what);
                part.map.host(seconds);
                part.tally.host_s += seconds;
            }
        };
        for item in items {
            match *item {
                Item::Run(op, class, what) => {
                    work(&mut part, what, 1.0);
                    let cost = self.operators.cost(&op)?;
                    let seconds = limited_seconds(self.gpu, &cost) + host.gap_us * 1e-6;
                    part.map.kernel(seconds);
                    add(&mut part.tally, &op, &cost, class, seconds);
                }
                Item::Small(kernels, class, what) => {
                    let cost = self.operators.cost(&LocalOp::Stream { read: 4096, written: 4096 })?;
                    for _ in 0..kernels {
                        work(&mut part, what, 1.0);
                        let seconds = cost.seconds + host.gap_us * 1e-6;
                        part.map.kernel(seconds);
                        part.tally.seconds[class as usize] += seconds;
                        part.tally.times[class as usize] += 1.0;
                    }
                }
                Item::Comm(comm, class) => {
                    work(&mut part, HostWork::Collective, 1.0);
                    let (seconds, _) = self.comm(&mut part.tally, comm, class)?;
                    part.map.blocking(seconds);
                }
                Item::Awaited(comm, class) => {
                    let (seconds, _) = self.comm(&mut part.tally, comm, class)?;
                    part.map.awaited(DATA, seconds);
                }
                Item::Beside(comm, class) | Item::BesideReplicas(comm, class) => {
                    work(&mut part, HostWork::Collective, 1.0);
                    let (seconds, sms) = self.comm(&mut part.tally, comm, class)?;
                    let of_replicas = matches!(item, Item::BesideReplicas(..));
                    part.map.beside(if of_replicas { DATA } else { NETWORK }, seconds);
                    // Its CTAs hold SMs that products beside it lack for as long.
                    let share = f64::from(sms) / f64::from(self.gpu.sms()).max(1.0);
                    part.map.lost(seconds * share.min(1.0));
                }
                Item::Join => part.map.wait(COMPUTE, NETWORK),
                Item::JoinReplicas => part.map.wait(COMPUTE, DATA),
                Item::Host(what, times) => work(&mut part, what, f64::from(times)),
            }
        }
        Ok(part)
    }

    /// Counts a collective; returns its seconds, and the SMs that it holds.
    fn comm(&self, tally: &mut Tally, comm: Comm, class: Class) -> Result<(f64, u32), ParallelError> {
        let cost = self.cost(comm)?;
        tally.node_bytes += cost.node_bytes;
        tally.network_bytes += cost.network_bytes;
        let seconds = if self.without == Some(class) { 0.0 } else { cost.seconds };
        tally.times[class as usize] += 1.0;
        tally.seconds[class as usize] += seconds;
        Ok((seconds, cost.sms))
    }

    /// What a collective takes; nothing among one rank.
    ///
    /// # Errors
    /// The machine has no such group.
    pub fn cost(&self, comm: Comm) -> Result<CommCost, ParallelError> {
        let placed = self.placed(comm.axis);
        let alone = comm.kind != CommKind::Send && placed.ranks() < 2;
        if alone || comm.bytes == 0 {
            return Ok(CommCost::default());
        }
        let placed =
            if comm.kind == CommKind::Send && comm.axis != Axis::Pipeline { neighbours(placed) } else { placed };
        self.collectives.cost(comm.kind, placed, comm.bytes)
    }

    /// Where the ranks of a group are: tensor-parallel ranks beside each other, then context, data, and pipeline stages furthest apart.
    pub fn placed(&self, axis: Axis) -> Placed {
        let p = self.context.parallel;
        let node = self.collectives.gpus_per_node().max(1);
        let (tp, cp, dp) = (p.tp.max(1), p.cp.max(1), p.dp.max(1));
        let etp = p.expert_tensor().max(1);
        // Without folding an expert's ranks are data-parallel ones.
        let expert_stride = if p.expert_tp == 0 || p.expert_tp == tp { tp * cp } else { etp };
        let expert = (expert_stride.min(tp * cp * dp / p.ep.max(1)).max(1), p.ep.max(1));
        let (stride, ranks) = match axis {
            Axis::Tensor => (1, tp),
            Axis::Context => (tp, cp),
            Axis::Data => (tp, cp * dp),
            Axis::Expert | Axis::ExpertNode | Axis::ExpertRail => expert,
            Axis::ExpertTensor => (1, etp),
            Axis::ExpertData => (etp * p.ep.max(1), p.expert_data()),
            Axis::Outer => (p.inner_ranks().max(1), p.outer.max(1)),
            Axis::Pipeline => (tp * cp * dp, 2),
        };
        let used = node.min(p.ranks());
        let ranks_per_node = (used / stride).clamp(1, ranks);
        let nodes = ranks.div_ceil(ranks_per_node);
        match axis {
            Axis::ExpertNode => Placed { ranks_per_node, nodes: 1, concurrent: (used / ranks_per_node).max(1) },
            Axis::ExpertRail => Placed { ranks_per_node: 1, nodes, concurrent: used.max(1) },
            _ => Placed { ranks_per_node, nodes, concurrent: (used / ranks_per_node).max(1) },
        }
    }
}

/// Two of a group that are next to each other, as far apart as any two neighbours are: a ring waits for its slowest link.
fn neighbours(placed: Placed) -> Placed {
    if placed.nodes > 1 {
        Placed { ranks_per_node: 1, nodes: 2, concurrent: placed.concurrent }
    } else {
        Placed { ranks_per_node: 2, nodes: 1, concurrent: placed.concurrent }
    }
}

fn add(tally: &mut Tally, op: &LocalOp, cost: &OpCost, class: Class, seconds: f64) {
    tally.seconds[class as usize] += seconds;
    tally.flops += op.flops();
    tally.joules[class as usize] += cost.joules;
    tally.memory_joules[class as usize] += cost.memory_joules;
    tally.tensor_s += cost.seconds * cost.tensor_busy;
    tally.times[class as usize] += 1.0;
}
