//! Tests of the command line: one program, since each one more costs a link.

mod memory;
mod memory_files;
mod traces;
mod validate;
