//! `known_programs.csv`: kernels whose every parameter is given, on operands that the replay before left in L2; and how near two other
//! H200 come to it with a kernel of the same tiles (`device_known_programs.csv`).

use banksia_hw::gpu::CacheState;
use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::sampling::{Detail, replayed};
use banksia_hw::gpu::spec::GpuSpec;
use banksia_mappers::gpu::gemm::Gemm;
use banksia_mappers::gpu::multistage::{Multistage, Writer, multistage};
use banksia_mappers::gpu::rows::{ElementWork, Elementwise, RowKernel, elementwise, row_kernel};

use super::rows::{self, Row, SIDE, number, whole};
use crate::gpus::Devices;
use crate::value::Value;

fn kernel(row: &Row, op: &str, spec: &GpuSpec) -> Result<Kernel, String> {
    let u = |key: &str, allowed| whole(row, key, allowed);
    let warps = || u("warps", 1..=32);
    // Sides of Triton's tiles are powers of two.
    let side = |key: &str, allowed| {
        let n = u(key, allowed)?;
        if n.is_power_of_two() { Ok(n) } else { Err(format!("column {key} is {n}: must be a power of two")) }
    };
    match op {
        "gemm" => {
            let tile = Multistage {
                bm: side("bm", 16..=512)?,
                bn: side("bn", 16..=512)?,
                bk: side("bk", 16..=512)?,
                stages: u("stages", 1..=16)?,
                warps: warps()?,
                group: u("group", 1..=*SIDE.end())?,
                registers: u("regs", 16..=255)?,
                shared_bytes: u("smem_bytes", 0..=spec.sm.shared_memory_per_cta_bytes)?,
                split: 1,
                writer: Writer::Triton,
                copy_bytes: 16,
            };
            let g = Gemm::new(u("m", SIDE)?, u("n", SIDE)?, u("k", SIDE)?, Dtype::Bf16);
            rows::product(&g, spec)?;
            rows::ctas(u64::from(g.m.div_ceil(tile.bm)) * u64::from(g.n.div_ceil(tile.bn)))?;
            Ok(multistage(&g, &tile, spec))
        }
        "add" => {
            let (elements, per_cta) = (u("m", 1..=1 << 31)?, side("bm", 32..=1 << 16)?);
            rows::ctas(u64::from(elements.div_ceil(per_cta)))?;
            Ok(elementwise(&Elementwise {
                elements: u64::from(elements),
                inputs: 2,
                element_bytes: 2,
                per_cta,
                threads: 32 * warps()?,
                work: ElementWork { fma: 1.0, alu: 1.5, sfu: 0.0, other: 0.6, stall: 2.5 },
            }))
        }
        "rmsnorm" => {
            let (rows, columns) = (u("m", SIDE)?, u("n", 1..=1 << 17)?);
            rows::elements(rows, columns)?;
            Ok(row_kernel(&RowKernel {
                rows,
                columns,
                // Triton rounds a row up to a power of two and masks what is beyond.
                padded: columns.next_power_of_two(),
                element_bytes: 2,
                rows_per_cta: 1,
                threads: 32 * warps()?,
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
    // What a kind of program does not have, its rows leave empty.
    let given = |keys: &[&'static str]| keys.iter().map(|k| get(k)).filter(|v| !v.is_empty()).collect::<Vec<_>>();
    let shape = given(&["m", "n", "k"]).join("x");
    let tile = given(&["bm", "bn", "bk"]).join("x");
    let mut label = format!("{op} {shape}");
    for (key, value) in
        [("tile", tile.as_str()), ("stages", get("stages")), ("warps", get("warps")), ("group", get("group"))]
    {
        if !value.is_empty() {
            label += &format!(" {key} {value}");
        }
    }
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

/// The other H200, and the columns of their medians.
pub(super) const OTHERS: [(&str, &str); 2] = [("h200-second", "median_1"), ("h200-third", "median_2")];

/// A product of the reference, measured again on two other H200: "predicted" is the median there.
pub(super) fn again(row: &Row, _: &mut Devices, _: Detail) -> Vec<Value> {
    OTHERS.into_iter().flat_map(|(device, column)| values(row, "gemm", device, number(row, column))).collect()
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
