//! Cuts the requests of other tools into transactions of the memory, and their times into its cycles.

use std::collections::VecDeque;

use super::access::Access;

/// Femtoseconds in a second.
const SECOND_FS: u128 = 1_000_000_000_000_000;

/// The most transactions of one request.
const MOST: u64 = 1 << 32;

/// Transactions of one request, one after the other.
#[derive(Debug, Clone, Copy)]
struct Run {
    write: bool,
    next: u64,
    count: u64,
    arrival: u64,
}

/// What is left to give of the requests that were taken, in transactions of a memory.
#[derive(Debug)]
pub(super) struct Cutter {
    access_bytes: u64,
    /// Transactions of the memory; `u64::MAX` for one without a bound.
    pub(super) transactions: u64,
    /// The command clock, where it is known, in femtoseconds.
    pub(super) clock_fs: Option<u64>,
    /// A time times the first, over the second, is in cycles.
    rate: (u128, u128),
    left: VecDeque<Run>,
    /// Transactions so far that lay beyond the memory.
    pub(super) wrapped: u64,
}

impl Cutter {
    pub(super) fn new(access_bytes: u64) -> Self {
        let (transactions, clock_fs) = (u64::MAX, None);
        Self {
            access_bytes: access_bytes.max(1),
            transactions,
            clock_fs,
            rate: (1, 1),
            left: VecDeque::new(),
            wrapped: 0,
        }
    }

    /// Times are in a clock of so many femtoseconds.
    pub(super) fn set_clock(&mut self, fs: u64) {
        self.rate = self.clock_fs.map_or((1, 1), |clock| (u128::from(fs), u128::from(clock)));
    }

    /// Times are in ticks of which a second has so many.
    pub(super) fn set_ticks(&mut self, per_second: u64) {
        self.rate = self.clock_fs.map_or((1, 1), |clock| (SECOND_FS, u128::from(clock) * u128::from(per_second)));
    }

    /// The first cycle of the command clock that does not begin before a time.
    pub(super) fn arrival(&self, time: u64) -> u64 {
        let (fs, clock) = self.rate;
        // 64 bits times 10^15, or times 64 bits.
        u64::try_from((u128::from(time) * fs).div_ceil(clock)).unwrap_or(u64::MAX)
    }

    /// Takes in a request: every transaction that a byte of it lies in. Without a length it is one.
    ///
    /// # Errors
    /// It asks for nothing, or for more than there is.
    pub(super) fn take(&mut self, access: &Access, arrival: u64) -> Result<(), String> {
        let bytes = access.bytes.unwrap_or(1);
        let more = bytes.checked_sub(1).ok_or("asks for no bytes: a size of 0")?;
        let end = access.address.checked_add(more);
        let end =
            end.ok_or_else(|| format!("asks for {bytes} bytes at {:#x}: they end past 64 bits", access.address))?;
        let next = access.address / self.access_bytes;
        let further = end / self.access_bytes - next;
        if further >= self.transactions.min(MOST) {
            let whole = u128::from(self.transactions.min(MOST)) * u128::from(self.access_bytes);
            return Err(format!("asks for {bytes} bytes at a time: at most {whole} can be had"));
        }
        self.left.push_back(Run { write: access.write, next, count: further + 1, arrival });
        Ok(())
    }

    /// The next transaction: whether it writes, its index and its arrival.
    pub(super) fn give(&mut self) -> Option<(bool, u64, u64)> {
        let run = self.left.front_mut()?;
        let index = if self.transactions < u64::MAX { run.next % self.transactions.max(1) } else { run.next };
        self.wrapped += u64::from(run.next != index);
        let given = (run.write, index, run.arrival);
        run.next = run.next.wrapping_add(1);
        run.count -= 1;
        if run.count == 0 {
            self.left.pop_front();
        }
        Some(given)
    }
}
