//! What a plot is asked for, and what comes of it.

use crate::plot::{Drawing, Scaling, Style};

/// How to read tables and draw axes; what is left out is guessed from the columns, or an error names what there is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlotOptions {
    /// The column of the abscissa: its name, a key's whole path, or the last part of one.
    pub x: Option<String>,
    /// The column of the ordinate; of stacked bars, those of the parts.
    pub y: Vec<String>,
    /// The column whose values tell series, or points, apart.
    pub by: Option<String>,
    /// The column of the values of a heat map.
    pub value: Option<String>,
    /// A logarithmic abscissa.
    pub log_x: bool,
    /// A logarithmic ordinate; of a heat map, shades by the logarithm.
    pub log_y: bool,
    /// A logarithmic abscissa with ticks at powers of two.
    pub log2_x: bool,
    /// A logarithmic ordinate with ticks at powers of two.
    pub log2_y: bool,
    /// What bars are divided by: a value of `by` (of the abscissa, where there is no `by`), `first`, or `total`.
    pub normalize: Option<String>,
    /// The baseline divided by each bar instead: how much better it is.
    pub speedup: bool,
    /// A last group of bars with the geometric means of the others.
    pub geomean: bool,
    /// Each bar of the parts that several columns are.
    pub stack: bool,
    /// The column of half the length of bars' errors.
    pub errors: Option<String>,
    /// The memory's peak, for a bandwidth-latency curve.
    pub peak_bandwidth_bytes_per_s: Option<f64>,
    /// How the figure looks.
    pub style: Style,
}

impl PlotOptions {
    /// The one column of the ordinate.
    pub(super) fn y(&self) -> Option<&str> {
        self.y.first().map(String::as_str)
    }

    /// The abscissa's scale.
    pub(super) fn x_scaling(&self) -> Scaling {
        scaling(self.log_x, self.log2_x)
    }

    /// The ordinate's scale.
    pub(super) fn y_scaling(&self) -> Scaling {
        scaling(self.log_y, self.log2_y)
    }
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
fn scaling(log: bool, log2: bool) -> Scaling {
    match (log, log2) {
        (_, true) => Scaling::Log2,
        (true, false) => Scaling::Log,
        (false, false) => Scaling::Linear,
    }
}
