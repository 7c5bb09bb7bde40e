//! The kinds of plot that `banksia plot` makes.

use banksia_input::InputError;

/// A kind of plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlotKind {
    /// Latency and energy by operator.
    Breakdown,
    /// Groups of bars over names, as they are, stacked or against a baseline.
    Bars,
    /// How values are spread, by category.
    Box,
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
    /// Which way is best over two columns of a table, and by how much.
    Crossover,
    /// The share of rows at or below a value.
    Cdf,
    /// What ran where and when.
    Gantt,
    /// Several plots on one page, as a figure's file says.
    Panels,
}

impl PlotKind {
    /// Every kind, as the command line lists them.
    pub const ALL: [Self; 15] = [
        Self::Breakdown,
        Self::Bars,
        Self::Box,
        Self::Context,
        Self::Sweep,
        Self::Roofline,
        Self::Validation,
        Self::Bandwidth,
        Self::Pareto,
        Self::Energy,
        Self::Heatmap,
        Self::Crossover,
        Self::Cdf,
        Self::Gantt,
        Self::Panels,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Breakdown => "breakdown",
            Self::Bars => "bars",
            Self::Box => "box",
            Self::Context => "context",
            Self::Sweep => "sweep",
            Self::Roofline => "roofline",
            Self::Validation => "validation",
            Self::Bandwidth => "bandwidth",
            Self::Pareto => "pareto",
            Self::Energy => "energy",
            Self::Heatmap => "heatmap",
            Self::Crossover => "crossover",
            Self::Cdf => "cdf",
            Self::Gantt => "gantt",
            Self::Panels => "panels",
        }
    }
}

impl std::str::FromStr for PlotKind {
    type Err = InputError;

    fn from_str(name: &str) -> Result<Self, InputError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| InputError::unknown_name("plot", "kind of plot", name, Self::ALL.map(Self::name)))
    }
}
