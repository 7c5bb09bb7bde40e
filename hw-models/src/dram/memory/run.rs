//! Deals requests among channels and runs them.

use std::sync::Arc;

use banksia_input::InputError;
use rayon::prelude::*;

use super::super::controller::{
    AddressMap, Controller, ControllerConfig, ControllerOptions, Recorder, Request, Silent, Statistics,
};
use super::super::device::Device;
use super::csv::{CsvSink, Lines};
use super::{MemoryReport, RequestSource};

/// What a memory is made of.
#[derive(Debug, Clone)]
pub struct MemoryOptions {
    /// Channels, a power of two; each is one of the device.
    pub channels: u32,
    /// The policies of every channel's controller.
    pub controller: ControllerConfig,
    /// At most so many requests are in a channel at a time.
    pub outstanding: Option<usize>,
    /// Steps every tick. The result is the same.
    pub exact_stepping: bool,
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

/// Requests read at a time: as many as stay in a core's cache.
const BLOCK: usize = 1 << 13;

/// Runs a source's requests to the end.
///
/// # Errors
/// The options do not fit the device, or the source fails.
pub fn run(
    device: &Arc<Device>,
    source: &mut dyn RequestSource,
    options: &MemoryOptions,
) -> Result<MemoryReport, MemoryError> {
    let silent = |_| Silent;
    simulate(device, source, options, silent, |_| Ok(()))
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
    simulate(device, source, options, lines, |lines| sink.take(lines))
}

fn simulate<R: Recorder + Send>(
    device: &Arc<Device>,
    source: &mut dyn RequestSource,
    options: &MemoryOptions,
    recorder: impl Fn(u32) -> R,
    mut heard: impl FnMut(&mut R) -> std::io::Result<()>,
) -> Result<MemoryReport, MemoryError> {
    let controller = ControllerOptions {
        config: options.controller.clone(),
        channels: options.channels,
        outstanding: options.outstanding,
        exact_stepping: options.exact_stepping,
    };
    let map = AddressMap::new(&options.controller.map, device, options.channels)?;
    let ticks = u64::from(device.ticks_per_clock);
    let mut channels = (0..options.channels)
        .map(|c| Ok((Controller::new(device, &controller, recorder(c))?, Vec::with_capacity(BLOCK))))
        .collect::<Result<Vec<(Controller<R>, Vec<Request>)>, InputError>>()?;
    let mut block = Vec::with_capacity(BLOCK);
    let mut more = source.fill(&mut block, BLOCK)?;
    loop {
        if let [(_, requests)] = &mut channels[..] {
            std::mem::swap(requests, &mut block);
            if ticks > 1 {
                requests.iter_mut().for_each(|r| r.arrival *= ticks);
            }
        } else {
            for request in &block {
                let channel = map.place(request.index).channel as usize;
                channels[channel].1.push(Request { arrival: request.arrival * ticks, ..*request });
            }
        }
        block.clear();
        let last = !more;
        // The next block is read while this one is simulated.
        let (next, ()) = rayon::join(
            || if last { Ok(false) } else { source.fill(&mut block, BLOCK) },
            || {
                channels.par_iter_mut().with_max_len(1).for_each(|(controller, requests)| {
                    controller.advance(requests, last);
                    requests.clear();
                });
            },
        );
        for (controller, _) in &mut channels {
            heard(controller.recorder())?;
        }
        if last {
            break;
        }
        more = next?;
    }
    let statistics: Vec<Statistics> = channels.iter().map(|(c, _)| c.statistics().clone()).collect();
    Ok(MemoryReport::new(device, &statistics))
}
