//! Tests of the suites of validation: one program, since each one more costs a link.

mod validate_attacc_pimba;
mod validate_gpu;
mod validate_input;
mod validate_models;
mod validate_net;
mod validate_noc;
mod validate_parallel;
mod validate_pim;
mod validate_pim_systems;
mod validate_plans;
mod validate_rows;
mod validate_serving;
mod validate_training;
