//! Kernels of a GPU: whether each tensor is there when it is read, and how much they read and write.

use std::collections::HashMap;

use banksia_hw::gpu::program::{Kernel, Op};
use banksia_hw::program::{Program, Work};

use super::claims::OnGpu;
use super::order::Order;
use super::report::{CheckReport, Level, Moved};
use super::wrong::Wrong;

/// Tensors that a kernel reads, and those that it writes.
fn touched(kernel: &Kernel) -> (Vec<usize>, Vec<usize>) {
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for op in kernel.roles.iter().flat_map(|r| &r.ops) {
        match op {
            Op::Copy { tile, .. } => reads.push(usize::from(tile.tensor)),
            Op::Store { tile, reduce } => {
                writes.push(usize::from(tile.tensor));
                if *reduce {
                    reads.push(usize::from(tile.tensor));
                }
            }
            Op::PeerStore { tile, .. } => writes.push(usize::from(tile.tensor)),
            _ => {}
        }
    }
    for list in [&mut reads, &mut writes] {
        list.sort_unstable();
        list.dedup();
    }
    // What a kernel writes and then reads is its own.
    (reads, writes)
}

#[derive(Default)]
struct Buffer {
    written: Option<usize>,
    readers: Vec<usize>,
    read_bytes: u64,
    write_bytes: u64,
}

/// Checks the kernels of a device.
///
/// # Errors
/// A kernel reads what nobody wrote, or does not wait for who does; or writes what another still reads.
pub(super) fn check(
    program: &Program,
    gpu: &OnGpu,
    order: &mut Order<'_>,
    report: &mut CheckReport,
) -> Result<(), Wrong> {
    let mut buffers: HashMap<u32, Buffer> = HashMap::new();
    let resident: std::collections::HashSet<&str> = gpu.resident.iter().map(String::as_str).collect();
    for (i, instruction) in program.instructions.iter().enumerate().filter(|(_, x)| x.on == gpu.device) {
        let Work::Kernel { kernel, operands } = instruction.work else { continue };
        let operator = || program.operators[instruction.operator as usize].name.clone();
        let operands = program.operands_of(kernel, operands);
        let kernel = &program.kernels[kernel as usize];
        let (reads, writes) = touched(kernel);
        report.kernels += 1;
        for tensor in reads {
            let Some((operand, shape)) = operands.get(tensor).zip(kernel.tensors.get(tensor)) else { continue };
            let name = &program.buffers[*operand as usize].name;
            let buffer = buffers.entry(*operand).or_default();
            buffer.read_bytes = buffer.read_bytes.saturating_add(shape.bytes());
            match buffer.written {
                Some(writer) => {
                    if order.not_after(i, &[writer]).is_some() {
                        let producer = program.operators[program.instructions[writer].operator as usize].name.clone();
                        return Err(Wrong::NotThere { operator: operator(), instruction: i, producer, needs: writer });
                    }
                }
                None if resident.contains(name.as_str()) || writes.contains(&tensor) => {}
                None if gpu.delivered.contains(name) => {}
                None if gpu.alike.contains(name) => {
                    let note = format!(
                        "`{}` of the first layer reads `{name}` as in other layers, though nothing comes before it",
                        operator()
                    );
                    if !report.notes.contains(&note) {
                        report.notes.push(note);
                    }
                }
                None => {
                    let problem =
                        format!("reads the buffer `{name}`, which nothing has written: it must be written before");
                    return Err(Wrong::Strange { operator: operator(), instruction: i, problem });
                }
            }
            buffer.readers.push(i);
        }
        for tensor in writes {
            let Some((operand, shape)) = operands.get(tensor).zip(kernel.tensors.get(tensor)) else { continue };
            let buffer = buffers.entry(*operand).or_default();
            buffer.write_bytes = buffer.write_bytes.saturating_add(shape.bytes());
            buffer.readers.retain(|r| *r != i);
            if let Some(reader) = order.not_after(i, &buffer.readers) {
                let name = &program.buffers[*operand as usize].name;
                let reads = program.operators[program.instructions[reader].operator as usize].name.clone();
                let problem = format!(
                    "writes the buffer `{name}` while `{reads}` (instruction {reader}) may still read it: it must come after"
                );
                return Err(Wrong::Strange { operator: operator(), instruction: i, problem });
            }
            buffer.written = Some(i);
            buffer.readers.clear();
        }
    }
    let needs = gpu.footprint_bytes;
    if needs > gpu.capacity_bytes {
        let (level, what) =
            (format!("memory of {}, bytes", gpu.name), "weights, keys and values, activations".to_owned());
        return Err(Wrong::Capacity { level, what, needs, capacity: gpu.capacity_bytes });
    }
    let all: u64 = buffers.keys().map(|b| program.buffers[*b as usize].bytes).fold(0, u64::saturating_add);
    if all > gpu.capacity_bytes {
        let (level, what) = (format!("memory of {}, bytes", gpu.name), "buffers of the step".to_owned());
        return Err(Wrong::Capacity { level, what, needs: all, capacity: gpu.capacity_bytes });
    }
    let level = |level: &str, most| {
        let (device, capacity) = (gpu.name.clone(), gpu.capacity_bytes);
        Level { device, level: level.into(), unit: "bytes", most, capacity }
    };
    report.levels.push(level("memory, as the plan says", needs));
    report.levels.push(level("memory, buffers of the step", all));
    let mut moved = |over: &str, own: bool, of: fn(&Buffer) -> u64| {
        let is = |b: &u32| resident.contains(program.buffers[*b as usize].name.as_str()) == own;
        let bytes = buffers.iter().filter(|(b, _)| is(b)).map(|(_, x)| of(x)).fold(0, u64::saturating_add);
        report.moved.push(Moved { device: gpu.name.clone(), over: over.into(), bytes, says: None });
    };
    moved("weights, caches and states read", true, |b| b.read_bytes);
    moved("caches and states written", true, |b| b.write_bytes);
    moved("activations read", false, |b| b.read_bytes);
    moved("activations written", false, |b| b.write_bytes);
    Ok(())
}
