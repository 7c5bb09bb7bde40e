//! Rows of measured values, and their numbers, held to what is simulated before anything of their size is made.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use banksia_experiments::Error;
use banksia_hw::gpu::spec::GpuSpec;
use banksia_input::InputError;
use banksia_mappers::gpu::attention::Attention;
use banksia_mappers::gpu::gemm::Gemm;

/// Rows of a CSV file, each by column name.
pub(crate) type Row = BTreeMap<String, String>;

/// Sides of a matrix.
pub(crate) const SIDE: RangeInclusive<u32> = 1..=1 << 20;
/// Elements of a result: launches keep a work item for each tile of them.
const MOST_RESULTS: u128 = 1 << 32;
/// Multiply-adds, eight times those of the largest product of the reference files.
const MOST_FMA: u128 = 1 << 48;
/// Rows of queries, and pairs of queries and keys, over all heads and sequences.
const MOST_QUERIES: u128 = 1 << 24;
const MOST_PAIRS: u128 = 1 << 40;
/// CTAs of a launch that a row gives the tile of.
const MOST_CTAS: u64 = 1 << 22;

/// The rows of a CSV file; lines that begin with `#` are comments.
pub(crate) fn parse(name: &str, text: &str) -> Result<Vec<Row>, Error> {
    let bad = |e: csv::Error| {
        let line = e.position().map(csv::Position::line);
        let error = InputError::new(name, format!("is not the CSV of this suite: {e}"));
        Error::from(line.map_or(error.clone(), |l| error.at_line(l as usize)))
    };
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    reader.deserialize().collect::<Result<Vec<Row>, csv::Error>>().map_err(bad)
}

/// The columns of a CSV file.
pub(crate) fn columns(text: &str) -> String {
    let header = text.lines().find(|l| !l.starts_with('#')).unwrap_or_default();
    header.split(',').collect::<Vec<_>>().join(", ")
}

/// A number of a row.
pub(crate) fn number(row: &Row, key: &str) -> Result<f64, String> {
    let text = row.get(key).ok_or_else(|| format!("no column {key}"))?;
    let number: Option<f64> = text.trim().parse().ok();
    number.filter(|n| n.is_finite()).ok_or_else(|| format!("column {key} is not a number"))
}

/// A whole number of a row, among those that are allowed.
pub(crate) fn whole(row: &Row, key: &str, allowed: RangeInclusive<u32>) -> Result<u32, String> {
    let n = number(row, key)?;
    let (least, most) = (*allowed.start(), *allowed.end());
    if n.fract() == 0.0 && (f64::from(least)..=f64::from(most)).contains(&n) {
        Ok(n as u32)
    } else {
        Err(format!("column {key} is {n}: must be a whole number of {least} to {most}"))
    }
}

/// The catalog's name of a reference file's GPU (`h100_sxm`, `rtx_4090`, `rtx_a6000`): the longest that some of its words make, whatever stands
/// between them; else its first word.
pub(crate) fn device_of(gpu: &str) -> &str {
    let letters =
        |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    // `h100_sxm` is the H100, `a100x` is not the A100: what follows is a word of its own.
    let words: Vec<&str> = gpu.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let runs = |from: usize| (from + 1..=words.len()).map(move |to| (from, to));
    let named =
        |name: &str| (0..words.len()).flat_map(runs).any(|(a, b)| letters(&words[a..b].concat()) == letters(name));
    let known = banksia_hw::gpu::CATALOG.iter().map(|(name, _)| *name).filter(|name| named(name));
    known.max_by_key(|name| name.len()).unwrap_or(words[0])
}

fn at_most(what: &str, n: u128, most: u128) -> Result<(), String> {
    if n <= most { Ok(()) } else { Err(format!("{n} {what}: at most {most} are simulated")) }
}

/// What a device's memory has room for.
pub(crate) fn fits(bytes: f64, spec: &GpuSpec) -> Result<(), String> {
    let room = spec.dram.capacity_bytes;
    if bytes <= room as f64 {
        Ok(())
    } else {
        Err(format!("operands of {:.3} GB: {} has {:.3}", bytes / 1e9, spec.name, room as f64 / 1e9))
    }
}

/// A launch of so many CTAs.
pub(crate) fn ctas(n: u64) -> Result<(), String> {
    at_most("CTAs", n.into(), MOST_CTAS.into())
}

/// A matrix of so many elements.
pub(crate) fn elements(rows: u32, columns: u32) -> Result<(), String> {
    at_most("elements", u128::from(rows) * u128::from(columns), MOST_RESULTS)
}

/// A product, or a batch of them.
pub(crate) fn product(g: &Gemm, spec: &GpuSpec) -> Result<(), String> {
    let results = u128::from(g.m) * u128::from(g.n) * u128::from(g.batch);
    at_most("elements of the result", results, MOST_RESULTS)?;
    at_most("multiply-adds", results * u128::from(g.k), MOST_FMA)?;
    fits(g.compulsory_bytes(), spec)
}

/// An attention.
pub(crate) fn attention(a: &Attention, spec: &GpuSpec) -> Result<(), String> {
    if a.heads < a.kv_heads || !a.heads.is_multiple_of(a.kv_heads.max(1)) {
        return Err(format!("{} heads do not share {} heads of keys and values evenly", a.heads, a.kv_heads));
    }
    if a.head_dim > 256 {
        return Err("head size over 256 is not modelled".into());
    }
    if !a.head_dim.is_multiple_of(8) {
        return Err(format!("head size is {}: must be a multiple of 8", a.head_dim));
    }
    let queries = u128::from(a.batch) * u128::from(a.heads) * u128::from(a.queries);
    at_most("rows of queries", queries, MOST_QUERIES)?;
    at_most("pairs of queries and keys", queries * u128::from(a.keys), MOST_PAIRS)?;
    let keys = u128::from(a.batch) * u128::from(a.kv_heads) * u128::from(a.keys);
    at_most("rows of keys", keys, i32::MAX as u128)?;
    let (q, k) = (queries as f64 * f64::from(2 + a.dtype.bytes()), 2.0 * keys as f64 * f64::from(a.kv_bytes));
    fits(f64::from(a.head_dim) * (q + k), spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_gpus_in_reference_files_are_those_of_the_catalog() {
        for (gpu, expected) in [
            ("h100_sxm", "h100"),
            ("a100_sxm", "a100"),
            ("b200_sxm", "b200"),
            ("l40s", "l40s"),
            ("a40", "a40"),
            ("a6000", "a6000"),
            ("rtx_a6000", "a6000"),
            ("a10g", "a10g"),
            ("rtx4090", "rtx-4090"),
            ("rtx_4090", "rtx-4090"),
            ("RTX-4090", "rtx-4090"),
            ("rtx_pro_6000", "rtx-pro-6000"),
            ("rtx_pro_6000_server", "rtx-pro-6000"),
            ("b300_sxm", "b300"),
            ("a100x", "a100x"),
            ("", ""),
        ] {
            assert_eq!(device_of(gpu), expected, "{gpu}");
        }
    }
}
