//! A network on a chip, flit by flit and cycle by cycle.
//!
//! Packets of a trace or of synthetic traffic go through input-queued routers with virtual channels and credits (Dally and Towles,
//! "Principles and Practices of Interconnection Networks", 2004). The pipeline, the order of its stages, the turns of its arbiters, the
//! routing functions and the traffic are those of BookSim2, to which packets' times are equal in every cycle on the reference cases, and
//! latencies of synthetic traffic to the last digit for the same seed.
//!
//! [`simulate`] runs a trace, [`measure`] synthetic traffic at one rate, [`check_deadlock`] looks for rings of channels before anything
//! runs, and [`run`] does what a network file says.

mod allocator;
mod anynet;
mod arbiter;
mod bits;
mod booksim;
mod config;
mod credits;
mod deadlock;
mod energy;
mod engine;
mod fabric;
mod file;
mod flit;
mod masked;
mod measure;
mod queued;
mod random;
mod replay;
mod report;
mod route;
mod router;
mod routing;
mod shape;
mod sim;
mod source;
mod tables;
mod topology;
mod trace;
mod traffic;
mod watch;
mod wheel;
mod workload;

pub use booksim::Keys;
pub use config::{AllocatorKind, ArbiterKind, NocConfig, NocError, Priority, RouterConfig};
pub use deadlock::{DeadlockCheck, Held, check_deadlock};
pub use energy::{Energy, EnergyUse};
pub use file::NetRun;
pub use measure::{Measurement, Protocol, Status, measure, measure_every_cycle};
pub use replay::{Outcome, simulate, simulate_every_cycle};
pub use report::{LinkLoad, NetReport, Point, Saturation, TraceSummary, run};
pub use route::Route;
pub use shape::{RoutingFunction, Shape};
pub use tables::{NetFile, OnDeadlock, schema};
pub use topology::{End, Ports, Topology};
pub use trace::{Packet, PacketTimes, parse as parse_trace};
pub use traffic::{Digits, Pattern, Process, ReadWrite, Sampling, Traffic};
