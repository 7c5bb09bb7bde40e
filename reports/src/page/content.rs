//! What a page shows.

use super::cells::{PageCell, PageColumn};
use crate::{RunReport, TimelineSpan};

/// What a page shows. What is empty has no section.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PageData {
    /// The heading.
    pub title: String,
    /// What made the results, as names and values: build, host, sweep file, date.
    pub provenance: Vec<(String, String)>,
    /// The experiment or sweep as TOML.
    pub configuration: String,
    /// The table's columns.
    pub columns: Vec<PageColumn>,
    /// The table's rows: a cell for each column.
    pub rows: Vec<Vec<PageCell>>,
    /// Plots.
    pub figures: Vec<PageFigure>,
    /// Timelines of runs.
    pub timelines: Vec<PageTimeline>,
    /// Runs by name, for their operator tables. Their own timelines and configurations are not shown. A run named as a row's
    /// first text is reached from that row.
    pub reports: Vec<(String, RunReport)>,
}

/// A plot on the page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageFigure {
    /// Its caption.
    pub name: String,
    /// The SVG document; scripts and references out of it are dropped when it is shown.
    pub svg: String,
}

/// A timeline on the page.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PageTimeline {
    /// Its name: the run's.
    pub name: String,
    /// What ran; groups and lanes are shown in the order of first appearance. Spans whose times are not finite are left out.
    pub spans: Vec<TimelineSpan>,
}
