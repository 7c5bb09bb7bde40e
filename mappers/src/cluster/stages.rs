//! When a stage of a pipeline works on which part of the batch.

/// A stage's work on a part of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    /// The stage.
    pub(super) stage: u32,
    /// The part.
    pub(super) micro: u32,
    /// Of the token before: it entered the pipeline in the round before this one.
    pub(super) earlier: bool,
}

/// Where in a generation a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// A prompt, or a part of one: the pipeline fills and drains.
    Prompt,
    /// A token: the pipeline is full from the round before unless it is the first, and drains after the last.
    Token {
        /// The pipeline is empty.
        first: bool,
        /// It is emptied.
        last: bool,
    },
}

/// The items of a round, each after all that it can depend on. A token of a part enters the first stage when the one before it has left the last: so
/// a round has as many turns as parts, and no fewer than stages. What has entered and not left at a round's end is
/// the next one's (a part that is behind is not waited for: the border is a cut through all stages at the same turn).
pub(super) fn items(round: Round, micros: u32, stages: u32) -> Vec<Item> {
    let (m, p) = (i64::from(micros), i64::from(stages));
    let turns = m.max(p);
    let (until, first) = match round {
        Round::Prompt => (m + p - 1, true),
        Round::Token { first, last } => (if last { turns + p - 1 } else { turns }, first),
    };
    let mut out = Vec::new();
    for turn in 0..until {
        for stage in 0..p {
            let own = turn - stage;
            let before = own + turns;
            let (micro, earlier) = match (0..m).contains(&own) {
                true => (own, false),
                false if !first && turn < turns && (0..m).contains(&before) => (before, true),
                false => continue,
            };
            out.push(Item { stage: stage as u32, micro: micro as u32, earlier });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Round, items};
    use std::collections::BTreeMap;

    /// Over a generation every part passes every stage once a token, in order, and no token overtakes the one before.
    #[test]
    fn every_token_passes_every_stage_once() {
        for (m, p, tokens) in [(1, 1, 3), (1, 4, 3), (4, 4, 1), (4, 4, 2), (6, 4, 5), (2, 3, 4)] {
            let mut seen: BTreeMap<(u32, u32), Vec<u32>> = BTreeMap::new();
            let mut left: BTreeMap<u32, u32> = BTreeMap::new();
            for token in 1..=tokens {
                for item in items(Round::Token { first: token == 1, last: token == tokens }, m, p) {
                    let of = if item.earlier { token - 1 } else { token };
                    let passed = seen.entry((item.micro, of)).or_default();
                    assert_eq!(passed.len() as u32, item.stage, "m {m} p {p}: stage by stage");
                    if item.stage == 0 {
                        assert_eq!(left.get(&item.micro).copied().unwrap_or(0), of - 1, "the one before has left");
                    }
                    passed.push(item.stage);
                    if item.stage + 1 == p {
                        left.insert(item.micro, of);
                    }
                }
            }
            assert_eq!(seen.len() as u32, m * tokens);
            assert!(seen.values().all(|s| s.len() as u32 == p), "m {m} p {p}");
        }
    }
}
