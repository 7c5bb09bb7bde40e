//! A whole memory: a stream of requests, dealt among channels, each with its controller.
//!
//! Requests are read or made in blocks, dealt, and simulated channel by channel in parallel; what is held at any time is a
//! block and the controllers' queues, however long the trace. The channels share nothing, so the result is the same for any
//! number of threads.

mod csv;
mod generate;
mod report;
mod run;
mod trace;

pub use csv::{CsvSink, Lines};
pub use generate::{Generator, Traffic};
pub use report::{MemoryReport, Percentiles, RowHammerReport};
pub use run::{MemoryError, MemoryOptions, run, run_logged};
pub use trace::{TraceFormat, TraceReader};

use banksia_input::InputError;

use super::controller::Request;

/// Something that gives requests in the order of the trace.
pub trait RequestSource: Send {
    /// Appends up to `most` requests to `into`, with arrivals in cycles of the command clock. Whether there may be more.
    ///
    /// # Errors
    /// The source cannot be read, or a line of it makes no sense.
    fn fill(&mut self, into: &mut Vec<Request>, most: usize) -> Result<bool, InputError>;

    /// Whether requests came with times of their own so far: their latency from arrival means something then.
    fn timed(&self) -> bool {
        false
    }

    /// Requests so far whose address lay beyond the memory and was wrapped into it.
    fn wrapped(&self) -> u64 {
        0
    }
}
