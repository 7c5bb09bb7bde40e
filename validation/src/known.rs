//! `known_programs.csv`: kernels whose every parameter is given, on operands that the replay before left in L2; and how near two other
//! H200 come to it with a kernel of the same tiles (`device_known_programs.csv`).

use banksia_hw::gpu::CacheState;
use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::sampling::{Detail, replayed};
use banksia_hw::gpu::spec::GpuSpec;
use banksia_mappers::gpu::gemm::Gemm;
use banksia_mappers::gpu::multistage::{Multistage, Writer, multistage};
use banksia_mappers::gpu::rows::{ElementWork, Elementwise, RowKernel, elementwise, row_kernel};

use super::{Devices, Row, Value, number, whole};

fn kernel(row: &Row, op: &str, spec: &GpuSpec) -> Result<Kernel, String> {
    let u = |key: &str| whole(row, key);
    match op {
        "gemm" => {
            let tile = Multistage {
                bm: u("bm")?,
                bn: u("bn")?,
                bk: u("bk")?,
                stages: u("stages")?,
                warps: u("warps")?,
                group: u("group")?,
                registers: u("regs")?,
                shared_bytes: u("smem_bytes")?,
                split: 1,
                writer: Writer::Triton,
                unaligned: false,
            };
            Ok(multistage(&Gemm::new(u("m")?, u("n")?, u("k")?, Dtype::Bf16), &tile, spec))
        }
        "add" => Ok(elementwise(&Elementwise {
            elements: u64::from(u("m")?),
            inputs: 2,
            element_bytes: 2,
            per_cta: u("bm")?,
            threads: 32 * u("warps")?,
            work: ElementWork { fma: 1.0, alu: 1.5, sfu: 0.0, other: 0.6, stall: 2.5 },
        })),
        "rmsnorm" => {
            let columns = u("n")?;
            Ok(row_kernel(&RowKernel {
                rows: u("m")?,
                columns,
                // Triton rounds a row up to a power of two and masks what is beyond.
                padded: columns.next_power_of_two(),
                element_bytes: 2,
                rows_per_cta: 1,
                threads: 32 * u("warps")?,
                registers: 32,
                chunk: columns,
                passes: 2,
                keeps: true,
                weights: 1,
                across_warps: true,
                row_issue: 0.0,
                turn_latency_cycles: 20.0,
                reduce_work: ElementWork { fma: 1.0, alu: 1.0, sfu: 0.0, other: 0.2, stall: 2.5 },
                last_work: ElementWork { fma: 2.0, alu: 1.0, sfu: 0.0, other: 0.2, stall: 2.5 },
            }))
        }
        _ => Err(format!("{op} is not a known program")),
    }
}

/// The values of a row: among all of its kernel, and among the tiles of its shape, whose ranking it is.
fn values(row: &Row, op: &str, device: &str, predicted: Result<f64, String>) -> Vec<Value> {
    let get = |k: &str| row.get(k).map_or("", String::as_str);
    let shape = format!("{}x{}x{}", get("m"), get("n"), get("k"));
    let label = format!(
        "{op} {shape} tile {}x{}x{} stages {} warps {} group {}",
        get("bm"),
        get("bn"),
        get("bk"),
        get("stages"),
        get("warps"),
        get("group")
    );
    let measured = number(row, "latency_us").unwrap_or(f64::NAN);
    let value = |op: String, predicted| Value {
        device: device.into(),
        op,
        metric: "latency",
        label: label.clone(),
        measured,
        predicted,
    };
    let mut values = vec![value(op.to_owned(), predicted.clone())];
    if op == "gemm" {
        values.push(value(format!("gemm {shape}"), predicted));
    }
    values
}

/// A product of the reference, measured again on two other H200: "predicted" is the median there.
pub(super) fn again(row: &Row, _: &mut Devices, _: Detail) -> Vec<Value> {
    [("h200-second", "median_1"), ("h200-third", "median_2")]
        .into_iter()
        .flat_map(|(device, column)| values(row, "gemm", device, number(row, column)))
        .collect()
}

pub(super) fn row(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let op = row.get("kernel").cloned().unwrap_or_default();
    let predicted = devices.get("h200").and_then(|gpu| {
        let k = kernel(row, &op, gpu.spec())?;
        // The same operands at every replay.
        let written = k.tensors.len() - 1;
        let tensors = (0..k.tensors.len()).map(|t| (t, t == written)).collect();
        let cache = CacheState::Resident { tensors, dirty: 0.3 };
        replayed(gpu, &k, &cache, detail).map(|r| r.latency_s * 1e6).map_err(|e| e.to_string())
    });
    values(row, &op, "h200", predicted)
}
