//! One run report, and the tables, plots and timelines made from it.
//!
//! A run fills a [`RunReport`]. Everything here is a pure function of it: [`terminal`] for a person, [`report_json`] and the
//! CSV functions for a program, [`chrome_trace`] for Perfetto, [`plot`] for a paper, [`report_page`] for a browser; [`write_directory`] writes them all.
//! [`compare`] sets several points side by side, and [`validation`] says how near predictions come to measurements.

mod compare;
mod csv_files;
mod error;
mod files;
mod grid;
mod page;
pub mod plot;
mod records;
mod report;
mod table;
mod timeline;
pub mod units;
pub mod validation;
mod write;

pub use compare::{
    ComparisonRow, PointRow, compare, comparison_csv, comparison_json, comparison_markdown, comparison_table,
};
pub use csv_files::{components_csv, operators_csv, steps_csv};
pub use error::ReportError;
pub use files::{read_report, report_json, write_directory};
pub use page::{ColumnKind, PageCell, PageColumn, PageData, PageFigure, PageTimeline, PageUnit, report_page};
pub use records::{Cell, records_json, records_table};
pub use report::{
    ComponentReport, MachineInfo, OperatorReport, RunReport, SCHEMA, StepReport, TimelineSpan, WorkloadInfo,
};
pub use table::terminal;
pub use timeline::chrome_trace;
pub use validation::{
    Pair, Subject, ValidationResult, kendall_tau, validation_json, validation_markdown, validation_table,
};
pub use write::write_atomically;
