//! Observers: what a timeline is made from, and nothing at all when nobody looks.
//!
//! A model is generic over its [`Observer`]. With [`NullObserver`] every call is an empty inline function of a type of
//! no size, and labels are closures that are never called, so no text is made and no branch is left. Work that serves
//! only an observer goes under `if O::ENABLED`, which is a constant.

use std::borrow::Cow;
use std::fmt;

use crate::time::Time;

/// The name of a span or an event.
pub type Label = Cow<'static, str>;

/// Receives what happens in a simulation; it cannot change it.
pub trait Observer {
    /// Whether anything is received. `if O::ENABLED` is decided when compiling.
    const ENABLED: bool;

    /// Something took from `start` to `end` on `lane` (often a [`ComponentId`](crate::ComponentId)'s number).
    fn span(&mut self, lane: u32, start: Time, end: Time, label: impl FnOnce() -> Label);

    /// Something happened on `lane` at `at`.
    fn event(&mut self, lane: u32, at: Time, label: impl FnOnce() -> Label);
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullObserver;

impl Observer for NullObserver {
    const ENABLED: bool = false;

    #[inline(always)]
    fn span(&mut self, _: u32, _: Time, _: Time, _: impl FnOnce() -> Label) {}

    #[inline(always)]
    fn event(&mut self, _: u32, _: Time, _: impl FnOnce() -> Label) {}
}

impl<O: Observer> Observer for &mut O {
    const ENABLED: bool = O::ENABLED;

    #[inline(always)]
    fn span(&mut self, lane: u32, start: Time, end: Time, label: impl FnOnce() -> Label) {
        (**self).span(lane, start, end, label);
    }

    #[inline(always)]
    fn event(&mut self, lane: u32, at: Time, label: impl FnOnce() -> Label) {
        (**self).event(lane, at, label);
    }
}

/// One recorded span; an event has no length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where.
    pub lane: u32,
    /// From when.
    pub start: Time,
    /// Until when; for an event, `start`.
    pub end: Time,
    /// What.
    pub label: Label,
}

/// Keeps what it receives, in the order received, up to a limit; then it only counts.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// What was received.
    pub records: Vec<Record>,
    /// How many more came after the limit was reached.
    pub dropped: u64,
    limit: usize,
}

impl Recorder {
    /// A recorder of at most `limit` spans and events.
    #[must_use]
    pub fn new(limit: usize) -> Recorder {
        Recorder { records: Vec::new(), dropped: 0, limit }
    }

    fn keep(&mut self, lane: u32, start: Time, end: Time, label: impl FnOnce() -> Label) {
        if self.records.len() < self.limit {
            self.records.push(Record { lane, start, end, label: label() });
        } else {
            self.dropped += 1;
        }
    }
}

impl Observer for Recorder {
    const ENABLED: bool = true;

    fn span(&mut self, lane: u32, start: Time, end: Time, label: impl FnOnce() -> Label) {
        self.keep(lane, start, end, label);
    }

    fn event(&mut self, lane: u32, at: Time, label: impl FnOnce() -> Label) {
        self.keep(lane, at, at, label);
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {} .. {}: {}", self.lane, self.start, self.end, self.label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A toy model that counts how often it was asked to make a label.
    struct Toy<O> {
        observer: O,
        labels_made: u32,
    }

    impl<O: Observer> Toy<O> {
        fn work(&mut self) {
            for i in 0..10u64 {
                let made = &mut self.labels_made;
                self.observer.span(1, Time::from_fs(i), Time::from_fs(i + 1), || {
                    *made += 1;
                    format!("step {i}").into()
                });
                self.observer.event(2, Time::from_fs(i), || "tick".into());
            }
        }
    }

    #[test]
    fn an_absent_observer_has_no_size_and_makes_no_labels() {
        const { assert!(!NullObserver::ENABLED && !<&mut NullObserver>::ENABLED) };
        assert_eq!(size_of::<NullObserver>(), 0);
        assert_eq!(size_of::<Toy<NullObserver>>(), size_of::<u32>());
        let mut toy = Toy { observer: NullObserver, labels_made: 0 };
        toy.work();
        assert_eq!(toy.labels_made, 0);
    }

    #[test]
    fn a_recorder_keeps_what_it_has_room_for() {
        let mut recorder = Recorder::new(5);
        let mut toy = Toy { observer: &mut recorder, labels_made: 0 };
        toy.work();
        assert_eq!(toy.labels_made, 3);
        assert_eq!((recorder.records.len(), recorder.dropped), (5, 15));
        assert_eq!(recorder.records[2].to_string(), "[1] 1 fs .. 2 fs: step 1");
        assert_eq!(recorder.records[1].to_string(), "[2] 0 fs .. 0 fs: tick");
    }
}
