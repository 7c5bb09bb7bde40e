//! A token through all blocks: latency, throughput, energy and power.

use super::accounting::Accounting;
use super::energy::{EnergyBreakdown, PimRun, device_energy};
use super::file::{CommandUse, CxlMachine};
use super::link::Traffic;
use super::units::UnitsWork;
use crate::dram::Device;

/// How a model lies over devices, and what its blocks ask of units and links.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenWork {
    /// Blocks of the model.
    pub layers: u64,
    /// Devices of the machine.
    pub devices: u64,
    /// Devices that hold something.
    pub used_devices: u64,
    /// Stages in which different tokens are at once.
    pub stages: u64,
    /// Blocks side by side on a device, which run in step, each with its own token.
    pub blocks_a_device: u64,
    /// Transfers of a token's state to the next stage's device.
    pub hops: u64,
    /// Elements of that state.
    pub hop_elements: u64,
    /// What the units do for one block.
    pub units: UnitsWork,
    /// What the devices of one block send one another, and to the next stage.
    pub traffic: Traffic,
}

/// What the channels did for one block.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockRun {
    /// On the device that has the caches; of all its blocks, where there are several.
    pub main: PimRun,
    /// On each of the others that share the matrices.
    pub partner: Option<PimRun>,
    /// For the embedding's matrices and the last norm.
    pub embedding: PimRun,
}

/// Times, energies and power of one token.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenCost {
    /// The channels, in one block.
    pub pim_s: f64,
    /// The links, in one block.
    pub link_s: f64,
    /// The units, in one block: of all tokens that are on the device at once.
    pub units_s: f64,
    /// One block.
    pub block_s: f64,
    /// The embedding's matrices.
    pub embedding_s: f64,
    /// A token, from the last one's choice to its own.
    pub token_s: f64,
    /// Tokens of all stages.
    pub tokens_per_s: f64,
    /// Of one token, by cause.
    pub energy: EnergyBreakdown,
    /// Of all devices.
    pub power_w: f64,
    /// Share of devices that hold something.
    pub utilization: f64,
}

/// Puts a token together.
///
/// The artifact's departures: every block is followed by a transfer, even to a block of the same device; the throughput of stages with an
/// uneven number of blocks is as if they were even; power is a token's energy over the time of the channels alone.
pub fn token_cost(
    machine: &CxlMachine,
    device: &Device,
    uses: &[CommandUse],
    work: &TokenWork,
    run: &BlockRun,
    accounting: Accounting,
) -> TokenCost {
    let layers = work.layers as f64;
    let units_s = machine.units.seconds(&work.units, accounting) * work.blocks_a_device as f64;
    let link_s = machine.link.seconds(&work.traffic, work.devices, accounting);
    let pim_s = run.main.seconds;
    let block_s = pim_s + link_s + units_s;
    let embedding_s = run.embedding.seconds;
    let hop = Traffic { devices: 1, broadcasts: Vec::new(), gathers: Vec::new(), passed: vec![work.hop_elements] };
    let (hops, hop_s) = (work.hops as f64, machine.link.seconds(&hop, work.devices, accounting));
    let token_s = block_s * layers + hop_s * hops + embedding_s + machine.host.sampling_ms * 1e-3;
    // The slowest stage has the most blocks; the host and the embedding are a stage of their own.
    let stage_blocks = (layers / work.stages as f64).ceil();
    let stage_s = (block_s * stage_blocks + hop_s).max(embedding_s).max(machine.host.sampling_ms * 1e-3);
    let tokens_per_s =
        accounting.either(work.stages as f64 / token_s, (1.0 / stage_s).min(work.stages as f64 / token_s));
    let standing = accounting.either(pim_s, block_s);
    let of = |pim: &PimRun| device_energy(machine, device, uses, pim, &work.units, standing, accounting);
    let partners = work.traffic.devices.saturating_sub(1) as f64;
    let main = of(&run.main);
    let links_j = machine.link.joules(&work.traffic, accounting);
    let none = EnergyBreakdown::default();
    let mut block = match &run.partner {
        // The units of partners have no work; the artifact charges them with it.
        Some(partner) => {
            let idle = UnitsWork { norms: 0, partial_sums: 0, scores: 0, heads: 0, rotated: 0, ..work.units };
            let units = accounting.either(work.units, idle);
            device_energy(machine, device, uses, partner, &units, standing, accounting).times_plus(partners, &main)
        }
        None => main,
    };
    block.links_j += match accounting {
        Accounting::Artifact => links_j * (1.0 + partners),
        Accounting::Device => links_j,
    };
    // Blocks side by side ran together, each for a token of its own: one token passes through all devices.
    let side_by_side = work.blocks_a_device > 1;
    let passes = if side_by_side { work.used_devices as f64 } else { layers };
    let mut energy = block.times_plus(passes, &none);
    energy.links_j += machine.link.joules(&hop, accounting) * hops;
    let power_w = match accounting {
        Accounting::Artifact => {
            let at_once = if work.stages == work.layers { work.used_devices as f64 } else { work.stages as f64 };
            block.total_j() * at_once / pim_s
        }
        Accounting::Device => energy.total_j() * tokens_per_s,
    };
    TokenCost {
        pim_s,
        link_s,
        units_s,
        block_s,
        embedding_s,
        token_s,
        tokens_per_s,
        energy,
        power_w,
        utilization: work.used_devices as f64 / work.devices as f64,
    }
}
