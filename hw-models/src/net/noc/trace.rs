//! Packets that are sent, read from a trace, and the times they took.

use super::config::NocError;

/// A packet of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// The first cycle in which its source may begin with it.
    pub time: u64,
    /// The terminal that sends it.
    pub from: u32,
    /// The terminal that receives it.
    pub to: u32,
    /// Its flits, at least one.
    pub flits: u32,
}

/// What became of a packet, in cycles of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PacketTimes {
    /// Its place in the order in which packets came to the heads of their sources' queues, by cycle and then by terminal.
    pub number: u32,
    /// Its time in the trace.
    pub created: u64,
    /// When its first flit left the source.
    pub head_left: u64,
    /// When its first flit arrived.
    pub head_arrived: u64,
    /// When its last flit arrived.
    pub tail_arrived: u64,
    /// Routers it went through.
    pub hops: u32,
}

/// Reads lines of `time source destination flits`. Blank lines and those after `#` are left out.
///
/// # Errors
/// A line has no four whole numbers, or a packet no flits.
pub fn parse(text: &str) -> Result<Vec<Packet>, NocError> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    let packet = |(n, line): (usize, &str)| {
        let mut words = line.split_whitespace().map(str::parse::<u64>);
        let mut next = || words.next().and_then(Result::ok);
        let small = |n: u64| u32::try_from(n).ok();
        let packet = (|| {
            let time = next()?;
            let (from, to, flits) = (small(next()?)?, small(next()?)?, small(next()?)?);
            Some(Packet { time, from, to, flits })
        })();
        packet
            .filter(|p| p.flits > 0)
            .ok_or_else(|| NocError(format!("line {n}: `{line}` is no `time source destination flits`")))
    };
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(packet).collect()
}
