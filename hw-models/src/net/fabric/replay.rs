//! A check that a schedule does what it says: its data flow, replayed by contributions.

use super::group::Collective;
use super::schedule::{Mode, Schedule};

/// Contributions that are in a chunk, a bit a rank.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sets {
    words: usize,
    bits: Vec<u64>,
}

impl Sets {
    fn new(sets: usize, ranks: u32) -> Self {
        let words = (ranks as usize).div_ceil(64);
        Self { words, bits: vec![0; sets * words] }
    }

    fn of(&self, set: usize) -> &[u64] {
        &self.bits[set * self.words..(set + 1) * self.words]
    }

    fn of_mut(&mut self, set: usize) -> &mut [u64] {
        &mut self.bits[set * self.words..(set + 1) * self.words]
    }

    fn insert(&mut self, set: usize, rank: u32) {
        self.of_mut(set)[rank as usize / 64] |= 1 << (rank % 64);
    }
}

/// Most sets of contributions that a replay holds: ends times chunks times words.
const MOST_WORDS: u64 = 1 << 26;

/// Replays a schedule: every sum has every contribution once, and all end where they belong.
///
/// # Errors
/// Something is added twice, sent before it is there, or missing or not all of it at the end: the first such, in words.
pub fn replay(schedule: &Schedule) -> Result<(), String> {
    schedule.check()?;
    let (ranks, chunks) = (schedule.ranks, schedule.chunks());
    let ends = ranks + schedule.agents;
    let words = u64::from(ends) * u64::from(chunks) * u64::from(ranks.div_ceil(64));
    if words > MOST_WORDS {
        return Err(format!("of {ranks} ranks and {chunks} chunks is too large to replay"));
    }
    let at = |end: u32, chunk: u32| end as usize * chunks as usize + chunk as usize;
    let mut held = Sets::new(ends as usize * chunks as usize, ranks);
    for chunk in 0..chunks {
        let mut give = |rank: u32| held.insert(at(rank, chunk), rank);
        match schedule.collective {
            Collective::AllReduce | Collective::ReduceScatter | Collective::Reduce => (0..ranks).for_each(&mut give),
            Collective::AllGather => give(schedule.owner(chunk)),
            Collective::AllToAll => give(chunk / ranks),
            Collective::Broadcast | Collective::SendRecv => give(schedule.root),
        }
    }
    // What is sent in a step is what was there before it.
    let mut sent: Vec<u64> = Vec::new();
    for (s, step) in schedule.steps.iter().enumerate() {
        for time in 0..step.repeat {
            sent.clear();
            for t in &step.transfers {
                let first = schedule.first(step, t, time);
                for i in 0..t.count {
                    let chunk = (first + i) % chunks;
                    let set = held.of(at(t.src, chunk));
                    if set.iter().all(|w| *w == 0) {
                        return Err(format!(
                            "step {s}, time {time}: {} sends chunk {chunk}, of which it has nothing",
                            t.src
                        ));
                    }
                    sent.extend_from_slice(set);
                }
            }
            let mut from = sent.chunks_exact(held.words);
            for t in &step.transfers {
                let first = schedule.first(step, t, time);
                for i in 0..t.count {
                    let chunk = (first + i) % chunks;
                    let Some(set) = from.next() else { continue };
                    let here = held.of_mut(at(t.dst, chunk));
                    match t.mode {
                        Mode::Copy => here.copy_from_slice(set),
                        Mode::Reduce => {
                            if here.iter().zip(set).any(|(a, b)| a & b != 0) {
                                return Err(format!(
                                    "step {s}, time {time}: {} adds to {} what is in chunk {chunk} already",
                                    t.src, t.dst
                                ));
                            }
                            here.iter_mut().zip(set).for_each(|(a, b)| *a |= b);
                        }
                    }
                }
            }
        }
    }
    let mut all = Sets::new(1, ranks);
    (0..ranks).for_each(|r| all.insert(0, r));
    let mut lone = Sets::new(1, ranks);
    let mut expect = |rank: u32, chunk: u32, only: Option<u32>| {
        let want = if let Some(one) = only {
            lone.bits.fill(0);
            lone.insert(0, one);
            &lone
        } else {
            &all
        };
        if held.of(at(rank, chunk)) == want.of(0) {
            Ok(())
        } else {
            Err(format!("at the end, rank {rank} has not what it should of chunk {chunk}"))
        }
    };
    for chunk in 0..chunks {
        match schedule.collective {
            Collective::AllReduce => (0..ranks).try_for_each(|r| expect(r, chunk, None))?,
            Collective::ReduceScatter => expect(schedule.owner(chunk), chunk, None)?,
            Collective::Reduce => expect(schedule.root, chunk, None)?,
            Collective::AllGather => (0..ranks).try_for_each(|r| expect(r, chunk, Some(schedule.owner(chunk))))?,
            Collective::AllToAll => expect(chunk % ranks, chunk, Some(chunk / ranks))?,
            Collective::Broadcast => (0..ranks).try_for_each(|r| expect(r, chunk, Some(schedule.root)))?,
            Collective::SendRecv => expect(schedule.peer, chunk, Some(schedule.root))?,
        }
    }
    Ok(())
}
