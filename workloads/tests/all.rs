//! Tests of models and graphs: one program, since each one more costs a link.

mod bad_input;
mod graphs;
mod hf_families;
mod hf_files;
mod hf_mixtures;
mod import;
mod model;
mod models;
mod training;
mod zoo;
