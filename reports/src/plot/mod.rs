//! Plots for a paper: one function per kind, from data to a [`Drawing`], which renders to SVG, PNG and PDF alike.
//!
//! Sized for one column of a two-column paper (3.5 inches, text of 7 and 8 points), in a palette that is told apart with any
//! colour vision. No input makes a plot panic: what is not finite, or not positive on a logarithmic axis, is left out.

mod axis;
mod bandwidth;
mod bars;
mod breakdown;
mod cdf;
mod context;
mod drawing;
mod energy;
mod font;
mod frame;
mod heatmap;
mod inputs;
mod lines;
mod pareto;
mod pdf;
mod render;
mod roofline;
mod sweep;
mod validation;

use std::path::Path;

use banksia_input::InputError;

pub use axis::{Quantity, Scaling};
pub use bandwidth::bandwidth;
pub use breakdown::breakdown;
pub use cdf::cdf;
pub use context::context;
pub use drawing::Drawing;
pub use energy::energy;
pub use heatmap::{Heatmap, heatmap};
pub use inputs::{PlotOptions, Plotted, Table, plot_files};
pub use pareto::{Better, ParetoPoint, pareto};
pub use roofline::{Roofline, RooflinePoint, roofline};
pub use sweep::{sweep, sweep_of_names};
pub use validation::{validation, validation_by_metric};

use crate::{ReportError, RunReport, write_atomically};

/// A named run of points, in base units.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Abscissa and ordinate of each point, in drawing order.
    pub points: Vec<(f64, f64)>,
}

/// The kinds of plot that `banksia plot` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlotKind {
    /// Latency and energy by operator.
    Breakdown,
    /// Latency of a step against its context.
    Context,
    /// Any column of a table against another.
    Sweep,
    /// Operators under a machine's arithmetic and bandwidth limits.
    Roofline,
    /// Predicted against measured.
    Validation,
    /// Latency of a memory against its load.
    Bandwidth,
    /// Two costs, and the points that no other beats in both.
    Pareto,
    /// Energy by cause.
    Energy,
    /// A value over two columns of a table.
    Heatmap,
    /// The share of rows at or below a value.
    Cdf,
}

impl PlotKind {
    /// Every kind, as the command line lists them.
    pub const ALL: [Self; 10] = [
        Self::Breakdown,
        Self::Context,
        Self::Sweep,
        Self::Roofline,
        Self::Validation,
        Self::Bandwidth,
        Self::Pareto,
        Self::Energy,
        Self::Heatmap,
        Self::Cdf,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Breakdown => "breakdown",
            Self::Context => "context",
            Self::Sweep => "sweep",
            Self::Roofline => "roofline",
            Self::Validation => "validation",
            Self::Bandwidth => "bandwidth",
            Self::Pareto => "pareto",
            Self::Energy => "energy",
            Self::Heatmap => "heatmap",
            Self::Cdf => "cdf",
        }
    }
}

impl std::str::FromStr for PlotKind {
    type Err = InputError;

    fn from_str(name: &str) -> Result<Self, InputError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| InputError::unknown_name("KIND", "plot", name, Self::ALL.map(Self::name)))
    }
}

impl Drawing {
    /// The drawing as an SVG document.
    ///
    /// # Errors
    /// The SVG writer fails.
    pub fn svg(&self) -> Result<String, ReportError> {
        render::svg(self)
    }

    /// The drawing as a PNG file, at 400 dots per inch.
    ///
    /// # Errors
    /// The page is too large for memory.
    pub fn png(&self) -> Result<Vec<u8>, ReportError> {
        render::png(self)
    }

    /// The drawing as a PDF file of one page of its size. Texts are outlines, so that it needs no fonts.
    ///
    /// # Errors
    /// The page's content cannot be packed.
    pub fn pdf(&self) -> Result<Vec<u8>, ReportError> {
        pdf::pdf(self)
    }

    /// Writes the drawing to a file, as its name's ending says: `.svg`, `.png` or `.pdf`.
    ///
    /// # Errors
    /// The name ends otherwise, or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ReportError> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let content = match extension.as_str() {
            "svg" => self.svg()?.into_bytes(),
            "png" => self.png()?,
            "pdf" => self.pdf()?,
            _ => {
                let error = InputError::new(path.display().to_string(), "is no name of an SVG, PNG or PDF file");
                return Err(error.help("end it in `.svg`, `.png` or `.pdf`").into());
            }
        };
        write_atomically(path, &content)
    }
}

/// What to call each of several reports: the model, where that tells them apart, else the machine, else the experiment.
fn names(reports: &[RunReport]) -> Vec<String> {
    let by = |name: fn(&RunReport) -> &str| -> Option<Vec<String>> {
        let names: Vec<&str> = reports.iter().map(name).collect();
        let distinct: std::collections::BTreeSet<&&str> = names.iter().collect();
        (distinct.len() == names.len()).then(|| names.iter().map(|&n| n.to_owned()).collect())
    };
    by(|r| &r.workload.model)
        .or_else(|| by(|r| &r.machine.name))
        .unwrap_or_else(|| reports.iter().map(|r| r.name.clone()).collect())
}

/// A key of the report as a label: `bank_internal` is `Bank internal`.
fn label(key: &str) -> String {
    let words = crate::units::words(key);
    let mut chars = words.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => words,
    }
}
