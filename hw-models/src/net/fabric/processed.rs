//! Transfers that a rank still has to do something with when they are there: post, read, add, write.

use super::carrier::Carrier;

/// A carrier whose transfers are done so much later.
#[derive(Debug, Clone)]
pub struct Processed<'a, C> {
    inner: C,
    /// Of each transfer (by tag), seconds between its arrival and its end.
    takes_s: &'a [f64],
    arrived: Vec<u32>,
}

impl<'a, C: Carrier> Processed<'a, C> {
    /// Over another carrier; `takes_s` of every tag.
    pub fn new(inner: C, takes_s: &'a [f64]) -> Self {
        Self { inner, takes_s, arrived: Vec::new() }
    }
}

impl<C: Carrier> Carrier for Processed<'_, C> {
    fn begin(&mut self, path: &[u32], bytes: f64, alike: u32, tag: u32) {
        self.inner.begin(path, bytes, alike, tag);
    }

    fn wake(&mut self, after_s: f64, tag: u32) {
        self.inner.wake(after_s, tag + self.takes_s.len() as u32);
    }

    fn now(&self) -> f64 {
        self.inner.now()
    }

    fn skip(&mut self, seconds: f64) {
        self.inner.skip(seconds);
    }

    fn next(&mut self, done: &mut Vec<u32>) -> bool {
        done.clear();
        let all = self.takes_s.len() as u32;
        while done.is_empty() {
            if !self.inner.next(&mut self.arrived) {
                return false;
            }
            for &tag in &self.arrived {
                match self.takes_s.get(tag as usize) {
                    Some(takes) => self.inner.wake(*takes, tag + all),
                    None => done.push(tag - all),
                }
            }
        }
        done.sort_unstable();
        true
    }

    fn carried(&self) -> &[f64] {
        self.inner.carried()
    }
}
