//! Sequences of different lengths in one launch: prompts of different lengths, parts of prompts beside single tokens, drafts that are verified.

use banksia_hw::gpu::program::{Kernel, Op, Role, Trips, WORK_VARS};

use super::Attention;
use super::index::{BLOCKS, LEFT, OUT, PLAIN, QROW};

/// The launches of several runs of sequences, each of one length, as one call of a library that takes sequences one after another: what
/// `launches` gives for each run, with the work of all runs in each kernel. Runs have the same heads, sizes and types; their queries and their
/// keys lie one after another. A kernel has the program of the run with most work.
pub fn ragged(runs: &[Attention], launches: impl Fn(&Attention) -> Vec<Kernel>) -> Vec<Kernel> {
    let lists: Vec<Vec<Kernel>> = runs.iter().filter(|r| r.batch > 0 && r.queries > 0).map(launches).collect();
    let reads = |list: &[Kernel]| list.iter().position(|k| k.tensors.len() > 3);
    let mut parts: Vec<(Vec<Kernel>, Option<Kernel>, Vec<Kernel>)> = Vec::with_capacity(lists.len());
    for mut list in lists {
        match reads(&list) {
            Some(at) => {
                let after = list.split_off(at + 1);
                parts.push((list.split_off(0), None, after));
                if let Some(part) = parts.last_mut() {
                    part.1 = part.0.pop();
                }
            }
            None => parts.push((list, None, Vec::new())),
        }
    }
    let mut kernels = beside(&parts.iter().map(|p| p.0.as_slice()).collect::<Vec<_>>());
    let mains: Vec<Kernel> = parts.iter_mut().filter_map(|p| p.1.take()).collect();
    kernels.extend(merged(&mains));
    kernels.extend(beside(&parts.iter().map(|p| p.2.as_slice()).collect::<Vec<_>>()));
    kernels
}

/// Kernels that prepare or join, position by position: those of one CTA stay so, the others get the CTAs of all runs.
fn beside(lists: &[&[Kernel]]) -> Vec<Kernel> {
    let positions = lists.iter().map(|l| l.len()).max().unwrap_or(0);
    let mut kernels = Vec::with_capacity(positions);
    for at in 0..positions {
        let here: Vec<&Kernel> = lists.iter().filter_map(|l| l.get(at)).collect();
        let Some(largest) = here.iter().max_by_key(|k| k.items.len()) else { continue };
        let mut kernel = (*largest).clone();
        if kernel.grid > 1 {
            let ctas: usize = here.iter().map(|k| k.items.len()).sum();
            for at in kernel.items.len()..ctas {
                let mut item = [0; WORK_VARS];
                item[0] = i32::try_from(at).unwrap_or(i32::MAX);
                kernel.items.push(item);
            }
            let before = kernel.grid.max(1);
            kernel.grid = u32::try_from(kernel.items.len()).unwrap_or(u32::MAX);
            for t in &mut kernel.tensors {
                let grown = |n: u64| n.saturating_mul(u64::from(kernel.grid)).div_ceil(u64::from(before));
                if t.rows > 1 { t.rows = grown(t.rows) } else { t.row_bytes = grown(t.row_bytes) }
            }
        }
        kernels.push(kernel);
    }
    kernels
}

/// Whether a program goes round a loop as often as a number of the work item says.
fn loops_by(roles: &[Role], var: usize) -> bool {
    let by = |op: &Op| matches!(op, Op::Loop(Trips::Work(v, _) | Trips::Once(v, _)) if usize::from(*v) == var);
    roles.iter().flat_map(|r| &r.ops).any(by)
}

/// The tensor that a number of the work item is a row of.
fn tensor_of(kernel: &Kernel, var: usize) -> Option<usize> {
    kernel.roles.iter().flat_map(|r| &r.ops).find_map(|op| match op {
        Op::Copy { tile, .. } | Op::Store { tile, .. } if tile.row.work[var] != 0 => Some(usize::from(tile.tensor)),
        _ => None,
    })
}

fn merged(mains: &[Kernel]) -> Option<Kernel> {
    let splits = |k: &Kernel| tensor_of(k, OUT).is_some();
    let work = |k: &Kernel| (splits(k), k.items.iter().map(|i| i64::from(i[BLOCKS].max(0))).sum::<i64>());
    let base = mains.iter().max_by_key(|k| work(k))?.clone();
    let persistent = base.roles.iter().flat_map(|r| &r.ops).any(|op| matches!(op, Op::Next | Op::NextFree));
    let mut kernel = Kernel { items: Vec::new(), ..base };
    let rows: Vec<Option<usize>> = (0..WORK_VARS).map(|v| tensor_of(&kernel, v)).collect();
    let (split, left) = (splits(&kernel), loops_by(&kernel.roles, LEFT));
    let mut offsets = vec![0_i64; kernel.tensors.len()];
    for run in mains {
        let (own_split, own_left) = (splits(run), loops_by(&run.roles, LEFT));
        for item in &run.items {
            let mut item = *item;
            if own_left && !left && !split {
                item[PLAIN] = item[PLAIN].saturating_add(item[LEFT]);
                item[LEFT] = 0;
            }
            if split && !own_split {
                item[OUT] = item[QROW];
            }
            for (number, tensor) in item.iter_mut().zip(&rows) {
                if let Some(offset) = tensor.and_then(|t| offsets.get(t)) {
                    *number = i32::try_from(i64::from(*number).saturating_add(*offset)).unwrap_or(i32::MAX);
                }
            }
            kernel.items.push(item);
        }
        for (offset, tensor) in offsets.iter_mut().zip(&run.tensors) {
            *offset = offset.saturating_add(i64::try_from(tensor.rows).unwrap_or(i64::MAX));
        }
    }
    for (tensor, rows) in kernel.tensors.iter_mut().zip(&offsets) {
        tensor.rows = u64::try_from(*rows).unwrap_or(tensor.rows).max(1);
    }
    let all = u32::try_from(kernel.items.len()).unwrap_or(u32::MAX);
    let ctas = mains.iter().map(|k| k.grid).fold(0, u32::saturating_add);
    let most = mains.iter().map(|k| k.grid).max().unwrap_or(1);
    // Persistent CTAs fill the SMs: a run that fills them sets how many there are.
    kernel.grid =
        if persistent && mains.iter().any(|k| (k.grid as usize) < k.items.len()) { most } else { ctas.min(all) };
    Some(kernel)
}
