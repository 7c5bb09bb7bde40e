//! Devices that use one memory at once: what the one has of the memory's pins the other waits for.
//!
//! Each device is run as if the memory were its own. A channel's pins carry one burst at a time, so that a kernel which ran beside units of
//! the banks ends no sooner than its own bytes and theirs have passed: what does not fit into the time that it took by itself is added to it. The units
//! go first. Bursts are taken to find the gaps between one another, as they do under a controller that holds requests of many banks: no more than the
//! sum is asked for, and waits of single requests are not seen.

use banksia_sim::{Elapsed, EventQueue, Time};

use super::executor::Executor;

/// The memory that devices use at once.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Devices that use it, by place.
    sharing: Vec<bool>,
    /// Instructions whose ends were put off.
    late: EventQueue<u32>,
    /// By how much, in all.
    waited: Elapsed,
}

impl Beside {
    /// Of devices by place.
    pub(super) fn new(count: usize, devices: &[usize]) -> Self {
        let mut sharing = vec![false; count];
        devices.iter().for_each(|d| sharing[*d] = true);
        Self { sharing, ..Self::default() }
    }

    /// Whether any memory is used at once.
    pub(super) fn is_used(&self) -> bool {
        self.sharing.contains(&true)
    }

    /// When an instruction of a device really ends, that would at `end` were the memory its own. It is kept until then where that is later.
    pub(super) fn put_off(
        &mut self,
        executors: &mut [Box<dyn Executor>],
        device: usize,
        instruction: u32,
        end: Time,
    ) -> bool {
        if !self.sharing.get(device).copied().unwrap_or(false) {
            return false;
        }
        let Some((length, own)) = executors[device].pins_of(instruction) else { return false };
        let begin = end.saturating_sub(length);
        let others = executors.iter_mut().enumerate().filter(|(i, _)| *i != device && self.sharing[*i]);
        let theirs = others.fold(Time::ZERO, |sum, (_, e)| sum.saturating_add(e.pins_between(begin, end)));
        let extra = own.saturating_add(theirs).saturating_sub(length);
        if theirs == Time::ZERO || extra == Time::ZERO {
            return false;
        }
        // Never more than what the others had of the pins: by itself the instruction fitted.
        let extra = extra.min(theirs);
        self.waited.add(extra);
        self.late.push(end.saturating_add(extra), instruction);
        true
    }

    /// When the next of those ends.
    pub(super) fn next(&mut self) -> Option<Time> {
        self.late.peek_time()
    }

    /// One that has ended by now.
    pub(super) fn ended(&mut self, now: Time) -> Option<(Time, u32)> {
        self.late.peek_time().filter(|t| *t <= now)?;
        self.late.pop()
    }

    /// Time that instructions waited for pins.
    pub(super) fn waited(&self) -> Elapsed {
        self.waited
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::outcome::Outcome;
    use crate::program::Program;
    use crate::system::{Books, RunError, Share};

    /// A device that has held the pins for a while, and one instruction of it.
    struct Fake {
        length: u64,
        pins: u64,
        first: bool,
    }

    impl Executor for Fake {
        fn load(&mut self, _: &Arc<Program>, _: Share<'_>, _: Time) -> Result<(), RunError> {
            Ok(())
        }
        fn release(&mut self, _: u32, _: Time) -> Result<(), RunError> {
            Ok(())
        }
        fn next(&mut self) -> Option<Time> {
            None
        }
        fn advance(&mut self, _: Time, _: &mut Vec<(Time, u32)>) -> Result<(), RunError> {
            Ok(())
        }
        fn unfinished(&self) -> usize {
            0
        }
        fn waits(&self) -> Vec<String> {
            Vec::new()
        }
        fn end_step(&mut self, _: Time) -> f64 {
            0.0
        }
        fn granule(&self) -> Option<Time> {
            None
        }
        fn move_epoch(&mut self, _: Time) {}
        fn books(&mut self, _: Time) -> Books {
            Books::default()
        }
        fn metrics(&self, _: &Outcome) -> BTreeMap<String, f64> {
            BTreeMap::new()
        }
        fn pins_of(&self, _: u32) -> Option<(Time, Time)> {
            (!self.first).then_some((Time::from_fs(self.length), Time::from_fs(self.pins)))
        }
        fn pins_between(&mut self, _: Time, _: Time) -> Time {
            Time::from_fs(if self.first { self.pins } else { 0 })
        }
    }

    /// How long an instruction of 100 that holds the pins for `own` is put off beside one that holds them for `theirs`.
    fn put_off(own: u64, theirs: u64) -> u64 {
        let device = |first, pins| -> Box<dyn Executor> { Box::new(Fake { length: 100, pins, first }) };
        let mut executors = vec![device(false, own), device(true, theirs)];
        let mut beside = Beside::new(2, &[0, 1]);
        let end = Time::from_fs(500);
        if !beside.put_off(&mut executors, 0, 7, end) {
            return 0;
        }
        assert_eq!(beside.ended(end), None);
        let late = beside.next().map_or(0, Time::as_fs);
        assert_eq!(beside.ended(Time::from_fs(late)), Some((Time::from_fs(late), 7)));
        late - 500
    }

    /// A channel's pins carry one burst at a time: what does not fit is added, and what fits costs nothing.
    #[test]
    fn pins_are_not_given_twice() {
        assert_eq!(put_off(60, 40), 0);
        assert_eq!(put_off(80, 50), 30);
        assert_eq!(put_off(100, 100), 100);
        assert_eq!(put_off(0, 100), 0);
        // One that is longer than its bytes by itself waits for no more than what the others had.
        assert_eq!(put_off(130, 20), 20);
    }
}
