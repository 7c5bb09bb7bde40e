//! The memory controller: requests of one channel become commands.
//!
//! The rules are in `docs/memory-controller.md`. They are written twice: in the controller that skips from one event to the
//! next, and in `stepped`, which steps every tick over plain lists and shares no decision with it.

mod best;
mod config;
mod course;
mod decide;
mod express;
mod fast;
mod history;
mod map;
mod pins;
mod progress;
mod queue;
mod record;
mod refresh;
mod rest;
mod role;
mod row_hammer;
mod shape;
mod stepped;
mod tick;
mod timing;

use std::sync::Arc;

use banksia_input::InputError;

pub use config::{ControllerConfig, PagePolicy, RowHammerPolicy, Scheduler, Sleep};
pub use map::{AddressMap, Place};
pub use pins::Idle;
pub use progress::Stall;
pub use record::{Completion, Issued, Keep, Latencies, Recorder, Request, Silent, Statistics};

pub use super::defaults::{MapSpec, RefreshPolicy, XorSpec};
use super::device::Device;
use fast::{DUAL, Fast, HALF, SINGLE, SPLIT};
use shape::{Kind, Shape};
use stepped::Stepped;

/// The controller of one channel. It is fed requests and keeps no more of them than its queues hold.
#[derive(Debug)]
pub struct Controller<R: Recorder = Silent>(Inner<R>);

#[derive(Debug)]
enum Inner<R: Recorder> {
    PlainSingle(Box<Fast<SINGLE, true, R>>),
    PlainDual(Box<Fast<DUAL, true, R>>),
    PlainHalf(Box<Fast<HALF, true, R>>),
    PlainSplit(Box<Fast<SPLIT, true, R>>),
    Single(Box<Fast<SINGLE, false, R>>),
    Dual(Box<Fast<DUAL, false, R>>),
    Half(Box<Fast<HALF, false, R>>),
    Split(Box<Fast<SPLIT, false, R>>),
    Stepped(Box<Stepped<R>>),
}

/// What a controller is made of.
#[derive(Debug, Clone)]
pub struct ControllerOptions {
    /// Its policies.
    pub config: ControllerConfig,
    /// Channels among which the address map deals transactions.
    pub channels: u32,
    /// At most so many requests are in the channel at a time.
    pub outstanding: Option<usize>,
    /// Steps every tick.
    pub exact_stepping: bool,
}

impl<R: Recorder> Controller<R> {
    /// A controller at rest, every bank closed.
    ///
    /// # Errors
    /// The device lacks what the policies need, or the address map does not fit it.
    pub fn new(device: &Arc<Device>, options: &ControllerOptions, recorder: R) -> Result<Self, InputError> {
        let dropped = options.config.reference_model && device.timing.iter().any(|row| !row.reference);
        let device = if dropped { &Arc::new(device.reference_rows()) } else { device };
        let shape = Shape::new(device, &options.config, options.channels)?;
        refresh::check(&shape)?;
        let limit = options.outstanding;
        Ok(Self(match (shape.kind, shape.config.is_plain()) {
            _ if options.exact_stepping => Inner::Stepped(Box::new(Stepped::new(shape, limit, recorder))),
            (Kind::Single, true) => Inner::PlainSingle(Box::new(Fast::new(shape, limit, recorder))),
            (Kind::Dual, true) => Inner::PlainDual(Box::new(Fast::new(shape, limit, recorder))),
            (Kind::HalfClock, true) => Inner::PlainHalf(Box::new(Fast::new(shape, limit, recorder))),
            (Kind::Split, true) => Inner::PlainSplit(Box::new(Fast::new(shape, limit, recorder))),
            (Kind::Single, false) => Inner::Single(Box::new(Fast::new(shape, limit, recorder))),
            (Kind::Dual, false) => Inner::Dual(Box::new(Fast::new(shape, limit, recorder))),
            (Kind::HalfClock, false) => Inner::Half(Box::new(Fast::new(shape, limit, recorder))),
            (Kind::Split, false) => Inner::Split(Box::new(Fast::new(shape, limit, recorder))),
        }))
    }

    /// Takes the next requests of the channel, in order, and runs until the one after them is needed. With `last` there is
    /// none after them, and it runs to the end. Cutting a trace in other places changes nothing.
    pub fn advance(&mut self, requests: &[Request], last: bool) {
        match &mut self.0 {
            Inner::PlainSingle(c) => c.advance(requests, last),
            Inner::Single(c) => c.advance(requests, last),
            Inner::PlainDual(c) => c.advance(requests, last),
            Inner::Dual(c) => c.advance(requests, last),
            Inner::PlainHalf(c) => c.advance(requests, last),
            Inner::Half(c) => c.advance(requests, last),
            Inner::PlainSplit(c) => c.advance(requests, last),
            Inner::Split(c) => c.advance(requests, last),
            Inner::Stepped(c) => c.advance(requests, last),
        }
    }

    /// Why it has given up, if it has: requests wait and none gets on, and nothing that is to come can change that. It takes no
    /// more requests then, and what it did so far is no result.
    pub fn stalled(&self) -> Option<Stall> {
        match &self.0 {
            Inner::PlainSingle(c) => c.watch.stalled,
            Inner::Single(c) => c.watch.stalled,
            Inner::PlainDual(c) => c.watch.stalled,
            Inner::Dual(c) => c.watch.stalled,
            Inner::PlainHalf(c) => c.watch.stalled,
            Inner::Half(c) => c.watch.stalled,
            Inner::PlainSplit(c) => c.watch.stalled,
            Inner::Split(c) => c.watch.stalled,
            Inner::Stepped(c) => c.watch.stalled,
        }
    }

    /// Counts how often reads took how long from their arrival, where requests have times of arrival of their own, and not from
    /// their acceptance.
    pub fn count_from_arrival(&mut self) {
        match &mut self.0 {
            Inner::PlainSingle(c) => c.timed = true,
            Inner::Single(c) => c.timed = true,
            Inner::PlainDual(c) => c.timed = true,
            Inner::Dual(c) => c.timed = true,
            Inner::PlainHalf(c) => c.timed = true,
            Inner::Half(c) => c.timed = true,
            Inner::PlainSplit(c) => c.timed = true,
            Inner::Split(c) => c.timed = true,
            Inner::Stepped(c) => c.timed = true,
        }
    }

    /// What it did.
    pub fn statistics(&self) -> &Statistics {
        match &self.0 {
            Inner::PlainSingle(c) => &c.stats,
            Inner::Single(c) => &c.stats,
            Inner::PlainDual(c) => &c.stats,
            Inner::Dual(c) => &c.stats,
            Inner::PlainHalf(c) => &c.stats,
            Inner::Half(c) => &c.stats,
            Inner::PlainSplit(c) => &c.stats,
            Inner::Split(c) => &c.stats,
            Inner::Stepped(c) => &c.stats,
        }
    }

    /// What its recorder heard.
    pub fn recorder(&mut self) -> &mut R {
        match &mut self.0 {
            Inner::PlainSingle(c) => &mut c.recorder,
            Inner::Single(c) => &mut c.recorder,
            Inner::PlainDual(c) => &mut c.recorder,
            Inner::Dual(c) => &mut c.recorder,
            Inner::PlainHalf(c) => &mut c.recorder,
            Inner::Half(c) => &mut c.recorder,
            Inner::PlainSplit(c) => &mut c.recorder,
            Inner::Split(c) => &mut c.recorder,
            Inner::Stepped(c) => &mut c.recorder,
        }
    }
}
