//! What a plot is asked for, and what comes of it.

use crate::plot::{Drawing, Scaling};

/// How to read tables and draw axes; what is left out is guessed from the columns, or an error names what there is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlotOptions {
    /// The column of the abscissa: its name, a key's whole path, or the last part of one.
    pub x: Option<String>,
    /// The column of the ordinate.
    pub y: Option<String>,
    /// The column whose values tell series, or points, apart.
    pub by: Option<String>,
    /// The column of the values of a heat map.
    pub value: Option<String>,
    /// A logarithmic abscissa.
    pub log_x: bool,
    /// A logarithmic ordinate; of a heat map, shades by the logarithm.
    pub log_y: bool,
    /// The memory's peak, for a bandwidth-latency curve.
    pub peak_bandwidth_bytes_per_s: Option<f64>,
}

/// A drawing, and what of its inputs is not in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plotted {
    /// The drawing.
    pub drawing: Drawing,
    /// What was left out, and how much of it, a sentence each.
    pub warnings: Vec<String>,
}

impl From<Drawing> for Plotted {
    fn from(drawing: Drawing) -> Self {
        Self { drawing, warnings: Vec::new() }
    }
}

/// An axis's scale, as the command line asks for it.
pub(super) fn scaling(log: bool) -> Scaling {
    if log { Scaling::Log } else { Scaling::Linear }
}
