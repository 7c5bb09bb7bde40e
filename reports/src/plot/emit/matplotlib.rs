//! A figure as a Python script for matplotlib, which reads the figure's CSV.

use crate::plot::data::{AxisOf, Chart, Data, Rule};
use crate::plot::drawing::Drawing;
use crate::plot::font::Typeface;
use crate::plot::palette::{COLORS, Hatch, color};

const START: &str = r##"import csv
import os

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = os.path.dirname(os.path.abspath(__file__))


def read(name):
    with open(os.path.join(HERE, name), newline="", encoding="utf-8") as f:
        return list(csv.reader(f))[1:]


def number(text):
    return float(text) if text else float("nan")


def distinct(values):
    return list(dict.fromkeys(values))


def look(i):
    return dict(color=COLORS[i % len(COLORS)], linestyle=DASHES[i % len(DASHES)], marker=MARKS[i % len(MARKS)])


def fill(i):
    return dict(facecolor=COLORS[i % len(COLORS)], hatch=HATCHES[i % len(HATCHES)], edgecolor="white", linewidth=0.5)


"##;

const POINTS: &str = r##"def points(ax, rows, names, limits, style):
    for i, series in enumerate(distinct(r[0] for r in rows)):
        mine = [r for r in rows if r[0] == series]
        xs = [names.index(r[1]) if names else number(r[1]) for r in mine]
        ys = [number(r[2]) for r in mine]
        if series in limits:
            ax.plot(xs, ys, color="#222222", linewidth=1.1, label=series)
        elif style == "steps":
            ax.step(xs, ys, where="post", color=look(i)["color"], linestyle=look(i)["linestyle"], label=series)
        elif style == "marks":
            ax.plot(xs, ys, **{**look(i), "linestyle": "none"}, markersize=3, label=series)
        else:
            every = max(1, len(xs) // 8) if len(xs) > 24 else 1
            ax.plot(xs, ys, **look(i), linewidth=1.2, markersize=3, markevery=every, label=series)
    if names:
        ax.set_xticks(range(len(names)), names)


"##;

const BARS: &str = r##"def bars(ax, rows, names):
    series, parts = distinct(r[1] for r in rows), distinct(r[2] for r in rows)
    width = 0.8 / max(1, len(series))
    foot = {}
    for i, (s, p) in enumerate((s, p) for s in range(len(series)) for p in range(len(parts))):
        mine = [r for r in rows if r[1] == series[s] and r[2] == parts[p]]
        xs = [names.index(r[0]) - 0.4 + width * (s + 0.5) for r in mine]
        ys = [number(r[3]) for r in mine]
        bottom = [foot.get(x, 0.0) for x in xs]
        ends = [[y - number(r[4]) for y, r in zip(ys, mine)], [number(r[5]) - y for y, r in zip(ys, mine)]]
        errors = dict(yerr=ends, capsize=2, ecolor="#222222") if any(r[4] for r in mine) else {}
        label = (parts[p] if s == 0 else None) if len(parts) > 1 else series[s]
        ax.bar(xs, ys, width * 0.95, bottom=bottom, label=label, **fill(p if len(parts) > 1 else s), **errors)
        foot.update((x, b + y) for x, b, y in zip(xs, bottom, ys))
    ax.set_xticks(range(len(names)), names)


"##;

const ROWS: &str = r##"def rows_of_bars(ax, rows, names, stacked):
    parts = distinct(r[1] for r in rows)
    height = 0.7 if stacked else 0.8 / max(1, len(parts))
    foot = {}
    for i, part in enumerate(parts):
        mine = [r for r in rows if r[1] == part]
        ys = [names.index(r[0]) + (0 if stacked else height * (i + 0.5) - 0.4) for r in mine]
        xs = [number(r[2]) for r in mine]
        left = [foot.get(y, 0.0) if stacked else 0.0 for y in ys]
        ax.barh(ys, xs, height, left=left, label=part, **fill(i))
        foot.update((y, f + x) for y, f, x in zip(ys, left, xs))
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()


"##;

const CELLS: &str = r##"def cells(ax, rows, xs, ys, label, log):
    values = [[float("nan")] * len(xs) for _ in ys]
    for r in rows:
        values[ys.index(r[1])][xs.index(r[0])] = number(r[2])
    norm = matplotlib.colors.LogNorm() if log else None
    mesh = ax.imshow(values, origin="lower", aspect="auto", cmap="Blues", norm=norm)
    ax.set_xticks(range(len(xs)), xs)
    ax.set_yticks(range(len(ys)), ys)
    ax.figure.colorbar(mesh, ax=ax, label=label)


"##;

const BOXES: &str = r##"def boxes(ax, rows):
    keys = ["whislo", "q1", "med", "q3", "whishi"]
    stats = [dict(zip(keys, map(number, r[2:7])), label=r[0], fliers=[]) for r in rows]
    ax.bxp(stats, showfliers=False, patch_artist=True, boxprops=dict(facecolor=COLORS[0], alpha=0.55))


"##;

const SPANS: &str = r##"def spans(ax, rows, lanes):
    totals = {}
    for r in rows:
        totals[r[1]] = totals.get(r[1], 0.0) + number(r[3])
    longest = sorted(totals, key=totals.get, reverse=True)[: len(COLORS)]
    for i, name in enumerate(longest + [None]):
        mine = [r for r in rows if (r[1] == name if name else r[1] not in longest)]
        style = fill(i) if name else dict(facecolor="#999999")
        for lane in distinct(r[0] for r in mine):
            here = [(number(r[2]), number(r[3])) for r in mine if r[0] == lane]
            ax.broken_barh(here, (lanes.index(lane) - 0.38, 0.76), **style)
        if mine:
            ax.barh([0], [0], label=name or "others", **style)
    ax.set_yticks(range(len(lanes)), lanes)
    ax.invert_yaxis()


"##;

/// A text as Python writes it: JSON's strings are Python's too.
fn text(value: &str) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "\"\"".to_owned())
}

fn list<S: AsRef<str>>(values: &[S]) -> String {
    format!("[{}]", values.iter().map(|v| text(v.as_ref())).collect::<Vec<_>>().join(", "))
}

/// The whole script.
pub(super) fn script(drawing: &Drawing, tables: &[String], stem: &str) -> String {
    let data = drawing.data();
    let has = |charts: &[Chart]| data.iter().any(|d| charts.contains(&d.chart));
    let colors: Vec<String> = (0..COLORS).map(|i| color(i).hex()).collect();
    let hatches: Vec<&str> = (0..6).map(|i| Hatch::of(i).letters()).collect();
    let family = match drawing.typeface {
        Typeface::Sans => "\"font.family\": [\"Arimo\", \"Liberation Sans\", \"Arial\", \"DejaVu Sans\"]",
        Typeface::Times => "\"font.family\": [\"Tinos\", \"Liberation Serif\", \"Times New Roman\", \"DejaVu Serif\"]",
        Typeface::Libertine => "\"font.family\": [\"Linux Libertine O\", \"Libertinus Serif\", \"DejaVu Serif\"]",
    };
    let mut out = String::from("# Draws the figure again from the numbers beside it: python3 ");
    out += &format!("{}.py\n", stem.replace(['\n', '\r'], " "));
    out += START;
    out += &format!("COLORS = {}\n", list(&colors));
    out += "DASHES = [\"-\", (0, (4, 1.5)), (0, (1.2, 1.4)), (0, (5, 1.3, 1.2, 1.3)), (0, (2.4, 1.2))]\n";
    out += "MARKS = [\"o\", \"s\", \"^\", \"D\", \"$\\u25cb$\", \"x\", \"v\", \"+\"]\n";
    out += &format!("HATCHES = {}\n", list(&hatches));
    out += &format!(
        "plt.rcParams.update({{{family}, \"font.size\": 8, \"axes.labelsize\": 8, \"xtick.labelsize\": 7, \"ytick.labelsize\": 7, \"legend.fontsize\": 7, \"hatch.linewidth\": 0.6}})\n\n\n"
    );
    for (charts, function) in [
        (&[Chart::Lines, Chart::Marks, Chart::Steps][..], POINTS),
        (&[Chart::Bars], BARS),
        (&[Chart::Rows, Chart::RowPairs], ROWS),
        (&[Chart::Cells], CELLS),
        (&[Chart::Boxes], BOXES),
        (&[Chart::Spans], SPANS),
    ] {
        if has(charts) {
            out += function;
        }
    }
    let points_per_inch = 72.0;
    let (width, height) = (drawing.size().0 / points_per_inch, drawing.size().1 / points_per_inch);
    // Panels lie as in the figure: as many in a row as their widths let in.
    let columns =
        data.first().map_or(1, |d| ((width / d.inches.0.max(0.1)).floor() as usize).clamp(1, data.len().max(1)));
    let rows = data.len().div_ceil(columns).max(1);
    out += &format!(
        "fig, axes = plt.subplots({rows}, {columns}, figsize=({width:.3}, {height:.3}), squeeze=False, layout=\"constrained\")\n"
    );
    out += "axes = axes.flatten()\nfor ax in axes:\n    ax.set_axisbelow(True)\n";
    for (i, (one, file)) in data.iter().zip(tables).enumerate() {
        out += &panel(one, file, i, data.len() > 1);
    }
    out += &format!("for ax in axes[{}:]:\n    ax.set_axis_off()\n", data.len());
    out += &format!("fig.savefig(os.path.join(HERE, {}))\n", text(&format!("{stem}-matplotlib.pdf")));
    out
}

/// The calls that draw a panel.
fn panel(data: &Data, file: &str, index: usize, several: bool) -> String {
    let mut out = format!("\nax = axes[{index}]\nrows = read({})\n", text(file));
    let call = match data.chart {
        Chart::Lines | Chart::Marks | Chart::Steps => {
            let style = match data.chart {
                Chart::Lines => "lines",
                Chart::Steps => "steps",
                _ => "marks",
            };
            format!("points(ax, rows, {}, {}, {})", list(&data.x.names), list(&data.limits), text(style))
        }
        Chart::Bars => format!("bars(ax, rows, {})", list(&data.x.names)),
        Chart::Rows => format!("rows_of_bars(ax, rows, {}, True)", list(&data.y.names)),
        Chart::RowPairs => format!("rows_of_bars(ax, rows, {}, False)", list(&data.y.names)),
        Chart::Cells => {
            let (xs, ys) = (list(&data.x.names), list(&data.y.names));
            let log = if data.log_shades { "True" } else { "False" };
            format!("cells(ax, rows, {xs}, {ys}, {}, {log})", text(&data.columns[2]))
        }
        Chart::Boxes => "boxes(ax, rows)".to_owned(),
        Chart::Spans => format!("spans(ax, rows, {})", list(&data.y.names)),
    };
    out += &format!("{call}\n");
    for rule in &data.rules {
        out += &match rule {
            Rule::Level(v) => format!("ax.axhline({v:?}, color=\"#222222\", linestyle=\"--\", linewidth=0.7)\n"),
            Rule::Upright(v) => format!("ax.axvline({v:?}, color=\"#999999\", linestyle=\"--\", linewidth=0.9)\n"),
            Rule::Equality => {
                "ax.axline((1, 1), (2, 2), color=\"#999999\", linestyle=\"--\", linewidth=0.8)\n".to_owned()
            }
        };
    }
    for (axis, of) in [("x", &data.x), ("y", &data.y)] {
        out += &described(axis, of);
    }
    if several {
        // Below the axis, as in the figure: the legend is above.
        let caption = format!("({}) {}", crate::plot::panels::letters(index), data.title);
        out += &format!("ax.set_xlabel(ax.get_xlabel() + \"\\n\" + {})\n", text(caption.trim_end()));
    } else if !data.title.is_empty() {
        out += &format!("fig.suptitle({}, fontsize=8)\n", text(&data.title));
    }
    out += "if len(ax.get_legend_handles_labels()[1]) > 1:\n";
    let columns = if data.chart == Chart::Spans { 2 } else { 3 };
    out += &format!("    ax.legend(frameon=False, loc=\"lower center\", bbox_to_anchor=(0.5, 1.0), ncols={columns})\n");
    out
}

fn described(axis: &str, of: &AxisOf) -> String {
    let mut out = String::new();
    if of.base > 0 {
        out += &format!("ax.set_{axis}scale(\"log\", base={})\n", of.base);
        if of.base == 2 {
            out += &format!("ax.{axis}axis.set_major_formatter(\"{{x:g}}\")\n");
        }
    }
    if of.names.is_empty() && of.ends.0 < of.ends.1 && of.ends.0.is_finite() && of.ends.1.is_finite() {
        out += &format!("ax.set_{axis}lim({:?}, {:?})\n", of.ends.0, of.ends.1);
    }
    if !of.title.is_empty() {
        out += &format!("ax.set_{axis}label({})\n", text(&of.title));
    }
    if axis == "x" && of.names.iter().map(|n| n.chars().count()).sum::<usize>() > 40 {
        out += "ax.tick_params(axis=\"x\", rotation=90)\n";
    }
    out
}
