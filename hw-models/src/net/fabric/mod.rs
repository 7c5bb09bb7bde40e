//! Links and fabrics between devices and nodes, and collectives over them.
//!
//! A [`topology`] is a graph of devices, switches and links, from a [`mod@file`]; [`routing`] finds paths. A collective is a [`schedule`]: transfers in
//! steps, made by [`schedules`] or read from a file, and [`replay`] checks that it does what it says. [`run`] runs it over the fabric, carried by
//! fluid flows that share links max-min fairly ([`flow`]) or by packets with queues ([`packet`]).
//!
//! [`cluster`] is what a training step asks: seconds and bytes of a collective of a group of ranks on a named machine, by NCCL's algorithms and
//! protocols. `docs/fabric.md` has the mechanisms, the sources of all numbers and the errors.

pub mod alone;
pub mod alpha_beta;
pub mod bound;
pub mod call;
pub mod carrier;
pub mod cluster;
pub mod collective_file;
pub mod collective_run;
mod course;
pub mod experts;
pub mod file;
pub mod flow;
pub mod folded;
pub mod group;
mod kernels;
pub mod machine;
pub mod nccl;
pub mod packet;
mod plan;
pub mod processed;
pub mod replay;
pub mod routing;
pub mod run;
pub mod schedule;
pub mod schedule_file;
pub mod schedules;
pub mod symmetric;
pub mod topology;
