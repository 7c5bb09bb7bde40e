//! Where a transaction lies: its index cut into channel, bank, row and column, with bits of it XORed in.

use banksia_input::InputError;
use serde::{Deserialize, Serialize};

use super::super::device::Device;

/// An address map as a file writes it.
///
/// `bits` lists fields from the least significant bit of the transaction index (byte address over access size) upwards: names
/// of levels, `row` and `column`, each with all of its bits or, as `column:3`, with the next three of them. `ranks` stands for
/// every level between channel and row, in order. The reference map is `["channel", "column", "levels", "row"]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MapSpec {
    /// Fields from the least significant bit up.
    pub bits: Vec<String>,
    /// Bits of fields that take further bits of the index in by XOR.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xor: Vec<XorSpec>,
}

/// One bit of a field, and the bits of the index that are XORed into it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct XorSpec {
    /// The field.
    pub field: String,
    /// Which bit of it.
    pub bit: u32,
    /// Bits of the transaction index.
    pub with: Vec<u32>,
}

impl Default for MapSpec {
    /// `RoBaRaCoCh`: channel lowest, then column, the levels in tree order, row.
    fn default() -> Self {
        Self { bits: ["channel", "column", "levels", "row"].map(String::from).to_vec(), xor: Vec::new() }
    }
}

/// Where a transaction lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The channel.
    pub channel: u32,
    /// The bank, counted over the channel.
    pub bank: u32,
    /// The row.
    pub row: u32,
    /// The column access within the row.
    pub column: u32,
}

const CHANNEL: usize = 0;
const BANK: usize = 1;
const ROW: usize = 2;
const COLUMN: usize = 3;

#[derive(Debug, Clone, Copy)]
struct Piece {
    from: u32,
    mask: u64,
    to: u32,
}

impl Piece {
    #[inline(always)]
    fn of(&self, index: u64) -> u64 {
        ((index >> (self.from & 63)) & self.mask) << (self.to & 63)
    }
}

/// A map compiled for a device and a number of channels.
#[derive(Debug, Clone)]
pub struct AddressMap {
    /// Pieces of channel, bank, row and column.
    pieces: [Vec<Piece>; 4],
    /// The bank's pieces where they are at most four, filled up, and the row's where it is one: most maps.
    short: Option<([Piece; 4], Piece)>,
    xor: Vec<(usize, u32, u64)>,
    rows: u64,
    rows_wrap: bool,
}

/// Where the bits of a field go.
struct Field {
    name: String,
    target: usize,
    offset: u32,
    bits: u32,
    used: u32,
}

impl AddressMap {
    /// Compiles a map.
    ///
    /// # Errors
    /// A field is unknown, missing or given twice, or its size is no power of two.
    pub fn new(spec: &MapSpec, device: &Device, channels: u32) -> Result<Self, InputError> {
        let fail = |problem: String| InputError::new("controller", problem).key("map.bits");
        let mut fields = fields(device, channels).map_err(&fail)?;
        let mut names: Vec<(String, Option<u32>)> = Vec::new();
        for entry in &spec.bits {
            if entry == "levels" {
                names.extend(device.levels[1..].iter().map(|l| (l.name.clone(), None)));
                continue;
            }
            match entry.split_once(':') {
                None => names.push((entry.clone(), None)),
                Some((name, bits)) => {
                    let bits =
                        bits.parse().map_err(|_| fail(format!("has `{entry}`: write `{name}:3` for three bits")))?;
                    names.push((name.into(), Some(bits)));
                }
            }
        }
        let mut map = Self {
            pieces: Default::default(),
            short: None,
            xor: Vec::new(),
            rows: u64::from(device.rows),
            rows_wrap: false,
        };
        map.rows_wrap = !device.rows.is_power_of_two();
        let mut at = 0;
        for (name, bits) in names {
            let known: Vec<String> = fields.iter().map(|f| f.name.clone()).collect();
            let field = fields.iter_mut().find(|f| f.name == name).ok_or_else(|| {
                InputError::unknown_name(
                    "controller",
                    "field of the address map",
                    &name,
                    known.iter().map(String::as_str),
                )
            })?;
            let bits = bits.unwrap_or(field.bits - field.used);
            let given = field.used.saturating_add(bits);
            if given > field.bits {
                return Err(fail(format!("gives `{name}` {given} bits: it has {}", field.bits)));
            }
            if bits > 0 {
                let to = field.offset + field.used;
                map.pieces[field.target].push(Piece { from: at, mask: (1u64 << bits) - 1, to });
            }
            field.used += bits;
            at += bits;
            if at > 64 {
                return Err(fail("takes more than 64 bits of an index: fewer channels, or a smaller device".into()));
            }
        }
        if let Some(field) = fields.iter().find(|f| f.used < f.bits) {
            return Err(fail(format!("leaves {} bits of `{}` out", field.bits - field.used, field.name)));
        }
        for x in &spec.xor {
            let fail = |problem: String| InputError::new("controller", problem).key("map.xor");
            let field = fields
                .iter()
                .find(|f| f.name == x.field)
                .ok_or_else(|| fail(format!("names `{}`, which is no field", x.field)))?;
            if x.bit >= field.bits || x.with.iter().any(|b| *b >= 64) {
                return Err(fail(format!("has bit {} of `{}`, or a bit above 63", x.bit, x.field)));
            }
            let mask = x.with.iter().fold(0u64, |m, b| m | 1 << b);
            map.xor.push((field.target, field.offset + x.bit, mask));
        }
        if let ([row], true) = (&map.pieces[ROW][..], map.pieces[BANK].len() <= 4 && map.xor.is_empty()) {
            let mut bank = [Piece { from: 0, mask: 0, to: 0 }; 4];
            bank[..map.pieces[BANK].len()].copy_from_slice(&map.pieces[BANK]);
            map.short = Some((bank, *row));
        }
        Ok(map)
    }

    /// Where a transaction index lies. Bits beyond the capacity are dropped.
    #[inline]
    pub fn place(&self, index: u64) -> Place {
        let (bank, row) = self.bank_and_row(index);
        Place { channel: self.part(CHANNEL, index) as u32, bank, row, column: self.part(COLUMN, index) as u32 }
    }

    /// The bank and the row of a transaction index.
    #[inline(always)]
    pub(super) fn bank_and_row(&self, index: u64) -> (u32, u32) {
        let (bank, mut row) = match &self.short {
            Some((bank, row)) => (bank.iter().fold(0, |b, p| b | p.of(index)), row.of(index)),
            None => (self.part(BANK, index), self.part(ROW, index)),
        };
        if self.rows_wrap {
            row %= self.rows;
        }
        (bank as u32, row as u32)
    }

    #[inline(always)]
    fn part(&self, target: usize, index: u64) -> u64 {
        let mut out = 0;
        for p in &self.pieces[target & 3] {
            out |= p.of(index);
        }
        if !self.xor.is_empty() {
            for (t, bit, mask) in &self.xor {
                if *t == target {
                    out ^= u64::from((index & mask).count_ones() & 1) << bit;
                }
            }
        }
        out
    }
}

fn fields(device: &Device, channels: u32) -> Result<Vec<Field>, String> {
    let bits_of = |name: &str, n: u32| {
        if n.is_power_of_two() {
            Ok(n.trailing_zeros())
        } else {
            Err(format!("cannot cut `{name}`, of which there are {n}: it must be a power of two"))
        }
    };
    let field = |name: &str, target, offset, bits| Field { name: name.into(), target, offset, bits, used: 0 };
    let mut out = vec![field("channel", CHANNEL, 0, bits_of("channel", channels)?)];
    out.push(field("column", COLUMN, 0, bits_of("column", device.columns)?));
    out.push(field("row", ROW, 0, device.rows.next_power_of_two().trailing_zeros()));
    for level in &device.levels[1..] {
        let offset = bits_of(&level.name, level.banks)?;
        out.push(field(&level.name, BANK, offset, bits_of(&level.name, level.per_parent)?));
    }
    Ok(out)
}
