//! Time, events, ports, statistics and observers. Knows no hardware.
//!
//! ```text
//!                         Engine  ── queue of (time, component) ──┐
//!                           │ act(id, now)      ask: next_action? │
//!            ┌──────────────┴───────── Model ─────────────────────┴─┐
//!            │  component 0        shared: ports        component 1 │
//!            │  ┌──────────┐  try_send ┌─┬─┬─┐  recv   ┌──────────┐ │
//!            │  │  source  ├──────────▶│ │ │ ├────────▶│   sink   │ │
//!            │  └────▲─────┘           └─┴─┴─┘         └────▲─────┘ │
//!            │       └── touched: room       touched: value ┘       │
//!            │  statistics: plain fields       observer: a type     │
//!            └──────────────────────────────────────────────────────┘
//! ```
//!
//! [`Time`] is whole femtoseconds; a [`Clock`] turns [`Cycles`] into it without drift. Each [`Component`] says when it
//! can next act; the [`Engine`] jumps there, and asks again those whom an act has touched. Components meet in bounded
//! [`Port`]s. Statistics ([`stats`]) are fields of whoever keeps them, an [`Observer`] is a type parameter, and
//! randomness comes from named streams ([`rng`]).
//!
//! # Two components and a port
//!
//! A source sends one value on each cycle of its clock; a sink takes 3 ns over each, so the port fills and the source
//! is held back.
//!
//! ```
//! use banksia_sim::{Clock, Component, ComponentId, Cycles, Engine, Machine, Port, Time, Wait, Wakes};
//!
//! enum Unit {
//!     Source { id: ComponentId, clock: Clock, next: Time, left: u32 },
//!     Sink { source: ComponentId, free_at: Time, expected: u32 },
//! }
//!
//! impl Component<Port<u32>> for Unit {
//!     fn next_action(&self, port: &Port<u32>) -> Option<Time> {
//!         match self {
//!             Unit::Source { id, next, left, .. } => (*left > 0 && !port.is_waiting(*id)).then_some(*next),
//!             Unit::Sink { free_at, .. } => port.ready_at().map(|arrived| arrived.max(*free_at)),
//!         }
//!     }
//!
//!     fn act(&mut self, now: Time, port: &mut Port<u32>, wakes: &mut Wakes) {
//!         match self {
//!             Unit::Source { id, clock, next, left } => {
//!                 if port.try_send(now, *id, *left, wakes).is_ok() {
//!                     *left -= 1;
//!                     *next = clock.next_edge_after(now);
//!                 }
//!             }
//!             Unit::Sink { free_at, expected, .. } => {
//!                 if port.recv(now, wakes).is_some() {
//!                     *expected -= 1;
//!                     *free_at = now.saturating_add(Time::from_fs(3_000_000));
//!                 }
//!             }
//!         }
//!     }
//!
//!     fn waits(&self, port: &Port<u32>) -> Vec<Wait> {
//!         match self {
//!             Unit::Source { left, .. } if *left > 0 => vec![port.wait_for_room()],
//!             Unit::Sink { source, expected, .. } if *expected > 0 => vec![port.wait_for_value(*source)],
//!             _ => vec![],
//!         }
//!     }
//! }
//!
//! let (source, sink) = (ComponentId(0), ComponentId(1));
//! let mut machine = Machine::new(Port::new("work", sink, 2));
//! let clock = Clock::from_mhz(1000.0)?;
//! machine.add("source", Unit::Source { id: source, clock, next: Time::ZERO, left: 10 });
//! machine.add("sink", Unit::Sink { source, free_at: Time::ZERO, expected: 10 });
//!
//! let mut engine = Engine::new();
//! engine.run(&mut machine)?;
//! assert_eq!(engine.now().to_string(), "27 ns"); // ten values, the first at once, 3 ns apart
//! assert_eq!(machine.shared.received, 10);
//! assert_eq!(machine.shared.occupancy.max, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A deadlock
//!
//! Two components that each wait for the other to send first:
//!
//! ```
//! use banksia_sim::{Component, ComponentId, Engine, Machine, Port, Time, Wait, Wakes};
//!
//! struct Polite { me: usize, other: ComponentId }
//!
//! impl Component<[Port<()>; 2]> for Polite {
//!     fn next_action(&self, inbox: &[Port<()>; 2]) -> Option<Time> {
//!         inbox[self.me].ready_at()
//!     }
//!     fn act(&mut self, now: Time, inbox: &mut [Port<()>; 2], wakes: &mut Wakes) {
//!         inbox[self.me].recv(now, wakes);
//!     }
//!     fn waits(&self, inbox: &[Port<()>; 2]) -> Vec<Wait> {
//!         vec![inbox[self.me].wait_for_value(self.other)]
//!     }
//! }
//!
//! let (a, b) = (ComponentId(0), ComponentId(1));
//! let mut machine = Machine::new([Port::new("to alice", a, 1), Port::new("to bob", b, 1)]);
//! machine.add("alice", Polite { me: 0, other: b });
//! machine.add("bob", Polite { me: 1, other: a });
//! let error = Engine::new().run(&mut machine).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "deadlock at 0 fs: these wait for each other:\n  \
//!        alice waits for bob: a value in `to alice`\n  \
//!        bob waits for alice: a value in `to bob`"
//! );
//! ```

pub mod clock;
pub mod component;
pub mod engine;
pub mod observe;
pub mod port;
pub mod queue;
pub mod rng;
pub mod stats;
pub mod time;

pub use clock::Clock;
pub use component::{Component, ComponentId, Machine, Model, Wait, Wakes};
pub use engine::{Blocked, Deadlock, Engine, Outcome, RunError};
pub use observe::{NullObserver, Observer, Recorder};
pub use port::{Full, Port};
pub use queue::EventQueue;
pub use time::{Cycles, Elapsed, Time, TimeError};
