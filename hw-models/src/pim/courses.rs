//! What has been learnt of a pattern: from which state an iteration takes which course.
//!
//! Refresh comes between iterations only, so the course of an iteration depends on nothing but the channel's state relative to
//! the time and the row at which it begins. A course once taken is therefore exact whenever that state comes again, on any
//! channel of the device, at any time and in any row.

use crate::dram::Cycle;
use crate::dram::channel::RelativeState;

/// The most starts kept for a pattern; beyond them, iterations are worked out.
const MOST: usize = 48;

/// One iteration's course, from a state in which it may begin.
#[derive(Debug, Clone)]
pub(super) struct Course {
    /// The state in which it ends, relative to its end and to the next iteration's row.
    pub end: RelativeState,
    /// That state as a start, where it is kept as one.
    pub next: Option<u32>,
    /// Cycles from its beginning to its end.
    pub period: Cycle,
    /// Issues of each command.
    pub counts: Vec<u64>,
    /// Cycles for which some bank of a standby node was open.
    pub active: Cycle,
    /// Accesses of one bank to a column.
    pub accesses: u64,
    /// Those among them for which the row had to be opened.
    pub misses: u64,
    /// Cycles after its end until its last effect is complete.
    pub done_after_end: Cycle,
}

#[derive(Debug, Clone)]
struct Start {
    state: RelativeState,
    course: Option<Course>,
}

/// The courses of one pattern on one device.
#[derive(Debug, Clone, Default)]
pub struct Courses {
    starts: Vec<Start>,
    /// Signatures of the starts' states, side by side: they are searched at every instruction.
    signatures: Vec<u64>,
}

impl Courses {
    /// The start that a state is; a new one is added while there is room.
    pub(super) fn start(&mut self, state: &RelativeState) -> Option<u32> {
        let signature = state.signature();
        let same = |(i, known): (usize, &u64)| *known == signature && self.starts[i].state == *state;
        let found = self.signatures.iter().enumerate().position(same);
        if found.is_none() && self.starts.len() < MOST {
            self.starts.push(Start { state: state.clone(), course: None });
            self.signatures.push(signature);
            return Some(self.starts.len() as u32 - 1);
        }
        found.map(|i| i as u32)
    }

    /// The course from a start, where one has been taken.
    pub(super) fn course(&self, start: u32) -> Option<&Course> {
        self.starts[start as usize].course.as_ref()
    }

    /// A course has been taken from a start.
    pub(super) fn learn(&mut self, start: u32, course: Course) {
        self.starts[start as usize].course = Some(course);
    }
}
