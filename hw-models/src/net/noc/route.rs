//! Where a packet goes next.

/// An output port and the virtual channels of it that a packet may take, and for adaptive routing others with a higher priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Route {
    /// The output port.
    pub port: u8,
    /// The first of its virtual channels.
    pub first: u8,
    /// The last of them.
    pub last: u8,
    /// The first of the virtual channels of the other ports.
    pub more_first: u8,
    /// The last of them.
    pub more_last: u8,
    /// The other ports, a bit each.
    pub more: u16,
}

impl Route {
    pub(super) fn new(port: usize, (first, last): (usize, usize)) -> Route {
        Route { port: port as u8, first: first as u8, last: last as u8, ..Route::default() }
    }

    /// The ports, the one of the main way last, each with its virtual channels as bits and the priority that the routing function gives.
    pub(super) fn ways(self) -> impl Iterator<Item = (usize, u64, i32)> {
        let more = (0..16).filter(move |p| self.more >> p & 1 == 1);
        let others = move |port| (port, mask(self.more_first, self.more_last), 1);
        more.map(others).chain(std::iter::once((usize::from(self.port), self.vcs(), 0)))
    }

    /// The virtual channels of the main way as bits.
    pub(super) fn vcs(self) -> u64 {
        mask(self.first, self.last)
    }
}

fn mask(first: u8, last: u8) -> u64 {
    (u64::MAX >> (63 - (last - first))) << first
}
