//! A figure as a LaTeX file for pgfplots, with its numbers in it.

use crate::plot::data::{AxisOf, Chart, Data, Rule};
use crate::plot::drawing::{Color, Drawing};
use crate::plot::font::Typeface;
use crate::plot::palette::{COLORS, Hatch, color};

const MARKS: [&str; 8] = ["*", "square*", "triangle*", "diamond*", "o", "x", "triangle", "+"];
const DASHES: [&str; 5] = ["solid", "dashed", "densely dotted", "dashdotted", "densely dashed"];

/// A text as TeX writes it.
fn text(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        match c {
            '\\' => out += "\\textbackslash{}",
            '{' | '}' | '$' | '&' | '#' | '_' | '%' => out.extend(['\\', c]),
            '^' => out += "\\textasciicircum{}",
            '~' => out += "\\textasciitilde{}",
            'µ' => out += "$\\mu$",
            '×' => out += "$\\times$",
            '−' => out += "$-$",
            '≥' => out += "$\\geq$",
            '≤' => out += "$\\leq$",
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    // A comma or a bracket would end a key's value.
    format!("{{{out}}}")
}

fn number(cell: &str) -> &str {
    if cell.is_empty() { "nan" } else { cell }
}

fn place(names: &[String], name: &str) -> usize {
    names.iter().position(|n| n == name).unwrap_or(names.len())
}

/// The whole document.
pub(super) fn script(drawing: &Drawing) -> String {
    let mut out = String::from("% Draws the figure again; the numbers are those of the CSV beside it.\n");
    out += "\\documentclass[border=2pt]{standalone}\n\\usepackage[utf8]{inputenc}\n\\usepackage[T1]{fontenc}\n";
    out += match drawing.typeface {
        Typeface::Sans => "\\usepackage[scaled]{helvet}\n\\renewcommand\\familydefault{\\sfdefault}\n",
        Typeface::Times => "\\usepackage{newtxtext,newtxmath}\n",
        Typeface::Libertine => "\\usepackage{libertine}\n",
    };
    out += "\\usepackage{pgfplots}\n\\usetikzlibrary{patterns}\n\\usepgfplotslibrary{colormaps}\n";
    out += "\\pgfplotsset{compat=1.16}\n";
    for i in 0..COLORS {
        let Color(r, g, b) = color(i);
        out += &format!("\\definecolor{{series{i}}}{{RGB}}{{{r},{g},{b}}}\n");
    }
    out += "\\begin{document}\n\\small\n";
    for data in drawing.data() {
        out += &picture(data);
    }
    out + "\\end{document}\n"
}

fn picture(data: &Data) -> String {
    let (width, height) = data.inches;
    let mut keys = vec![
        format!("width={width:.3}in"),
        format!("height={height:.3}in"),
        "legend style={draw=none, font=\\scriptsize, at={(0.5,1.03)}, anchor=south}".to_owned(),
        "legend columns=3".to_owned(),
        "tick label style={font=\\scriptsize}".to_owned(),
    ];
    if !data.title.is_empty() {
        keys.push(format!("title={}", text(&data.title)));
    }
    keys.extend(axis("x", &data.x, data.chart != Chart::Cells));
    keys.extend(axis("y", &data.y, data.chart != Chart::Cells));
    let body = match data.chart {
        Chart::Lines | Chart::Marks | Chart::Steps => points(data),
        Chart::Bars => bars(data, &mut keys),
        Chart::Rows | Chart::RowPairs => rows(data, &mut keys),
        Chart::Cells => cells(data, &mut keys),
        Chart::Boxes => boxes(data, &mut keys),
        Chart::Spans => spans(data, &mut keys),
    };
    let mut rules = String::new();
    for rule in &data.rules {
        let (x, y) = (data.x.ends, data.y.ends);
        let ((x0, y0), (x1, y1)) = match *rule {
            Rule::Level(v) => ((x.0, v), (x.1, v)),
            Rule::Upright(v) => ((v, y.0), (v, y.1)),
            Rule::Equality => ((x.0, x.0), (x.1, x.1)),
        };
        rules += &format!("\\draw[dashed] (axis cs:{x0},{y0}) -- (axis cs:{x1},{y1});\n");
    }
    format!(
        "\\begin{{tikzpicture}}\n\\begin{{axis}}[{}]\n{rules}{body}\\end{{axis}}\n\\end{{tikzpicture}}\n",
        keys.join(",\n  ")
    )
}

fn axis(which: &str, of: &AxisOf, named: bool) -> Vec<String> {
    let mut keys = Vec::new();
    if !of.title.is_empty() {
        keys.push(format!("{which}label={}", text(&of.title)));
    }
    if of.base > 0 {
        keys.push(format!("{which}mode=log"));
        keys.push(format!("log basis {which}={}", of.base));
    }
    if !of.names.is_empty() {
        let places: Vec<String> = (0..of.names.len()).map(|i| i.to_string()).collect();
        let names: Vec<String> = of.names.iter().map(|n| text(n)).collect();
        keys.push(format!("{which}tick={{{}}}", places.join(",")));
        keys.push(format!("{which}ticklabels={{{}}}", names.join(",")));
        if which == "x" {
            keys.push("x tick label style={rotate=45, anchor=east}".to_owned());
        }
    } else if named && of.ends.0 < of.ends.1 && of.ends.0.is_finite() && of.ends.1.is_finite() {
        keys.push(format!("{which}min={}, {which}max={}", of.ends.0, of.ends.1));
    }
    keys
}

fn fill(i: usize) -> String {
    let base = format!("fill=series{}, draw=black", i % COLORS);
    match Hatch::of(i).pattern() {
        "" => base,
        pattern => format!("{base}, postaction={{pattern={pattern}, pattern color=white}}"),
    }
}

fn points(data: &Data) -> String {
    let mut out = String::new();
    for (i, series) in data.distinct(0).into_iter().enumerate() {
        let (color, mark, dash) = (i % COLORS, MARKS[i % MARKS.len()], DASHES[i % DASHES.len()]);
        let style = match data.chart {
            _ if data.limits.iter().any(|l| l == series) => "black, thick, no marks".to_owned(),
            Chart::Marks => format!("only marks, mark={mark}, series{color}, mark size=1.5pt"),
            Chart::Steps => format!("const plot, no marks, thick, series{color}, {dash}"),
            _ => format!("thick, series{color}, {dash}, mark={mark}, mark size=1.5pt, mark options={{solid}}"),
        };
        out += &format!("\\addplot[{style}] coordinates {{");
        for row in data.rows.iter().filter(|r| r[0] == series) {
            let x = if data.x.names.is_empty() {
                number(&row[1]).to_owned()
            } else {
                place(&data.x.names, &row[1]).to_string()
            };
            out += &format!(" ({x},{})", number(&row[2]));
        }
        out += &format!(" }};\n\\addlegendentry{}\n", text(series));
    }
    out
}

fn bars(data: &Data, keys: &mut Vec<String>) -> String {
    let (series, parts) = (data.distinct(1), data.distinct(2));
    let stacked = parts.len() > 1;
    // Bars of parts stand side by side as places of their own: pgfplots cannot group stacks.
    keys.push(if stacked { "ybar stacked" } else { "ybar" }.to_owned());
    keys.push(format!("bar width={:.3}", 0.8 / series.len().max(1) as f64));
    let mut out = String::new();
    let mut plot = |rows: Vec<(f64, &Vec<String>)>, look: usize, name: &str, forget: bool| {
        let plot = if rows.iter().any(|(_, r)| !r[4].is_empty()) {
            "error bars/.cd, y dir=both, y explicit"
        } else {
            "forget plot=false"
        };
        out += &format!("\\addplot[{}, {plot}] coordinates {{", fill(look));
        for (x, row) in rows {
            let value = number(&row[3]);
            let ends = [(&row[5], 1.0), (&row[4], -1.0)].map(|(end, sign)| {
                end.parse::<f64>().ok().zip(value.parse::<f64>().ok()).map(|(end, v)| sign * (end - v))
            });
            out += &format!(" ({x:.4},{value})");
            if let [Some(up), Some(down)] = ends {
                out += &format!(" += (0,{up}) -= (0,{down})");
            }
        }
        out += " };\n";
        if !forget {
            out += &format!("\\addlegendentry{}\n", text(name));
        }
    };
    for (p, part) in parts.iter().enumerate() {
        for (s, one) in series.iter().enumerate() {
            if stacked && s > 0 {
                break;
            }
            let mine = data.rows.iter().filter(|r| r[2] == *part && (stacked || r[1] == *one));
            let width = 0.8 / series.len().max(1) as f64;
            let x = |r: &Vec<String>| {
                let s = series.iter().position(|one| *one == r[1]).unwrap_or(0) as f64;
                let middle = place(&data.x.names, &r[0]) as f64;
                if stacked { middle - 0.4 + width * (s + 0.5) } else { middle }
            };
            let name = if stacked { *part } else { *one };
            plot(mine.map(|r| (x(r), r)).collect(), if stacked { p } else { s }, name, name.is_empty());
        }
    }
    out
}

fn rows(data: &Data, keys: &mut Vec<String>) -> String {
    keys.push(if data.chart == Chart::Rows { "xbar stacked" } else { "xbar" }.to_owned());
    keys.push("y dir=reverse".to_owned());
    let mut out = String::new();
    for (i, part) in data.distinct(1).into_iter().enumerate() {
        out += &format!("\\addplot[{}] coordinates {{", fill(i));
        for row in data.rows.iter().filter(|r| r[1] == part) {
            out += &format!(" ({},{})", number(&row[2]), place(&data.y.names, &row[0]));
        }
        out += &format!(" }};\n\\addlegendentry{}\n", text(part));
    }
    out
}

fn cells(data: &Data, keys: &mut Vec<String>) -> String {
    keys.push("colormap/Blues".to_owned());
    keys.push("colorbar".to_owned());
    keys.push(format!("colorbar style={{ylabel={}}}", text(&data.columns[2])));
    let mut out =
        format!("\\addplot[matrix plot*, mesh/cols={}, point meta=explicit] coordinates {{", data.x.names.len());
    for (y, row) in data.y.names.iter().enumerate() {
        for (x, column) in data.x.names.iter().enumerate() {
            let found = data.rows.iter().find(|r| r[0] == *column && r[1] == *row).map_or("nan", |r| number(&r[2]));
            let shade = match (data.log_shades, found.parse::<f64>()) {
                (true, Ok(value)) => format!("{:.6}", value.log10()),
                _ => found.to_owned(),
            };
            out += &format!(" ({x},{y}) [{shade}]");
        }
    }
    out + " };\n"
}

fn boxes(data: &Data, keys: &mut Vec<String>) -> String {
    // A box plot's places count from 1.
    keys.retain(|k| !k.starts_with("xtick="));
    keys.push("boxplot/draw direction=y".to_owned());
    keys.push(format!("xtick={{{}}}", (1..=data.rows.len()).map(|i| i.to_string()).collect::<Vec<_>>().join(",")));
    let mut out = String::new();
    for row in &data.rows {
        out += &format!(
            "\\addplot[fill=series0!55, draw=black, boxplot prepared={{lower whisker={}, lower quartile={}, median={}, \
             upper quartile={}, upper whisker={}}}] coordinates {{}};\n",
            row[2], row[3], row[4], row[5], row[6]
        );
    }
    out
}

fn spans(data: &Data, keys: &mut Vec<String>) -> String {
    keys.push("y dir=reverse".to_owned());
    keys.push(format!("ymin=-0.5, ymax={}", data.y.names.len() as f64 - 0.5));
    let names = data.distinct(1);
    let mut out = String::new();
    for (i, name) in names.iter().enumerate() {
        out += &format!("\\addlegendimage{{area legend, {}}}\n\\addlegendentry{}\n", fill(i), text(name));
    }
    for row in &data.rows {
        let (start, length) = (row[2].parse::<f64>().unwrap_or(0.0), row[3].parse::<f64>().unwrap_or(0.0));
        let (lane, look) = (place(&data.y.names, &row[0]) as f64, names.iter().position(|n| *n == row[1]).unwrap_or(0));
        let (from, to) = ((start, lane - 0.38), (start + length, lane + 0.38));
        out +=
            &format!("\\path[{}] (axis cs:{},{}) rectangle (axis cs:{},{});\n", fill(look), from.0, from.1, to.0, to.1);
    }
    out
}
