//! One run report, and the tables, plots and timelines made from it.

mod report;

pub use report::{
    ComponentReport, MachineInfo, OperatorReport, RunReport, SCHEMA, StepReport, TimelineSpan, WorkloadInfo,
};
