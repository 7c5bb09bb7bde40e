//! The check of a program against the claims of its plan.

use std::collections::HashMap;

use banksia_hw::pim::{DataView, PimMachine};
use banksia_hw::program::{Program, Work};
use banksia_hw::system::{Device, Machine};

use super::cells::Cells;
use super::claims::{Claims, Group, InBanks, most_alive};
use super::flow;
use super::kernels;
use super::memory::{Did, Memory, Who};
use super::numbers::Numbers;
use super::order::Order;
use super::place::Region;
use super::report::{CheckReport, Level, Moved};
use super::wrong::Wrong;

/// Products of two numbers that a replay may take: above, coverage alone is checked.
const MOST_PRODUCTS: u64 = 1 << 23;

/// Checks a program of a plan on a machine.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(program: &Program, claims: &Claims, machine: &Machine) -> Result<CheckReport, Wrong> {
    let groups = &claims.groups;
    let of = flow::assign(program, groups)?;
    let mut order = Order::new(program);
    let mut report = CheckReport {
        phase: program.phase.clone(),
        context_tokens: program.context_tokens,
        instructions: program.instructions.len() as u64,
        operators: groups.iter().filter(|g| g.required).count() as u64,
        ..CheckReport::default()
    };
    let none = || vec![false; program.instructions.len()];
    let mut only = flow::Only { reads: none(), writes: none() };
    for banks in &claims.banks {
        let pim = machine.devices.get(banks.device as usize).and_then(|(_, d)| match d {
            Device::Pim(pim) => Some(pim),
            Device::Gpu(_) => None,
        });
        if let Some(pim) = pim {
            let mut walk = Walk { program, groups, of: &of, order: &mut order, only: &mut only };
            walk.banks(banks, pim, &mut report)?;
            held(program, groups, &of, banks, pim, &mut report)?;
        }
    }
    for gpu in &claims.gpus {
        kernels::check(program, gpu, &mut order, &mut report)?;
    }
    report.waits = flow::presence(program, groups, &of, &only, &mut order)?;
    flow::additions(program, groups, &of)?;
    links(program, &claims.links, machine, &mut report)?;
    Ok(report)
}

struct Walk<'a, 'b> {
    program: &'a Program,
    groups: &'a [Group],
    of: &'a [usize],
    order: &'b mut Order<'a>,
    only: &'b mut flow::Only,
}

/// What is known of a group's vector unit so far.
#[derive(Default)]
struct Pending {
    /// Instructions that gave sums since its last function, and the products.
    instructions: Vec<usize>,
    gave: Vec<(u32, u64)>,
    /// Of the last function, those that it covers.
    batch: Vec<(u32, u64)>,
}

impl Walk<'_, '_> {
    fn banks(&mut self, banks: &InBanks, pim: &PimMachine, report: &mut CheckReport) -> Result<(), Wrong> {
        let (program, view) = (self.program, DataView::new(pim));
        let units = view.units();
        let cells = Cells::new(banks, units, pim.channels())?;
        let (rows, highest) = cells.rows_used();
        let products = banks.regions.iter().fold(0u64, |sum, r| {
            let (outputs, inputs) = r.place.shape();
            sum.saturating_add(outputs.saturating_mul(inputs).saturating_mul(r.times.max(1)))
        });
        let numbers = (products <= MOST_PRODUCTS).then(|| Numbers::new(&cells, units)).transpose()?;
        let mut memory = Memory::new(cells, units, pim.channels(), numbers);
        let mut pending: HashMap<usize, Pending> = HashMap::new();
        // The softmax that gives each head's probabilities.
        let mut softmax: HashMap<(u32, u64), usize> = HashMap::new();
        for (i, instruction) in program.instructions.iter().enumerate().filter(|(_, x)| x.on == banks.device) {
            let operator = &program.operators[instruction.operator as usize].name;
            let who = Who { instruction: i, operator, group: self.of[i] };
            let own = pending.entry(who.group).or_default();
            if let Work::Vector { .. } = instruction.work {
                // It works on the sums that have come since the function before it.
                if let Some(needs) = self.order.not_after(i, &own.instructions) {
                    return Err(self.not_there(i, needs));
                }
                if !own.instructions.is_empty() {
                    own.batch = std::mem::take(&mut own.gave);
                    own.instructions.clear();
                }
                if self.groups[who.group].attention {
                    softmax.extend(own.batch.iter().map(|key| (*key, i)));
                }
                continue;
            }
            let mut did = Did { reads_only: true, writes_only: true, ..Did::default() };
            let mut wrong = None;
            let done = view.steps(program, instruction.work, &mut |set, step| {
                if wrong.is_none() {
                    wrong = memory.step(who, set, step, &mut did).err();
                }
            });
            if let Some(wrong) = wrong {
                return Err(wrong);
            }
            done.map_err(|problem| Wrong::Strange { operator: operator.clone(), instruction: i, problem })?;
            (self.only.reads[i], self.only.writes[i]) = (did.reads_only, did.writes_only);
            if !did.gave.is_empty() {
                own.instructions.push(i);
                own.gave.extend(did.gave);
            }
            if self.groups[who.group].attention {
                for (tensor, vector, loaded) in did.used {
                    // Values lie beside the keys of their heads: the tensor before.
                    let of_values = tensor % 2 == 1;
                    if let Some(made) =
                        tensor.checked_sub(1).filter(|_| of_values).and_then(|keys| softmax.get(&(keys, vector)))
                        && self.order.not_after(loaded, &[*made]).is_some()
                    {
                        return Err(self.not_there(loaded, *made));
                    }
                }
            }
        }
        memory.finish()?;
        if let Some(numbers) = &memory.numbers {
            report.replayed += numbers.compare(memory.cells.regions)?;
            report.multiplied += numbers.products;
        }
        report.tensors += banks.regions.len() as u64;
        report.outputs +=
            banks.regions.iter().filter(|r| r.first_input == 0).map(|r| r.place.shape().0 * r.times).sum::<u64>();
        let device = || banks.name.clone();
        let level =
            |level: &str, unit, most, capacity| Level { device: device(), level: level.into(), unit, most, capacity };
        report.levels.push(level("rows of a bank", "rows", rows.max(highest), units.rows));
        report.levels.push(level("global buffer", "columns", memory.buffer_most.into(), units.buffer_columns.into()));
        let t = memory.traffic;
        // Where units multiply a column by several vectors, how often it is read is theirs to choose.
        let of_region = |r: &Region| {
            let (outputs, inputs) = r.place.shape();
            outputs * inputs * r.times * u64::from(units.column_bytes) / units.lanes.max(1)
        };
        let says = (units.vectors <= 1).then(|| banks.regions.iter().map(of_region).sum());
        let moved = |over: &str, bytes, says| Moved { device: device(), over: over.into(), bytes, says };
        report.moved.extend([
            moved("cells to units, tensors", t.of_tensors, says),
            moved("cells to units, with padding", t.to_units, None),
            moved("vectors to buffers", t.loads, None),
            moved("ordinary reads", t.reads, None),
            moved("ordinary writes", t.writes, None),
        ]);
        report.banks.push(t);
        Ok(())
    }

    fn not_there(&self, instruction: usize, needs: usize) -> Wrong {
        let name = |i: usize| self.program.operators[self.program.instructions[i].operator as usize].name.clone();
        let (operator, producer) =
            (format!("{}: {}", self.groups[self.of[instruction]].name, name(instruction)), name(needs));
        Wrong::NotThere { operator, instruction, producer, needs }
    }
}

/// What the vector unit's memory holds: what instructions take and give back, in the order of the program; and the values that operators have yet to use.
fn held(
    program: &Program,
    groups: &[Group],
    of: &[usize],
    banks: &InBanks,
    pim: &PimMachine,
    report: &mut CheckReport,
) -> Result<(), Wrong> {
    let capacity = pim.vector_unit.sram_bytes;
    let fits = |what: &str, most: (u64, String)| {
        if most.0 <= capacity {
            return Ok(most.0);
        }
        let level = format!("memory of the vector unit of {}, bytes{what}", banks.name);
        Err(Wrong::Capacity { level, what: format!("operator `{}`", most.1), needs: most.0, capacity })
    };
    let mine = || program.instructions.iter().zip(of).filter(|(x, _)| x.on == banks.device);
    let (mut now, mut most) = (0u64, (0u64, String::new()));
    let mut takes = false;
    for (instruction, group) in mine() {
        takes |= instruction.acquire_bytes > 0;
        now = now.saturating_add(instruction.acquire_bytes);
        if now > most.0 {
            most = (now, groups[*group].name.clone());
        }
        let Some(left) = now.checked_sub(instruction.release_bytes) else {
            let (operator, what) =
                (groups[*group].name.clone(), "bytes of the vector unit's memory given back".to_owned());
            let (done, right) = (instruction.release_bytes, now);
            return Err(Wrong::Amount { operator, tensor: banks.name.clone(), what, done, right });
        };
        now = left;
    }
    let taken = fits("", most)?;
    let used: std::collections::BTreeSet<usize> = mine().map(|(_, g)| *g).collect();
    let (bytes, at) = most_alive(groups, |g| used.contains(&g));
    let most = (bytes, at.map_or_else(String::new, |g| groups[g].name.clone()));
    let values = fits(" of values that are still to be used", most)?;
    let level =
        |level: &str, most| Level { device: banks.name.clone(), level: level.into(), unit: "bytes", most, capacity };
    if takes {
        report.levels.push(level("vector unit's memory, as taken", taken));
    }
    report.levels.push(level("vector unit's memory, values alive", values));
    let (mut read, mut write) = (0u64, 0u64);
    for (instruction, _) in mine() {
        if let Work::Vector { function } = instruction.work {
            for phase in &program.functions[function as usize].phases {
                read = read.saturating_add(phase.read_bytes);
                write = write.saturating_add(phase.write_bytes);
            }
        }
    }
    for (over, bytes) in [("vector unit, read", read), ("vector unit, written", write)] {
        report.moved.push(Moved { device: banks.name.clone(), over: over.into(), bytes, says: None });
    }
    Ok(())
}

/// Bytes over links, by the name of the transfers: what the plan says, where it does.
fn links(program: &Program, says: &[(String, u64)], machine: &Machine, report: &mut CheckReport) -> Result<(), Wrong> {
    let mut by_operator: Vec<(String, u64)> = Vec::new();
    for instruction in &program.instructions {
        if let Work::Transfer { bytes, .. } = instruction.work {
            let name = &program.operators[instruction.operator as usize].name;
            match by_operator.iter_mut().find(|(n, _)| n == name) {
                Some((_, all)) => *all = all.saturating_add(bytes),
                None => by_operator.push((name.clone(), bytes)),
            }
        }
    }
    for (operator, bytes) in by_operator {
        let says = says.iter().find(|(name, _)| *name == operator).map(|(_, bytes)| *bytes);
        if let Some(right) = says.filter(|right| *right != bytes) {
            let (tensor, what) = (machine.name.clone(), "bytes over the link".to_owned());
            return Err(Wrong::Amount { operator, tensor, what, done: bytes, right });
        }
        report.moved.push(Moved { device: machine.name.clone(), over: format!("link: {operator}"), bytes, says });
    }
    Ok(())
}
