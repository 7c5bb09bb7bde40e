//! The way back from a place to its index, and whether there is one: bits are a vector over {0, 1}, and a map of bits with
//! XORs a matrix, which loses information where its rows depend on one another.

use super::{AddressMap, BANK, Piece, Place, ROW};

/// For each bit of the index the bits of the place whose XOR it is; or which of the XORs loses information. A place's bits
/// stand one target after the other, from `starts` on; there are as many as of the index.
pub(super) fn invert(
    pieces: &[Vec<Piece>; 4],
    starts: &[u32; 4],
    xor: &[(usize, u32, u64)],
    bits: u32,
) -> Result<Vec<u64>, usize> {
    // Of each bit of the place: the bits of the index that make it, and what combination of the place's bits that is.
    let mut rows = vec![0u64; bits as usize];
    for (target, pieces) in pieces.iter().enumerate() {
        for p in pieces {
            for i in 0..p.mask.count_ones() {
                rows[(starts[target] + p.to + i) as usize] = 1 << (p.from + i);
            }
        }
    }
    let mut order: Vec<(usize, Option<usize>)> = Vec::new();
    for (i, (target, bit, mask)) in xor.iter().enumerate() {
        let place = (starts[*target] + bit) as usize;
        rows[place] ^= mask;
        // The last XOR into a bit is the one that is named.
        order.retain(|(p, _)| *p != place);
        order.push((place, Some(i)));
    }
    let changed: Vec<usize> = order.iter().map(|(p, _)| *p).collect();
    let plain = (0..bits as usize).filter(|p| !changed.contains(p)).map(|p| (p, None));
    // Plain bits first, so that what depends on them is found at a bit that takes others in.
    let order: Vec<_> = plain.chain(order).collect();
    let mut solved: Vec<Option<(u64, u64)>> = vec![None; bits as usize];
    for (place, of) in order {
        let (mut row, mut combination) = (rows[place], 1u64 << place);
        for (index, pivot) in solved.iter().enumerate() {
            if let (1, Some((r, c))) = (row >> index & 1, pivot) {
                row ^= r;
                combination ^= c;
            }
        }
        if row == 0 {
            return Err(of.unwrap_or(0));
        }
        let index = row.trailing_zeros() as usize;
        for (r, c) in solved.iter_mut().flatten() {
            if *r >> index & 1 == 1 {
                *r ^= row;
                *c ^= combination;
            }
        }
        solved[index] = Some((row, combination));
    }
    Ok(solved.into_iter().map(|s| s.map_or(0, |(_, c)| c)).collect())
}

impl AddressMap {
    /// The index of the transaction that lies at a place: what [`AddressMap::place`] takes, of those within the capacity.
    pub fn index(&self, place: Place) -> u64 {
        let mut word = 0;
        for (target, part) in [place.channel, place.bank, place.row, place.column].into_iter().enumerate() {
            let part = match (&self.radix, target) {
                (Some(radix), BANK) => radix.bank_bits(u64::from(part)),
                (_, ROW) => u64::from(part) % self.rows,
                _ => u64::from(part),
            };
            word |= part.checked_shl(self.starts[target]).unwrap_or(0);
        }
        let bit = |(i, from): (usize, &u64)| u64::from((word & from).count_ones() & 1) << i;
        let whole = self.inverse.iter().enumerate().map(bit).fold(0, |out, bit| out | bit);
        self.radix.as_ref().map_or(whole, |r| r.gather(whole))
    }
}
