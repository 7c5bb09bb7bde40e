//! Channels that have become alike again: simulated as one from there on.
//!
//! Accesses to single channels set channels apart by a few cycles; instructions for all of them, whose answers the host waits for, let those differences pass.
//! Two lanes are put together when everything that their next command depends on is equal, relative to the present; what one of them did more than the other
//! is kept by channel, so that counts stay exact.

use std::collections::BTreeMap;

use super::isa_lane::Lane;
use super::outcome::ChannelsOutcome;
use crate::dram::Cycle;
use crate::dram::channel::RelativeState;
use crate::program::ChannelSet;

/// Blocking instructions between two looks at lanes that have not become alike.
const PATIENCE: u32 = 4;

/// What a channel did beyond what its lane did.
#[derive(Debug, Clone, PartialEq)]
struct Excess {
    counts: Vec<i64>,
    touched: Vec<i64>,
    active: i64,
    busy: i64,
}

impl Excess {
    fn between(this: &Lane, other: &Lane, now: Cycle) -> Self {
        let less = |a: &[u64], b: &[u64]| a.iter().zip(b).map(|(a, b)| *a as i64 - *b as i64).collect();
        Self {
            counts: less(this.channel.counts(), other.channel.counts()),
            touched: less(this.tally.touched(), other.tally.touched()),
            active: this.channel.active_cycles(now) as i64 - other.channel.active_cycles(now) as i64,
            busy: this.busy as i64 - other.busy as i64,
        }
    }

    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        self.touched.iter_mut().zip(&other.touched).for_each(|(a, b)| *a += b);
        self.active += other.active;
        self.busy += other.busy;
    }
}

/// What one channel did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Did {
    /// Issues of each command.
    pub(super) counts: Vec<u64>,
    /// Cycles in which a row was open.
    pub(super) active: Cycle,
    /// Cycles at work.
    pub(super) busy: Cycle,
}

/// Puts lanes together.
#[derive(Debug, Clone, Default)]
pub(super) struct Merger {
    excess: BTreeMap<u32, Excess>,
    waited: u32,
    states: Vec<RelativeState>,
    state: RelativeState,
}

impl Merger {
    /// Whether to look now: after every few instructions that the host waited for.
    pub(super) fn is_due(&mut self, lanes: usize) -> bool {
        self.waited += 1;
        if lanes < 2 || self.waited < PATIENCE {
            return false;
        }
        self.waited = 0;
        true
    }

    /// Puts lanes that are alike from `now` on together; when they ended what they did matters from `ends` on. Whether any were.
    pub(super) fn merge(&mut self, lanes: &mut Vec<Lane>, now: Cycle, ends: Cycle) -> bool {
        let before = lanes.len();
        let mut kept: Vec<Lane> = Vec::with_capacity(before);
        let (mut states, mut state) = (std::mem::take(&mut self.states), std::mem::take(&mut self.state));
        states.resize_with(before, RelativeState::default);
        for lane in lanes.drain(..) {
            lane.channel.relative_state(now, 0, &mut state);
            let alike = kept.iter().zip(&states).position(|(k, s)| *s == state && alike(k, &lane, now, ends));
            match alike.and_then(|place| kept.get_mut(place)) {
                Some(into) => self.absorb(into, &lane, now),
                None => {
                    if let Some(slot) = states.get_mut(kept.len()) {
                        std::mem::swap(slot, &mut state);
                    }
                    kept.push(lane);
                }
            }
        }
        (self.states, self.state) = (states, state);
        *lanes = kept;
        lanes.len() < before
    }

    fn absorb(&mut self, into: &mut Lane, lane: &Lane, now: Cycle) {
        let excess = Excess::between(lane, into, now);
        for channel in lane.members.iter() {
            self.excess.entry(channel).and_modify(|e| e.add(&excess)).or_insert_with(|| excess.clone());
        }
        into.members = into.members.or(&lane.members);
        into.pending = into.pending.max(lane.pending);
    }

    /// What the channels of a lane did.
    pub(super) fn outcomes(&self, lane: Lane, cycles: Cycle) -> Vec<ChannelsOutcome> {
        let whole = ChannelsOutcome {
            members: ChannelSet::EMPTY,
            counts: lane.channel.counts().to_vec(),
            active_cycles: lane.channel.active_cycles(cycles),
            touched: lane.tally.touched().to_vec(),
            commands: Vec::new(),
        };
        let plus = |a: &[u64], b: &[i64]| a.iter().zip(b).map(|(a, b)| a.saturating_add_signed(*b)).collect();
        let mut all: Vec<ChannelsOutcome> = Vec::new();
        for channel in lane.members.iter() {
            let one = match self.excess.get(&channel) {
                None => whole.clone(),
                Some(e) => ChannelsOutcome {
                    counts: plus(&whole.counts, &e.counts),
                    touched: plus(&whole.touched, &e.touched),
                    active_cycles: whole.active_cycles.saturating_add_signed(e.active),
                    ..whole.clone()
                },
            };
            match all
                .iter_mut()
                .find(|o| (&o.counts, &o.touched, o.active_cycles) == (&one.counts, &one.touched, one.active_cycles))
            {
                Some(same) => same.members = same.members.or(&ChannelSet::one(channel)),
                None => all.push(ChannelsOutcome { members: ChannelSet::one(channel), ..one }),
            }
        }
        let kept = lane.tally.into_commands();
        if let Some(first) = all.first_mut() {
            first.commands = kept;
        }
        all
    }

    /// What a channel of a lane did until a cycle.
    pub(super) fn did(&self, lane: &Lane, channel: u32, now: Cycle) -> Did {
        let counts = lane.channel.counts();
        let (active, busy) = (lane.channel.active_cycles(now), lane.busy);
        match self.excess.get(&channel) {
            None => Did { counts: counts.to_vec(), active, busy },
            Some(e) => Did {
                counts: counts.iter().zip(&e.counts).map(|(a, b)| a.saturating_add_signed(*b)).collect(),
                active: active.saturating_add_signed(e.active),
                busy: busy.saturating_add_signed(e.busy),
            },
        }
    }

    /// Cycles at work of channels beyond their lanes, all of them together.
    pub(super) fn excess_busy(&self) -> i64 {
        self.excess.values().map(|e| e.busy).sum()
    }

    /// What channels did beyond their lanes, of each command.
    pub(super) fn excess_counts(&self, counts: &mut [u64]) {
        for excess in self.excess.values() {
            for (total, n) in counts.iter_mut().zip(&excess.counts) {
                *total = total.saturating_add_signed(*n);
            }
        }
    }
}

/// Whether nothing that comes can tell two lanes apart whose channels are in the same state.
fn alike(a: &Lane, b: &Lane, now: Cycle, ends: Cycle) -> bool {
    let later = |cycle: Cycle| cycle.max(now);
    let same_taken =
        a.taken.len() == b.taken.len() && a.taken.iter().zip(&b.taken).all(|(x, y)| later(*x) == later(*y));
    a.accesses.is_empty()
        && b.accesses.is_empty()
        && !a.tally.keeps_commands()
        && !b.tally.keeps_commands()
        && a.registers == b.registers
        && a.writing == b.writing
        && a.refresh_due == b.refresh_due
        && a.busy_until.max(ends) == b.busy_until.max(ends)
        && later(a.next) == later(b.next)
        && a.pending.max(ends) == b.pending.max(ends)
        && later(a.instructed) == later(b.instructed)
        && same_taken
}
