//! Tests of reports and figures: one program, since each one more costs a link.

mod comparison;
mod figures;
mod laws;
mod page;
mod plot_inputs;
mod rendering;
mod sample;
mod timeline;
