//! Collectives on a fabric: a table, CSV, and a heat map of link loads.

use std::fmt::Write as _;

use banksia_hw::net::fabric::collective_run::{AlgorithmLoads, CollectiveReport};
use banksia_reports::plot::{Heatmap, Quantity, Style, heatmap};
use banksia_reports::units::{count, percent, quantity};

use crate::CliError;

/// Links that the table names.
const BUSIEST: usize = 5;
/// Most columns of a heat map.
const COLUMNS: usize = 64;

fn time(seconds: f64) -> String {
    quantity(seconds, "s")
}

/// A row an algorithm and a size.
pub(super) fn rows_csv(report: &CollectiveReport) -> String {
    let mut text =
        "collective,algorithm,ranks,bytes,seconds,algorithm_gb_s,bus_gb_s,cut_bound_s,link_bound_s,packet_s,\
                    packet_difference_pct,nccl_s,energy_j,nvlink_bytes,pcie_bytes,network_bytes,cxl_bytes\n"
            .to_owned();
    for r in &report.rows {
        let cell = |v: Option<f64>| v.map_or(String::new(), |v| format!("{v:e}"));
        let kind = serde_json::to_value(r.collective).ok();
        let _ = writeln!(
            text,
            "{},\"{}\",{},{},{:e},{:.6},{:.6},{:e},{:e},{},{},{},{:e},{:.0},{:.0},{:.0},{:.0}",
            kind.as_ref().and_then(|k| k.as_str()).unwrap_or_default(),
            r.algorithm,
            report.ranks,
            r.bytes,
            r.seconds,
            r.algorithm_gb_s,
            r.bus_gb_s,
            r.cut_bound_s,
            r.link_bound_s,
            cell(r.packet_s),
            cell(r.packet_difference_pct),
            cell(r.nccl_s),
            r.energy_j,
            r.bytes_by_class.nvlink,
            r.bytes_by_class.pcie,
            r.bytes_by_class.network,
            r.bytes_by_class.cxl
        );
    }
    text
}

/// A row a link that carried something.
pub(super) fn links_csv(report: &CollectiveReport) -> String {
    let mut text = "algorithm,collective_bytes,from,to,kind,gb_s,bytes,utilisation\n".to_owned();
    for a in &report.loads {
        for l in &a.links {
            let _ = writeln!(
                text,
                "\"{}\",{},{},{},{},{},{:.0},{:.6}",
                a.algorithm, a.bytes, l.from, l.to, l.kind, l.gb_s, l.bytes, l.utilisation
            );
        }
    }
    text
}

pub(super) fn table(report: &CollectiveReport) -> String {
    let mut text = format!(
        "{}: {} of {} GPUs of {}, {} links\n\n",
        report.name,
        count(u64::from(report.ranks)),
        count(u64::from(report.gpus)),
        report.fabric,
        count(report.links as u64)
    );
    let nccl = report.rows.iter().any(|r| r.nccl_s.is_some());
    let width = report.rows.iter().map(|r| r.algorithm.len()).max().unwrap_or(0).max("algorithm".len());
    let _ = write!(
        text,
        "{:<width$}  {:>11}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {:>6}",
        "algorithm", "bytes", "time", "alg GB/s", "bus GB/s", "cut", "link", "packets", "differ"
    );
    text.push_str(if nccl { "      NCCL\n" } else { "\n" });
    for r in &report.rows {
        let _ = write!(
            text,
            "{:<width$}  {:>11}  {:>8}  {:>8.2}  {:>8.2}  {:>8}  {:>8}  {:>8}  {:>6}",
            r.algorithm,
            r.bytes,
            time(r.seconds),
            r.algorithm_gb_s,
            r.bus_gb_s,
            time(r.cut_bound_s),
            time(r.link_bound_s),
            r.packet_s.map_or("-".to_owned(), time),
            r.packet_difference_pct.map_or("-".to_owned(), |d| format!("{d:+.1}%"))
        );
        if nccl {
            let _ = write!(text, "  {:>8}", r.nccl_s.map_or("-".to_owned(), time));
        }
        text.push('\n');
    }
    text.push_str("(cut: bytes over bandwidth of the tightest cut, below which no algorithm can go; link: of the busiest link of this one)\n");
    if let Some(r) = report.rows.first() {
        let _ = writeln!(text, "tightest cut: {}", r.cut);
    }
    for s in &report.skipped {
        let _ = writeln!(text, "not run: {} {}", s.algorithm, s.reason);
    }
    for a in &report.loads {
        let mut busiest: Vec<_> = a.links.iter().collect();
        busiest.sort_by(|a, b| b.utilisation.total_cmp(&a.utilisation));
        let _ = writeln!(text, "\nbusiest links, {} of {} bytes:", a.algorithm, a.bytes);
        for l in busiest.iter().take(BUSIEST) {
            let (bytes, share) = (quantity(l.bytes, "B"), percent(l.utilisation));
            let _ = writeln!(text, "  {} to {}: {bytes}, {share} of {} GB/s", l.from, l.to, l.gb_s);
        }
    }
    text
}

/// Loads of one algorithm as a map: a row a kind of link, its links in order from left to right, the largest of each group where they are many.
fn map(a: &AlgorithmLoads) -> Heatmap {
    let mut kinds: Vec<&str> = Vec::new();
    for l in &a.links {
        if !kinds.contains(&l.kind.as_str()) {
            kinds.push(&l.kind);
        }
    }
    let of = |kind: &str| a.links.iter().filter(|l| l.kind == kind).map(|l| l.utilisation).collect::<Vec<f64>>();
    let all: Vec<Vec<f64>> = kinds.iter().map(|k| of(k)).collect();
    let columns = all.iter().map(Vec::len).max().unwrap_or(0).min(COLUMNS);
    let cell = |links: &[f64], c: usize| {
        // Of links that are fewer than columns, each fills as many.
        let from = c * links.len() / columns.max(1);
        let to = ((c + 1) * links.len()).div_ceil(columns.max(1)).max(from + 1);
        links.get(from..to.min(links.len())).map(|l| l.iter().copied().fold(0.0, f64::max))
    };
    let values = all.iter().flat_map(|links| (0..columns).map(|c| cell(links, c))).collect();
    let names = all.iter().zip(&kinds).map(|(links, kind)| format!("{kind} ({})", links.len())).collect();
    let marks = (0..columns).map(|c| if c % 8 == 0 { format!("{c}") } else { String::new() }).collect();
    Heatmap { x: ("links in order, in groups".to_owned(), marks), y: (String::new(), names), values }
}

/// The heat map of the first algorithm's loads, as a figure.
pub(super) fn figure(report: &CollectiveReport, path: &std::path::Path) -> Result<(), CliError> {
    let Some(first) = report.loads.first() else { return Err(CliError::Failed("no link carried anything".into())) };
    let value = Quantity::new("utilisation", "");
    Ok(heatmap(&map(first), &value, false, &Style::default()).write(path)?)
}
