//! An update whose states are in the host's memory: which part of it the processor makes and which the device, and what goes over the link.
//!
//! ZeRO-Offload (arXiv 2101.06840): gradients go to the host as the backward pass makes them, the processor updates parameters group by group, and sends each group's copy in 16 bits back while it is at the
//! next. Interleaved (Deep Optimizer States, arXiv 2410.21316): every so many groups one is updated by the device, to which its states are sent ahead and from which they are sent back, while the
//! processor is at the others. The number is the one that takes least, as the paper's model of rates chooses it.

use banksia_hw::host::HostSpec;
use serde::{Deserialize, Serialize};

/// Where the optimiser's states are, and who updates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Offload {
    /// On the device, which updates.
    #[default]
    None,
    /// In the host's memory; its processor updates (ZeRO-Offload, arXiv 2101.06840).
    Optimizer,
    /// In the host's memory; processor and device update in turns (Deep Optimizer States, arXiv 2410.21316).
    Interleaved,
}

/// Parameters of a group that is updated at once (`sub_group_size` of the papers' runs: 100 million).
pub const GROUP: u64 = 100_000_000;

/// Bytes of a parameter in the host's memory that an update by the processor reads and writes: parameter, gradient and two moments in 32 bits read, all but the gradient written,
/// and the copy in 16 bits.
const PROCESSOR_BYTES: f64 = 16.0 + 12.0 + 2.0;
/// Bytes of a parameter's states, which go to the device and back: parameter and two moments in 32 bits.
pub const STATE_BYTES: f64 = 12.0;
/// Bytes of the copy that the device multiplies with.
const COPY_BYTES: f64 = 2.0;

/// Rates of an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Parameters a second by the processor.
    pub processor: f64,
    /// Parameters a second by the device.
    pub device: f64,
    /// Bytes a second of the link, each way.
    pub link: f64,
    /// What a copy takes beside its bytes, seconds.
    pub start_s: f64,
}

impl Rates {
    /// Of a host whose memory and links so many processes share, and a device that updates so many parameters a second.
    pub fn of(host: &HostSpec, processes: u32, device: f64) -> Self {
        Self {
            processor: host.memory_bytes_per_s(processes) / PROCESSOR_BYTES,
            device,
            link: host.link.bytes_per_s(processes),
            start_s: host.link.start_us * 1e-6,
        }
    }
}

/// What an update takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Update {
    /// From gradients that are there to parameters that are, seconds.
    pub seconds: f64,
    /// Of these the processor works.
    pub processor_s: f64,
    /// The device.
    pub device_s: f64,
    /// Bytes to the device.
    pub up_bytes: f64,
    /// Bytes to the host, gradients not among them.
    pub down_bytes: f64,
    /// One of so many groups is the device's; 0 for none.
    pub stride: u32,
}

/// Seconds of gradients of so many bytes on their way to the host that a backward pass of so many seconds does not cover.
pub fn exposed_gradients_s(bytes: u64, backward_s: f64, rates: &Rates) -> f64 {
    (bytes as f64 / rates.link + rates.start_s - backward_s).max(0.0)
}

/// Groups of so many parameters, one of `stride` by the device: processor, device and both ways of the link each do one thing at a time. Two groups have room on the device.
fn scheduled(groups: &[u64], stride: u32, r: &Rates) -> Update {
    let on_device = |i: usize| stride > 0 && (i as u64 + 1).is_multiple_of(u64::from(stride));
    let (mut ready, mut sent) = (Vec::new(), Vec::new());
    let mut update = Update { stride, ..Update::default() };
    let mut at = 0.0;
    for (i, n) in groups.iter().enumerate() {
        if on_device(i) {
            sent.push(*n as f64);
        } else {
            at += *n as f64 / r.processor;
            ready.push((at, *n as f64));
        }
    }
    update.processor_s = at;
    let (mut up, mut down, mut device) = (0.0f64, 0.0f64, 0.0f64);
    let mut freed: Vec<f64> = Vec::new();
    let (mut a, mut b) = (0, 0);
    let mut end = at;
    while a < ready.len() || b < sent.len() {
        let copy = ready.get(a).map(|(at, n)| (up.max(*at), *n));
        let states = sent.get(b).map(|n| {
            let room = if b < 2 { 0.0 } else { freed.get(b - 2).copied().unwrap_or(0.0) };
            (up.max(room), *n)
        });
        match (copy, states) {
            (Some((start, n)), other) if other.is_none_or(|(s, _)| start <= s) => {
                up = start + r.start_s + COPY_BYTES * n / r.link;
                update.up_bytes += COPY_BYTES * n;
                end = end.max(up);
                a += 1;
            }
            (_, Some((start, n))) => {
                up = start + r.start_s + STATE_BYTES * n / r.link;
                update.up_bytes += STATE_BYTES * n;
                device = device.max(up) + n / r.device;
                update.device_s += n / r.device;
                down = down.max(device) + r.start_s + STATE_BYTES * n / r.link;
                update.down_bytes += STATE_BYTES * n;
                freed.push(down);
                end = end.max(down);
                b += 1;
            }
            _ => break,
        }
    }
    update.seconds = end;
    update
}

/// Strides that are tried: beyond, the device has so little that it makes no difference.
const STRIDES: std::ops::RangeInclusive<u32> = 1..=32;

/// The update of so many parameters.
pub fn update(parameters: u64, offload: Offload, rates: &Rates) -> Update {
    let whole = parameters / GROUP;
    let mut groups = vec![GROUP; usize::try_from(whole).unwrap_or(0)];
    groups.extend(Some(parameters % GROUP).filter(|n| *n > 0));
    let alone = scheduled(&groups, 0, rates);
    if offload != Offload::Interleaved {
        return alone;
    }
    STRIDES
        .map(|stride| scheduled(&groups, stride, rates))
        .fold(alone, |best, other| if other.seconds < best.seconds { other } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { processor: 2e9, device: 25e9, link: 50e9, start_s: 3e-6 };

    #[test]
    fn the_processor_alone_sends_all_but_the_last_copy_beside_its_work() {
        let u = update(1_000_000_000, Offload::Optimizer, &RATES);
        let last = 3e-6 + 2e8 / 50e9;
        assert!((u.seconds - (0.5 + last)).abs() < 1e-9, "{u:?}");
        assert_eq!((u.device_s, u.down_bytes, u.stride), (0.0, 0.0, 0));
    }

    #[test]
    fn turns_are_never_slower_and_bounded_by_each_part() {
        for processor in [0.5e9, 2e9, 8e9, 64e9] {
            let rates = Rates { processor, ..RATES };
            for parameters in [1, 99_000_000, 1_000_000_000, 7_300_000_000] {
                let alone = update(parameters, Offload::Optimizer, &rates);
                let turns = update(parameters, Offload::Interleaved, &rates);
                assert!(turns.seconds <= alone.seconds);
                let least = turns.processor_s.max(turns.up_bytes / rates.link).max(turns.down_bytes / rates.link);
                assert!(turns.seconds >= least, "{turns:?}");
                // No parameter is updated twice, and none left out.
                let on_device = turns.down_bytes / STATE_BYTES;
                let by_processor = (turns.up_bytes - STATE_BYTES * on_device) / COPY_BYTES;
                assert!((on_device + by_processor - parameters as f64).abs() < 1.0);
            }
        }
    }

    #[test]
    fn a_slow_processor_gains_by_turns() {
        // A processor at a twelfth of the device: the link, not the device, sets how much of the work goes over.
        let turns = update(5_000_000_000, Offload::Interleaved, &RATES);
        let alone = update(5_000_000_000, Offload::Optimizer, &RATES);
        assert!(alone.seconds / turns.seconds > 1.3, "{turns:?} {alone:?}");
        assert!(turns.stride > 1);
    }

    #[test]
    fn gradients_hide_behind_a_long_backward_pass() {
        assert!(exposed_gradients_s(1 << 30, 1.0, &RATES).abs() < 1e-12);
        assert!(exposed_gradients_s(1 << 34, 0.1, &RATES) > 0.2);
    }
}
