//! What a flit's way costs: energy by hop from the counts of what flits did.
//!
//! A flit is written into a buffer and read from it at each router, crosses the crossbar there, takes part in two allocations, and goes
//! over a wire to the next router or terminal. Each of these has an energy a bit; the wire's goes with its length.

use banksia_input::{InputError, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::topology::Topology;

/// Energies and sizes. The defaults are round figures of the order that published models give at 45 nm, and marked as assumed: what is
/// built gives its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Energy {
    /// Bits of a flit.
    pub flit_bits: f64,
    /// Energy of writing a bit into a buffer.
    pub buffer_write_pj_per_bit: f64,
    /// Energy of reading a bit from a buffer.
    pub buffer_read_pj_per_bit: f64,
    /// Energy of a bit through the crossbar.
    pub crossbar_pj_per_bit: f64,
    /// Energy of the allocations of a flit at a router.
    pub allocation_pj_per_flit: f64,
    /// Energy of a bit over a millimetre of wire.
    pub link_pj_per_bit_mm: f64,
    /// Length of wire that a flit passes in a cycle of a link.
    pub link_mm_per_cycle: f64,
    /// Power of a router that does nothing.
    pub router_static_mw: f64,
    /// The network's clock.
    pub clock_ghz: f64,
    /// Where these are from.
    pub source: String,
}

impl Default for Energy {
    fn default() -> Self {
        Energy {
            flit_bits: 128.0,
            buffer_write_pj_per_bit: 0.03,
            buffer_read_pj_per_bit: 0.03,
            crossbar_pj_per_bit: 0.06,
            allocation_pj_per_flit: 0.2,
            link_pj_per_bit_mm: 0.1,
            link_mm_per_cycle: 1.0,
            router_static_mw: 0.0,
            clock_ghz: 1.0,
            source: "assumed".to_owned(),
        }
    }
}

/// Energy of the flits of a measurement, by what they did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EnergyUse {
    /// Buffers written and read.
    pub buffers_j: f64,
    /// Crossbars.
    pub crossbars_j: f64,
    /// Allocations.
    pub allocations_j: f64,
    /// Wires.
    pub links_j: f64,
    /// Routers' static power over the time.
    pub static_j: f64,
    /// All of it.
    pub total_j: f64,
    /// All but the static part, for a flit and router that it passed.
    pub per_flit_hop_pj: f64,
    /// All of it for a bit that arrived.
    pub per_bit_pj: f64,
}

impl Energy {
    /// Refuses what is no energy.
    pub(super) fn check(&self, source: &Source) -> Result<(), InputError> {
        let all = [
            ("flit_bits", self.flit_bits),
            ("buffer_write_pj_per_bit", self.buffer_write_pj_per_bit),
            ("buffer_read_pj_per_bit", self.buffer_read_pj_per_bit),
            ("crossbar_pj_per_bit", self.crossbar_pj_per_bit),
            ("allocation_pj_per_flit", self.allocation_pj_per_flit),
            ("link_pj_per_bit_mm", self.link_pj_per_bit_mm),
            ("link_mm_per_cycle", self.link_mm_per_cycle),
            ("router_static_mw", self.router_static_mw),
        ];
        for (key, value) in all {
            source.check(&format!("energy.{key}"), value, 0.0..=1e6)?;
        }
        source.check("energy.clock_ghz", self.clock_ghz, 1e-3..=1e3)?;
        Ok(())
    }

    /// The energy of what routers' outputs sent over some cycles.
    pub fn of(&self, topology: &Topology, link_flits: &[u64], cycles: u64) -> EnergyUse {
        let pj = 1e-12;
        let ends = topology.routers.iter().flat_map(|r| &r.outputs);
        let (mut hops, mut wire, mut arrived) = (0.0, 0.0, 0.0);
        for (end, flits) in ends.zip(link_flits) {
            let flits = *flits as f64;
            hops += flits;
            // A link that takes one cycle for its switch alone is a cycle long all the same.
            wire += flits * f64::from(end.latency) * self.link_mm_per_cycle;
            arrived += if end.terminal { flits } else { 0.0 };
        }
        // Sources' links are as long as those to terminals.
        wire += arrived * self.link_mm_per_cycle;
        let bits = self.flit_bits;
        let buffers_j = hops * bits * (self.buffer_write_pj_per_bit + self.buffer_read_pj_per_bit) * pj;
        let crossbars_j = hops * bits * self.crossbar_pj_per_bit * pj;
        let allocations_j = hops * self.allocation_pj_per_flit * pj;
        let links_j = wire * bits * self.link_pj_per_bit_mm * pj;
        let seconds = cycles as f64 / (self.clock_ghz * 1e9);
        let static_j = topology.routers.len() as f64 * self.router_static_mw * 1e-3 * seconds;
        let dynamic = buffers_j + crossbars_j + allocations_j + links_j;
        let total_j = dynamic + static_j;
        let per = |energy: f64, count: f64| if count > 0.0 { energy / count / pj } else { 0.0 };
        EnergyUse {
            buffers_j,
            crossbars_j,
            allocations_j,
            links_j,
            static_j,
            total_j,
            per_flit_hop_pj: per(dynamic, hops),
            per_bit_pj: per(total_j, arrived * bits),
        }
    }
}
