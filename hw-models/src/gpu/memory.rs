//! What lies between the SMs and the pins of the device memory: translation, crossbar, L2 slices, channels.
//!
//! Requests are blocks: boxes of a tensor of at most `grain` bytes, the unit of L2's tags here. Every block passes
//! servers in the order of its request: the coalescer of its GPC (a block that the GPC has already asked for and not yet
//! received is not asked for again), the slices of its own half of L2 and of the other half (half of a block's lines
//! live there), the channels of the memory on a miss, and the ports of GPC and SM on its way back.

use super::program::{Tensor, Tile};
use super::spec::GpuSpec;
use super::units::{Bits, Server, fs_per_kib, hash, transfer};

/// Bytes moved, by place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Delivered to SMs over the crossbar.
    pub crossbar_read_bytes: u64,
    /// Written by SMs over the crossbar.
    pub crossbar_write_bytes: u64,
    /// Passed by slices for reads; a line of the other half passes two.
    pub l2_read_bytes: u64,
    /// Passed by slices for writes.
    pub l2_write_bytes: u64,
    /// Read from device memory.
    pub dram_read_bytes: u64,
    /// Written to device memory.
    pub dram_write_bytes: u64,
    /// Delivered by L1 itself.
    pub l1_hit_bytes: u64,
    /// Requests of blocks.
    pub transactions: u64,
}

#[derive(Debug, Clone, Copy)]
struct Mapped {
    rows: u64,
    row_bytes: u64,
    width: u64,
    height: u64,
    columns: u64,
    base: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Block, or `FOREIGN`; a slot of size 0 is free.
    block: u32,
    size: u32,
    valid: u32,
    dirty: u32,
    /// When it was last used, in requests.
    used: u32,
}

const FOREIGN: u32 = u32::MAX;
/// Every launch begins with the same random bits, whatever ran before.
const SEED: u64 = 0x5eed;
/// Neighbouring bytes that one channel keeps (assumed; a bulk copy of 16 KB from memory takes 200 cycles longer than one
/// of 2 KB does, so it is not spread over all channels).
const INTERLEAVE: u64 = 4096;
/// Ways of a set, in blocks of the grain's size.
const WAYS: u64 = 16;
/// Blocks that a set holds at most, smaller ones included.
const PLACES: usize = 32;
/// A reduction or a store holds a slice's data bank twice as long as a read: it reads and writes the line's tags, data
/// and error-correcting code. `write_cold` of 4 to 16 MiB in microbenchmarks.csv: 4.7 TB/s, half of what reads reach.
const WRITE_PASSES: u64 = 2;

#[derive(Debug, Clone, Copy, Default)]
struct Channel {
    server: Server,
    pending_write: u32,
}

/// The port of one SM.
#[derive(Debug, Clone, Copy, Default)]
struct SmPort {
    read: Server,
    write: Server,
    translated: bool,
    gpc: u8,
    half: u8,
}

/// Who reads, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader {
    pub sm: usize,
    /// CTAs that share the read.
    pub multicast: u8,
    /// Through L1.
    pub l1: bool,
}

pub(crate) struct Memory {
    sector: u64,
    line: u64,
    capacity: u64,
    l1_bytes: u64,
    grain: u64,
    gpcs: usize,
    tensors: Vec<Mapped>,
    /// Slot of each block, plus one.
    tags: Vec<u32>,
    /// When each GPC last asked for a block, and when it gets it.
    flight: Vec<(u64, u64)>,
    /// Sets of `PLACES` slots.
    slots: Vec<Slot>,
    sets: u64,
    /// Bytes held by each set.
    filled: Vec<u32>,
    stamp: u32,
    bits: Bits,
    halves: [Server; 2],
    partitions: u32,
    channels: Vec<Channel>,
    ports: Vec<SmPort>,
    gpc_ports: Vec<Server>,
    gpc_translation: Vec<Server>,
    l1_tags: Vec<u32>,
    l1_ways: u64,
    // femtoseconds
    half_rate: u64,
    channel_rate: u64,
    port_rate: u64,
    port_write_rate: u64,
    gpc_rate: u64,
    near: u64,
    merge: u64,
    far: u64,
    dram_latency: u64,
    turnaround: u64,
    batch: u32,
    translation_miss: u64,
    translation_interval: u64,
    pub traffic: Traffic,
}

fn ns(x: f64) -> u64 {
    (x * 1e6).round().max(0.0) as u64
}

impl Memory {
    pub(crate) fn new(spec: &GpuSpec) -> Self {
        let mut ports = Vec::new();
        for (gpc, &count) in spec.sms_per_gpc.iter().enumerate() {
            for _ in 0..count {
                let half = if spec.l2.partitions == 2 { (gpc % 2) as u8 } else { 0 };
                ports.push(SmPort { gpc: gpc as u8, half, ..SmPort::default() });
            }
        }
        let gpcs = spec.sms_per_gpc.len();
        let slices = f64::from(spec.l2.slices) / f64::from(spec.l2.partitions);
        let clock = spec.sm_clock_mhz * 1e6;
        Self {
            sector: u64::from(spec.l2.sector_bytes),
            line: u64::from(spec.l2.line_bytes),
            capacity: spec.l2.bytes,
            l1_bytes: 0,
            grain: 4096,
            gpcs,
            tensors: Vec::new(),
            tags: Vec::new(),
            flight: Vec::new(),
            slots: Vec::new(),
            sets: 1,
            filled: Vec::new(),
            stamp: 0,
            bits: Bits::new(SEED),
            halves: [Server::default(); 2],
            partitions: spec.l2.partitions,
            channels: vec![Channel::default(); spec.dram.channels as usize],
            ports,
            gpc_ports: vec![Server::default(); gpcs],
            gpc_translation: vec![Server::default(); gpcs],
            l1_tags: Vec::new(),
            l1_ways: 0,
            half_rate: fs_per_kib(slices * spec.l2.slice_bytes_per_cycle * spec.l2.clock_mhz * 1e6),
            channel_rate: fs_per_kib(
                spec.dram_peak_bytes_per_s() * spec.dram.sustained_share / f64::from(spec.dram.channels),
            ),
            port_rate: fs_per_kib(spec.crossbar.sm_bytes_per_cycle * clock),
            port_write_rate: fs_per_kib(spec.crossbar.sm_write_bytes_per_cycle * clock),
            gpc_rate: fs_per_kib(spec.crossbar.gpc_bytes_per_cycle * clock),
            merge: ns(spec.crossbar.merge_window_ns),
            near: ns(spec.l2.near_latency_ns),
            far: ns(spec.l2.far_latency_ns),
            dram_latency: ns(spec.dram.latency_ns),
            turnaround: ns(spec.dram.turnaround_ns),
            batch: spec.dram.write_batch_bytes,
            translation_miss: ns(spec.launch.translation_miss_cycles * 1e3 / spec.sm_clock_mhz),
            translation_interval: ns(spec.launch.translation_interval_cycles * 1e3 / spec.sm_clock_mhz),
            traffic: Traffic::default(),
        }
    }

    /// Maps a kernel's tensors into an empty cache; `l1_bytes` is what shared memory leaves of each L1.
    pub(crate) fn map(&mut self, tensors: &[Tensor], grain: u64, l1_bytes: u64) -> Result<(), String> {
        self.tensors.clear();
        // Sets are counted in blocks of the size that the largest tensor has.
        let block = |t: &Tensor| {
            let width = u64::from(t.piece_bytes).min(grain).max(self.sector);
            let pieces = (u64::from(t.piece_rows) * width).div_ceil(grain);
            width.min(t.row_bytes.max(1)) * u64::from(t.piece_rows).div_ceil(pieces.max(1)).max(1)
        };
        let largest = tensors.iter().max_by_key(|t| t.bytes());
        let set_grain = largest.map_or(grain, block).clamp(self.sector, grain);
        let mut base = 0u64;
        for t in tensors {
            let width = u64::from(t.piece_bytes).min(grain).max(self.sector);
            let pieces = (u64::from(t.piece_rows) * width).div_ceil(grain);
            let height = u64::from(t.piece_rows).div_ceil(pieces.max(1)).max(1);
            let columns = t.row_bytes.div_ceil(width).max(1);
            self.tensors.push(Mapped { rows: t.rows, row_bytes: t.row_bytes, width, height, columns, base });
            base += columns * t.rows.div_ceil(height).max(1);
        }
        if base > 1 << 27 {
            return Err(format!("touches {base} blocks of {grain} bytes; a coarser grain is needed"));
        }
        self.tags.clear();
        self.tags.resize(base as usize, 0);
        self.flight.clear();
        self.flight.resize(base as usize * self.gpcs, (0, 0));
        self.grain = set_grain;
        self.sets = (self.capacity / (WAYS * set_grain)).max(1);
        self.slots.clear();
        self.slots.resize(self.sets as usize * PLACES, Slot::default());
        self.filled.clear();
        self.filled.resize(self.sets as usize, 0);
        self.stamp = 0;
        self.halves = [Server::default(); 2];
        self.channels.fill(Channel::default());
        for port in &mut self.ports {
            port.read = Server::default();
            port.write = Server::default();
            port.translated = false;
        }
        self.gpc_ports.fill(Server::default());
        self.gpc_translation.fill(Server::default());
        self.l1_bytes = l1_bytes;
        self.l1_ways = (l1_bytes / set_grain).max(1);
        self.l1_tags.clear();
        self.traffic = Traffic::default();
        self.bits = Bits::new(SEED);
        Ok(())
    }

    /// Fills L2 with lines of no tensor of this kernel, of which `dirty` must be written back.
    pub(crate) fn fill_foreign(&mut self, dirty: f64) {
        let size = self.grain as u32;
        let share = (dirty.clamp(0.0, 1.0) * f64::from(u16::MAX)) as u64;
        for set in 0..self.sets as usize {
            for place in 0..PLACES {
                let slot = &mut self.slots[set * PLACES + place];
                if slot.size > 0 || u64::from(self.filled[set]) + self.grain > WAYS * self.grain {
                    continue;
                }
                let d = if (self.bits.next() >> 20) & 0xffff < share { size } else { 0 };
                *slot = Slot { block: FOREIGN, size, valid: size, dirty: d, used: 0 };
                self.filled[set] += size;
            }
        }
    }

    /// Puts tensors into L2 as a kernel that went through them side by side left them; `(tensor, dirty)`.
    pub(crate) fn make_resident(&mut self, tensors: &[(usize, bool)]) {
        let count = |t: &Mapped| t.rows.div_ceil(t.height).max(1) * t.columns;
        let most = tensors.iter().map(|&(t, _)| count(&self.tensors[t])).max().unwrap_or(0);
        for i in 0..most {
            for &(tensor, dirty) in tensors {
                let t = self.tensors[tensor];
                let n = count(&t);
                for j in i * n / most..(i + 1) * n / most {
                    let size = block_bytes(&t, j / t.columns, j % t.columns);
                    let slot = self.insert(0, t.base + j, size);
                    self.slots[slot].valid = size as u32;
                    self.slots[slot].dirty = if dirty { size as u32 } else { 0 };
                }
            }
        }
        // Filling happened before the kernel: it costs it nothing.
        self.channels.fill(Channel::default());
        self.traffic = Traffic::default();
    }

    /// A slot for a block that is not in L2; what was used longest ago in its set goes.
    fn insert(&mut self, now: u64, block: u64, size: u64) -> usize {
        let set = (hash(block ^ 0x5bd1) % self.sets) as usize;
        let first = set * PLACES;
        loop {
            let mut free = None;
            let mut oldest = (u32::MAX, first);
            for i in first..first + PLACES {
                let slot = &self.slots[i];
                if slot.size == 0 {
                    free = Some(i);
                } else if slot.used < oldest.0 {
                    oldest = (slot.used, i);
                }
            }
            if let Some(i) = free
                && (u64::from(self.filled[set]) + size <= WAYS * self.grain.max(size) || self.filled[set] == 0)
            {
                self.stamp = self.stamp.saturating_add(1);
                self.slots[i] = Slot { block: block as u32, size: size as u32, valid: 0, dirty: 0, used: self.stamp };
                self.filled[set] += size as u32;
                self.tags[block as usize] = i as u32 + 1;
                return i;
            }
            let victim = std::mem::take(&mut self.slots[oldest.1]);
            self.filled[set] -= victim.size;
            if victim.block != FOREIGN {
                self.tags[victim.block as usize] = 0;
            }
            if victim.dirty > 0 {
                self.write_back(now, u64::from(victim.block), victim.dirty);
            }
        }
    }

    fn touch(&mut self, now: u64, block: u64, size: u64) -> usize {
        let tag = self.tags[block as usize];
        if tag == 0 {
            return self.insert(now, block, size.max(self.sector));
        }
        self.stamp = self.stamp.saturating_add(1);
        let slot = tag as usize - 1;
        self.slots[slot].used = self.stamp;
        slot
    }

    fn write_back(&mut self, now: u64, block: u64, bytes: u32) {
        self.traffic.dram_write_bytes += u64::from(bytes);
        let n = self.channels.len() as u64;
        let parts = u64::from(bytes).div_ceil(INTERLEAVE).clamp(1, 8);
        // A foreign block has no address: it goes where chance sends it.
        let first = if block == u64::from(FOREIGN) { self.bits.next() >> 7 } else { hash(block) };
        for i in 0..parts {
            let channel = &mut self.channels[((first + i) % n) as usize];
            channel.pending_write += (u64::from(bytes) / parts) as u32;
            if channel.pending_write >= self.batch {
                let time = transfer(u64::from(channel.pending_write), self.channel_rate) + self.turnaround;
                channel.server.serve(now, time);
                channel.pending_write = 0;
            }
        }
    }

    fn dram_read(&mut self, now: u64, block: u64, bytes: u64) -> u64 {
        self.traffic.dram_read_bytes += bytes;
        let n = self.channels.len() as u64;
        let parts = bytes.div_ceil(INTERLEAVE).clamp(1, 8);
        let first = hash(block);
        let time = transfer(bytes.div_ceil(parts), self.channel_rate);
        let mut done = 0;
        for i in 0..parts {
            done = done.max(self.channels[((first + i) % n) as usize].server.serve(now, time));
        }
        done + self.dram_latency
    }

    fn slices(&mut self, now: u64, half: usize, bytes: u64) -> u64 {
        if self.partitions == 1 {
            return self.halves[0].serve(now, transfer(bytes, self.half_rate));
        }
        let near = self.halves[half].serve(now, transfer(bytes, self.half_rate));
        let far = self.halves[1 - half].serve(now, transfer(bytes / 2, self.half_rate));
        near.max(far)
    }

    fn slice_bytes(&self, bytes: u64) -> u64 {
        if self.partitions == 2 { bytes + bytes / 2 } else { bytes }
    }

    fn translate(&mut self, now: u64, sm: usize) -> u64 {
        if self.ports[sm].translated {
            return now;
        }
        self.ports[sm].translated = true;
        let gpc = usize::from(self.ports[sm].gpc);
        self.gpc_translation[gpc].serve(now, self.translation_interval) + self.translation_miss
    }

    /// Reads a box to an SM; when its last byte is there.
    pub(crate) fn read(&mut self, now: u64, by: Reader, tile: &Tile, (row, byte): (i64, i64)) -> u64 {
        let t = self.tensors[usize::from(tile.tensor)];
        let Some((r0, r1, b0, b1)) = clip(&t, tile, row, byte) else { return now };
        let now = self.translate(now, by.sm);
        let mut done = now;
        for r in r0 / t.height..=(r1 - 1) / t.height {
            let rows = r1.min((r + 1) * t.height) - r0.max(r * t.height);
            for c in b0 / t.width..=(b1 - 1) / t.width {
                let from = b0.max(c * t.width) / self.sector * self.sector;
                let to = b1.min((c + 1) * t.width).div_ceil(self.sector) * self.sector;
                let block = t.base + r * t.columns + c;
                let size = block_bytes(&t, r, c);
                let bytes = (rows * (to - from)).min(size.max(self.sector));
                done = done.max(self.read_block(now, by, block, size, bytes));
            }
        }
        done
    }

    fn read_block(&mut self, now: u64, by: Reader, block: u64, size: u64, bytes: u64) -> u64 {
        let Reader { sm, multicast, l1 } = by;
        self.traffic.transactions += 1;
        if l1 && self.l1_lookup(sm, block) {
            self.traffic.l1_hit_bytes += bytes;
            return now;
        }
        let SmPort { gpc, half, .. } = self.ports[sm];
        let (gpc, half) = (usize::from(gpc), usize::from(half));
        let share = bytes.div_ceil(u64::from(multicast));
        self.traffic.crossbar_read_bytes += bytes;
        let latency = if size > self.line || hash(block) & 1 == half as u64 { self.far } else { self.near };
        let flight = block as usize * self.gpcs + gpc;
        let (asked, promised) = self.flight[flight];
        let arrives = if promised > now && now < asked + self.merge {
            // The first request of this GPC for the block has just gone out: one answer serves both.
            promised.max(now + self.near)
        } else {
            let slot = self.touch(now, block, size);
            let missing = u64::from(self.slots[slot].size - self.slots[slot].valid).min(bytes);
            // What comes from memory passes the slices whole, whoever shares it: the first of a cluster to ask pays.
            let share = share.max(missing);
            self.traffic.l2_read_bytes += self.slice_bytes(share);
            let mut at = self.slices(now, half, share) + latency;
            if missing > 0 {
                self.slots[slot].valid += missing as u32;
                at = at.max(self.dram_read(now, block, missing) + latency);
            }
            self.flight[flight] = (now, at);
            at
        };
        // Ports queue by the time of the request, so that a miss does not hold up the hits behind it.
        let due = now + self.near;
        let gpc_done = self.gpc_ports[gpc].serve(due, transfer(bytes, self.gpc_rate));
        let time = transfer(bytes, self.port_rate);
        let sm_done = self.ports[sm].read.serve(due, time);
        sm_done.max(gpc_done).max(arrives + time)
    }

    fn l1_lookup(&mut self, sm: usize, block: u64) -> bool {
        let ways = self.l1_ways as usize;
        if self.l1_tags.is_empty() {
            self.l1_tags.resize(self.ports.len() * ways, 0);
        }
        // Random replacement in one set of all ways would need a search; four candidate places of a hash do as well.
        let h = hash(block);
        let tag = block as u32 + 1;
        let base = sm * ways;
        for i in 0..4 {
            if self.l1_tags[base + ((h >> (i * 12)) % ways as u64) as usize] == tag {
                return true;
            }
        }
        let mut place = base + ((h >> ((self.bits.next() >> 30) % 4 * 12)) % ways as u64) as usize;
        for i in 0..4 {
            let p = base + ((h >> (i * 12)) % ways as u64) as usize;
            if self.l1_tags[p] == 0 {
                place = p;
                break;
            }
        }
        self.l1_tags[place] = tag;
        false
    }

    /// Writes a box from an SM; when L2 has all of it.
    pub(crate) fn write(&mut self, now: u64, sm: usize, tile: &Tile, row: i64, byte: i64, reduce: bool) -> u64 {
        let t = self.tensors[usize::from(tile.tensor)];
        let Some((r0, r1, b0, b1)) = clip(&t, tile, row, byte) else { return now };
        let now = self.translate(now, sm);
        let mut done = now;
        let half = usize::from(self.ports[sm].half);
        for r in r0 / t.height..=(r1 - 1) / t.height {
            let rows = r1.min((r + 1) * t.height) - r0.max(r * t.height);
            for c in b0 / t.width..=(b1 - 1) / t.width {
                let bytes = rows * (b1.min((c + 1) * t.width) - b0.max(c * t.width));
                let block = t.base + r * t.columns + c;
                let size = block_bytes(&t, r, c);
                self.traffic.transactions += 1;
                self.traffic.crossbar_write_bytes += bytes;
                // A reduction reads, adds and writes in its slice.
                let passes = if reduce { 2 } else { 1 };
                let held = passes * WRITE_PASSES;
                self.traffic.l2_write_bytes += self.slice_bytes(bytes) * passes;
                let sent = self.ports[sm].write.serve(now, transfer(bytes, self.port_write_rate));
                let served = self.slices(now, half, bytes * held);
                let slot = self.touch(now, block, size);
                let s = &mut self.slots[slot];
                s.dirty = s.dirty.saturating_add(bytes as u32).min(s.size);
                s.valid = s.valid.saturating_add(bytes as u32).min(s.size);
                done = done.max(sent.max(served) + self.near);
            }
        }
        done
    }

    /// When the channels will have done what they have been asked, on average.
    pub(crate) fn dram_drained(&self) -> u64 {
        (self.channels.iter().map(|c| u128::from(c.server.free)).sum::<u128>() / self.channels.len() as u128) as u64
    }

    /// Femtoseconds for which the busiest half of L2, and all channels on average, worked.
    pub(crate) fn busy(&self) -> (u64, u64) {
        let l2 = self.halves[0].busy.max(self.halves[1].busy);
        let dram = self.channels.iter().map(|c| c.server.busy).sum::<u64>() / self.channels.len() as u64;
        (l2, dram)
    }
}

/// Bytes of the block in row `r` and column `c` of blocks, less what sticks out of the tensor.
fn block_bytes(t: &Mapped, r: u64, c: u64) -> u64 {
    let rows = t.height.min(t.rows.saturating_sub(r * t.height)).max(1);
    let bytes = t.width.min(t.row_bytes.saturating_sub(c * t.width)).max(1);
    rows * bytes.next_multiple_of(32)
}

/// The part of a box that lies in the tensor: rows from and to, bytes from and to.
fn clip(t: &Mapped, tile: &Tile, row: i64, byte: i64) -> Option<(u64, u64, u64, u64)> {
    let r0 = row.max(0) as u64;
    let r1 = t.rows.min(row.saturating_add(i64::from(tile.rows)).max(0) as u64);
    let b0 = byte.max(0) as u64;
    let b1 = t.row_bytes.min(byte.saturating_add(i64::from(tile.bytes)).max(0) as u64);
    (r0 < r1 && b0 < b1).then_some((r0, r1, b0, b1))
}
