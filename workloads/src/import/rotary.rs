//! What share of a head is rotated.

use banksia_input::InputError;

use super::reader::Reader;

/// One number under several names, in the order of the library's versions.
const SHARES: [&str; 5] = [
    "rotary_pct",
    "partial_rotary_factor",
    "rope_parameters.partial_rotary_factor",
    "rope_pct",
    "rope_scaling.partial_rotary_factor",
];

impl Reader<'_> {
    /// Elements of a head of so many that are rotated, of the share that the file gives, or of another.
    pub(super) fn rotary_dim(&self, head_dim: u64, default: f64) -> Result<u64, InputError> {
        let mut share: Option<(&str, f64)> = None;
        for key in SHARES {
            let Some(value) = self.share(key)? else { continue };
            match share {
                Some((first, other)) if other.total_cmp(&value).is_ne() => {
                    return Err(self.error(key, format!("is {value}, but `{first}` is {other}")));
                }
                Some(_) => {}
                None => {
                    share = Some((key, value));
                    self.rename("rotary_dim", key);
                }
            }
        }
        let share = share.map_or(default, |(_, value)| value);
        // Hugging Face truncates too; both numbers are far below 2^52, so that the product is exact enough.
        let rotated = (head_dim.min(1 << 31) as f64 * share) as u64;
        // The library rotates pairs, of which an odd number has one element too few.
        Ok(rotated - rotated % 2)
    }

    /// The whole of a head must be rotated.
    pub(super) fn rotates_all(&self) -> Result<(), InputError> {
        for key in SHARES {
            let whole = self.share(key)?.is_none_or(|share| share >= 1.0);
            self.refuse_unless(key, whole, "rotates a part of each head, which this family does not")?;
        }
        Ok(())
    }
}
