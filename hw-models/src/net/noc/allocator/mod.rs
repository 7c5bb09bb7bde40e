//! Allocators match requests with resources: virtual channels of packets with those of outputs, and inputs with outputs of the crossbar.

mod dense;
mod islip;
mod requests;
mod separable;

use super::config::AllocatorKind;
use dense::{LonelyOutput, MaximumSize, Wavefront};
use islip::Islip;
use separable::Separable;

pub(super) use requests::{Request, Requests};

/// An allocator with the turns it remembers.
#[derive(Debug, Clone)]
pub(super) struct Allocator {
    pub(super) requests: Requests,
    method: Method,
}

#[derive(Debug, Clone)]
enum Method {
    Islip(Islip),
    Separable(Separable),
    Wavefront(Wavefront),
    LonelyOutput(LonelyOutput),
    MaximumSize(MaximumSize),
}

impl Allocator {
    pub(super) fn new(kind: AllocatorKind, inputs: usize, outputs: usize) -> Allocator {
        let method = match kind {
            AllocatorKind::Islip { iterations } => Method::Islip(Islip::new(inputs, outputs, iterations, false)),
            AllocatorKind::Select { iterations } => Method::Islip(Islip::new(inputs, outputs, iterations, true)),
            AllocatorKind::SeparableInputFirst(arbiter) => {
                Method::Separable(Separable::new(inputs, outputs, arbiter, true))
            }
            AllocatorKind::SeparableOutputFirst(arbiter) => {
                Method::Separable(Separable::new(inputs, outputs, arbiter, false))
            }
            AllocatorKind::Wavefront => Method::Wavefront(Wavefront::default()),
            AllocatorKind::LonelyOutput => Method::LonelyOutput(LonelyOutput::new(inputs, outputs)),
            AllocatorKind::MaximumSize => Method::MaximumSize(MaximumSize::new(outputs)),
        };
        Allocator { requests: Requests::new(inputs, outputs), method }
    }

    /// Whether an allocation depends on who asks for what alone, and sides are bits of a word.
    pub(super) fn is_plain(&self) -> bool {
        let fits = self.requests.inputs <= 64 && self.requests.outputs <= 64;
        fits && matches!(&self.method, Method::Islip(islip) if islip.is_plain())
    }

    /// An input asks for outputs, which are the bits of a word, where [`Allocator::is_plain`] says that nothing else counts.
    pub(super) fn ask_plain(&mut self, input: usize, outputs: u64) {
        self.requests.add_plain(input, outputs);
    }

    /// Forgets the requests and the matching.
    pub(super) fn clear(&mut self) {
        self.requests.clear();
    }

    /// Matches the requests.
    pub(super) fn allocate(&mut self) {
        match &mut self.method {
            Method::Islip(m) => m.allocate(&mut self.requests),
            Method::Separable(m) => m.allocate(&mut self.requests),
            Method::Wavefront(m) => m.allocate(&mut self.requests),
            Method::LonelyOutput(m) => m.allocate(&mut self.requests),
            Method::MaximumSize(m) => m.allocate(&mut self.requests),
        }
    }
}
