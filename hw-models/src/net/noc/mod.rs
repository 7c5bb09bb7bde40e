//! A network on a chip, flit by flit and cycle by cycle.
//!
//! Packets of a trace go through input-queued routers with virtual channels and credits (Dally and Towles, "Principles and Practices of
//! Interconnection Networks", 2004). The pipeline, the order of its stages and the turns of its arbiters are those of BookSim2's
//! input-queued router, to which packets' times are equal in every cycle on the reference cases.

mod allocator;
mod anynet;
mod arbiter;
mod bits;
mod config;
mod credits;
mod flit;
mod router;
mod routing;
mod sim;
mod source;
mod topology;
mod trace;

pub use config::{AllocatorKind, ArbiterKind, NocConfig, NocError, Priority, RouterConfig, Shape};
pub use routing::Route;
pub use sim::{Outcome, simulate, simulate_every_cycle};
pub use topology::{End, Ports, Topology};
pub use trace::{Packet, PacketTimes, parse as parse_trace};
