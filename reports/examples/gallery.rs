//! Draws every kind of plot from small files of real runs, and the page that shows them with their commands:
//! `cargo run --release -p banksia-reports --example gallery` writes `docs/gallery/*.svg` and `docs/gallery.md`. With a folder as its
//! argument, it writes there instead, and PNGs, tables
//! and scripts too.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use banksia_reports::plot::{Emit, PlotKind, PlotOptions, Plotted, plot_figure, plot_files, read_figure, write_figure};

/// A figure: its file's stem, what it shows, and the command without the output.
const FIGURES: [(&str, &str, &str); 17] = [
    (
        "bars",
        "Speed-up of each model over 8 channels, with the geometric mean. The line is the baseline; hatches keep bars apart in grey.",
        "bars DATA/models.csv --x model --y latency_s --by channels --normalize 8 --speedup --geomean",
    ),
    (
        "bars-stacked",
        "Energy by cause, absolute, for each model and number of channels. A figure's file names the parts and their order.",
        "bars DATA/models.csv --figure DATA/parts.toml",
    ),
    (
        "bars-shares",
        "The same as shares of each bar.",
        "bars DATA/models.csv --figure DATA/parts.toml --normalize total",
    ),
    (
        "box",
        "Latency per token over all models and pin rates, by channels.",
        "box DATA/pins.csv --x channels --y latency_per_token_s",
    ),
    ("breakdown", "One run: latency and energy by operator.", "breakdown DATA/pim.json"),
    ("breakdown-several", "Several runs: a stacked bar each.", "breakdown DATA/pim.json DATA/pim-medium.json"),
    ("energy", "Energy by cause, per token.", "energy DATA/pim.json DATA/pim-medium.json"),
    ("context", "Latency per token as the KV cache grows.", "context DATA/pim.json DATA/pim-medium.json"),
    ("gantt", "What ran where in the first microseconds of a token.", "gantt DATA/pim.json"),
    (
        "sweep",
        "Any column against another, on axes with powers of two.",
        "sweep DATA/pins.csv --x pin_gbps --by channels --log2-x --log2-y",
    ),
    (
        "heatmap",
        "A value over two keys of a sweep.",
        "heatmap DATA/pins.csv --x machine.memory.channels --y device.organization.pin_gbps --z latency_per_token_s",
    ),
    (
        "pareto",
        "Throughput against energy: names say which way is better, and groups have marks.",
        "pareto DATA/pins.csv --x tokens_per_s --y energy_per_token_j --by channels",
    ),
    ("roofline", "Operators of one run under its machine's limits.", "roofline DATA/h200.json"),
    (
        "roofline-several",
        "Two machines: a colour is an operator, a mark a machine.",
        "roofline DATA/h200.json DATA/a100.json",
    ),
    ("validation", "Predicted against measured, with bands of 10 % and 25 %.", "validation DATA/measured.csv"),
    ("cdf", "The share of rows at or below an error.", "cdf DATA/measured.csv --x error_pct --by op"),
    ("panels", "Two plots on one page, in Times: the figure's file says all.", "panels DATA/panels.toml"),
];

/// A page of the files' folder, from the repository's root.
const DATA: &str = "docs/gallery/data";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no repository")?.to_owned();
    let other = std::env::args().nth(1).map(PathBuf::from);
    let docs = other.clone().unwrap_or_else(|| root.join("docs"));
    let folder = docs.join("gallery");
    std::fs::create_dir_all(&folder)?;
    let mut page = String::from(
        "# Gallery\n\nEvery kind of plot, from files in [gallery/data](gallery/data) that runs of Banksia wrote, with the \
         command\nthat draws it. `cargo run --release -p banksia-reports --example gallery` makes this page and its figures;\n\
         [reports.md](reports.md) has all options.\n",
    );
    for (stem, what, command) in FIGURES {
        let plotted = draw(&root, command).map_err(|e| format!("{stem}: {e}"))?;
        for warning in &plotted.warnings {
            eprintln!("{stem}: {warning}");
        }
        plotted.drawing.write(&folder.join(format!("{stem}.svg")))?;
        if other.is_some() {
            write_figure(&plotted.drawing, &folder.join(format!("{stem}.png")), &Emit::ALL)?;
        }
        let command = command.replace("DATA", DATA);
        write!(page, "\n## {stem}\n\n{what}\n\n![{stem}](gallery/{stem}.svg)\n\n")?;
        writeln!(page, "```sh\nbanksia plot {command} -o {stem}.svg\n```")?;
    }
    std::fs::write(docs.join("gallery.md"), page)?;
    Ok(())
}

/// Draws what a command of the page asks for: the few options of `banksia plot` that the page uses.
fn draw(root: &Path, command: &str) -> Result<Plotted, Box<dyn std::error::Error>> {
    let mut words = command.split(' ').map(|word| word.replace("DATA", &root.join(DATA).display().to_string()));
    let kind: PlotKind = words.next().ok_or("no kind")?.parse()?;
    let (mut inputs, mut options) = (Vec::new(), PlotOptions::default());
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} has no value"));
        match word.as_str() {
            "--x" => options.x = Some(value()?),
            "--y" => options.y.push(value()?),
            "--z" => options.value = Some(value()?),
            "--by" => options.by = Some(value()?),
            "--normalize" => options.normalize = Some(value()?),
            "--figure" => {
                let before = options;
                options = read_figure(Path::new(&value()?))?.options;
                options.normalize = before.normalize.or(options.normalize);
            }
            "--speedup" => options.speedup = true,
            "--geomean" => options.geomean = true,
            "--log2-x" => options.log2_x = true,
            "--log2-y" => options.log2_y = true,
            file => inputs.push(PathBuf::from(file)),
        }
    }
    if let (PlotKind::Panels, [file]) = (kind, inputs.as_slice()) {
        return Ok(plot_figure(&read_figure(file)?, file)?);
    }
    Ok(plot_files(kind, &inputs, &options)?)
}
