//! The witness suite: controllers of every device in the catalog, each of their commands judged by physics, not by the table that they
//! read. A device's measured value is the commands judged, the predicted one those that broke no law: they must be equal.

use std::sync::LazyLock;

use banksia_hw::dram::catalog;
use banksia_hw::dram::witness::trial::{Traffic, policies, watch};
use banksia_input::InputError;

use super::rows::Row;
use crate::value::Value;

/// Commands of a device's run, all its policies together, where neither the row nor [`SIZE`] says otherwise.
const COMMANDS: u64 = 100_000;

/// The variable that gives the commands of each device's run, for long ones.
const SIZE: &str = "BANKSIA_WITNESS_COMMANDS";

/// Every device of the catalog.
pub(super) fn rows() -> &'static str {
    static ROWS: LazyLock<String> = LazyLock::new(|| {
        let size = std::env::var(SIZE).ok().and_then(|text| text.parse().ok()).unwrap_or(COMMANDS);
        let rows: Vec<String> = catalog::names().iter().map(|name| format!("{name},{size}")).collect();
        format!("device,commands\n{}\n", rows.join("\n"))
    });
    &ROWS
}

/// Commands judged, and those that obey.
pub(super) fn row(row: &Row) -> Value {
    let get = |key: &str| row.get(key).map(String::as_str);
    let judged = judge(get("device"), get("commands"));
    let (commands, lawful) = match judged {
        Ok((commands, breaches)) => (commands as f64, Ok(commands.saturating_sub(breaches) as f64)),
        Err(reason) => (f64::NAN, Err(reason)),
    };
    Value {
        device: get("device").unwrap_or_default().to_owned(),
        op: "commands".into(),
        metric: "lawful_commands",
        label: "every policy".into(),
        measured: commands,
        predicted: lawful,
    }
}

/// Commands judged, and how often they broke a law.
fn judge(device: Option<&str>, commands: Option<&str>) -> Result<(u64, u64), String> {
    let plain = |e: InputError| e.to_string();
    let name = device.ok_or("no column device")?;
    let text = commands.ok_or("no column commands")?;
    let size: u64 = text.trim().parse().map_err(|_| "column commands is not a whole number".to_owned())?;
    if !(1..=1_000_000_000_000).contains(&size) {
        return Err(format!("column commands is {size}: must be a whole number of 1 to 10^12"));
    }
    let device = catalog::load(name).map_err(plain)?;
    let policies = policies(&device);
    let each = size.div_ceil(policies.len().max(1) as u64);
    let (mut judged, mut breaches) = (0, 0);
    for (i, config) in policies.iter().enumerate() {
        // About two commands a request; some policies give more.
        let mut traffic = Traffic::new(&device, each.div_ceil(2), i as u64);
        let witness = watch(&device, config, &mut traffic, false).map_err(plain)?;
        judged += witness.commands();
        breaches += witness.breaches();
    }
    Ok((judged, breaches))
}
