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
const MODULUS: i64 = 1 << 30;

/// Numbers of a lagged Fibonacci sequence, whole or fractions.
trait Lagged: Copy {
    const ZERO: Self;
    fn combine(self, other: Self) -> Self;
    /// The first numbers of a seed: doubled again and again, cyclically.
    fn bootstrap(seed: i64) -> [Self; LONG];
}

impl Lagged for i64 {
    const ZERO: i64 = 0;

    fn combine(self, other: i64) -> i64 {
        (self - other) & (MODULUS - 1)
    }

    fn bootstrap(seed: i64) -> [i64; LONG] {
        let mut at = (seed + 2) & (MODULUS - 2);
        let mut first = [0; LONG];
        for number in &mut first {
            *number = at;
            at <<= 1;
            if at >= MODULUS {
                at -= MODULUS - 2;
            }
        }
        first[1] += 1;
        first
    }
}

impl Lagged for f64 {
    const ZERO: f64 = 0.0;

    fn combine(self, other: f64) -> f64 {
        let sum = self + other;
        sum - f64::from(sum as i32)
    }

    fn bootstrap(seed: i64) -> [f64; LONG] {
        let last_place = f64::EPSILON;
        let mut at = 2.0 * last_place * ((seed & (MODULUS - 1)) + 2) as f64;
        let mut first = [0.0; LONG];
        for number in &mut first {
            *number = at;
            at += at;
            if at >= 1.0 {
                at -= 1.0 - 2.0 * last_place;
            }
        }
        first[1] += last_place;
        first
    }
}

/// One generator.
#[derive(Debug, Clone)]
struct Generator<T> {
    state: [T; LONG],
    buffer: Vec<T>,
    at: usize,
}

impl<T: Lagged> Generator<T> {
    fn new(seed: i64) -> Generator<T> {
        let mut x = [T::ZERO; 2 * LONG - 1];
        x[..LONG].copy_from_slice(&T::bootstrap(seed));
        let (mut left, mut rounds) = (seed & (MODULUS - 1), APART - 1);
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
        let mut generator = Generator { state, buffer: Vec::new(), at: 0 };
        for _ in 0..10 {
            generator.make(2 * LONG - 1);
        }
        generator.buffer.clear();
        generator
    }

    /// Makes `count` numbers and the state after them.
    fn make(&mut self, count: usize) {
        self.buffer.clear();
        self.buffer.extend_from_slice(&self.state);
        for j in LONG..count + LONG {
            let next = self.buffer[j - LONG].combine(self.buffer[j - SHORT]);
            self.buffer.push(next);
        }
        self.state.copy_from_slice(&self.buffer[count..]);
        self.buffer.truncate(count);
    }

    fn next(&mut self) -> T {
        if self.at == self.buffer.len() {
            self.make(MADE);
            // Of the numbers made only the first are used.
            self.buffer.truncate(LONG);
            self.at = 0;
        }
        self.at += 1;
        self.buffer[self.at - 1]
    }
}

/// Both generators of a seed: numbers in the order in which they are drawn.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    whole: Generator<i64>,
    fraction: Generator<f64>,
}

impl Sequence {
    pub(super) fn new(seed: u32) -> Sequence {
        Sequence { whole: Generator::new(i64::from(seed)), fraction: Generator::new(i64::from(seed)) }
    }

    /// A whole number from 0 to `most`.
    pub(super) fn upto(&mut self, most: usize) -> usize {
        self.whole.next() as usize % (most + 1)
    }

    /// A fraction below 1.
    pub(super) fn fraction(&mut self) -> f64 {
        self.fraction.next()
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
    use super::Generator;

    /// The checks that Knuth gives with his programs.
    #[test]
    fn the_generators_give_the_published_numbers() {
        let mut whole = Generator::<i64>::new(310_952);
        for _ in 0..2010 {
            whole.make(1009);
        }
        assert_eq!(whole.buffer[0], 995_235_265);
        let mut fraction = Generator::<f64>::new(310_952);
        for _ in 0..2009 {
            fraction.make(1009);
        }
        assert!((fraction.state[0] - 0.364_105_143_775_696_8).abs() < 1e-18);
    }
}
