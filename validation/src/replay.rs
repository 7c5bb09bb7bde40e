//! Launches replayed from a graph, as measurements do: warm, over sets of operands that take turns.

use std::sync::Arc;

use banksia_hw::gpu::estimate::Simulation;
use banksia_hw::gpu::sampling::Detail;
use banksia_hw::gpu::{Gpu, GpuSpec};
use banksia_hw::program::{Program, ProgramBuilder};
use banksia_hw::system::{Machine, RunOptions, System};
use banksia_mappers::gpu::launch::{self, Item, Launch};

/// A graph's replay begins from an idle chip: the events around it see the time from its start to its first kernel. By `latency_us` less `sustained_us` of the 65
/// rows of `latency_energy.csv` that draw less than 500 W, times their launches, 6.9 us in the median.
pub(crate) const START_S: f64 = 6.9e-6;

/// The launches of an operator, kernels of its products chosen on the device.
pub(crate) fn resolve(gpu: &mut Gpu, items: Vec<Item>, detail: Detail) -> Result<Vec<Launch>, String> {
    launch::resolve(items, &mut Simulation::new(gpu, detail)).map_err(|e| e.to_string())
}

/// Seconds of one call, in a burst: a graph that ends before the power controller acts. Operands marked as a layer's own exist `copies` times and
/// take turns; what launches find in L2 is what those before have left there. One round to warm up, one that counts.
pub(crate) fn latency_s(spec: &GpuSpec, launches: &[Launch], copies: u32, detail: Detail) -> Result<f64, String> {
    let machine = Machine::of_gpu(spec);
    let mut system = System::new(&machine, RunOptions { detail, settle: false, ..RunOptions::default() });
    let program = Arc::new(program(launches, copies.max(1)));
    let mut at = [0.0; 2];
    for at in &mut at {
        system.run(&program).map_err(|e| e.to_string())?;
        *at = system.elapsed().as_secs_f64();
    }
    Ok((at[1] - at[0]) / f64::from(copies.max(1)))
}

/// Seconds and joules of one call in a loop that lasts, its clock settled where the power limit is kept.
pub(crate) fn sustained(
    spec: &GpuSpec,
    launches: &[Launch],
    copies: u32,
    detail: Detail,
) -> Result<(f64, f64), String> {
    let machine = Machine::of_gpu(spec);
    let program = Arc::new(program(launches, copies.max(1)));
    let mut total = [(0.0, 0.0); 2];
    for (runs, at) in total.iter_mut().enumerate() {
        let mut system = System::new(&machine, RunOptions { detail, ..RunOptions::default() });
        for _ in 0..=runs {
            system.run(&program).map_err(|e| e.to_string())?;
        }
        let outcome = system.finish();
        let joules: f64 = outcome.components.iter().flat_map(|c| c.energy_j.values()).sum();
        *at = (outcome.latency.as_secs_f64(), joules);
    }
    let [(first_s, first_j), (both_s, both_j)] = total;
    let calls = f64::from(copies.max(1));
    Ok(((both_s - first_s) / calls, (both_j - first_j) / calls))
}

fn program(launches: &[Launch], copies: u32) -> Program {
    let mut builder = ProgramBuilder::new("replay", 0);
    let operator = builder.operator("call");
    builder.occurs(operator, 0.0, 0.0);
    let mut last = None;
    for copy in 0..copies {
        let prefix = format!("set{copy}.");
        last = launch::emit(&mut builder, operator, launches, &prefix, "", last.as_slice()).or(last);
    }
    builder.finish()
}

/// Seconds of each launch of a call, warm, one after the other.
pub(crate) fn each_s(spec: &GpuSpec, launches: &[Launch], detail: Detail) -> Result<Vec<f64>, String> {
    let machine = Machine::of_gpu(spec);
    let mut builder = ProgramBuilder::new("launches", 0);
    let mut last = None;
    for (i, one) in launches.iter().enumerate() {
        let operator = builder.operator(&format!("launch {i}"));
        builder.occurs(operator, 0.0, 0.0);
        last = launch::emit(&mut builder, operator, std::slice::from_ref(one), "", "", last.as_slice()).or(last);
    }
    let program = Arc::new(builder.finish());
    let mut total: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for (runs, at) in total.iter_mut().enumerate() {
        let mut system = System::new(&machine, RunOptions { detail, settle: false, ..RunOptions::default() });
        for _ in 0..=runs {
            system.run(&program).map_err(|e| e.to_string())?;
        }
        *at = system.finish().operators.iter().map(|o| o.latency.as_secs_f64()).collect();
    }
    let [first, both] = total;
    Ok(both.iter().zip(first).map(|(b, f)| (b - f).max(0.0)).collect())
}
