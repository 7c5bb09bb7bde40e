//! The machine: CTAs on SMs, event by event.

mod clock;
mod deeper;
mod issue;
mod order;
mod state;
mod streams;

use banksia_sim::{EventQueue, Time};

use state::{
    BarrierState, EPOCH_FS, FREE, GROUPS, IDLE, OpCost, Paces, Product, ProductCost, RING, RoleState, SmUnits,
    code_bytes, skip_loop, vector_cost,
};

use super::instructions::{INSTRUCTION_BYTES, supply_cycles};
use super::launch::{CacheState, DIRTY_UNITS, GpuError, KernelResult, LaunchOptions, TensorInL2, occupancy};
use super::memory::{Memory, Reader};
use super::power::Work;
use super::program::{Dtype, Kernel, Op, Path, Tensor, Trips, VectorWork, WORK_VARS};
use super::spec::GpuSpec;
use super::traffic::Traffic;
use super::units::{Divisor, Server, fs_per_kib, transfer};

/// A GPU that runs kernels one at a time.
#[derive(Clone)]
pub struct Gpu {
    spec: GpuSpec,
    memory: Memory,
    queue: EventQueue<u32>,
    sms: Vec<SmUnits>,
    /// SMs as the scheduler fills them.
    order: Vec<u32>,
    /// When the scheduler, one for the whole chip, can place the next CTA.
    launcher_free: u64,
    /// Roles of all launches, which agents of the queue are numbered by; lanes of SMs follow.
    agents: usize,
    clock: ClockState,
    /// The launch whose CTAs act; others under way are kept aside.
    launch: LaunchState,
    aside: Vec<LaunchState>,
    /// Multiply-adds a cycle, by type.
    fma_rates: [f64; Dtype::COUNT],
    /// Of the data path, in the layouts of `wgmma` and of `ldmatrix`.
    shared_rate: u64,
    zeros_rate: u64,
    rows_rate: u64,
    l1_rate: u64,
}

/// The clock of the SMs, which follows the load.
#[derive(Clone)]
struct ClockState {
    /// A cycle, in femtoseconds.
    period: f64,
    clock_limit_mhz: f64,
    tensor_until: u64,
    epoch_end: u64,
    epoch_tensor: u64,
    epoch_tensor_sync: u64,
    epoch_bytes: u64,
    clock_sum: f64,
    clock_fs: u64,
}

impl ClockState {
    /// At the begin of a launch.
    fn new(period: f64, clock_limit_mhz: f64) -> Self {
        Self {
            period,
            clock_limit_mhz,
            tensor_until: 0,
            epoch_end: EPOCH_FS,
            epoch_tensor: 0,
            epoch_tensor_sync: 0,
            epoch_bytes: 0,
            clock_sum: 0.0,
            clock_fs: 0,
        }
    }
}

/// The launch in hand.
#[derive(Clone)]
struct LaunchState {
    /// State of all roles, barriers and slots of CTAs that it may have on the chip.
    roles: Vec<RoleState>,
    barriers: Vec<BarrierState>,
    live: Vec<u8>,
    /// Its first role among those of all launches, its bit among launches whose SMs have translated, and where its tensors are among those mapped.
    first_agent: usize,
    bit: u32,
    tensors: Vec<u16>,
    next_cta: u32,
    /// CTAs that have ended, where other launches may take their place: which slot, and when.
    shares: bool,
    ended: Vec<(u32, u64)>,
    grid: u32,
    items_end: usize,
    items_done: usize,
    /// The next item that no CTA has begun, and what each slot's CTA took, where CTAs take items from a counter.
    next_item: u32,
    taken: Vec<Vec<u32>>,
    marks: (usize, usize),
    marked: [(u64, Traffic, Work); 2],
    end: u64,
    work: Work,
    steps: u64,
    warp_time: f64,
    /// The machine stops before a role ends its loop's turn of this number, counted from one; whether it has.
    stop_at: u32,
    stopped: bool,
    /// Roles of a CTA and CTAs of an SM, which agents are numbered by.
    by_roles: Divisor,
    by_slots: Divisor,
    paces: Paces,
    /// Cycles for a byte of code that the first instruction cache does not hold.
    code_rate: f64,
}

impl Default for LaunchState {
    fn default() -> Self {
        Self {
            roles: Vec::new(),
            barriers: Vec::new(),
            live: Vec::new(),
            first_agent: 0,
            bit: 0,
            tensors: Vec::new(),
            next_cta: 0,
            shares: false,
            ended: Vec::new(),
            grid: 0,
            items_end: 0,
            items_done: 0,
            next_item: 0,
            taken: Vec::new(),
            marks: (usize::MAX, usize::MAX),
            marked: Default::default(),
            end: 0,
            work: Work::default(),
            steps: 0,
            warp_time: 0.0,
            stop_at: u32::MAX,
            stopped: false,
            by_roles: Divisor::new(1),
            by_slots: Divisor::new(1),
            paces: Paces::default(),
            code_rate: 0.0,
        }
    }
}

impl Gpu {
    /// A machine as the spec describes it.
    pub fn new(spec: GpuSpec) -> Self {
        let memory = Memory::new(&spec);
        let sms = spec.sms() as usize;
        let period = 1e9 / spec.sm_clock_mhz;
        let hz = spec.sm_clock_mhz * 1e6;
        Self {
            memory,
            queue: EventQueue::with_capacity(4096),
            sms: vec![SmUnits::default(); sms],
            order: Vec::new(),
            launcher_free: 0,
            agents: 0,
            clock: ClockState::new(period, f64::INFINITY),
            launch: LaunchState::default(),
            aside: Vec::new(),
            fma_rates: Dtype::ALL.map(|d| spec.tensor.fma_per_cycle.get(&d).copied().unwrap_or(1.0)),
            zeros_rate: fs_per_kib(spec.sm.async_zero_bytes_per_cycle * hz),
            rows_rate: fs_per_kib(spec.sm.async_rows_bytes_per_cycle * hz),
            shared_rate: fs_per_kib(spec.sm.shared_bytes_per_cycle * hz),
            l1_rate: fs_per_kib(spec.l1.bytes_per_cycle * hz),
            spec,
        }
    }

    /// The device.
    pub fn spec(&self) -> &GpuSpec {
        &self.spec
    }

    /// CTAs of a kernel that fit one SM together.
    ///
    /// # Errors
    /// Not even one does.
    pub fn occupancy(&self, kernel: &Kernel) -> Result<u32, GpuError> {
        occupancy(&self.spec, kernel)
    }

    /// What of the last launch's tensors lies in L2; and all its bytes there, copies in both halves counted twice.
    pub fn in_l2(&self) -> (Vec<TensorInL2>, u64) {
        self.memory.census()
    }

    /// Runs one launch.
    ///
    /// # Errors
    /// The program is malformed, does not fit, uses a type that the device lacks, or stops.
    pub fn run(&mut self, kernel: &Kernel, options: &LaunchOptions) -> Result<KernelResult, GpuError> {
        let (costs, per_sm) = self.begin(kernel, options)?;
        self.go_on(kernel, &costs);
        self.end(kernel, per_sm)
    }

    /// CTAs of a kernel that fit one SM together, if the device can run it.
    ///
    /// # Errors
    /// The program is malformed, does not fit, or uses a type that the device lacks.
    pub fn accepts(&self, kernel: &Kernel) -> Result<u32, GpuError> {
        kernel.check()?;
        let per_sm = self.occupancy(kernel)?;
        for role in &kernel.roles {
            for op in &role.ops {
                if let Op::Mma { dtype, .. } | Op::MmaQueued { dtype, .. } | Op::MmaAmong { dtype, .. } = op
                    && !self.spec.tensor.fma_per_cycle.contains_key(dtype)
                {
                    return Err(GpuError::NoSuchType {
                        kernel: kernel.name.clone(),
                        device: self.spec.name.clone(),
                        dtype: dtype.name(),
                    });
                }
            }
        }
        Ok(per_sm)
    }

    /// Whether there are links, if a kernel needs them.
    fn reaches(&mut self, kernel: &Kernel, options: &LaunchOptions) -> Result<(), GpuError> {
        let of_peer = |op: &Op| matches!(op, Op::PeerStore { .. });
        match options.peer {
            Some(link) => self.memory.join(link),
            None if kernel.roles.iter().flat_map(|r| &r.ops).any(of_peer) => {
                return Err(GpuError::NoPeer { kernel: kernel.name.clone(), device: self.spec.name.clone() });
            }
            None => {}
        }
        Ok(())
    }

    /// Checks a kernel and places its first CTAs.
    fn begin(&mut self, kernel: &Kernel, options: &LaunchOptions) -> Result<(Vec<Vec<OpCost>>, u32), GpuError> {
        let per_sm = self.accepts(kernel)?;
        self.reaches(kernel, options)?;
        self.launch.items_end = options.items.unwrap_or(usize::MAX).min(kernel.items.len());
        self.launch.grid = kernel.grid.min(self.launch.items_end as u32);
        let costs = self.prepare(kernel, per_sm, options)?;
        self.place(kernel, per_sm);
        Ok((costs, per_sm))
    }

    /// Runs until nothing is left to do, or until a role has to stop: which, and when.
    fn go_on(&mut self, kernel: &Kernel, costs: &[Vec<OpCost>]) -> Option<(usize, u64)> {
        while let Some((time, agent)) = self.queue.pop() {
            let (agent, now) = (agent as usize, time.as_fs());
            if agent < self.agents {
                self.advance(kernel, costs, agent, now);
                if self.launch.stopped {
                    return Some((agent, now));
                }
            } else {
                self.lanes_done(agent - self.agents, now);
            }
        }
        None
    }

    fn end(&mut self, kernel: &Kernel, per_sm: u32) -> Result<KernelResult, GpuError> {
        let waiting = self.launch.live.iter().filter(|&&n| n > 0).count();
        if waiting > 0 || self.launch.next_cta < self.launch.grid {
            return Err(GpuError::Deadlock { kernel: kernel.name.clone(), waiting });
        }
        Ok(self.result(per_sm))
    }

    fn prepare(&mut self, kernel: &Kernel, per_sm: u32, options: &LaunchOptions) -> Result<Vec<Vec<OpCost>>, GpuError> {
        self.make_ready(&kernel.tensors, self.l1_bytes(kernel, per_sm), options)
            .map_err(|problem| GpuError::TooLarge { kernel: kernel.name.clone(), problem })?;
        self.aside.clear();
        self.agents = self.sms.len() * per_sm as usize * kernel.roles.len();
        self.launch.first_agent = 0;
        self.launch.bit = 0;
        self.launch.shares = false;
        self.launch.tensors.clear();
        self.launch.tensors.extend(0..kernel.tensors.len() as u16);
        self.launch.marks = options.marks.unwrap_or((usize::MAX, usize::MAX));
        Ok(self.set_up(kernel, per_sm, &mut Vec::new()))
    }

    /// What the shared memory of so many CTAs leaves of an L1.
    fn l1_bytes(&self, kernel: &Kernel, per_sm: u32) -> u64 {
        let shared = u64::from(kernel.shared_bytes + self.spec.sm.shared_memory_reserved_bytes) * u64::from(per_sm);
        u64::from(self.spec.l1.bytes).saturating_sub(shared)
    }

    /// Puts the machine at time zero: tensors in memory, caches as they are to be, units at rest.
    fn make_ready(&mut self, tensors: &[Tensor], l1: u64, options: &LaunchOptions) -> Result<(), String> {
        let grain = u64::from(options.grain_bytes.max(32));
        self.memory.map(tensors, grain, l1, options.cache == CacheState::Left)?;
        match &options.cache {
            CacheState::Empty | CacheState::Left => {}
            CacheState::Foreign { dirty } => self.memory.fill_foreign(*dirty),
            CacheState::Held(start) => {
                self.memory.make_held(&start.tensors);
                self.memory.fill_foreign(f64::from(start.others_dirty) / DIRTY_UNITS as f64);
            }
            CacheState::Resident { tensors: held, dirty } => {
                let known: Vec<_> = held.iter().copied().filter(|&(t, _)| t < tensors.len()).collect();
                self.memory.make_resident(&known);
                self.memory.fill_foreign(*dirty);
            }
        }
        self.queue.clear();
        for sm in &mut self.sms {
            sm.tensor = Server::default();
            sm.lsu = Server::default();
            sm.lanes.clear();
            sm.code.clear();
        }
        self.launcher_free = 0;
        self.clock.clock_limit_mhz = options.clock_limit_mhz.max(self.spec.power.min_clock_mhz);
        self.run_at(self.spec.sm_clock_mhz.min(self.clock.clock_limit_mhz));
        self.clock.tensor_until = 0;
        self.clock.epoch_end = EPOCH_FS;
        self.clock.epoch_tensor = 0;
        self.clock.epoch_tensor_sync = 0;
        self.clock.epoch_bytes = 0;
        self.clock.clock_sum = 0.0;
        self.clock.clock_fs = 0;
        Ok(())
    }

    /// Readies the launch in hand for a kernel; what its ops cost. `sections` are the pieces of code of all launches.
    fn set_up(&mut self, kernel: &Kernel, per_sm: u32, sections: &mut Vec<(usize, VectorWork)>) -> Vec<Vec<OpCost>> {
        let slots = self.sms.len() * per_sm as usize;
        self.launch.roles.clear();
        self.launch.roles.resize(slots * kernel.roles.len(), IDLE);
        self.launch.barriers.clear();
        self.launch.barriers.resize(slots * kernel.barriers.len(), FREE);
        self.launch.live.clear();
        self.launch.live.resize(slots, 0);
        self.launch.ended.clear();
        self.launch.items_done = 0;
        self.launch.next_item = self.launch.grid;
        self.launch.taken.iter_mut().for_each(Vec::clear);
        self.launch.taken.resize(slots, Vec::new());
        self.launch.end = 0;
        self.launch.next_cta = 0;
        self.launch.work = Work::default();
        self.launch.steps = 0;
        self.launch.warp_time = 0.0;
        self.launch.by_roles = Divisor::new(kernel.roles.len() as u64);
        self.launch.by_slots = Divisor::new(u64::from(per_sm));
        // As many as an SM gets at most.
        self.launch.paces = Paces::of(&self.spec.sm, per_sm.min(self.launch.grid.div_ceil(self.sms.len() as u32)));
        let mut costs = Vec::with_capacity(kernel.roles.len());
        for role in &kernel.roles {
            let warps = f64::from(role.warps);
            let product =
                |dtype, shape, sync| OpCost::Product(self.product_cost(role.warps, &Product { dtype, shape, sync }));
            let cost = |(at, op): (usize, &Op)| match *op {
                Op::Vector(ref v) => OpCost::Vector(vector_cost(&self.spec.sm, v, warps, at, sections)),
                Op::Mma { dtype, m, n, k, sync } => product(dtype, [m, n, k], sync.then_some(0.0)),
                Op::MmaAmong { dtype, m, n, k, others } => product(dtype, [m, n, k], Some(others)),
                Op::MmaQueued { dtype, m, n, k } => product(dtype, [m, n, k], None),
                _ => OpCost::Other,
            };
            costs.push(role.ops.iter().enumerate().map(cost).collect());
        }
        self.launch.code_rate = supply_cycles(&self.spec.sm, code_bytes(&costs)) / INSTRUCTION_BYTES;
        costs
    }

    /// Places the first CTAs: one on each SM, then a second on each, in the order in which the hardware fills them.
    fn place(&mut self, kernel: &Kernel, per_sm: u32) {
        for round in 0..per_sm {
            order::fill(&self.spec, kernel.cluster, self.launch.grid - self.launch.next_cta, &mut self.order);
            for i in 0..self.order.len() {
                if self.launch.next_cta >= self.launch.grid {
                    return;
                }
                self.start(kernel, (self.order[i] * per_sm + round) as usize, 0);
            }
        }
    }

    fn cycles(&self, n: f64) -> u64 {
        (n * self.clock.period) as u64
    }

    fn start(&mut self, kernel: &Kernel, slot: usize, now: u64) {
        let cta = self.launch.next_cta;
        self.launch.next_cta += 1;
        // One scheduler serves the whole chip.
        let now = now.max(self.launcher_free);
        self.launcher_free = now + (self.spec.launch.cta_interval_ns * 1e6) as u64;
        self.launch.live[slot] = kernel.roles.len() as u8;
        self.launch.taken[slot].clear();
        let b = slot * kernel.barriers.len();
        for (state, barrier) in self.launch.barriers[b..].iter_mut().zip(&kernel.barriers) {
            *state = FREE;
            state.published = barrier.credits;
        }
        // Two thirds of the turnaround come before the first instruction, the rest after the last.
        let mut at = now + self.cycles(self.spec.launch.cta_turnaround_cycles * 2.0 / 3.0);
        if kernel.pipelined {
            at += (self.spec.launch.pipeline_setup_ns * 1e6) as u64;
        }
        if kernel.cluster > 1 {
            at += (self.spec.launch.cluster_setup_ns * 1e6) as u64;
        }
        self.launch.warp_time -= now as f64 * f64::from(kernel.threads.div_ceil(32));
        for role in 0..kernel.roles.len() {
            let agent = slot * kernel.roles.len() + role;
            self.launch.roles[agent] = RoleState { item: cta, member: (cta % kernel.cluster.max(1)) as u8, ..IDLE };
            self.queue.push(Time::from_fs(at), (self.launch.first_agent + agent) as u32);
        }
    }

    fn finish_role(&mut self, kernel: &Kernel, slot: usize, now: u64) {
        self.launch.live[slot] -= 1;
        self.launch.end = self.launch.end.max(now);
        if self.launch.live[slot] > 0 {
            return;
        }
        let now = now + self.cycles(self.spec.launch.cta_turnaround_cycles / 3.0);
        self.launch.end = self.launch.end.max(now);
        self.launch.warp_time += now as f64 * f64::from(kernel.threads.div_ceil(32));
        if self.launch.shares {
            self.launch.ended.push((slot as u32, now));
        } else if self.launch.next_cta < self.launch.grid {
            self.start(kernel, slot, now);
        }
    }

    fn item_done(&mut self, now: u64) {
        self.launch.items_done += 1;
        if self.launch.items_done == self.launch.marks.0 {
            self.launch.marked[0] = (now, self.memory.traffic, self.launch.work);
        }
        if self.launch.items_done == self.launch.marks.1 {
            self.launch.marked[1] = (now, self.memory.traffic, self.launch.work);
        }
    }

    fn arrive(&mut self, kernel: &Kernel, slot: usize, barrier: u8, at: u64) {
        let index = slot * kernel.barriers.len() + usize::from(barrier);
        let state = &mut self.launch.barriers[index];
        state.arrived += 1;
        state.latest = state.latest.max(at);
        if state.arrived == kernel.barriers[usize::from(barrier)].arrivals {
            state.times[state.published as usize % RING] = state.latest;
            state.published += 1;
            let time = state.latest;
            state.arrived = 0;
            state.latest = 0;
            let waiting = std::mem::take(&mut state.waiting);
            for role in 0..kernel.roles.len() {
                if waiting & (1 << role) != 0 {
                    let agent = self.launch.first_agent + slot * kernel.roles.len() + role;
                    self.queue.push(Time::from_fs(time), agent as u32);
                }
            }
        }
    }

    /// Runs a role from `now` until it must wait; then queues it again, or leaves it to a barrier.
    fn advance(&mut self, kernel: &Kernel, costs: &[Vec<OpCost>], agent: usize, now: u64) {
        if now >= self.clock.epoch_end {
            self.epoch(now);
        }
        let roles = kernel.roles.len();
        let slot = self.launch.by_roles.quotient(agent as u64) as usize;
        let role = agent - slot * roles;
        let sm = self.launch.by_slots.quotient(slot as u64) as usize;
        let program = &kernel.roles[role];
        let mut state = self.launch.roles[agent];
        let until = loop {
            let Some(op) = program.ops.get(usize::from(state.pc)) else {
                // A CTA ends when its stores have left the SM; those on their way to L2 hold the kernel, not the slot.
                if state.left > now {
                    break state.left;
                }
                self.launch.end = self.launch.end.max(state.stored);
                if role == 0 {
                    self.item_done(now);
                }
                self.launch.roles[agent] = state;
                self.finish_role(kernel, slot, now);
                return;
            };
            self.launch.steps += 1;
            state.pc += 1;
            match *op {
                Op::Loop(trips) => {
                    let item = &kernel.items[state.item as usize];
                    let count = |var: u8, add| item[usize::from(var)].saturating_add(add).max(0) as u32;
                    let n = match trips {
                        Trips::Const(n) => n,
                        Trips::Work(var, add) => count(var, add),
                        Trips::Once(var, add) => count(var, add).min(1),
                        Trips::ExceptLast(turns) => {
                            let around = usize::from(state.depth) - 1;
                            u32::from(state.counters[around].saturating_add(turns) < state.trips[around])
                        }
                    };
                    if n == 0 {
                        skip_loop(&program.ops, &mut state);
                    } else {
                        let d = usize::from(state.depth);
                        state.counters[d] = 0;
                        state.trips[d] = n;
                        state.starts[d] = state.pc;
                        state.depth += 1;
                    }
                }
                Op::End => {
                    let d = usize::from(state.depth) - 1;
                    if state.counters[d] + 1 == self.launch.stop_at {
                        // Not done yet: it comes again.
                        state.pc -= 1;
                        self.launch.steps -= 1;
                        self.launch.roles[agent] = state;
                        self.launch.stopped = true;
                        return;
                    }
                    state.counters[d] += 1;
                    if state.counters[d] < state.trips[d] {
                        state.pc = state.starts[d];
                    } else {
                        state.counters[d] = 0;
                        state.depth -= 1;
                    }
                }
                Op::Next | Op::NextFree => {
                    let next = if *op == Op::Next {
                        state.item as usize + self.launch.grid as usize
                    } else {
                        // The role that is ahead takes it for the CTA.
                        let taken = &mut self.launch.taken[slot];
                        if taken.len() == state.turn as usize {
                            taken.push(self.launch.next_item);
                            self.launch.next_item = self.launch.next_item.saturating_add(1);
                        }
                        taken[state.turn as usize] as usize
                    };
                    state.turn += 1;
                    if next < self.launch.items_end {
                        if role == 0 {
                            self.item_done(now);
                        }
                        state.item = next as u32;
                        state.pc = 0;
                        // One event an item keeps roles of one CTA in order of time.
                        break now;
                    }
                }
                Op::Copy { tile, path, multicast, barrier } => {
                    let item = &kernel.items[state.item as usize];
                    let at = (tile.row.eval(item, state.counters), tile.byte.eval(item, state.counters));
                    let by = Reader {
                        sm,
                        multicast,
                        member: state.member,
                        l1: path == Path::LoadL1,
                        bulk: path == Path::Bulk,
                    };
                    let before = self.memory.traffic.crossbar_read_bytes + self.memory.traffic.l1_hit_bytes;
                    let tensor = usize::from(self.launch.tensors[usize::from(tile.tensor)]);
                    let mut at = self.memory.read(now, by, tensor, &tile, at);
                    let after = self.memory.traffic.crossbar_read_bytes + self.memory.traffic.l1_hit_bytes;
                    let bytes = after - before;
                    match path {
                        Path::Bulk => self.launch.work.shared_bytes += bytes as f64,
                        Path::Async | Path::AsyncRows => {
                            // What lies beyond the matrix is not read, but is written into shared memory as zeros.
                            let all = u64::from(tile.rows) * u64::from(tile.bytes);
                            self.launch.work.shared_bytes += all as f64;
                            // Rows of less than a line take more wavefronts.
                            let whole = path == Path::Async && tile.bytes >= self.spec.l2.line_bytes;
                            let rate = if whole { self.shared_rate } else { self.rows_rate };
                            let zeros = if path == Path::Async { all.saturating_sub(bytes) } else { 0 };
                            let time = transfer(all - zeros, rate) + transfer(zeros, self.zeros_rate);
                            let accepted = self.sms[sm].lsu.serve(now, time);
                            self.arrive(kernel, slot, barrier, at.max(accepted));
                            // The warps issue on as long as the unit's queue has room.
                            let queue = transfer(u64::from(self.spec.sm.async_queue_bytes), rate);
                            if accepted > now + queue {
                                break accepted - queue;
                            }
                            continue;
                        }
                        Path::Load | Path::LoadL1 => {
                            // What comes from L2 is written into L1 and read out of it.
                            let accepted = self.sms[sm].lsu.serve(now, transfer(2 * bytes, self.l1_rate));
                            at = at.max(accepted + self.cycles(self.spec.l1.latency_cycles));
                        }
                    }
                    self.arrive(kernel, slot, barrier, at);
                }
                Op::Wait(b) => {
                    let barrier = &mut self.launch.barriers[slot * kernel.barriers.len() + usize::from(b)];
                    let phase = state.waits[usize::from(b)];
                    if phase < barrier.published {
                        state.waits[usize::from(b)] += 1;
                        let at = barrier.times[phase as usize % RING];
                        if at > now {
                            break at;
                        }
                    } else {
                        barrier.waiting |= 1 << role;
                        state.pc -= 1;
                        self.launch.steps -= 1;
                        self.launch.roles[agent] = state;
                        return;
                    }
                }
                Op::Arrive(b) => self.arrive(kernel, slot, b, now),
                Op::Sync => {
                    let s = &self.spec.sm;
                    break now
                        + self.cycles(s.barrier_base_cycles + s.barrier_cycles_per_warp * f64::from(program.warps));
                }
                Op::Mma { .. } | Op::MmaAmong { .. } | Op::MmaQueued { .. } => {
                    let OpCost::Product(cost) = &costs[role][usize::from(state.pc) - 1] else { continue };
                    let last = self.mma(now, sm, cost, &mut state);
                    // Issue is in order and the unit takes one instruction at a time: the warps go on when the last begins.
                    if last > now && matches!(op, Op::Mma { .. }) {
                        break last;
                    }
                }
                Op::MmaWait(pending) => {
                    if state.issued > u32::from(pending) {
                        let at = state.groups[(state.issued - 1 - u32::from(pending)) as usize % GROUPS];
                        if at > now {
                            break at;
                        }
                    }
                }
                Op::Vector(v) => {
                    let OpCost::Vector(cost) = costs[role][usize::from(state.pc) - 1] else { continue };
                    self.launch.work.issued_lanes += v.issue * 32.0;
                    self.launch.work.vector_ops += v.fma + v.alu;
                    self.launch.work.sfu_ops += v.sfu;
                    self.launch.work.shared_bytes += v.shared_bytes;
                    let mut least = cost.least;
                    if cost.spread > 0.0 {
                        least += cost.spread
                            * self.launch.paces.late(state.item, self.launch.by_slots.remainder(slot as u64) as usize);
                    }
                    let mut floor = now + self.cycles(least.max(0.0));
                    if cost.shared > 0.0 {
                        let time = self.cycles(cost.shared);
                        floor = floor.max(self.sms[sm].lsu.serve(now, time));
                    }
                    if cost.code_bytes > 0 {
                        let held = self.spec.sm.instruction_cache_bytes;
                        let rate = self.launch.code_rate * self.clock.period;
                        let code = &mut self.sms[sm].code;
                        floor = floor.max(code.fetch(now, cost.section, cost.code_bytes, held, rate));
                    }
                    let work = self.cycles(cost.work);
                    if work > 0 {
                        self.launch.roles[agent] = state;
                        self.share_lanes(sm, self.launch.first_agent + agent, now, work, floor);
                        return;
                    }
                    if floor > now {
                        break floor;
                    }
                }
                Op::Store { tile, reduce } => {
                    let item = &kernel.items[state.item as usize];
                    let (row, byte) = (tile.row.eval(item, state.counters), tile.byte.eval(item, state.counters));
                    let tensor = usize::from(self.launch.tensors[usize::from(tile.tensor)]);
                    let written = self.memory.write(now, sm, tensor, &tile, (row, byte), reduce);
                    state.left = state.left.max(written.left);
                    state.stored = state.stored.max(written.stored);
                }
                Op::PeerStore { tile, barrier } => {
                    let item = &kernel.items[state.item as usize];
                    let place = (tile.row.eval(item, state.counters), tile.byte.eval(item, state.counters));
                    let tensor = usize::from(self.launch.tensors[usize::from(tile.tensor)]);
                    let written = self.memory.peer_write(now, sm, tensor, &tile, place);
                    state.left = state.left.max(written.left);
                    state.stored = state.stored.max(written.stored);
                    self.arrive(kernel, slot, barrier, written.stored);
                    if written.left > now {
                        break written.left;
                    }
                }
                Op::StoreWait => {
                    if state.stored > now {
                        break state.stored;
                    }
                }
                Op::Setup(ns) if state.turn == 0 => break now + (ns * 1e6) as u64,
                Op::Setup(_) => {}
                Op::Delay(ns) => break now + (ns * 1e6) as u64,
            }
        };
        self.launch.roles[agent] = state;
        self.queue.push(Time::from_fs(until), (self.launch.first_agent + agent) as u32);
    }
}

const _: () = assert!(WORK_VARS <= 8);
