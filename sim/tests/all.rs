//! Tests of the event core: one program, since each one more costs a link.

mod engine;
mod queue;
