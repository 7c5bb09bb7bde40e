//! Ports of SMs and GPCs, translation, and the coalescer that answers two requests of one GPC at once.

use super::super::spec::GpuSpec;
use super::super::units::{Server, fs_per_kib, hash, ns, transfer};

/// Requests that a coalescer remembers: a GPC's SMs have some hundred under way.
const REMEMBERED: usize = 2048;

/// The port of one SM.
#[derive(Debug, Clone, Copy, Default)]
struct SmPort {
    read: Server,
    write: Server,
    /// Launches for which it has translated its first addresses, a bit each.
    translated: u64,
    gpc: u8,
    half: u8,
}

/// A request under way: neighbouring blocks, until when others may join it and when it is answered.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
struct Flight {
    first: u64,
    open: u64,
    promised: u64,
    count: u32,
    /// Requests that it stands for.
    met: u32,
}

/// Time that bytes take at each port: femtoseconds for 1 KiB. The ports run with the clock of the SMs.
#[derive(Debug, Clone, Copy)]
struct Rates {
    read: u64,
    write: u64,
    gpc: u64,
    entry: u64,
}

/// Between SMs and L2.
#[derive(Clone)]
pub(super) struct Crossbar {
    ports: Vec<SmPort>,
    gpc_ports: Vec<Server>,
    /// Where answers of L2 enter each GPC, once for all its SMs that asked together.
    gpc_entries: Vec<Server>,
    gpc_translation: Vec<Server>,
    flights: Vec<Flight>,
    /// At the full clock, and now.
    full: Rates,
    rates: Rates,
    merge: u64,
    merged: u32,
    /// The bit of the launch that is served.
    launch: u64,
    translation_miss: u64,
    translation_interval: u64,
}

impl Crossbar {
    pub(super) fn new(spec: &GpuSpec) -> Self {
        let mut ports = Vec::new();
        for (gpc, &count) in spec.sms_per_gpc.iter().enumerate() {
            for _ in 0..count {
                let half = if spec.l2.partitions == 2 { (gpc % 2) as u8 } else { 0 };
                ports.push(SmPort { gpc: gpc as u8, half, ..SmPort::default() });
            }
        }
        let gpcs = spec.sms_per_gpc.len();
        let (c, clock) = (&spec.crossbar, spec.sm_clock_mhz * 1e6);
        let full = Rates {
            read: fs_per_kib(c.sm_bytes_per_cycle * clock),
            write: fs_per_kib(c.sm_write_bytes_per_cycle * clock),
            gpc: fs_per_kib(c.gpc_bytes_per_cycle * clock),
            entry: fs_per_kib(c.gpc_entry_bytes_per_cycle * clock),
        };
        Self {
            ports,
            gpc_ports: vec![Server::default(); gpcs],
            gpc_entries: vec![Server::default(); gpcs],
            gpc_translation: vec![Server::default(); gpcs],
            flights: vec![Flight::default(); gpcs * REMEMBERED],
            full,
            rates: full,
            merge: ns(spec.crossbar.merge_window_ns),
            merged: spec.crossbar.merge_requests,
            launch: 1,
            translation_miss: ns(spec.launch.translation_miss_cycles * 1e3 / spec.sm_clock_mhz),
            translation_interval: ns(spec.launch.translation_interval_cycles * 1e3 / spec.sm_clock_mhz),
        }
    }

    pub(super) fn reset(&mut self) {
        for port in &mut self.ports {
            *port = SmPort { gpc: port.gpc, half: port.half, ..SmPort::default() };
        }
        self.gpc_ports.fill(Server::default());
        self.gpc_entries.fill(Server::default());
        self.gpc_translation.fill(Server::default());
        self.flights.fill(Flight::default());
        self.launch = 1;
    }

    /// Serves a launch, of a bit of its own; `fresh` when it begins.
    pub(super) fn serve_launch(&mut self, bit: u32, fresh: bool) {
        self.launch = 1 << (bit % u64::BITS);
        if fresh {
            self.ports.iter_mut().for_each(|p| p.translated &= !self.launch);
        }
    }

    /// Follows the clock: a cycle takes so many times as long as at the full one.
    pub(super) fn slow(&mut self, times: f64) {
        let slower = |rate: u64| (rate as f64 * times).clamp(1.0, 1e15) as u64;
        let f = self.full;
        self.rates = Rates { read: slower(f.read), write: slower(f.write), gpc: slower(f.gpc), entry: slower(f.entry) };
    }

    pub(super) fn sms(&self) -> usize {
        self.ports.len()
    }

    /// The half of L2 that is near an SM.
    pub(super) fn half(&self, sm: usize) -> usize {
        usize::from(self.ports[sm].half)
    }

    /// When a request can leave its SM: the first of a launch waits for its translation.
    pub(super) fn translate(&mut self, now: u64, sm: usize) -> u64 {
        let port = &mut self.ports[sm];
        if port.translated & self.launch != 0 {
            return now;
        }
        port.translated |= self.launch;
        self.gpc_translation[usize::from(port.gpc)].serve(now, self.translation_interval) + self.translation_miss
    }

    /// When a request of the same GPC that is under way for these blocks is answered, if one may still be joined; and its place.
    pub(super) fn under_way(&mut self, now: u64, sm: usize, first: u64, count: u64) -> (usize, Option<u64>) {
        let place = usize::from(self.ports[sm].gpc) * REMEMBERED + hash(first) as usize % REMEMBERED;
        let f = &mut self.flights[place];
        let same = f.first == first && u64::from(f.count) >= count;
        let meets = same && now < f.open && f.met < self.merged;
        f.met += u32::from(meets);
        (place, meets.then_some(f.promised))
    }

    /// Remembers a request whose data are in L2 at `found`.
    pub(super) fn promise(&mut self, place: usize, first: u64, count: u64, found: u64, promised: u64) {
        self.flights[place] = Flight { first, open: found + self.merge, promised, count: count as u32, met: 1 };
    }

    /// Takes an answer of L2 into a GPC.
    pub(super) fn enter(&mut self, sm: usize, due: u64, bytes: u64) -> u64 {
        let gpc = usize::from(self.ports[sm].gpc);
        self.gpc_entries[gpc].serve(due, transfer(bytes, self.rates.entry))
    }

    /// Delivers bytes that leave L2 no sooner than `due` and are all there at `arrives`.
    pub(super) fn deliver(&mut self, sm: usize, due: u64, arrives: u64, bytes: u64) -> u64 {
        let port = &mut self.ports[sm];
        let gpc_done = self.gpc_ports[usize::from(port.gpc)].serve(due, transfer(bytes, self.rates.gpc));
        let time = transfer(bytes, self.rates.read);
        port.read.serve(due, time).max(gpc_done).max(arrives + time)
    }

    /// Sends bytes to L2.
    pub(super) fn send(&mut self, sm: usize, now: u64, bytes: u64) -> u64 {
        self.ports[sm].write.serve(now, transfer(bytes, self.rates.write))
    }
}
