//! Deals requests among channels and runs them.

use std::sync::Arc;

use banksia_input::InputError;
use rayon::prelude::*;

use super::super::controller::{
    AddressMap, Controller, ControllerConfig, ControllerOptions, Recorder, Request, Silent, Statistics,
};
use super::super::device::Device;
use super::csv::{CsvSink, Lines};
use super::report::RunFacts;
use super::{MemoryReport, RequestSource};

/// What a memory is made of.
#[derive(Debug, Clone)]
pub struct MemoryOptions {
    /// Channels, each one of the device.
    pub channels: u32,
    /// The policies of every channel's controller.
    pub controller: ControllerConfig,
    /// At most so many requests are in a channel at a time.
    pub outstanding: Option<usize>,
    /// Steps every tick. The result is the same.
    pub exact_stepping: bool,
}

/// The latest arrival, in cycles, where every tick is stepped.
const LATEST_STEPPED: u64 = 1_000_000_000;

/// The latest arrival, in cycles, where every command is written: those of the refreshes before it are, too.
const LATEST_LOGGED: u64 = 10_000_000_000;

impl MemoryOptions {
    /// The latest arrival, in cycles of the command clock, that can be counted on a device: its ticks, summed over the standby
    /// nodes of all channels, stay below 2^62. Idle time is skipped, however long; where every tick is stepped or every command
    /// written (`logs_commands`), it is gone through, and the limit is 10^9 or 10^10 cycles.
    pub fn latest_arrival(&self, device: &Device, logs_commands: bool) -> u64 {
        let nodes = u64::from(device.levels[device.standby.0 as usize].nodes) * u64::from(self.channels.max(1));
        let ticks = ((1 << 62) / nodes).min(1 << 61);
        let countable = (ticks / u64::from(device.ticks_per_clock)).min(1 << 60);
        let stepped = if self.exact_stepping { LATEST_STEPPED } else { u64::MAX };
        let logged = if logs_commands { LATEST_LOGGED } else { u64::MAX };
        countable.min(stepped).min(logged)
    }
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Something that the user wrote cannot be used.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A file could not be written.
    #[error("a CSV file cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

/// Requests read at a time for one channel: as many as stay in a core's cache.
const BLOCK: usize = 1 << 13;

/// Requests read at a time for each of several channels: what lies between two meetings of the threads is long beside a meeting.
const SHARE: usize = 1 << 11;

/// Runs a source's requests to the end.
///
/// # Errors
/// The options do not fit the device, the source fails or gives what the memory cannot count, or requests can never get on.
pub fn run(
    device: &Arc<Device>,
    source: &mut dyn RequestSource,
    options: &MemoryOptions,
) -> Result<MemoryReport, MemoryError> {
    let latest = options.latest_arrival(device, false);
    simulate(device, source, (options, latest), |_| Silent, |_| Ok(()))
}

/// As [`run`], and writes commands and completions as they come: in order within each channel.
///
/// # Errors
/// As [`run`], or a file cannot be written.
pub fn run_logged(
    device: &Arc<Device>,
    source: &mut dyn RequestSource,
    options: &MemoryOptions,
    mut sink: CsvSink<'_>,
) -> Result<MemoryReport, MemoryError> {
    let map = AddressMap::new(&options.controller.map, device, options.channels)?;
    let wants = (sink.commands.is_some(), sink.completions.is_some());
    sink.header(device)?;
    let lines = |channel| Lines::new(device.clone(), map.clone(), channel, wants);
    let latest = options.latest_arrival(device, wants.0);
    simulate(device, source, (options, latest), lines, |lines| sink.take(lines))
}

fn simulate<R: Recorder + Send>(
    device: &Arc<Device>,
    source: &mut dyn RequestSource,
    (options, latest): (&MemoryOptions, u64),
    recorder: impl Fn(u32) -> R,
    mut heard: impl FnMut(&mut R) -> std::io::Result<()>,
) -> Result<MemoryReport, MemoryError> {
    let controller = ControllerOptions {
        config: options.controller.clone(),
        channels: options.channels,
        outstanding: options.outstanding,
        exact_stepping: options.exact_stepping,
    };
    let mut dealer = Dealer {
        map: AddressMap::new(&options.controller.map, device, options.channels)?,
        device,
        latest,
        most: BLOCK.max(SHARE * options.channels as usize),
        block: Vec::new(),
        dealt: (0..options.channels).map(|_| Vec::new()).collect(),
    };
    let mut channels = (0..options.channels)
        .map(|c| Ok((Controller::new(device, &controller, recorder(c))?, Vec::new())))
        .collect::<Result<Vec<(Controller<R>, Vec<Request>)>, InputError>>()?;
    let mut more = dealer.next(source)?;
    // Known once the first requests are.
    let timed = source.timed();
    if timed {
        channels.iter_mut().for_each(|(c, _)| c.count_from_arrival());
    }
    loop {
        for ((_, requests), dealt) in channels.iter_mut().zip(&mut dealer.dealt) {
            std::mem::swap(requests, dealt);
        }
        let last = !more;
        // The next block is read and dealt while this one is simulated.
        let (next, ()) = rayon::join(
            || if last { Ok(false) } else { dealer.next(source) },
            || {
                channels.par_iter_mut().with_max_len(1).for_each(|(controller, requests)| {
                    controller.advance(requests, last);
                    requests.clear();
                });
            },
        );
        for (i, (controller, _)) in channels.iter_mut().enumerate() {
            heard(controller.recorder())?;
            if let Some(stall) = controller.stalled() {
                let error = InputError::new(format!("device {}", device.name), format!("channel {i}: {stall}"));
                return Err(error.help("compare the device's waits with the time between two of its refreshes").into());
            }
        }
        if last {
            break;
        }
        more = next?;
    }
    let statistics: Vec<Statistics> = channels.iter().map(|(c, _)| c.statistics().clone()).collect();
    let run = RunFacts {
        outstanding: options.outstanding,
        timed,
        wrapped: source.wrapped(),
        row_hammer: options.controller.row_hammer,
    };
    Ok(MemoryReport::new(device, &statistics, &run))
}

/// Reads requests and deals them among the channels.
struct Dealer<'a> {
    map: AddressMap,
    device: &'a Device,
    /// The latest arrival that can be counted.
    latest: u64,
    /// Requests read at a time.
    most: usize,
    block: Vec<Request>,
    /// Each channel's, in order, with arrivals in ticks.
    dealt: Vec<Vec<Request>>,
}

impl Dealer<'_> {
    /// Deals the next requests into the channels' lists, which must be empty. Whether there are more.
    fn next(&mut self, source: &mut dyn RequestSource) -> Result<bool, InputError> {
        let ticks = u64::from(self.device.ticks_per_clock);
        let channels = self.dealt.len();
        let alone = channels == 1;
        let into = if alone { &mut self.dealt[0] } else { &mut self.block };
        let more = source.fill(into, self.most)?;
        if let Some(late) = into.iter().find(|r| r.arrival > self.latest) {
            let problem = format!(
                "arrives at cycle {}: on {channels} channel(s) of {}, the clock is followed to {}",
                late.arrival, self.device.name, self.latest
            );
            return Err(InputError::new(format!("request {}", late.sequence), problem));
        }
        if alone {
            if ticks > 1 {
                into.iter_mut().for_each(|r| r.arrival *= ticks);
            }
            return Ok(more);
        }
        for request in self.block.drain(..) {
            let channel = self.map.channel(request.index) as usize;
            self.dealt[channel].push(Request { arrival: request.arrival * ticks, ..request });
        }
        Ok(more)
    }
}
