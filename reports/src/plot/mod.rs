//! Plots for a paper: one function per kind, from data to a [`Drawing`], which renders to SVG, PNG and PDF alike.
//!
//! Sized by a [`Style`], at first for one column of a two-column paper (3.5 inches, text of 7 and 8 points), in a palette that is told
//! apart with any colour vision, and without colour by marks, dashes and hatches. A drawing keeps the numbers that it shows
//! ([`Data`]), as the CSV beside it and for scripts that draw it again. No input makes a plot panic: what is not finite, or not positive on a logarithmic axis, is left out.

mod axis;
mod bandwidth;
mod bars;
mod boxes;
mod breakdown;
mod cdf;
mod context;
mod crossover;
mod data;
mod drawing;
mod emit;
mod energy;
mod font;
mod frame;
mod gantt;
mod heatmap;
mod inputs;
mod kind;
mod legend;
mod lines;
mod palette;
mod panels;
mod pareto;
mod pdf;
mod render;
mod roofline;
mod rows;
mod style;
mod sweep;
mod ticks;
mod validation;

use std::path::Path;

use banksia_input::InputError;

pub use axis::{Quantity, Scaling};
pub use bandwidth::bandwidth;
pub use bars::{Bars, Baseline, bars};
pub use boxes::boxes;
pub use breakdown::breakdown;
pub use cdf::cdf;
pub use context::context;
pub use crossover::{Crossover, crossover};
pub use data::{AxisOf, Chart, Data, Rule};
pub use drawing::{Area, Drawing, Extent};
pub use emit::{Emit, data_csv, script, write_figure};
pub use energy::energy;
pub use font::Typeface;
pub use gantt::gantt;
pub use heatmap::{Heatmap, heatmap};
pub use inputs::{Figure, Panel, PlotOptions, Plotted, Table, plot_figure, plot_files, read_figure};
pub use kind::PlotKind;
pub use panels::panels;
pub use pareto::{Better, ParetoPoint, pareto};
pub use roofline::{Roofline, RooflinePoint, roofline};
pub use style::{Annotation, LegendPlace, Place, Style};
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
