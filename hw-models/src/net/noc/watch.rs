//! What is told about a network in which nothing moves any more.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::config::NocError;

/// A virtual channel of a router's input.
pub(super) type Place = (u32, u16, u16);

/// A packet at the front of a virtual channel waits for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) at: Place,
    /// The terminal that it goes to.
    pub(super) to: u32,
    /// The output and the first of the virtual channels there that it waits for.
    pub(super) output: (u16, u16),
    /// Whether it waits for a slot of a buffer; else for a virtual channel that another packet holds.
    pub(super) for_slot: bool,
    /// The virtual channels of inputs whose packets must move first.
    pub(super) on: Vec<Place>,
}

impl Wait {
    fn told(&self) -> String {
        let ((router, input, vc), (output, out_vc)) = (self.at, self.output);
        let what = if self.for_slot { "a slot" } else { "its turn" };
        format!(
            "router {router} input {input} vc {vc} (to terminal {}) waits for {what} of output {output} vc {out_vc}",
            self.to
        )
    }
}

/// The error for a network whose flits stand still: a ring of packets that wait for one another, or the first that waits.
pub(super) fn stuck(since: u64, flits: u64, waits: &[Wait]) -> NocError {
    let by_place: BTreeMap<Place, &Wait> = waits.iter().map(|w| (w.at, w)).collect();
    let mut text = format!("deadlock: {flits} flits stand still since cycle {since}");
    let Some(ring) = ring(&by_place) else {
        if let Some(first) = waits.first() {
            let _ = write!(text, "; {}", first.told());
        }
        return NocError(text);
    };
    let _ = write!(text, "; a ring of {} packets that wait for one another:", ring.len());
    for wait in ring.iter().take(16) {
        let _ = write!(text, "\n  {}", wait.told());
    }
    if ring.len() > 16 {
        let _ = write!(text, "\n  and {} more", ring.len() - 16);
    }
    NocError(text)
}

/// A ring of waits.
fn ring<'a>(waits: &BTreeMap<Place, &'a Wait>) -> Option<Vec<&'a Wait>> {
    // Each place is gone on from once; a place that is met again on the way closes a ring.
    let mut done: BTreeMap<Place, bool> = BTreeMap::new();
    for start in waits.keys() {
        let mut way: Vec<(Place, usize)> = Vec::new();
        if done.contains_key(start) {
            continue;
        }
        way.push((*start, 0));
        done.insert(*start, false);
        while let Some((place, next)) = way.last_mut() {
            let wait = waits.get(place);
            let Some(on) = wait.and_then(|w| w.on.get(*next)).copied() else {
                done.insert(*place, true);
                way.pop();
                continue;
            };
            *next += 1;
            match done.get(&on) {
                Some(true) => {}
                Some(false) => {
                    let from = way.iter().position(|w| w.0 == on)?;
                    return Some(way[from..].iter().filter_map(|w| waits.get(&w.0).copied()).collect());
                }
                None => {
                    done.insert(on, false);
                    way.push((on, 0));
                }
            }
        }
    }
    None
}
