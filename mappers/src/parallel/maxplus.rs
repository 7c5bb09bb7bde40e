//! Times of a rank as a max-plus linear map over its clocks.
//!
//! A rank has a host thread that starts things, a stream that computes, a stream of collectives within the model, and one of those over replicas.
//! Starting, running and waiting are sums and maxima of these four clocks; so a list of a hundred kernels is a matrix of sixteen numbers, a stage
//! of twelve equal layers is its twelfth power, and both are exact (Baccelli et al., Synchronization and Linearity, 1992).

/// The host's thread.
pub const HOST: usize = 0;
/// The stream of kernels.
pub const COMPUTE: usize = 1;
/// The stream of collectives within a replica of the model.
pub const NETWORK: usize = 2;
/// The stream of collectives over replicas.
pub const DATA: usize = 3;
/// Clocks of a rank.
pub const CLOCKS: usize = 4;

/// The clocks of a rank, seconds.
pub type Clocks = [f64; CLOCKS];

/// A map of clocks to clocks: `after[i] = max over j of (map[i][j] + before[j])`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment([[f64; CLOCKS]; CLOCKS]);

impl Default for Segment {
    fn default() -> Self {
        Self::identity()
    }
}

impl Segment {
    /// Nothing happens.
    pub const fn identity() -> Self {
        let mut m = [[f64::NEG_INFINITY; CLOCKS]; CLOCKS];
        m[HOST][HOST] = 0.0;
        m[COMPUTE][COMPUTE] = 0.0;
        m[NETWORK][NETWORK] = 0.0;
        m[DATA][DATA] = 0.0;
        Self(m)
    }

    /// The host is at work.
    pub fn host(&mut self, seconds: f64) {
        self.0[HOST].iter_mut().for_each(|v| *v += seconds);
    }

    /// A kernel: starts when the host has started it and those before are done.
    pub fn kernel(&mut self, seconds: f64) {
        self.wait(COMPUTE, HOST);
        self.0[COMPUTE].iter_mut().for_each(|v| *v += seconds);
    }

    /// A collective beside kernels: starts when the host has started it, and what was computed before is there.
    pub fn beside(&mut self, stream: usize, seconds: f64) {
        self.wait(stream, HOST);
        self.wait(stream, COMPUTE);
        self.0[stream].iter_mut().for_each(|v| *v += seconds);
    }

    /// One of a row of collectives that were all sent for at the start, and that kernels wait for.
    pub fn awaited(&mut self, stream: usize, seconds: f64) {
        self.0[stream].iter_mut().for_each(|v| *v += seconds);
        self.wait(COMPUTE, stream);
    }

    /// Kernels lose so many seconds to what runs beside them.
    pub fn lost(&mut self, seconds: f64) {
        self.0[COMPUTE].iter_mut().for_each(|v| *v += seconds);
    }

    /// A collective that kernels wait for.
    pub fn blocking(&mut self, seconds: f64) {
        self.beside(NETWORK, seconds);
        self.wait(COMPUTE, NETWORK);
    }

    /// One clock waits for another.
    pub fn wait(&mut self, who: usize, whom: usize) {
        for j in 0..CLOCKS {
            self.0[who][j] = self.0[who][j].max(self.0[whom][j]);
        }
    }

    /// This, and then another.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        let mut out = [[f64::NEG_INFINITY; CLOCKS]; CLOCKS];
        for (row, after) in out.iter_mut().zip(&next.0) {
            for (j, entry) in row.iter_mut().enumerate() {
                for (k, step) in after.iter().enumerate() {
                    *entry = entry.max(step + self.0[k][j]);
                }
            }
        }
        Self(out)
    }

    /// This so many times over.
    #[must_use]
    pub fn times(&self, count: u32) -> Self {
        let mut out = Self::identity();
        let mut square = *self;
        let mut left = count;
        while left > 0 {
            if left & 1 == 1 {
                out = out.then(&square);
            }
            square = square.then(&square);
            left >>= 1;
        }
        out
    }

    /// The clocks afterwards.
    pub fn apply(&self, before: &Clocks) -> Clocks {
        let mut after = [f64::NEG_INFINITY; CLOCKS];
        for (value, row) in after.iter_mut().zip(&self.0) {
            for (step, clock) in row.iter().zip(before) {
                *value = value.max(step + clock);
            }
        }
        after
    }

    /// By how much each clock moves on at least, by its own work.
    pub fn own(&self) -> Clocks {
        [self.0[HOST][HOST], self.0[COMPUTE][COMPUTE], self.0[NETWORK][NETWORK], self.0[DATA][DATA]]
    }

    /// Seconds until all clocks are done, all of them starting together.
    pub fn span(&self) -> f64 {
        self.apply(&[0.0; CLOCKS]).into_iter().fold(f64::NEG_INFINITY, f64::max)
    }
}
