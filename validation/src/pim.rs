//! The PIM suite: instructions, traces and kernels of PIM devices against their public simulators' cycles and the closed forms of these.

use std::collections::BTreeMap;

use banksia_hw::dram::catalog;
use banksia_hw::pim::{HostKernel, IsaMachine, IsaSet, parse_shape};
use banksia_input::{InputError, Source};

use super::rows::{Row, number};
use crate::value::Value;

/// The traces that rows of the kind `trace` name.
const TRACES: &[(&str, &str)] = &[
    ("ewmul64", include_str!("../../tests/reference/pim/ewmul64.trace")),
    ("gemv_512x1024_no-reuse", include_str!("../../tests/reference/pim/gemv_512x1024_no-reuse.trace")),
    ("gemv_512x1024_reuse-GB", include_str!("../../tests/reference/pim/gemv_512x1024_reuse-GB.trace")),
    ("wrbias", include_str!("../../tests/reference/pim/wrbias.trace")),
];

pub(super) fn row(row: &Row) -> Value {
    let get = |key: &str| row.get(key).cloned().unwrap_or_default();
    let (kind, work) = (get("kind"), get("work"));
    let basis = get("basis");
    let measured = number(row, "cycles");
    Value {
        device: get("device"),
        label: if basis.is_empty() { work } else { format!("{work} ({basis})") },
        op: kind,
        metric: "cycles",
        predicted: measured.clone().and_then(|_| simulate(row)).map(|cycles| cycles as f64),
        measured: measured.unwrap_or(0.0),
    }
}

/// Cycles of the device's clock.
fn simulate(row: &Row) -> Result<u64, String> {
    let get = |key: &str| row.get(key).map(String::as_str).ok_or_else(|| format!("no column `{key}`"));
    let plain = |e: InputError| e.to_string().lines().next().unwrap_or_default().to_owned();
    let (name, kind, work) = (get("device")?, get("kind")?, get("work")?);
    let refresh = match get("refresh")? {
        "on" => true,
        "off" => false,
        other => return Err(format!("refresh is `{other}`, not on or off")),
    };
    let device = catalog::load(name).map_err(plain)?;
    let ticks = u64::from(device.ticks_per_clock);
    let outcome = if catalog::resolved(name).map_err(plain)?.kernel.is_some() {
        let mut kernel = HostKernel::new(name, &device).map_err(plain)?;
        match kind {
            "gemv" => {
                let (outputs, inputs) = parse_shape(work).map_err(plain)?;
                kernel.gemv(outputs, inputs).map_err(plain)?;
            }
            "add" => kernel.add(work.parse().map_err(|_| format!("`{work}` is no count"))?).map_err(plain)?,
            other => return Err(format!("{name} runs gemv and add, not `{other}`")),
        }
        kernel.execute(refresh).map_err(plain)?
    } else {
        let set = IsaSet::load(name, &device).map_err(plain)?;
        let mut machine = IsaMachine::new(device, set.clone(), refresh).map_err(plain)?;
        match kind {
            "gemv" => {
                let (outputs, inputs) = parse_shape(work).map_err(plain)?;
                set.gemv(outputs, inputs, |i| machine.run(i)).map_err(plain)?;
            }
            "instruction" => {
                // Lines of the host's own stand as they are; an instruction's prefix is left out.
                let line = |i: &str| match i.trim().split_once(' ') {
                    Some(("R" | "W", _)) => format!("{}\n", i.trim()),
                    _ => format!("{} {}\n", set.prefix, i.trim()),
                };
                let mut trace: String = work.split(';').map(line).collect();
                trace += &format!("{} EOC\n", set.prefix);
                set.read_source(&Source::from_text(work, trace), |i| machine.run(i)).map_err(plain)?;
            }
            "trace" => {
                let known: BTreeMap<&str, &str> = TRACES.iter().copied().collect();
                let text = known.get(work).ok_or_else(|| format!("no trace `{work}`"))?;
                set.read_source(&Source::from_text(work, *text), |i| machine.run(i)).map_err(plain)?;
            }
            other => return Err(format!("{name} runs instruction, trace and gemv, not `{other}`")),
        }
        machine.finish()
    };
    Ok(outcome.cycles.div_ceil(ticks))
}
