//! The suite of the network on a chip: packets of traces, each time of each of them against BookSim2's.
//!
//! Its reference is a folder, given as such or as its index: `index.csv` with the columns `case` and `config` (BookSim2's parameters, `key=value` joined by semicolons), and
//! for each case `CASE.trace` with the packets that were sent and `CASE.csv` with what became of them; link lists are beside them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use banksia_experiments::Error;
use banksia_hw::net::noc::{NocConfig, NocError, Packet, PacketTimes, parse_trace, simulate};
use banksia_input::{InputError, Source};
use rayon::prelude::*;

use super::rows::{Row, columns, parse};
use crate::value::Value;

/// The name of the suite, and of its only device.
pub(super) const SUITE: &str = "noc";

/// The columns of a case's results that are compared: creation, the head's departure, its arrival, the tail's arrival.
const TIMES: [&str; 4] = ["ctime", "itime_head", "atime_head", "atime_tail"];

/// The cases that the tool brings along.
const INDEX: &str = include_str!("../../tests/reference/noc/index.csv");

macro_rules! embedded {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../tests/reference/noc/", $name)))),*]
    };
}

/// Their files.
const FILES: &[(&str, &str)] = embedded!(
    "cmesh64_R1_single_p1.csv"
    "cmesh64_R1_single_p1.trace"
    "fly2x16_R1_perm_p4.csv"
    "fly2x16_R1_perm_p4.trace"
    "fly4x4_R1_bern0.1_mix.csv"
    "fly4x4_R1_bern0.1_mix.trace"
    "leafspine.net"
    "leafspine16_R1_a2a_p4.csv"
    "leafspine16_R1_a2a_p4.trace"
    "mesh3x3x3_R0_bern0.1_mix.csv"
    "mesh3x3x3_R0_bern0.1_mix.trace"
    "mesh4x4_R0_a2a_p4.csv"
    "mesh4x4_R0_a2a_p4.trace"
    "mesh4x4_buf1_bern0.5_mix.csv"
    "mesh4x4_buf1_bern0.5_mix.trace"
    "mesh4x4_hold_perm_p4.csv"
    "mesh4x4_hold_perm_p4.trace"
    "mesh4x4_loa_perm_p4.csv"
    "mesh4x4_loa_perm_p4.trace"
    "mesh4x4_maxs_bern0.5_mix.csv"
    "mesh4x4_maxs_bern0.5_mix.trace"
    "mesh4x4_sel_perm_p4.csv"
    "mesh4x4_sel_perm_p4.trace"
    "mesh4x4_spec_bern0.5_mix.csv"
    "mesh4x4_spec_bern0.5_mix.trace"
    "mesh4x4_wave_perm_p4.csv"
    "mesh4x4_wave_perm_p4.trace"
    "star8x4.net"
    "star8x4_R1_a2a_p4.csv"
    "star8x4_R1_a2a_p4.trace"
    "torus3x3x3_R0_bern0.1_mix.csv"
    "torus3x3x3_R0_bern0.1_mix.trace"
    "torus5x1_R0_incast_p4.csv"
    "torus5x1_R0_incast_p4.trace"
    "xbar8_R1_bern0.3_mix.csv"
    "xbar8_R1_bern0.3_mix.trace"
    "xbar8_age_bern0.5_mix.csv"
    "xbar8_age_bern0.5_mix.trace"
    "xbar8_int2_bern0.5_mix.csv"
    "xbar8_int2_bern0.5_mix.trace"
    "xbar8_is2_perm_p4.csv"
    "xbar8_is2_perm_p4.trace"
    "xbar8_sof_bern0.5_mix.csv"
    "xbar8_sof_bern0.5_mix.trace"
    "xbar8_tail_bern0.5_mix.csv"
    "xbar8_tail_bern0.5_mix.trace"
);

/// Where the files of a suite are.
enum Folder {
    Embedded,
    At(PathBuf),
}

impl Folder {
    fn read(&self, name: &str) -> Result<String, String> {
        match self {
            Folder::Embedded => {
                let file = FILES.iter().find(|(n, _)| *n == name);
                file.map(|(_, text)| (*text).to_owned()).ok_or_else(|| format!("no file `{name}`"))
            }
            Folder::At(folder) => {
                let source = Source::read(&folder.join(name)).map_err(|e| first_line(&e.to_string()))?;
                Ok(source.text().to_owned())
            }
        }
    }
}

fn first_line(error: &str) -> String {
    error.lines().next().unwrap_or_default().to_owned()
}

/// The values of all cases. `progress` is called with the cases done and the cases there are.
pub(super) fn values(measured: Option<&Path>, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Vec<Value>, Error> {
    let (from, folder, index) = match measured {
        None => (SUITE.to_owned(), Folder::Embedded, INDEX.to_owned()),
        Some(path) => {
            let index = if path.is_dir() { path.join("index.csv") } else { path.to_owned() };
            let text = Source::read(&index)?.text().to_owned();
            (index.display().to_string(), Folder::At(index.parent().unwrap_or(path).to_owned()), text)
        }
    };
    let cases = parse(&from, &index)?;
    if cases.is_empty() {
        return Err(InputError::new(from, "has no rows").help(expected()).into());
    }
    let (done, all) = (AtomicU64::new(0), cases.len() as u64);
    progress(0, all);
    let values: Vec<Value> = cases
        .par_iter()
        .flat_map_iter(|case| {
            let values = case_values(case, &folder);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, all);
            values
        })
        .collect();
    if measured.is_some() && !values.iter().any(Value::is_usable) {
        let reason = values.iter().find_map(|v| v.predicted.as_ref().err().cloned()).unwrap_or_default();
        let problem = format!("has no case that suite `{SUITE}` can compare: {reason}");
        return Err(InputError::new(from, problem).help(expected()).into());
    }
    Ok(values)
}

/// What the index looks like.
fn expected() -> String {
    format!("its columns are {}, and more may follow", columns(INDEX))
}

/// The family of a case: the network and its router, with which its name begins; the traffic follows.
fn family(case: &str) -> String {
    let words: Vec<&str> = case.split('_').collect();
    words[..words.len().min(2)].join("_")
}

/// Four values for each packet; one with the reason if the case cannot be simulated.
fn case_values(case: &Row, folder: &Folder) -> Vec<Value> {
    let name = case.get("case").map_or("", String::as_str);
    let value = |label: String, measured: f64, predicted: Result<f64, String>| Value {
        device: SUITE.to_owned(),
        op: family(name),
        metric: "cycle",
        label,
        measured,
        predicted,
    };
    let compared = match compare(name, case.get("config").map_or("", String::as_str), folder) {
        Ok(compared) => compared,
        Err(reason) => return vec![value(name.to_owned(), 1.0, Err(reason))],
    };
    // Cycles are counted from one here, so that a relative error has something to refer to.
    let counted = |cycle: u64| cycle as f64 + 1.0;
    compared
        .into_iter()
        .flat_map(|(number, measured, predicted)| {
            (0..TIMES.len()).map(move |i| (number, TIMES[i], measured[i], predicted.as_ref().map(|p| p[i])))
        })
        .map(|(number, time, measured, predicted)| {
            let missing = || "the packet is not in the trace".to_owned();
            let predicted = predicted.map(counted).ok_or_else(missing);
            value(format!("{name}, packet {number}, {time}"), counted(measured), predicted)
        })
        .collect()
}

/// A packet's number, its measured times and its predicted ones.
type Compared = (u64, [u64; 4], Option<[u64; 4]>);

fn compare(name: &str, config: &str, folder: &Folder) -> Result<Vec<Compared>, String> {
    let plain = |e: NocError| e.to_string();
    let config = NocConfig::from_booksim(config, |file| folder.read(file).map_err(NocError)).map_err(plain)?;
    let packets = parse_trace(&folder.read(&format!("{name}.trace"))?).map_err(plain)?;
    let outcome = simulate(&config, &packets).map_err(plain)?;
    let pairs = outcome.packets.iter().zip(&packets);
    let by_number: BTreeMap<u64, (&PacketTimes, &Packet)> = pairs.map(|(t, p)| (u64::from(t.number), (t, p))).collect();
    let file = format!("{name}.csv");
    let rows = parse(&file, &folder.read(&file)?).map_err(|e| first_line(&e.to_string()))?;
    rows.iter()
        .map(|row| {
            let number = |column: &str| {
                let text = row.get(column).ok_or_else(|| format!("{file} has no column `{column}`"))?;
                text.parse::<u64>().map_err(|_| format!("{file}: {column} is `{text}`, not a whole number"))
            };
            let id = number("pid")?;
            let predicted = by_number.get(&id).copied();
            if let Some((times, packet)) = predicted {
                // A packet with other ends or another way is another packet.
                let ours = [packet.from, packet.to, packet.flits, times.hops].map(u64::from);
                let theirs = [number("src")?, number("dst")?, number("size")?, number("hops")?];
                if ours != theirs {
                    return Err(format!(
                        "{name}: packet {id} is {theirs:?} (source, destination, flits, hops), not {ours:?}"
                    ));
                }
            }
            let mut measured = [0; 4];
            for (place, time) in measured.iter_mut().zip(TIMES) {
                *place = number(time)?;
            }
            let of = |(t, _): (&PacketTimes, &Packet)| [t.created, t.head_left, t.head_arrived, t.tail_arrived];
            Ok((id, measured, predicted.map(of)))
        })
        .collect()
}
