//! Results of launches that outlive a run: those of other points of a sweep, of other processes, of yesterday.
//!
//! A launch's result depends on the device, the kernel, what L2 holds when it starts, the clock's limit and the detail, and on nothing else; the
//! key is the hash of all of these. What comes back is what was put in, bit for bit, or nothing.

use std::fmt::Debug;
use std::io::Write;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::GpuSpec;

/// Keeps values by keys. It may lose any, and must not change one; who fills it sees to it that only one build of the program does.
pub trait LaunchCache: Send + Sync + Debug {
    /// The value of a key.
    fn get(&self, key: &[u8; 32]) -> Option<Vec<u8>>;
    /// Takes a value.
    fn put(&self, key: &[u8; 32], value: Vec<u8>);
}

/// A cache, for the launches of one device.
#[derive(Debug, Clone, Default)]
pub struct Cached(Option<(Arc<dyn LaunchCache>, [u8; 32])>);

/// Takes what is written into a hash.
struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn hash<T: Serialize>(before: &[u8], value: &T) -> Option<[u8; 32]> {
    let mut hasher = Hasher(Sha256::new());
    hasher.0.update(before);
    serde_json::to_writer(&mut hasher, value).ok()?;
    Some(hasher.0.finalize().into())
}

impl Cached {
    /// What is known of a device.
    pub fn new(cache: &Arc<dyn LaunchCache>, spec: &GpuSpec) -> Self {
        Self(hash(b"device", spec).map(|device| (Arc::clone(cache), device)))
    }

    /// The value of what `of` says, worked out where it is not known. `kind` sets values of different types apart.
    ///
    /// # Errors
    /// Those of working it out.
    pub fn or<K: Serialize, T: Serialize + DeserializeOwned + PartialEq, E>(
        &self,
        kind: &str,
        of: &K,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let Some((cache, device)) = &self.0 else { return make() };
        let Some(key) = hash(&[device.as_slice(), kind.as_bytes()].concat(), of) else { return make() };
        if let Some(value) = cache.get(&key).and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(value);
        }
        let value = make()?;
        // What does not come back as it is (no number, say) is not kept.
        if let Ok(bytes) = serde_json::to_vec(&value)
            && serde_json::from_slice::<T>(&bytes).is_ok_and(|back| back == value)
        {
            cache.put(&key, bytes);
        }
        Ok(value)
    }
}
