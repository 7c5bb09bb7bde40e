//! Per-row activation counting: the device counts the activations of each row, and asks the controller for time.

use super::super::super::Cycle;
use super::super::super::device::RowCounting;
use super::super::timing::NEVER;

/// Rows with the most activations that a bank keeps at hand to refresh the neighbours of: five are as safe as all
/// (QPRAC, Woo et al., HPCA 2025).
const KEPT: usize = 5;

/// Refreshes in which every row of a bank is refreshed once.
const REFRESHES: u64 = 8192;

/// What a rank's alert is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alert {
    /// None.
    Quiet,
    /// Raised: the controller may go on until then.
    Raised(Cycle),
    /// So many RFMs are still to come.
    Managing(u32),
    /// No other before so many activations.
    Delayed(u32),
}

/// A bank's counters.
#[derive(Debug, Clone, Default)]
struct Rows {
    /// Activations of each row since its neighbours were last refreshed; none before the bank is first opened.
    counts: Vec<u16>,
    /// The rows that lead, with their counts; a count of 0 is none.
    leading: [(u32, u16); KEPT],
    /// Refreshes so far, in the smallest kind's share.
    refreshes: u64,
}

/// The counters of a channel.
#[derive(Debug, Clone)]
pub(super) struct Prac {
    limits: RowCounting,
    rows: u32,
    /// How many of the refreshes in use make up a bank's retention period.
    round: u64,
    rank_banks: usize,
    banks: Vec<Rows>,
    alerts: Vec<Alert>,
    /// When the first raised alert's time is over.
    pub(super) due: Cycle,
    /// Alerts raised.
    pub(super) raised: u64,
    /// The most activations of a row between two refreshes of its neighbours.
    pub(super) most: u32,
}

impl Prac {
    pub(super) fn new(limits: RowCounting, rows: u32, banks: usize, rank_banks: usize, halves: bool) -> Self {
        Self {
            limits,
            rows,
            round: REFRESHES << u32::from(halves),
            rank_banks,
            banks: vec![Rows::default(); banks],
            alerts: vec![Alert::Quiet; banks / rank_banks],
            due: NEVER,
            raised: 0,
            most: 0,
        }
    }

    /// A row of a bank is opened.
    #[inline]
    pub(super) fn activated(&mut self, bank: usize, row: u32, clock: Cycle) {
        let rows = &mut self.banks[bank];
        if rows.counts.is_empty() {
            rows.counts = vec![0; self.rows as usize];
        }
        let Some(count) = rows.counts.get_mut(row as usize) else { return };
        *count = count.saturating_add(1);
        let count = *count;
        rows.lead(row, count);
        self.most = self.most.max(u32::from(count));
        let rank = bank / self.rank_banks;
        match &mut self.alerts[rank] {
            Alert::Quiet if u32::from(count) >= self.limits.threshold => self.raise(rank, clock),
            Alert::Delayed(left) => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.calm(rank, clock);
                }
            }
            _ => {}
        }
    }

    fn raise(&mut self, rank: usize, clock: Cycle) {
        self.raised += 1;
        self.alerts[rank] = Alert::Raised(clock + self.limits.alert);
        self.due = self.due.min(clock + self.limits.alert);
    }

    /// Alerts may be raised again, and one is if some row still asks for it.
    fn calm(&mut self, rank: usize, clock: Cycle) {
        self.alerts[rank] = Alert::Quiet;
        let banks = &self.banks[rank * self.rank_banks..(rank + 1) * self.rank_banks];
        if banks.iter().any(|b| b.leading.iter().any(|(_, n)| u32::from(*n) >= self.limits.threshold)) {
            self.raise(rank, clock);
        }
    }

    /// The next rank whose alert's time is over: it must have its RFMs, so many.
    pub(super) fn take_due(&mut self, clock: Cycle) -> Option<(usize, u32)> {
        let over = |alert: &Alert| matches!(alert, Alert::Raised(due) if *due <= clock);
        let rank = self.alerts.iter().position(over)?;
        self.alerts[rank] = Alert::Managing(self.limits.rfms);
        let due = |alert: &Alert| if let Alert::Raised(due) = alert { *due } else { NEVER };
        self.due = self.alerts.iter().map(due).min().unwrap_or(NEVER);
        Some((rank, self.limits.rfms))
    }

    /// Whether a rank may have no activation: its alert's time is over, and its RFMs are still to come.
    #[inline]
    pub(super) fn blocks(&self, bank: usize) -> bool {
        matches!(self.alerts[bank / self.rank_banks], Alert::Managing(_))
    }

    /// An RFM of a rank's banks: the neighbours of each bank's leading row are refreshed.
    pub(super) fn managed(&mut self, rank: usize, clock: Cycle) {
        for rows in &mut self.banks[rank * self.rank_banks..(rank + 1) * self.rank_banks] {
            rows.refresh_leading();
        }
        if let Alert::Managing(left) = &mut self.alerts[rank] {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.alerts[rank] = Alert::Delayed(self.limits.delay);
                if self.limits.delay == 0 {
                    self.calm(rank, clock);
                }
            }
        }
    }

    /// So many refreshes of a bank, each of which goes on to its next rows.
    pub(super) fn refreshed(&mut self, bank: usize, times: u64) {
        let (rows, all) = (&mut self.banks[bank], u64::from(self.rows));
        let first = rows.refreshes;
        rows.refreshes = first.wrapping_add(times);
        if rows.counts.is_empty() {
            return;
        }
        if times >= self.round {
            rows.counts.fill(0);
            rows.leading = [(0, 0); KEPT];
            return;
        }
        // The rows of a stretch of refreshes, which may begin anew at row 0.
        let at = first % self.round;
        let (from, to) = (at * all / self.round, (at + times) * all / self.round);
        rows.refresh(from, to.min(all));
        rows.refresh(0, to.saturating_sub(all));
    }

    /// What an idle controller must know of its alerts, relative to a clock: none stands still.
    pub(super) fn remaining(&self, clock: Cycle) -> Cycle {
        if self.due == NEVER { 0 } else { self.due.saturating_sub(clock) + 1 }
    }
}

impl Rows {
    /// A row's count has risen: it may be among those that lead.
    #[inline]
    fn lead(&mut self, row: u32, count: u16) {
        let mut least = 0;
        for i in 0..KEPT {
            if self.leading[i].0 == row && self.leading[i].1 > 0 {
                self.leading[i].1 = count;
                return;
            }
            if self.leading[i].1 < self.leading[least].1 {
                least = i;
            }
        }
        if count > self.leading[least].1 {
            self.leading[least] = (row, count);
        }
    }

    /// Refreshes the neighbours of the row that leads.
    fn refresh_leading(&mut self) {
        let first = (0..KEPT).max_by_key(|i| (self.leading[*i].1, KEPT - i)).unwrap_or(0);
        let (row, count) = std::mem::take(&mut self.leading[first]);
        if count > 0 {
            self.counts[row as usize] = 0;
        }
    }

    /// Refreshes some rows, from the first up to the last.
    fn refresh(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        self.counts[from as usize..to as usize].fill(0);
        for leader in self.leading.iter_mut().filter(|(row, _)| (from..to).contains(&u64::from(*row))) {
            *leader = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prac(threshold: u32, rfms: u32) -> Prac {
        Prac::new(RowCounting { threshold, rfms, alert: 10, delay: rfms }, 64, 4, 2, false)
    }

    #[test]
    fn an_alert_asks_for_its_rfms_and_takes_the_leading_rows() {
        let mut p = prac(3, 2);
        for clock in 1..=3 {
            p.activated(0, 7, clock);
            p.activated(1, 9, clock);
        }
        assert_eq!((p.raised, p.due, p.most), (1, 13, 3));
        assert_eq!(p.take_due(12), None);
        assert_eq!(p.take_due(13), Some((0, 2)));
        assert!(p.blocks(1) && !p.blocks(2), "the other rank goes on");
        p.managed(0, 20);
        assert_eq!((p.banks[0].counts[7], p.banks[1].counts[9]), (0, 0));
        p.managed(0, 30);
        assert!(!p.blocks(0));
        // Two activations of grace, though one row is beyond the threshold.
        for clock in 31..=33 {
            p.activated(0, 8, clock);
        }
        assert_eq!((p.raised, p.due), (2, 43));
    }

    #[test]
    fn refreshes_go_through_the_rows() {
        let mut p = prac(100, 1);
        (0..64).for_each(|row| p.activated(0, row, 1));
        // 8192 refreshes for 64 rows: 128 for one.
        p.refreshed(0, 127);
        assert_eq!(p.banks[0].counts[0], 1);
        p.refreshed(0, 1);
        assert_eq!((p.banks[0].counts[0], p.banks[0].counts[1]), (0, 1));
        p.refreshed(0, 62 * 128);
        assert_eq!((p.banks[0].counts[62], p.banks[0].counts[63]), (0, 1));
        p.activated(0, 0, 2);
        p.refreshed(0, 256);
        assert_eq!((p.banks[0].counts[63], p.banks[0].counts[0]), (0, 0));
        // Many at once leave what as many one by one leave.
        let (mut one, mut many) = (p.clone(), p);
        (0..64).for_each(|row| {
            one.activated(0, row, 3);
            many.activated(0, row, 3);
        });
        (0..3000).for_each(|_| one.refreshed(0, 1));
        many.refreshed(0, 3000);
        assert_eq!((&one.banks[0].counts, one.banks[0].leading), (&many.banks[0].counts, many.banks[0].leading));
    }
}
