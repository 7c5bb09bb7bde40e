//! What carries transfers over the links of a fabric: fluid flows, or packets.

/// Carries transfers; time goes from one event to the next.
pub trait Carrier {
    /// Begins a transfer of so many bytes over the links of a path, now.
    fn begin(&mut self, path: &[u32], bytes: f64, tag: u32);
    /// The time, seconds.
    fn now(&self) -> f64;
    /// Lets time pass while nothing is under way.
    fn skip(&mut self, seconds: f64);
    /// Goes on to the next time at which transfers are done, and says which (by tag, in order); false where none is under way.
    fn next(&mut self, done: &mut Vec<u32>) -> bool;
    /// Bytes that began to cross each link, so far.
    fn carried(&self) -> &[f64];
}
