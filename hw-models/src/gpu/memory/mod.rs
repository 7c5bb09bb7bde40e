//! What lies between the SMs and the pins of the device memory: translation, crossbar, L2 slices, channels.
//!
//! A request is a box of a tensor, cut into blocks of at most `grain` bytes, the unit of L2's tags. A run of neighbouring
//! blocks passes the servers as one, in the order of its request: the coalescer of its GPC (what the GPC has just asked
//! for is not asked for again), the slices of its own half of L2, those of the other half for lines at home there of
//! which its own has no copy, the channels of the memory for what misses, and the ports of GPC and SM on its way back.

mod crossbar;
mod dram;
mod l1;
mod l2;
mod layout;

use super::launch::{HeldTensor, PeerLink, SIXTEENTHS, TensorInL2};
use super::program::{Multicast, Tensor, Tile};
use super::spec::GpuSpec;
use super::traffic::Traffic;
use super::units::{Bits, Divisor, Draws, Server, fs_per_kib, hash, ns, transfer};
use crossbar::Crossbar;
use dram::Dram;
use l1::L1;
use l2::{Absent, FOREIGN, Tags, Victim, Wanted};
use layout::{Area, Mapped, Run};

/// Every launch begins with the same random bits, whatever ran before.
const SEED: u64 = 0x5eed;
/// A reduction or a store holds a slice's data bank twice as long as a read: it reads and writes the line's tags, data
/// and error-correcting code. `write_cold` of 4 to 16 MiB in microbenchmarks.csv: 4.7 TB/s, half of what reads reach.
const WRITE_PASSES: u64 = 2;
/// Blocks of a run at most: tags, addresses and traffic are kept in 32 bits.
const MOST_BLOCKS: u64 = 1 << 27;
/// At grains of so many bytes and their multiples, the pieces of as many rows of a box, up to eight, are one access to
/// memory.
const PIECES_FROM: u64 = 2048;
const MOST_PIECES: u64 = 8;

/// Who reads, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader {
    pub sm: usize,
    /// CTAs that share the read, and which of its cluster's this one is.
    pub multicast: Multicast,
    pub member: u8,
    /// Through L1.
    pub l1: bool,
    /// By the copy engine.
    pub bulk: bool,
}

/// What a look into L2 found: when everything is there, bytes that were not in the near half, and those of them that came
/// through the other.
struct Found {
    at: u64,
    far: u64,
}

#[derive(Clone)]
pub(crate) struct Memory {
    sector: u64,
    by_sector: Divisor,
    capacity: u64,
    tensors: Vec<Mapped>,
    /// Of each half. A line's home is one of them; the other keeps copies for its own SMs.
    tags: [Tags; 2],
    l1: L1,
    crossbar: Crossbar,
    dram: Dram,
    bits: Bits,
    /// The first of them, which say which foreign lines are dirty.
    draws: Draws,
    halves: [Server; 2],
    /// The links: what leaves for peers, while as much comes; and what 1 KiB and the way take.
    link: Server,
    link_rate: u64,
    link_latency: u64,
    partitions: u32,
    /// Blocks of the run in work that are not in L2.
    absent: Vec<Absent>,
    /// Blocks that have just had to go.
    gone: Vec<Victim>,
    /// Rows of a box whose pieces are one access to memory.
    together: u64,
    // femtoseconds
    half_rate: u64,
    near: u64,
    far: u64,
    pub traffic: Traffic,
}

impl Memory {
    pub(crate) fn new(spec: &GpuSpec) -> Self {
        let slices = f64::from(spec.l2.slices) / f64::from(spec.l2.partitions);
        Self {
            sector: u64::from(spec.l2.sector_bytes),
            by_sector: Divisor::new(u64::from(spec.l2.sector_bytes)),
            capacity: spec.l2.bytes,
            tensors: Vec::new(),
            tags: [Tags::default(), Tags::default()],
            l1: L1::default(),
            crossbar: Crossbar::new(spec),
            dram: Dram::new(spec),
            bits: Bits::new(SEED),
            draws: Draws::new(SEED),
            halves: [Server::default(); 2],
            link: Server::default(),
            link_rate: 1,
            link_latency: 0,
            partitions: spec.l2.partitions,
            absent: Vec::new(),
            gone: Vec::new(),
            together: 1,
            half_rate: fs_per_kib(slices * spec.l2.slice_bytes_per_cycle * spec.l2.clock_mhz * 1e6),
            near: ns(spec.l2.near_latency_ns),
            far: ns(spec.l2.far_latency_ns),
            traffic: Traffic::default(),
        }
    }

    /// Maps a kernel's tensors into an empty cache; `l1_bytes` is what shared memory leaves of each L1.
    pub(crate) fn map(&mut self, tensors: &[Tensor], grain: u64, l1_bytes: u64, keep: bool) -> Result<(), String> {
        let before = if keep { self.tensors.clone() } else { Vec::new() };
        // Sets are counted in blocks of the size that the largest tensor has.
        let (blocks, set_grain, shift) = layout::map(tensors, grain, self.sector, &mut self.tensors);
        self.tensors.iter_mut().zip(&before).for_each(|(t, b)| t.copied = b.copied);
        if blocks > MOST_BLOCKS {
            return Err(format!("touches {blocks} blocks of {grain} bytes; a coarser grain is needed"));
        }
        let halves = self.partitions as usize;
        if !keep || before != self.tensors {
            self.tensors.iter_mut().for_each(|t| t.copied = false);
            for tags in &mut self.tags[..halves] {
                tags.reset(blocks, self.capacity / u64::from(self.partitions), set_grain, shift);
            }
        } else {
            self.tags[..halves].iter_mut().for_each(Tags::restart);
        }
        self.l1.reset(l1_bytes, set_grain);
        self.crossbar.reset();
        self.together = (grain / PIECES_FROM).clamp(1, MOST_PIECES);
        self.dram.reset();
        self.halves = [Server::default(); 2];
        self.link = Server::default();
        self.traffic = Traffic::default();
        self.bits = Bits::new(SEED);
        Ok(())
    }

    /// Gives the machine links to peers.
    pub(crate) fn join(&mut self, link: PeerLink) {
        self.link_rate = fs_per_kib(link.bytes_per_s);
        self.link_latency = ns(link.latency_ns);
    }

    /// Serves CTAs of a launch, whose SMs translate their first addresses themselves; `fresh` when it begins.
    pub(crate) fn serve_launch(&mut self, bit: u32, fresh: bool) {
        self.crossbar.serve_launch(bit, fresh);
    }

    /// Follows the clock of the SMs: a cycle takes so many times as long as at the full one.
    pub(crate) fn slow(&mut self, times: f64) {
        self.crossbar.slow(times);
    }

    /// Fills L2 with lines of no tensor of this kernel, of which `dirty` must be written back.
    pub(crate) fn fill_foreign(&mut self, dirty: f64) {
        let share = (dirty.clamp(0.0, 1.0) * f64::from(u16::MAX)) as u64;
        let halves = self.partitions as usize;
        let mut drawn = 0;
        for tags in &mut self.tags[..halves] {
            drawn = tags.fill_foreign(share, &mut self.draws, drawn);
        }
        self.bits = self.draws.after(drawn);
    }

    /// Puts tensors into L2 as a kernel that went through them side by side left them; `(tensor, dirty)`.
    pub(crate) fn make_resident(&mut self, tensors: &[(usize, bool)]) {
        let most = tensors.iter().map(|&(t, _)| self.tensors[t].blocks).max().unwrap_or(0);
        // The half from which the kernel before has read has a copy as well, where there is room for one of every second line.
        let bytes = |dirty| -> u64 {
            tensors
                .iter()
                .filter(|t| t.1 == dirty)
                .map(|&(t, _)| self.tensors[t].rows * self.tensors[t].row_bytes)
                .sum()
        };
        let room = self.partitions == 2 && bytes(false) * 3 / 2 + bytes(true) <= self.capacity;
        for &(t, dirty) in tensors {
            self.tensors[t].copied = room && !dirty;
        }
        for i in 0..most {
            for &(tensor, dirty) in tensors {
                let t = self.tensors[tensor];
                for j in i * t.blocks / most..(i + 1) * t.blocks / most {
                    let (r, c) = t.locate(t.base + j);
                    if r * t.height >= t.rows.max(1) {
                        continue;
                    }
                    let size = t.block_bytes(r, c);
                    let home = self.home(t.base + j);
                    self.tags[home].tick();
                    // Filling happened before the kernel: what has to go costs it nothing.
                    let (block, set) = (t.base + j, self.tags[home].set(t.base + j));
                    self.tags[home].take(Wanted { block, set, size, bytes: size, dirty }, &self.draws, |_| {});
                }
            }
        }
    }

    /// Puts the shares of tensors into L2 that a ledger says are there, each its last blocks; of those, the last are dirty.
    pub(crate) fn make_held(&mut self, held: &[HeldTensor]) {
        let known = || held.iter().enumerate().take(self.tensors.len());
        let bytes = |clean: bool| -> u64 {
            known()
                .map(|(t, h)| {
                    let all = self.tensors[t].rows * self.tensors[t].row_bytes * u64::from(h.share) / SIXTEENTHS;
                    all * if clean { SIXTEENTHS - u64::from(h.dirty) } else { u64::from(h.dirty) } / SIXTEENTHS
                })
                .sum()
        };
        let room = self.partitions == 2 && bytes(true) * 3 / 2 + bytes(false) <= self.capacity;
        let most = known().map(|(t, _)| self.tensors[t].blocks).max().unwrap_or(0);
        let all: Vec<(usize, HeldTensor)> = known().map(|(t, h)| (t, *h)).filter(|(_, h)| h.share > 0).collect();
        for &(t, h) in &all {
            self.tensors[t].copied = room && h.dirty == 0;
        }
        for i in 0..most {
            for &(tensor, h) in &all {
                let t = self.tensors[tensor];
                // Rounded so that whole tensors are whole, and single blocks are there or not.
                let from = t.blocks - (t.blocks * u64::from(h.share)).div_ceil(SIXTEENTHS);
                let dirty_from = t.blocks - ((t.blocks - from) * u64::from(h.dirty)).div_ceil(SIXTEENTHS);
                for j in (i * t.blocks / most).max(from)..(i + 1) * t.blocks / most {
                    let (r, c) = t.locate(t.base + j);
                    if r * t.height >= t.rows.max(1) {
                        continue;
                    }
                    let (size, block) = (t.block_bytes(r, c), t.base + j);
                    let home = self.home(block);
                    self.tags[home].tick();
                    let set = self.tags[home].set(block);
                    let wanted = Wanted { block, set, size, bytes: size, dirty: j >= dirty_from };
                    self.tags[home].take(wanted, &self.draws, |_| {});
                }
            }
        }
    }

    /// What of each tensor lies in L2 now, copies in another half apart; and all bytes of them, copies too.
    pub(crate) fn census(&self) -> (Vec<TensorInL2>, u64) {
        let mut all = vec![TensorInL2::default(); self.tensors.len()];
        let mut bytes = 0;
        for (half, tags) in self.tags[..self.partitions as usize].iter().enumerate() {
            tags.each(|block, valid, dirty| {
                bytes += u64::from(valid);
                let block = u64::from(block);
                let Some(t) = self.tensors.iter().rposition(|t| t.base <= block) else { return };
                all[t].dirty_bytes += u64::from(dirty);
                if self.home(block) == half {
                    all[t].bytes += u64::from(valid);
                }
            });
        }
        (all, bytes)
    }

    /// The half in which a block is at home.
    fn home(&self, block: u64) -> usize {
        if self.partitions == 2 { (hash(block) & 1) as usize } else { 0 }
    }

    /// Takes bytes of a block into a half; how many were missing.
    #[inline]
    fn take(&mut self, half: usize, wanted: Wanted) -> u64 {
        let gone = &mut self.gone;
        let taken = self.tags[half].take(wanted, &self.draws, |v| gone.push(v));
        if !self.gone.is_empty() {
            self.write_back();
        }
        taken
    }

    /// Sends the bytes of blocks that had to go to memory.
    fn write_back(&mut self) {
        for Victim { block, dirty } in self.gone.drain(..) {
            let bytes = u64::from(dirty);
            self.traffic.dram_write_bytes += bytes;
            if block == FOREIGN {
                self.traffic.others_written_bytes += bytes;
                // A foreign block has no address: it goes where chance sends it.
                self.dram.write_somewhere(bytes);
                continue;
            }
            let block = u64::from(block);
            let Some(t) = self.tensors.iter().rfind(|t| t.base <= block) else { continue };
            let (r, c) = t.locate(block);
            let whole = Area { r0: 0, r1: t.rows, b0: 0, b1: t.row_bytes };
            let area = t.part(&whole, r, c);
            let dram = &mut self.dram;
            rows(t, &area, bytes, 1, |address, bytes, _| dram.write(address, bytes));
        }
    }

    /// Passes bytes through the slices of a half, and some of them through those of the other.
    fn slices(&mut self, now: u64, half: usize, bytes: u64, far: u64) -> u64 {
        let near = self.halves[half].serve(now, transfer(bytes, self.half_rate));
        if far == 0 { near } else { near.max(self.halves[1 - half].serve(now, transfer(far, self.half_rate))) }
    }

    /// Reads a box to an SM; when its last byte is there.
    pub(crate) fn read(&mut self, now: u64, by: Reader, tensor: usize, tile: &Tile, (row, byte): (i64, i64)) -> u64 {
        let t = self.tensors[tensor];
        let (first, rows) = by.multicast.part(by.member, tile.rows);
        let row = row + i64::from(first);
        let whole = u64::from(rows) * u64::from(tile.bytes);
        let Some(mut area) = t.clip(&Tile { rows, ..*tile }, row, byte) else {
            return if by.bulk { self.read_zeros(now, by, whole) } else { now };
        };
        area.b0 = self.by_sector.quotient(area.b0) * self.sector;
        area.b1 = self.by_sector.quotient(area.b1 + self.sector - 1) * self.sector;
        let now = self.crossbar.translate(now, by.sm);
        let mut done = now;
        for run in t.runs(&area) {
            if by.l1 {
                for i in 0..run.count {
                    let (row, column) = Mapped::of_run(&run, i);
                    let first = run.first + i;
                    if self.l1.lookup(self.crossbar.sms(), by.sm, first, &mut self.bits) {
                        self.traffic.l1_hit_bytes += t.part(&area, row, column).bytes();
                        self.traffic.transactions += 1;
                    } else {
                        done = done.max(self.read_run(now, by, &t, &area, Run { first, count: 1, row, column, ..run }));
                    }
                }
            } else {
                done = done.max(self.read_run(now, by, &t, &area, run));
            }
        }
        let beyond = whole.saturating_sub(area.bytes());
        if by.bulk && beyond > 0 { done.max(self.read_zeros(now, by, beyond)) } else { done }
    }

    /// Reads what of a bulk copy's box lies beyond the tensor: it is asked of L2 and comes over the crossbar like any other (`device_l2.csv`:
    /// copies of 64 rows of which a product has 4 bring 64, and ask for as many; columns are taken to do the same).
    fn read_zeros(&mut self, now: u64, by: Reader, bytes: u64) -> u64 {
        let now = self.crossbar.translate(now, by.sm);
        self.traffic.l2_read_bytes += bytes;
        let half = self.crossbar.half(by.sm);
        let passed = self.slices(now, half, bytes, 0) + self.near;
        let at = passed.max(self.crossbar.enter(by.sm, now + self.near, bytes));
        self.deliver(now, by, at, bytes)
    }

    /// Brings what L2 has sent for an SM to it, with what others of its cluster have asked for.
    fn deliver(&mut self, now: u64, by: Reader, at: u64, bytes: u64) -> u64 {
        let bytes = bytes * u64::from(by.multicast.ctas);
        self.traffic.crossbar_read_bytes += bytes;
        // Ports queue by the time of the request, so that a miss does not hold up the hits behind it.
        self.crossbar.deliver(by.sm, now + self.near, at, bytes)
    }

    fn read_run(&mut self, now: u64, by: Reader, t: &Mapped, area: &Area, run: Run) -> u64 {
        self.traffic.transactions += run.count;
        let bytes = run_bytes(t, area, &run);
        let (bytes, again) = if by.bulk {
            let bytes = (bytes * t.off_lines.arrive) >> 10;
            (bytes, (bytes * t.off_lines.again) >> 10)
        } else {
            (bytes, 0)
        };
        // What goes to several SMs of a cluster is asked for by each cluster itself.
        let shared = by.multicast.ctas > 1;
        let (flight, under_way) =
            if shared { (0, None) } else { self.crossbar.under_way(now, by.sm, run.first, run.count) };
        let arrives = match under_way {
            Some(promised) => {
                let at = promised.max(now + self.near);
                if again > 0 {
                    self.traffic.l2_read_bytes += again;
                    self.slices(now, self.crossbar.half(by.sm), again, 0);
                    at.max(self.crossbar.enter(by.sm, now + self.near, again))
                } else {
                    at
                }
            }
            None => {
                let half = self.crossbar.half(by.sm);
                let found = self.look_up(now, half, t, area, &run);
                self.traffic.l2_read_bytes += bytes + found.far;
                let latency = if found.far == 0 { self.near } else { self.far };
                let passed = self.slices(now, half, bytes, found.far).max(found.at) + latency;
                let at = passed.max(self.crossbar.enter(by.sm, now + self.near, bytes));
                if !shared {
                    let there = (found.at + latency).saturating_sub(self.near);
                    self.crossbar.promise(flight, run.first, run.count, there, at);
                }
                at
            }
        };
        self.deliver(now, by, arrives, bytes)
    }

    /// Looks for a run in a half of L2 and fetches what is not there, from the other half or from memory.
    fn look_up(&mut self, now: u64, half: usize, t: &Mapped, area: &Area, run: &Run) -> Found {
        let tags = &mut self.tags[half];
        tags.tick();
        self.absent.clear();
        tags.hit_all(run.first, run.count, &mut self.absent);
        // What another has asked for is not there before it has come.
        let mut found = Found { at: now.max(tags.due(run.first, run.count)), far: 0 };
        if self.absent.is_empty() {
            return found;
        }
        if self.partitions == 2 {
            self.tags[1 - half].tick();
        }
        self.tags[half].find_sets(run.first, &mut self.absent);
        for tags in &self.tags[..self.partitions as usize] {
            tags.fetch(&self.absent);
        }
        let blocks = t.blocks_of(area, run);
        for k in 0..self.absent.len() {
            let Absent { i, set } = self.absent[k];
            let (i, set) = (u64::from(i), set as usize);
            let block = run.first + i;
            let (size, part) = blocks.get(i);
            let wanted = Wanted { block, set, size, bytes: part.bytes(), dirty: false };
            let mut missing = self.take(half, wanted);
            let home = self.home(block);
            if home != half {
                if self.tags[home].hit(block, set) {
                    found.far += if t.copied { 0 } else { missing };
                    found.at = found.at.max(self.tags[home].due(block, 1));
                    continue;
                }
                found.far += missing;
                missing = self.take(home, Wanted { bytes: missing, ..wanted });
            }
            self.traffic.dram_read_bytes += missing;
            let dram = &mut self.dram;
            rows(t, &part, missing, self.together, |address, bytes, pieces| dram.read(address, bytes, pieces));
        }
        found.at = found.at.max(self.dram.settle(now, &mut self.bits));
        for tags in &mut self.tags[..self.partitions as usize] {
            tags.expect(run.first, &self.absent, found.at);
        }
        found
    }

    /// Writes a box from an SM.
    pub(crate) fn write(
        &mut self,
        now: u64,
        sm: usize,
        tensor: usize,
        tile: &Tile,
        (row, byte): (i64, i64),
        reduce: bool,
    ) -> Written {
        let t = self.tensors[tensor];
        let Some(area) = t.clip(tile, row, byte) else { return Written { left: now, stored: now } };
        let now = self.crossbar.translate(now, sm);
        let mut done = Written { left: now, stored: now };
        let half = self.crossbar.half(sm);
        // A reduction reads, adds and writes in its slice.
        let passes = if reduce { 2 } else { 1 };
        for run in t.runs(&area) {
            let bytes = run_bytes(&t, &area, &run);
            self.traffic.transactions += run.count;
            self.traffic.crossbar_write_bytes += bytes;
            let sent = self.crossbar.send(sm, now, bytes);
            let served = self.store_run(now, half, &t, &area, &run, passes);
            done.left = done.left.max(sent);
            done.stored = done.stored.max(sent.max(served) + self.near);
        }
        done
    }

    /// Takes the bytes of a run into L2, at `half` first; when they are there.
    fn store_run(&mut self, now: u64, half: usize, t: &Mapped, area: &Area, run: &Run, passes: u64) -> u64 {
        let bytes = run_bytes(t, area, run);
        // Half of the lines are at home in the other half, and pass both.
        let far = if self.partitions == 2 { bytes / 2 } else { 0 };
        self.traffic.l2_write_bytes += (bytes + far) * passes;
        let held = passes * WRITE_PASSES;
        let served = self.slices(now, half, bytes * held, far * held);
        self.tags.iter_mut().for_each(Tags::tick);
        let blocks = t.blocks_of(area, run);
        for i in 0..run.count {
            let block = run.first + i;
            let (size, part) = blocks.get(i);
            let home = self.home(block);
            let set = self.tags[home].set(block);
            let before = self.tags[home].dirtied;
            self.take(home, Wanted { block, set, size, bytes: part.bytes(), dirty: true });
            self.traffic.l2_dirtied_bytes += self.tags[home].dirtied - before;
            if self.partitions == 2 {
                self.tags[1 - home].forget(block);
            }
        }
        self.dram.settle(now, &mut self.bits);
        served
    }

    /// Writes a box to a peer's memory, while the peer writes the same here.
    pub(crate) fn peer_write(
        &mut self,
        now: u64,
        sm: usize,
        tensor: usize,
        tile: &Tile,
        (row, byte): (i64, i64),
    ) -> Written {
        let t = self.tensors[tensor];
        let Some(area) = t.clip(tile, row, byte) else { return Written { left: now, stored: now } };
        let now = self.crossbar.translate(now, sm);
        let mut done = Written { left: now, stored: now };
        let half = self.crossbar.half(sm);
        for run in t.runs(&area) {
            let bytes = run_bytes(&t, &area, &run);
            self.traffic.transactions += run.count;
            self.traffic.crossbar_write_bytes += bytes;
            self.traffic.peer_bytes += bytes;
            let sent = self.crossbar.send(sm, now, bytes);
            let passed = self.link.serve(now, transfer(bytes, self.link_rate)).max(sent);
            // Of the peer's, which come at the same time.
            let served = self.store_run(now, half, &t, &area, &run, 1);
            // The SM's stores wait in its port while the links are busy.
            done.left = done.left.max(passed);
            done.stored = done.stored.max(passed.max(served) + self.link_latency + self.near);
        }
        done
    }

    /// When the channels will have done what they have been asked, on average.
    pub(crate) fn dram_drained(&self) -> u64 {
        self.dram.drained()
    }

    /// Femtoseconds for which the busiest half of L2, and all channels on average, worked.
    pub(crate) fn busy(&self) -> (u64, u64) {
        (self.halves[0].busy.max(self.halves[1].busy), self.dram.busy())
    }
}

/// When what an SM writes is gone from it, and when L2 has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) left: u64,
    pub(crate) stored: u64,
}

/// Bytes of an area that a run holds.
fn run_bytes(t: &Mapped, area: &Area, run: &Run) -> u64 {
    let last = Mapped::of_run(run, run.count - 1);
    let (a, b) = (t.part(area, run.row, run.column), t.part(area, last.0, last.1));
    Area { r1: b.r1, b1: b.b1, ..a }.bytes()
}

/// Goes through the addresses of an area row by row, up to so many bytes; some rows are taken together.
fn rows(t: &Mapped, area: &Area, bytes: u64, together: u64, mut each: impl FnMut(u64, u64, u64)) {
    let start = t.address + area.r0 * t.row_bytes + area.b0;
    let width = area.b1 - area.b0;
    if width == t.row_bytes || area.r1 - area.r0 == 1 {
        return each(start, bytes, 1);
    }
    let mut rest = bytes;
    let mut r = 0;
    while rest > 0 && r < area.r1 - area.r0 {
        let part = rest.min(width);
        // Only whole rows go together.
        let pieces = together.min(area.r1 - area.r0 - r).min(rest / part);
        each(start + r * t.row_bytes, part, pieces);
        rest -= part * pieces;
        r += pieces;
    }
}
