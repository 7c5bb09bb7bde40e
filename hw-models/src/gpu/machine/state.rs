//! What the machine keeps of its SMs, barriers and roles, and what a vector op costs.

use super::super::instructions::InstructionCache;
use super::super::lanes::Lanes;
use super::super::program::{Dtype, LOOP_DEPTH, MAX_BARRIERS, Op, VectorWork};
use super::super::spec::SmSpec;
use super::super::units::{Server, hash};

/// How often the clock follows the load.
pub(super) const EPOCH_FS: u64 = 1_000_000_000;
/// After the last matrix instruction the clock stays low for so long (device measurement: bursts 5 to 32 us apart).
pub(super) const TENSOR_HOLD_FS: u64 = 4_800_000_000;

pub(super) const RING: usize = 32;
pub(super) const GROUPS: usize = 4;

#[derive(Debug, Clone, Default)]
pub(super) struct SmUnits {
    pub(super) tensor: Server,
    pub(super) lanes: Lanes,
    pub(super) code: InstructionCache,
    /// The data path of L1 and shared memory: loads, stores, `cp.async`, operands of matrix instructions.
    pub(super) lsu: Server,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct BarrierState {
    pub(super) published: u32,
    pub(super) arrived: u32,
    pub(super) latest: u64,
    pub(super) times: [u64; RING],
    pub(super) waiting: u8,
}

pub(super) const FREE: BarrierState =
    BarrierState { published: 0, arrived: 0, latest: 0, times: [0; RING], waiting: 0 };

#[derive(Debug, Clone, Copy)]
pub(super) struct RoleState {
    pub(super) pc: u16,
    pub(super) depth: u8,
    pub(super) item: u32,
    /// Which of its cluster's CTAs it is of.
    pub(super) member: u8,
    /// Items begun after the first.
    pub(super) turn: u32,
    pub(super) counters: [u32; LOOP_DEPTH],
    pub(super) trips: [u32; LOOP_DEPTH],
    pub(super) starts: [u16; LOOP_DEPTH],
    pub(super) waits: [u32; MAX_BARRIERS],
    pub(super) groups: [u64; GROUPS],
    pub(super) issued: u32,
    /// When its stores have left the SM, and when they are in L2.
    pub(super) left: u64,
    pub(super) stored: u64,
}

impl RoleState {
    /// When the last group of products that it has issued is done.
    pub(super) fn last_group(&self) -> u64 {
        if self.issued == 0 { 0 } else { self.groups[(self.issued as usize - 1) % GROUPS] }
    }

    /// Remembers when another is done.
    pub(super) fn issue(&mut self, done: u64) {
        self.groups[self.issued as usize % GROUPS] = done;
        self.issued += 1;
    }
}

pub(super) const IDLE: RoleState = RoleState {
    pc: 0,
    depth: 0,
    item: 0,
    member: 0,
    turn: 0,
    counters: [0; LOOP_DEPTH],
    trips: [0; LOOP_DEPTH],
    starts: [0; LOOP_DEPTH],
    waits: [0; MAX_BARRIERS],
    groups: [0; GROUPS],
    issued: 0,
    left: 0,
    stored: 0,
};

/// Cycles that one execution of a vector op takes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct VectorCost {
    /// Of the unit that it needs longest, with the SM to itself.
    pub(super) work: f64,
    /// Of the data path.
    pub(super) shared: f64,
    /// At least, whatever else runs; and its share of by how much steps differ between CTAs.
    pub(super) least: f64,
    pub(super) spread: f64,
    /// Its code, as the instruction cache knows it, and the code's bytes.
    pub(super) section: u16,
    pub(super) code_bytes: u32,
}

/// A group of matrix instructions as a role issues it.
pub(super) struct Product {
    pub(super) dtype: Dtype,
    pub(super) shape: [u32; 3],
    /// Through the synchronous path, with so many other warp instructions between.
    pub(super) sync: Option<f64>,
}

/// What such a group takes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ProductCost {
    pub(super) fma: f64,
    pub(super) weighted_fma: f64,
    /// Cycles of the matrix units; of them the last instruction's, by warpgroups only; and what they are at least for these warps.
    pub(super) cycles: f64,
    pub(super) last: f64,
    pub(super) alone: f64,
    /// Cycles of the data path that operands take, by warpgroups.
    pub(super) operands: f64,
    /// Cycles of issue slots that are held, and lanes of the other instructions, through the synchronous path.
    pub(super) held: f64,
    pub(super) other_lanes: f64,
}

/// What an op takes, as far as that is known before the launch.
#[derive(Debug, Clone, Copy)]
pub(super) enum OpCost {
    Vector(VectorCost),
    Product(ProductCost),
    Other,
}

/// Bytes of a kernel's code that its ops name, each section once.
pub(super) fn code_bytes(costs: &[Vec<OpCost>]) -> u64 {
    let mut sections: Vec<(u16, u32)> = costs
        .iter()
        .flatten()
        .filter_map(|c| match c {
            OpCost::Vector(v) if v.code_bytes > 0 => Some((v.section, v.code_bytes)),
            _ => None,
        })
        .collect();
    sections.sort_unstable();
    sections.dedup();
    sections.iter().map(|(_, bytes)| u64::from(*bytes)).sum()
}

/// What a vector op of a role of so many warps costs.
pub(super) fn vector_cost(
    sm: &SmSpec,
    v: &VectorWork,
    warps: f64,
    at: usize,
    sections: &mut Vec<(usize, VectorWork)>,
) -> VectorCost {
    let section = if v.code_bytes == 0 {
        0
    } else if let Some(i) = sections.iter().position(|&(pc, ref w)| pc == at && w == v) {
        // Roles of the same program run the same code.
        i
    } else {
        sections.push((at, *v));
        sections.len() - 1
    };
    // FMA between integer instructions take some of their dispatch.
    let beside = if v.alu > 0.0 { (v.fma / v.alu).min(1.0) } else { 0.0 };
    let alu_lanes = sm.alu_lanes + (sm.alu_lanes_beside_fma - sm.alu_lanes) * beside;
    VectorCost {
        work: (v.issue / sm.issue_per_cycle).max(v.fma / sm.fma_lanes).max(v.alu / alu_lanes).max(v.sfu / sm.sfu_lanes),
        shared: v.shared_bytes / sm.shared_bytes_per_cycle,
        // A warp issues one instruction a cycle at most, and less where the next needs the last one's result.
        least: v.latency_cycles.max(v.issue / warps * (1.0 + v.stall)),
        spread: v.spread,
        section: section as u16,
        code_bytes: v.code_bytes,
    }
}

/// By how many cycles the steps of CTAs differ on SMs that have so many at most.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Paces {
    /// By chance, either way, at most.
    chance: f64,
    /// By the order in which CTAs came to their SM.
    order: [f64; 4],
}

impl Paces {
    pub(super) fn of(sm: &SmSpec, ctas: u32) -> Self {
        let order = match ctas {
            ..=2 => [0.0; 4],
            3 => {
                let [a, b, c] = sm.step_order_of_three_cycles;
                [a, b, c, c]
            }
            _ => sm.step_order_of_four_cycles,
        };
        // An even distribution reaches so many standard deviations.
        Self { chance: sm.step_spread_cycles[ctas.clamp(1, 4) as usize - 1] * 3f64.sqrt(), order }
    }

    /// Cycles that a step of a work item is longer in the CTA that came to its SM as this one; the same in every launch.
    pub(super) fn late(&self, item: u32, came: usize) -> f64 {
        let drawn = (hash(u64::from(item)) >> 32) as f64 / f64::from(1u32 << 31) - 1.0;
        self.chance * drawn + self.order[came.min(3)]
    }
}

pub(super) fn skip_loop(ops: &[Op], state: &mut RoleState) {
    let mut open = 1;
    while open > 0 {
        match ops.get(usize::from(state.pc)) {
            Some(Op::Loop(_)) => open += 1,
            Some(Op::End) => open -= 1,
            None => return,
            _ => {}
        }
        state.pc += 1;
    }
}
