//! What carries transfers over the links of a fabric: fluid flows, or packets.

/// Carries transfers; time goes from one event to the next.
pub trait Carrier {
    /// Whether several transfers that are the same (path, bytes, begin) may begin as one that stands for them, without a difference.
    fn merges(&self) -> bool {
        false
    }
    /// Begins so many transfers that are the same, of so many bytes each, over the links of a path, now.
    fn begin(&mut self, path: &[u32], bytes: f64, alike: u32, tag: u32);
    /// Says that a tag is done so many seconds from now, whatever else happens.
    fn wake(&mut self, after_s: f64, tag: u32);
    /// The time, seconds.
    fn now(&self) -> f64;
    /// Lets time pass in which nothing changes but the time: what is under way is as far as it was.
    fn skip(&mut self, seconds: f64);
    /// Goes on to the next time at which transfers are done, and says which (by tag, in order); false where none is under way.
    fn next(&mut self, done: &mut Vec<u32>) -> bool;
    /// What is under way, apart from the time: of each, its tag, its bytes left, the seconds until it arrives if all have left. False where it
    /// cannot be told.
    fn state(&self, _state: &mut Vec<(u32, f64, f64)>) -> bool {
        false
    }
    /// Bytes that began to cross each link, so far.
    fn carried(&self) -> &[f64];
}
