//! Tests of mappers and kernels: one program, since each one more costs a link.

mod gpu_attention;
mod gpu_cutlass;
mod gpu_estimate;
mod gpu_frameworks;
mod gpu_fused;
mod gpu_issue;
mod gpu_latent;
mod gpu_laws;
mod gpu_linear;
mod gpu_lines;
mod gpu_low_bit;
mod gpu_microbenchmarks;
mod gpu_models;
mod gpu_moe;
mod gpu_multistage;
mod gpu_new_gpus;
mod gpu_phases;
mod gpu_power;
mod gpu_routing;
mod gpu_shared;
mod gpu_ssm;
mod gpu_unaligned;
mod parallel;
mod training_memory;
