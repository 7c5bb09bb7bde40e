//! Device memory: pseudo-channels with banks and open rows, by the timings of a compiled DRAM device.
//!
//! An access is some bursts of one row. It asks its pseudo-channel and bank for the earliest times that the device's
//! timing rows allow, in the order in which accesses arrive; nothing is stepped. What a controller's reordering achieves
//! is that the bus and the activations do not idle while another access waits for its bank: each is a server of its own
//! that an access takes from its arrival on, and only the access itself waits for all of them. How far that reaches is
//! bounded: an access enters the channel's queue when the one `queue` places before it has left.

use super::super::spec::GpuSpec;
use super::super::units::{Bits, hash};

/// Neighbouring bytes of one pseudo-channel (assumed: a bulk copy of 2 KB takes 80 cycles longer from memory than a line
/// does, which is what half a kilobyte takes of one bank group).
const INTERLEAVE: u64 = 512;
/// Pseudo-channels over which as many rows of neighbouring addresses are dealt.
const DEALT: u64 = 4;
/// No row.
const CLOSED: u64 = u64::MAX;

/// Times of a pseudo-channel in femtoseconds.
#[derive(Debug, Clone, Copy)]
struct Timing {
    /// Data of one access on the bus, and accesses of one bank group.
    burst: u64,
    group: u64,
    /// What a change of stack adds.
    stack: u64,
    /// An activation opens a row for columns; the bank's next comes after a row cycle, or after the last column.
    column: u64,
    row_cycle: u64,
    close: u64,
    /// Between activations, in the long run.
    activate: u64,
    /// A refresh takes a bank, or the channel, so long, and so often.
    refresh: u64,
    refresh_every: u64,
    /// And holds activations of other banks.
    refresh_slot: u64,
    /// All banks are refreshed together.
    all: bool,
    /// Bus time lost when writes follow reads and reads follow again.
    turnaround: u64,
}

#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
struct Bank {
    row: u64,
    column: u64,
    activate: u64,
    refresh: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Channel {
    bus: u64,
    acts: u64,
    busy: u64,
    stack: u32,
    place: u32,
    /// Its next refresh, where all its banks are refreshed together.
    refresh: u64,
    /// Writes that wait: bytes, and rows among them.
    bytes: u32,
    rows: u32,
    written: u64,
}

/// Bank group and stack of a bank.
#[derive(Debug, Clone, Copy)]
struct Place {
    group: u32,
    stack: u32,
}

/// Part of a row to be read or written.
#[derive(Debug, Clone, Copy)]
struct Access {
    /// None: wherever chance sends it.
    row: u64,
    /// Bursts read, or bytes written.
    amount: u32,
    /// Pieces read; none are written.
    pieces: u32,
    channel: u32,
    /// Numbers of bank and bank group among all.
    bank: u32,
    group: u32,
    stack: u32,
}

/// All channels of a device.
#[derive(Clone)]
pub(super) struct Dram {
    timing: Timing,
    access_shift: u32,
    region_shift: u32,
    banks_per: u32,
    places: Vec<Place>,
    groups_per: u32,
    queue: u32,
    batch: u32,
    fixed: u64,
    channels: Vec<Channel>,
    banks: Vec<Bank>,
    groups: Vec<u64>,
    left: Vec<u64>,
    /// What has been asked for and not yet done.
    asked: Vec<Access>,
}

impl Dram {
    pub(super) fn new(spec: &GpuSpec) -> Self {
        let d = &spec.dram.timings;
        // Cells and their periphery keep their nanoseconds; what is counted in bursts goes with the pins.
        let pins = f64::from(spec.dram.channel_bits);
        let burst = (f64::from(d.access_bytes) * 8e9 / pins / spec.dram.megatransfers_per_s).round() as u64;
        let of_burst = |ticks: u64| burst * ticks / d.short_ticks.max(1);
        let banks = d.banks.max(1);
        let timing = Timing {
            burst,
            group: of_burst(d.long_ticks),
            stack: of_burst(d.stack_ticks).saturating_sub(burst),
            column: d.column_fs,
            row_cycle: d.row_cycle_fs,
            close: d.close_fs,
            activate: d.activate_fs,
            refresh: d.refresh_fs,
            refresh_every: d.refresh_every_fs.max(1) * if d.refresh_all { 1 } else { u64::from(banks) },
            refresh_slot: d.refresh_slot_fs,
            all: d.refresh_all,
            // From the last data of reads to the first of writes, and back: data follow commands at fixed distances.
            turnaround: d.turnaround_fs.saturating_sub(2 * burst),
        };
        let channels = spec.dram.channels as usize;
        let queue = spec.dram.queue_accesses.max(1);
        let group_banks = d.group_banks.clamp(1, banks);
        let row = d.row_bytes.next_power_of_two().max(INTERLEAVE);
        Self {
            timing,
            access_shift: d.access_bytes.max(1).trailing_zeros(),
            region_shift: (row * DEALT).trailing_zeros(),
            banks_per: banks,
            places: (0..banks)
                .map(|b| Place { group: b / group_banks, stack: b / d.stack_banks.clamp(1, banks) })
                .collect(),
            groups_per: banks.div_ceil(group_banks),
            queue,
            batch: spec.dram.write_batch_bytes,
            fixed: ((spec.dram.latency_ns * 1e6) as u64).saturating_sub(timing.column + burst),
            channels: vec![Channel::default(); channels],
            banks: vec![Bank { row: CLOSED, column: 0, activate: 0, refresh: 0 }; channels * banks as usize],
            groups: vec![0; channels * banks.div_ceil(group_banks) as usize],
            left: vec![0; channels * queue as usize],
            asked: Vec::new(),
        }
    }

    /// All rows closed, nothing queued.
    pub(super) fn reset(&mut self) {
        let t = self.timing;
        self.channels.fill(Channel { written: CLOSED, ..Channel::default() });
        for (c, channel) in self.channels.iter_mut().enumerate() {
            channel.refresh = hash(c as u64) % t.refresh_every.max(1);
        }
        for (i, b) in self.banks.iter_mut().enumerate() {
            let (c, bank) = (i as u64 / u64::from(self.banks_per), i as u64 % u64::from(self.banks_per));
            // Channels refresh each at its own time; banks of one take turns.
            let first = if t.all { 0 } else { t.refresh_every * bank / u64::from(self.banks_per) };
            let refresh =
                first + hash(c) % (t.refresh_every / if t.all { 1 } else { u64::from(self.banks_per) }).max(1);
            *b = Bank { row: CLOSED, column: 0, activate: 0, refresh };
        }
        self.groups.fill(0);
        self.left.fill(0);
    }

    /// Channel, bank and row of an address in a region of this hash. Accesses that stand for several meet by chance less often than those do: they
    /// are spread by multiples of the golden ratio, evenly at any stride.
    #[inline]
    fn place(&self, address: u64, h: u64, pieces: u64) -> (usize, u32, u64) {
        let region = address >> self.region_shift;
        let dealt = address / INTERLEAVE % DEALT;
        let spread = if pieces == 1 { h & 0xffff_ffff } else { region.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 };
        let n = self.channels.len() as u64;
        let mut c = ((spread * n) >> 32) + dealt * (n / DEALT);
        if c >= n {
            c -= n;
        }
        (c as usize, (((h >> 32) * u64::from(self.banks_per)) >> 32) as u32, region)
    }

    /// Reads neighbouring bytes. As many pieces more lie elsewhere, like it in all else: at a coarse grain one channel stands
    /// for those of some neighbouring rows of a box.
    #[inline]
    pub(super) fn read(&mut self, address: u64, bytes: u64, pieces: u64) {
        let (mut at, end) = (address, address + bytes);
        let mut h = hash(at >> self.region_shift);
        while at < end {
            let to = ((at / INTERLEAVE + 1) * INTERLEAVE).min(end);
            let bursts = ((to - 1) >> self.access_shift) + 1 - (at >> self.access_shift);
            self.ask(at, h, bursts as u32, pieces as u32);
            if (at ^ to) >> self.region_shift != 0 {
                h = hash(to >> self.region_shift);
            }
            at = to;
        }
    }

    /// Takes neighbouring bytes to be written; a channel writes when it has gathered a batch.
    pub(super) fn write(&mut self, address: u64, bytes: u64) {
        let (mut at, end) = (address, address + bytes);
        while at < end {
            let to = ((at / INTERLEAVE + 1) * INTERLEAVE).min(end);
            self.ask(at, hash(at >> self.region_shift), (to - at) as u32, 0);
            at = to;
        }
    }

    /// The same for bytes whose address is not known.
    pub(super) fn write_somewhere(&mut self, bytes: u64) {
        self.asked.push(Access {
            row: CLOSED,
            amount: bytes as u32,
            pieces: 0,
            channel: 0,
            bank: 0,
            group: 0,
            stack: 0,
        });
    }

    #[inline]
    fn ask(&mut self, address: u64, h: u64, amount: u32, pieces: u32) {
        let (c, b, row) = self.place(address, h, u64::from(pieces.max(1)));
        let Place { group, stack } = self.places[b as usize];
        let bank = c as u32 * self.banks_per + b;
        let group = c as u32 * self.groups_per + group;
        self.asked.push(Access { row, amount, pieces, channel: c as u32, bank, group, stack });
    }

    /// Does what has been asked for, in its order, at one time; when the last bytes read are there.
    pub(super) fn settle(&mut self, now: u64, bits: &mut Bits) -> u64 {
        let mut done = None;
        let asked = std::mem::take(&mut self.asked);
        // The host fetches all banks at once instead of one after another.
        let ahead = asked.iter().fold(0, |all, a| all ^ self.banks[a.bank as usize].refresh);
        std::hint::black_box(ahead);
        for a in &asked {
            if a.pieces > 0 {
                let at = self.access(now, a);
                done = done.max(Some(at));
            } else if a.row == CLOSED {
                let n = self.channels.len() as u64;
                let mut rest = a.amount;
                while rest > 0 {
                    let part = rest.min(INTERLEAVE as u32);
                    let h = bits.next() >> 7;
                    self.gather(now, (h % n) as usize, part, h | 1 << 63, None);
                    rest -= part;
                }
            } else {
                self.gather(now, a.channel as usize, a.amount, a.row, Some(a.bank as usize));
            }
        }
        self.asked = asked;
        self.asked.clear();
        done.map_or(now, |at| at + self.fixed)
    }

    fn access(&mut self, now: u64, a: &Access) -> u64 {
        let t = &self.timing;
        let (bursts, pieces) = (u64::from(a.amount), u64::from(a.pieces));
        let channel = &mut self.channels[a.channel as usize];
        let left = &mut self.left[a.channel as usize * self.queue as usize + channel.place as usize];
        let next = channel.place + a.pieces;
        channel.place = if next >= self.queue { 0 } else { next };
        let mut enter = now.max(*left);
        let b = &mut self.banks[a.bank as usize];
        if enter >= b.refresh {
            let late = enter - b.refresh;
            let last = b.refresh + if late < t.refresh_every { 0 } else { late / t.refresh_every * t.refresh_every };
            b.refresh = last + t.refresh_every;
            b.row = CLOSED;
            b.activate = b.activate.max(last + t.refresh);
            channel.acts += t.refresh_slot;
            if t.all {
                enter = enter.max(last + t.refresh);
            }
        }
        // A row for which nothing waits is closed as soon as the bank could open another (device_lines.csv, set `row`: a second
        // line is there earlier up to 80 cycles after the first, 5 cycles later at 120, and gains nothing beyond).
        if b.row != a.row || enter >= b.activate {
            let slot = enter.max(channel.acts);
            channel.acts = slot + t.activate * pieces;
            let act = slot.max(b.activate);
            b.row = a.row;
            b.column = act + t.column;
            b.activate = act + t.row_cycle;
        }
        let bus = (bursts * t.burst + if a.stack == channel.stack { 0 } else { t.stack }) * pieces;
        channel.stack = a.stack;
        let mut start = enter.max(channel.bus);
        if t.all && start >= channel.refresh {
            // What waits in the queue waits for the whole channel.
            let last = channel.refresh + (start - channel.refresh) / t.refresh_every * t.refresh_every;
            channel.refresh = last + t.refresh_every;
            start = start.max(last + t.refresh);
        }
        channel.bus = start + bus;
        channel.busy += bus;
        let group = &mut self.groups[a.group as usize];
        let in_group = enter.max(*group);
        *group = in_group + bursts * t.group * pieces;
        let begin = start.max(in_group).max(b.column);
        let last = begin + (bursts - 1) * t.group;
        b.activate = b.activate.max(last + t.close);
        *left = last + t.burst;
        *left
    }

    fn gather(&mut self, now: u64, c: usize, bytes: u32, row: u64, bank: Option<usize>) {
        let t = self.timing;
        let channel = &mut self.channels[c];
        channel.bytes += bytes;
        if channel.written != row {
            channel.written = row;
            channel.rows += 1;
            if let Some(bank) = bank {
                // The batch opens the row that it writes.
                self.banks[bank].row = CLOSED;
            }
        }
        if channel.bytes >= self.batch {
            let transfer = (u64::from(channel.bytes) * t.burst) >> self.access_shift;
            let opening = u64::from(channel.rows) * t.activate;
            let busy = transfer.max(opening) + t.turnaround;
            channel.bus = channel.bus.max(now) + busy;
            channel.acts = channel.acts.max(now) + opening;
            channel.busy += busy;
            channel.bytes = 0;
            channel.rows = 0;
        }
    }

    /// When the channels will have done what they have been asked, on average.
    pub(super) fn drained(&self) -> u64 {
        (self.channels.iter().map(|c| u128::from(c.bus)).sum::<u128>() / self.channels.len().max(1) as u128) as u64
    }

    /// Femtoseconds for which the channels' buses worked, on average.
    pub(super) fn busy(&self) -> u64 {
        self.channels.iter().map(|c| c.busy).sum::<u64>() / self.channels.len().max(1) as u64
    }
}
