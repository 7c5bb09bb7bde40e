//! Prints the candidates that the search for a product's kernel ranks first: `explain h200 4096 4096 4096 [found a b]`.

use std::io::Write;

use banksia_hw::gpu::Gpu;
use banksia_hw::gpu::estimate::Simulation;
use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::sampling::Detail;
use banksia_mappers::gpu::gemm::Gemm;
use banksia_mappers::gpu::select::{Found, ranking};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| args.get(i).and_then(|s| s.parse().ok()).unwrap_or(1024);
    let mut gpu = Gpu::new(banksia_hw::gpu::device(args.first().map_or("h200", String::as_str))?);
    let g = Gemm::new(number(1), number(2), number(3), Dtype::Bf16);
    let found = Found { a: args.get(4).is_some(), b: args.get(5).is_some(), c: false };
    for (estimate, plan, o) in ranking(&mut Simulation::new(&mut gpu, Detail::DEFAULT), &g, found, 12)? {
        writeln!(
            std::io::stdout(),
            "estimate {:9.2} us, simulated {:9.2} us at {:4.0} MHz, {} kernels, {}",
            estimate * 1e6,
            o.latency_s * 1e6,
            o.clock_mhz,
            o.kernels,
            plan.steps[0].0.name
        )?;
    }
    Ok(())
}
