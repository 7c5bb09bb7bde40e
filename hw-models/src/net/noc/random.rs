//! Randomness: Knuth's lagged Fibonacci generators in a sequence, or a hash of what is drawn for.
//!
//! BookSim2 draws from Knuth's generators (The Art of Computer Programming, volume 2, section 3.6 and exercise 3.6-15, in the version of
//! 2002), one of integers below 2^30 and one of fractions, so that the same seed gives the same traffic.

/// The long and the short lag, how many numbers are made at once and how many of these are used.
const LONG: usize = 100;
const SHORT: usize = 37;
const MADE: usize = 1009;
/// How far apart the sequences of two seeds are at least: 2^70 numbers.
const APART: u32 = 70;
/// How many numbers are made at once without a look at one another: an even number below the short lag.
const TOGETHER: usize = 36;
/// Bits of a whole number.
const WHOLE_BITS: u32 = 30;

/// Bits of a fraction.
const FRACTION_BITS: u32 = 52;

/// Numbers of a lagged Fibonacci sequence. They are kept in the upper bits of words, so that the modulus is a word's.
trait Lagged: Copy {
    const ZERO: Self;
    fn combine(self, other: Self) -> Self;
    /// The first numbers of a seed: doubled again and again, cyclically.
    fn bootstrap(seed: i64) -> [Self; LONG];
}

/// The first numbers of a seed as whole numbers below a modulus that is even.
fn doubled(start: i64, modulus: i64) -> [i64; LONG] {
    let (mut at, mut first) = (start, [0; LONG]);
    for number in &mut first {
        *number = at;
        at <<= 1;
        if at >= modulus {
            at -= modulus - 2;
        }
    }
    first[1] += 1;
    first
}

/// A whole number below the modulus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Whole(u32);

impl Whole {
    fn value(self) -> usize {
        (self.0 >> (u32::BITS - WHOLE_BITS)) as usize
    }
}

impl Lagged for Whole {
    const ZERO: Whole = Whole(0);

    #[inline]
    fn combine(self, other: Whole) -> Whole {
        Whole(self.0.wrapping_sub(other.0))
    }

    fn bootstrap(seed: i64) -> [Whole; LONG] {
        let modulus = 1 << WHOLE_BITS;
        doubled((seed + 2) & (modulus - 2), modulus).map(|n| Whole((n as u32) << (u32::BITS - WHOLE_BITS)))
    }
}

/// A fraction below 1: their sums are exact in Knuth's program too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fraction(u64);

impl Fraction {
    /// In units of the last place.
    #[inline]
    fn units(self) -> u64 {
        self.0 >> (u64::BITS - FRACTION_BITS)
    }

    fn value(self) -> f64 {
        self.units() as f64 / (1_u64 << FRACTION_BITS) as f64
    }
}

impl Lagged for Fraction {
    const ZERO: Fraction = Fraction(0);

    #[inline]
    fn combine(self, other: Fraction) -> Fraction {
        Fraction(self.0.wrapping_add(other.0))
    }

    fn bootstrap(seed: i64) -> [Fraction; LONG] {
        let start = 2 * ((seed & ((1 << WHOLE_BITS) - 1)) + 2);
        doubled(start, 1 << FRACTION_BITS).map(|n| Fraction((n as u64) << (u64::BITS - FRACTION_BITS)))
    }
}

/// One generator.
#[derive(Debug, Clone)]
struct Generator<T> {
    state: [T; LONG],
    /// With room for a few more than are made.
    buffer: [T; MADE + LONG + TOGETHER],
    at: usize,
}

impl<T: Lagged> Generator<T> {
    fn new(seed: i64) -> Generator<T> {
        let mut x = [T::ZERO; 2 * LONG - 1];
        x[..LONG].copy_from_slice(&T::bootstrap(seed));
        let (mut left, mut rounds) = (seed & ((1 << WHOLE_BITS) - 1), APART - 1);
        while rounds > 0 {
            // The polynomial whose coefficients these are is squared, and multiplied by z where the seed's bit is set.
            for j in (1..LONG).rev() {
                x[2 * j] = x[j];
                x[2 * j - 1] = T::ZERO;
            }
            for j in (LONG..2 * LONG - 1).rev() {
                x[j - (LONG - SHORT)] = x[j - (LONG - SHORT)].combine(x[j]);
                x[j - LONG] = x[j - LONG].combine(x[j]);
            }
            if left & 1 == 1 {
                x.copy_within(0..LONG, 1);
                x[0] = x[LONG];
                x[SHORT] = x[SHORT].combine(x[LONG]);
            }
            if left == 0 {
                rounds -= 1;
            } else {
                left >>= 1;
            }
        }
        let mut state = [T::ZERO; LONG];
        state[LONG - SHORT..].copy_from_slice(&x[..SHORT]);
        state[..LONG - SHORT].copy_from_slice(&x[SHORT..LONG]);
        let mut generator = Generator { state, buffer: [T::ZERO; MADE + LONG + TOGETHER], at: LONG };
        for _ in 0..10 {
            generator.make(2 * LONG - 1);
        }
        generator
    }

    /// Makes `count` numbers and the state after them.
    fn make(&mut self, count: usize) {
        self.buffer[..LONG].copy_from_slice(&self.state);
        // As many at once as do not depend on one another.
        let mut start = LONG;
        while start < count + LONG {
            let (made, rest) = self.buffer.split_at_mut(start);
            let (long, short) = (&made[start - LONG..], &made[start - SHORT..]);
            let chunks = (rest.first_chunk_mut::<TOGETHER>(), long.first_chunk::<TOGETHER>(), short.first_chunk());
            let (Some(rest), Some(long), Some(short)) = chunks else { break };
            for ((next, long), short) in rest.iter_mut().zip(long).zip::<&[T; TOGETHER]>(short) {
                *next = long.combine(*short);
            }
            start += TOGETHER;
        }
        self.state.copy_from_slice(&self.buffer[count..][..LONG]);
    }

    /// The numbers that are made and not drawn yet, at least one. Of those made at once only the first are drawn.
    #[inline]
    fn ready(&mut self) -> &[T] {
        if self.at == LONG {
            self.make(MADE);
            self.at = 0;
        }
        &self.buffer[self.at..LONG]
    }

    #[inline]
    fn next(&mut self) -> T {
        let next = self.ready()[0];
        self.at += 1;
        next
    }
}

/// Both generators of a seed: numbers in the order in which they are drawn.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    whole: Generator<Whole>,
    fraction: Generator<Fraction>,
}

impl Sequence {
    pub(super) fn new(seed: u32) -> Sequence {
        Sequence { whole: Generator::new(i64::from(seed)), fraction: Generator::new(i64::from(seed)) }
    }

    /// A whole number from 0 to `most`.
    pub(super) fn upto(&mut self, most: usize) -> usize {
        self.whole.next().value() % (most + 1)
    }

    /// A fraction below 1.
    pub(super) fn fraction(&mut self) -> f64 {
        self.fraction.next().value()
    }
}

/// Trials in a row, each of which succeeds if a fraction is below a probability, with those known that fail before the next success: many
/// are passed over at once. Nothing else draws fractions.
#[derive(Debug, Clone)]
pub(super) struct Trials {
    /// Fractions that succeed are below this, in units of their last place.
    below: u64,
    /// Trials that fail, whose fractions are drawn already.
    fails: u64,
    /// Whether the one after these succeeds.
    then_succeeds: bool,
    /// Of the fractions that were made at last: those that succeed, a bit each, of which the lowest ones are drawn already, and how many.
    succeed: u128,
    drawn: u32,
}

/// How many trials are looked at ahead, at least, if none succeeds.
const AHEAD: u64 = 1 << 16;

impl Trials {
    pub(super) fn new(probability: f64) -> Trials {
        let below = (probability * (1_u64 << FRACTION_BITS) as f64).ceil() as u64;
        Trials { below, fails: 0, then_succeeds: false, succeed: 0, drawn: LONG as u32 }
    }

    /// The trials from the next one on that are known to fail.
    pub(super) fn known_to_fail(&self) -> u64 {
        self.fails
    }

    /// Makes trials that are known to fail.
    pub(super) fn pass(&mut self, count: u64) {
        self.fails -= count;
    }

    /// Makes trials up to the first that succeeds, `count` at most: how many failed before it, if one succeeded.
    #[inline]
    pub(super) fn first(&mut self, count: u64, sequence: &mut Sequence) -> Option<u64> {
        let mut failed = 0;
        loop {
            let left = count - failed;
            if self.fails >= left {
                self.fails -= left;
                return None;
            }
            failed += std::mem::take(&mut self.fails);
            let succeeds = std::mem::take(&mut self.then_succeeds);
            self.look_ahead(&mut sequence.fraction);
            if succeeds {
                return Some(failed);
            }
        }
    }

    /// Looks for the next success. The fractions of a batch are all drawn when it is made.
    fn look_ahead(&mut self, fractions: &mut Generator<Fraction>) {
        while self.fails < AHEAD {
            if self.drawn == LONG as u32 {
                fractions.at = LONG;
                let below = self.below;
                let word = |batch: &[Fraction]| {
                    let bits = batch.iter().enumerate();
                    bits.fold(0, |word, (i, f)| word | (f.units().wrapping_sub(below) >> 63) << i)
                };
                let (low, high) = fractions.ready().split_at(LONG / 2);
                self.succeed = u128::from(word(low)) | u128::from(word(high)) << (LONG / 2);
                (self.drawn, fractions.at) = (0, LONG);
            }
            let left = self.succeed >> self.drawn;
            if left != 0 {
                let failing = left.trailing_zeros();
                self.fails += u64::from(failing);
                self.drawn += failing + 1;
                self.then_succeeds = true;
                return;
            }
            self.fails += u64::from(LONG as u32 - self.drawn);
            self.drawn = LONG as u32;
        }
    }
}

/// What routing functions draw from.
#[derive(Debug, Clone)]
pub(super) enum Draws {
    /// In the order in which they are asked for, which is then part of the result.
    Sequence(Box<Sequence>),
    /// By the packet and the place that ask: the order does not count.
    Hash {
        /// The seed.
        seed: u64,
    },
    /// All that may be drawn, one course after the other.
    Script(Script),
}

/// Courses of what may be drawn: each is a list of outcomes, and the next one differs in the last that has another.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    /// Outcomes, each with the highest that there is.
    outcomes: Vec<(usize, usize)>,
    at: usize,
}

impl Script {
    fn upto(&mut self, most: usize) -> usize {
        if self.at == self.outcomes.len() {
            self.outcomes.push((0, most));
        }
        self.at += 1;
        self.outcomes[self.at - 1].0
    }

    /// Goes on to the next course; whether there is one. Without one, the first is next.
    pub(super) fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((outcome, most)) = self.outcomes.last_mut() {
            if outcome < most {
                *outcome += 1;
                return true;
            }
            self.outcomes.pop();
        }
        false
    }
}

impl Draws {
    /// A whole number from 0 to `most`, for a packet and a place.
    #[inline]
    pub(super) fn upto(&mut self, most: usize, packet: u32, place: usize) -> usize {
        match self {
            Draws::Sequence(sequence) => sequence.upto(most),
            Draws::Script(script) => script.upto(most),
            Draws::Hash { seed } => {
                let word = mix(mix(*seed ^ u64::from(packet)).wrapping_add(place as u64));
                ((u128::from(word) * (most as u128 + 1)) >> 64) as usize
            }
        }
    }
}

/// A word whose bits depend on all bits of the given one (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
pub(super) fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Fraction, Generator, Sequence, Trials, Whole};

    /// The checks that Knuth gives with his programs.
    #[test]
    fn the_generators_give_the_published_numbers() {
        let mut whole = Generator::<Whole>::new(310_952);
        for _ in 0..2010 {
            whole.make(1009);
        }
        assert_eq!(whole.buffer[0].value(), 995_235_265);
        let mut fraction = Generator::<Fraction>::new(310_952);
        for _ in 0..2009 {
            fraction.make(1009);
        }
        assert!((fraction.state[0].value() - 0.364_105_143_775_696_8).abs() < 1e-18);
    }

    #[test]
    fn trials_passed_over_are_those_that_fail_one_by_one() {
        for probability in [0.0, 1e-5, 0.003, 0.2, 0.77, 1.0] {
            let (mut plain, mut quick, mut trials) = (Sequence::new(7), Sequence::new(7), Trials::new(probability));
            let mut count = 1;
            for _ in 0..400 {
                count = (count * 31 + 17) % 997;
                if trials.known_to_fail() >= count {
                    trials.pass(count);
                    assert!((0..count).all(|_| plain.fraction() >= probability));
                }
                let expected = (0..count).find(|_| plain.fraction() < probability);
                assert_eq!(trials.first(count, &mut quick), expected);
            }
        }
    }
}
