//! Sets of channels.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// A set of channels, as bits; of up to 128 channels without an allocation, and of any number.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelSet(SmallVec<[u64; 2]>);

impl ChannelSet {
    /// No channel.
    pub const EMPTY: Self = Self(SmallVec::new_const());

    /// Channels 0 to `count - 1`.
    pub fn first(count: u32) -> Self {
        Self::range(0, count)
    }

    /// `count` channels from `first` on.
    pub fn range(first: u32, count: u32) -> Self {
        let mut set = Self::EMPTY;
        let end = first.saturating_add(count);
        let mut at = first;
        while at < end {
            let to = end.min((at / 64 + 1) * 64);
            let ones = u64::MAX >> (64 - (to - at));
            *set.word_mut(at / 64) |= ones << (at % 64);
            at = to;
        }
        set
    }

    /// One channel.
    pub fn one(channel: u32) -> Self {
        Self::range(channel, 1)
    }

    fn word_mut(&mut self, index: u32) -> &mut u64 {
        if self.0.len() <= index as usize {
            self.0.resize(index as usize + 1, 0);
        }
        &mut self.0[index as usize]
    }

    /// Without words of zeros at the end, so that equal sets are equal.
    fn trimmed(mut self) -> Self {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }

    /// How many.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|w| w.count_ones()).sum()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a channel is in it.
    pub fn contains(&self, channel: u32) -> bool {
        self.0.get(channel as usize / 64).is_some_and(|w| w >> (channel % 64) & 1 != 0)
    }

    /// Whether the two have a channel in common.
    #[inline]
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// Whether all channels of this one are in the other.
    #[inline]
    pub fn within(&self, other: &Self) -> bool {
        self.0.iter().enumerate().all(|(i, a)| a & !other.0.get(i).copied().unwrap_or(0) == 0)
    }

    /// Those in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect()).trimmed()
    }

    /// Those in this one and not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let words = self.0.iter().enumerate().map(|(i, a)| a & !other.0.get(i).copied().unwrap_or(0));
        Self(words.collect()).trimmed()
    }

    /// Those in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let (long, short) = if self.0.len() >= other.0.len() { (self, other) } else { (other, self) };
        let words = long.0.iter().enumerate().map(|(i, a)| a | short.0.get(i).copied().unwrap_or(0));
        Self(words.collect())
    }

    /// The highest channel, if there is one.
    pub fn highest(&self) -> Option<u32> {
        self.0.last().map(|w| self.0.len() as u32 * 64 - 1 - w.leading_zeros())
    }

    /// The channels in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().enumerate().flat_map(|(i, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros();
                    rest &= rest - 1;
                    i as u32 * 64 + bit
                })
            })
        })
    }
}

// JSON has no integers of any length; hexadecimal is also what a reader wants to see of a mask.
impl Serialize for ChannelSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::from("0x");
        match self.0.split_last() {
            None => text.push('0'),
            Some((high, rest)) => {
                text.push_str(&format!("{high:x}"));
                rest.iter().rev().for_each(|w| text.push_str(&format!("{w:016x}")));
            }
        }
        serializer.serialize_str(&text)
    }
}

/// The most channels that a program file may name: far above any machine.
const MOST: usize = 1 << 20;

impl<'de> Deserialize<'de> for ChannelSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        let bad = || serde::de::Error::custom(format!("`{text}` is not a hexadecimal channel mask"));
        if digits.is_empty() || digits.len() * 4 > MOST || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut words = SmallVec::new();
        let mut end = digits.len();
        while end > 0 {
            let start = end.saturating_sub(16);
            words.push(u64::from_str_radix(&digits[start..end], 16).map_err(|_| bad())?);
            end = start;
        }
        Ok(Self(words).trimmed())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(channels: &[u32]) -> ChannelSet {
        channels.iter().fold(ChannelSet::EMPTY, |set, c| set.or(&ChannelSet::one(*c)))
    }

    proptest! {
        /// Sets of any number of channels do as sets do, and come back from JSON.
        #[test]
        fn sets_are_sets(a in prop::collection::btree_set(0u32..600, 0..40), b in prop::collection::btree_set(0u32..600, 0..40)) {
            let (x, y) = (of(&a.iter().copied().collect::<Vec<_>>()), of(&b.iter().copied().collect::<Vec<_>>()));
            let list = |s: &ChannelSet| s.iter().collect::<Vec<_>>();
            prop_assert_eq!(list(&x.and(&y)), a.intersection(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(list(&x.or(&y)), a.union(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(list(&x.without(&y)), a.difference(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(x.meets(&y), !a.is_disjoint(&b));
            prop_assert_eq!(x.within(&y), a.is_subset(&b));
            prop_assert_eq!(x.len() as usize, a.len());
            prop_assert_eq!(x.highest(), a.last().copied());
            prop_assert_eq!(x.is_empty(), a.is_empty());
            let back: ChannelSet = serde_json::from_str(&serde_json::to_string(&x).unwrap_or_default()).unwrap_or_default();
            prop_assert_eq!(back, x);
        }
    }

    #[test]
    fn ranges_cross_words() {
        assert_eq!(ChannelSet::range(60, 10).iter().collect::<Vec<_>>(), (60..70).collect::<Vec<_>>());
        assert_eq!(ChannelSet::first(192).len(), 192);
        assert!(ChannelSet::first(0).is_empty());
    }
}
