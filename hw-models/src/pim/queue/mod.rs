//! PIM channels behind a controller with a queue: requests to units come in order with barriers between them, and the controller opens rows
//! ahead of the barriers, issues a row command and a column command in one cycle, and refreshes in between.
//!
//! As AttAcc's public controller has it (scale-snu/attacc_simulator, commit c600051): what a request needs next (to close a row, to open one, or itself)
//! is looked up for every request of the queue; of those before the first barrier the first that is ready goes, and of those behind it only what
//! opens and closes rows; nothing goes to a bank for which a request with an open row waits, unless it is first.

mod channel;
mod entry;
mod feed;
mod lane;
mod ordered;

pub use channel::{QueueChannel, QueueRules};
pub use entry::{BARRIER, Entry};
pub use feed::{Feed, run_apart, run_together};
pub use lane::{Lane, QueueOutcome, run_in_order};
pub use ordered::{Groups, OrderedChannel, OrderedEntry};
