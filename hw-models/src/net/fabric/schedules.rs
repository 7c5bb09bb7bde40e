//! Schedules of collectives: ring, trees, halving and doubling, direct, hierarchical, in the switch.
//!
//! Sizes are those of nccl-tests ([`Collective`]); every generator's schedules pass [`super::replay::replay`], a property test says.

mod direct;
mod halving;
mod hierarchical;
mod ring;
mod switch;
mod tree;

pub use direct::{all_to_all, direct, send};
pub use halving::halving_doubling;
pub use hierarchical::hierarchical;
pub use ring::{ring, ring_orders};
pub use switch::in_switch;
pub use tree::double_tree;

use super::group::Collective;
use super::schedule::{Mode, Schedule, Step, Transfer};

/// One chunk, or several, from one end to another.
const fn transfer(src: u32, dst: u32, first: u32, count: u32, mode: Mode) -> Transfer {
    Transfer { src, dst, first, count, mode }
}

const fn once(transfers: Vec<Transfer>) -> Step {
    Step { transfers, repeat: 1, rotate: 0, window: 0 }
}

/// A schedule of equal chunks.
fn equal(collective: Collective, ranks: u32, chunks: u32, bytes: u64, steps: Vec<Step>) -> Schedule {
    let each = bytes as f64 / f64::from(chunks.max(1));
    let chunk_bytes = vec![each; chunks as usize];
    let steps = steps.into_iter().filter(|s| !s.transfers.is_empty() && s.repeat > 0).collect();
    Schedule { collective, ranks, agents: 0, root: 0, peer: ranks.saturating_sub(1), chunk_bytes, steps }
}

/// What a generator is not for.
fn not_for(what: &str, collective: Collective) -> String {
    format!("has no {what} for {collective:?}")
}
