//! From the map of a file to shifts and masks, and what is said where that cannot be.

use banksia_input::InputError;

use super::super::super::defaults::{MapSpec, XorSpec};
use super::super::super::device::Device;
use super::radix::{Digit, LevelBits, Radix};
use super::{AddressMap, BANK, CHANNEL, COLUMN, Piece, ROW, invert};

/// Levels that a standard's map may name and a device of it lack.
const LEVELS: [&str; 5] = ["rank", "pseudochannel", "sid", "bankgroup", "bank"];

/// Where the bits of a field go.
struct Field {
    name: String,
    target: usize,
    offset: u32,
    /// How many there are.
    size: u64,
    /// The part of these that no entry has taken yet: the size over what was taken.
    left: u64,
    /// Bits that the numbers need.
    bits: u32,
    used: u32,
    /// Nothing of it is to come.
    done: bool,
}

impl Field {
    fn new(name: &str, target: usize, offset: u32, size: u32) -> Self {
        let size = u64::from(size);
        let bits = bits_for(size);
        Self { name: name.into(), target, offset, size, left: size, bits, used: 0, done: false }
    }
}

fn bits_for(size: u64) -> u32 {
    64 - (size - 1).leading_zeros()
}

/// Who is told what is wrong: the controller's file, or the device's where the map is its own.
struct Teller(Option<String>);

impl Teller {
    fn error(&self, key: &str, problem: impl Into<String>) -> InputError {
        match &self.0 {
            None => InputError::new("controller", problem).key(key),
            Some(device) => InputError::new(format!("device {device}"), problem).key(format!("controller.{key}")),
        }
    }
}

/// A map on its way.
struct Draft {
    fields: Vec<Field>,
    pieces: [Vec<Piece>; 4],
    digits: Vec<(Digit, usize)>,
    /// Whole bits given away.
    at: u32,
    teller: Teller,
}

impl AddressMap {
    /// Compiles a map for a device and a number of channels.
    ///
    /// # Errors
    /// A field is unknown, missing or given twice, bits are cut from one that has them not, or an XOR loses information.
    pub fn new(spec: &MapSpec, device: &Device, channels: u32) -> Result<Self, InputError> {
        let own = spec.bits == ["device"];
        let usual = MapSpec::default();
        let (bits, teller) = match (&device.defaults.map, own) {
            (Some(map), true) => (&map.bits, Teller(Some(device.name.clone()))),
            (None, true) => (&usual.bits, Teller(None)),
            (_, false) => (&spec.bits, Teller(None)),
        };
        let mut draft =
            Draft { fields: fields(device, channels), pieces: Default::default(), digits: Vec::new(), at: 0, teller };
        for entry in bits {
            draft.entry(entry)?;
        }
        if draft.own() {
            // Levels that a variant has beyond its standard's lie on top.
            for field in 0..draft.fields.len() {
                if draft.fields[field].left > 1 {
                    draft.take(field, None)?;
                }
            }
        }
        let unnamed = draft.fields.iter().find(|f| f.left > 1);
        if let Some(field) = unnamed {
            let problem = if field.left == field.size {
                format!("leaves `{}` out, of which there are {}: name every field", field.name, field.size)
            } else {
                format!(
                    "leaves {} of the {} of `{}` out: name it once more, without a count of bits",
                    field.left, field.size, field.name
                )
            };
            return Err(draft.teller.error("map.bits", problem));
        }
        let mut xor = Vec::new();
        if let (Some(map), true) = (&device.defaults.map, own) {
            draft.exclusive(&map.xor, &mut xor)?;
        }
        if !spec.xor.is_empty() {
            draft.teller = Teller(None);
            draft.exclusive(&spec.xor, &mut xor)?;
        }
        draft.finish(device, xor)
    }
}

impl Draft {
    /// Whether the map is the device's own. That is its standard's, and a variant may have other levels, or less of a field than is
    /// cut from it: what it lacks is passed over.
    fn own(&self) -> bool {
        self.teller.0.is_some()
    }

    /// One entry of `bits`.
    fn entry(&mut self, entry: &str) -> Result<(), InputError> {
        if entry == "levels" {
            let own = self.own();
            let levels: Vec<usize> =
                (0..self.fields.len()).filter(|f| self.fields[*f].target == BANK && !self.fields[*f].done).collect();
            if levels.is_empty() && !own {
                let problem = "has `levels` where nothing of a level is left: leave it out, or the levels before it";
                return Err(self.teller.error("map.bits", problem));
            }
            return levels.into_iter().try_for_each(|f| self.take(f, None));
        }
        let (name, bits) = match entry.split_once(':') {
            None => (entry, None),
            Some((name, text)) => {
                let bits = text.trim().parse::<u32>().ok().filter(|b| (1..=63).contains(b)).ok_or_else(|| {
                    let problem =
                        format!("has `{entry}`: write `{name}:3` for the next three bits, or `{name}` for all");
                    self.teller.error("map.bits", problem)
                })?;
                (name.trim(), Some(bits))
            }
        };
        let Some(field) = self.fields.iter().position(|f| f.name == name) else {
            if self.own() && LEVELS.contains(&name) {
                return Ok(());
            }
            let known: Vec<&str> = self.fields.iter().map(|f| f.name.as_str()).chain(["levels"]).collect();
            let what = InputError::unknown_name("controller", "field of the address map", name, known);
            return Err(InputError { help: what.help, ..self.teller.error("map.bits", what.problem) });
        };
        let own = self.own();
        if own && self.fields[field].done {
            return Ok(());
        }
        let bits = bits.map(|b| if own { b.min(self.fields[field].left.trailing_zeros()) } else { b });
        if self.fields[field].done {
            let problem = format!("has `{entry}` where nothing of `{name}` is left: an entry before it took all");
            let help = format!("leave one of them out, or cut the first, `{name}:1`");
            return Err(self.teller.error("map.bits", problem).help(help));
        }
        self.take(field, bits)
    }

    /// Gives the next bits to a field: so many, or all that is left of it.
    fn take(&mut self, field: usize, bits: Option<u32>) -> Result<(), InputError> {
        let f = &mut self.fields[field];
        let free = f.left.trailing_zeros();
        if let Some(bits) = bits
            && bits > free
        {
            let problem = if f.size.is_power_of_two() {
                let given = f.used + bits;
                format!("gives `{}` {given} bits: it has {}, for {} of it", f.name, f.bits, f.size)
            } else if free == 0 {
                let n = f.left;
                format!(
                    "cuts `{}:{bits}` where there are {n}, which no bit can be cut from: write `{}`",
                    f.name, f.name
                )
            } else {
                let (name, n) = (&f.name, f.left);
                format!("cuts `{name}:{bits}` where there are {n}: at most `{name}:{free}`, and the rest as `{name}`")
            };
            return Err(self.teller.error("map.bits", problem));
        }
        let digit = bits.is_none() && !f.left.is_power_of_two();
        let bits = bits.unwrap_or(f.bits - f.used);
        if bits > 0 {
            self.pieces[f.target].push(Piece { from: self.at, mask: (1 << bits) - 1, to: f.offset + f.used });
        }
        if digit {
            self.digits.push((Digit { at: self.at, bits, size: f.left }, f.target));
            f.left = 1;
        } else {
            f.left >>= bits;
        }
        f.used += bits;
        f.done = f.left == 1;
        self.at += bits;
        if self.at > 64 {
            let problem = "takes more than 64 bits of an index: fewer channels, or a smaller device";
            return Err(self.teller.error("map.bits", problem));
        }
        Ok(())
    }

    /// Compiles XORs after those that are there.
    fn exclusive(&self, specs: &[XorSpec], xor: &mut Vec<(usize, u32, u64)>) -> Result<(), InputError> {
        for x in specs {
            let fail = |problem: String| self.teller.error("map.xor", problem);
            let Some(field) = self.fields.iter().find(|f| f.name == x.field) else {
                let known = self.fields.iter().map(|f| f.name.as_str());
                let what = InputError::unknown_name("controller", "field of the address map", &x.field, known);
                return Err(InputError { help: what.help, ..fail(what.problem) });
            };
            if !field.size.is_power_of_two() {
                let problem = format!(
                    "puts bits into `{}`, of which there are {}: only a field of a power of two can take them",
                    field.name, field.size
                );
                return Err(fail(problem));
            }
            if x.bit >= field.bits {
                let (name, size, bits) = (&field.name, field.size, field.bits);
                let has = if bits == 0 { "none".into() } else { format!("bits 0 to {}", bits - 1) };
                return Err(fail(format!("has bit {} of `{name}`: there are {size} of it, which has {has}", x.bit)));
            }
            if let Some(high) = x.with.iter().find(|b| **b >= self.at) {
                let problem = format!(
                    "takes bit {high} of the index into `{}`: it lies above the capacity, whose indices have bits 0 to {}",
                    field.name,
                    self.at - 1
                );
                return Err(fail(problem));
            }
            let mask = x.with.iter().fold(0u64, |m, b| m | 1 << b);
            xor.push((field.target, field.offset + x.bit, mask));
        }
        Ok(())
    }

    fn finish(mut self, device: &Device, xor: Vec<(usize, u32, u64)>) -> Result<AddressMap, InputError> {
        let mut starts = [0; 4];
        let mut start = 0;
        for (target, at) in starts.iter_mut().enumerate() {
            *at = start;
            start += self.fields.iter().filter(|f| f.target == target).map(|f| f.bits).sum::<u32>();
        }
        let inverse = invert::invert(&self.pieces, &starts, &xor, self.at).map_err(|lost| {
            let (target, bit) = (xor[lost].0, xor[lost].1);
            let field = self.fields.iter().find(|f| f.target == target && (f.offset..f.offset + f.bits).contains(&bit));
            let (name, bit) = field.map_or(("?", bit), |f| (f.name.as_str(), bit - f.offset));
            let problem = format!(
                "makes bit {bit} of `{name}` follow from other bits of the place: transactions would share one, and others stay unused"
            );
            let row = self.pieces[ROW].last().map(|p| (p.from, p.from + p.mask.count_ones() - 1));
            let error = self.teller.error("map.xor", problem);
            match row {
                Some((low, high)) => error.help(format!(
                    "take bits of fields that are not changed themselves, once each: the row's are {low} to {high}"
                )),
                None => error,
            }
        })?;
        // Rows on top need no division: what is above them is nothing.
        let mut rows_wrap = false;
        if let [(row, ROW)] = &self.digits[..]
            && row.at + row.bits == self.at
        {
            rows_wrap = true;
            self.digits.clear();
        }
        let levels = &device.levels[1..];
        let whole = levels.iter().all(|l| l.per_parent.is_power_of_two());
        let level_bits = |f: &&Field| f.target == BANK;
        let bits = self.fields.iter().filter(level_bits).zip(levels);
        let bits = bits.map(|(f, l)| LevelBits { at: f.offset, bits: f.bits, banks: u64::from(l.banks) });
        let radix = Radix {
            digits: self.digits.iter().map(|(d, _)| *d).collect(),
            levels: if whole { Vec::new() } else { bits.collect() },
        };
        let transactions = self.fields.iter().try_fold(1u64, |n, f| n.checked_mul(f.size)).unwrap_or(u64::MAX);
        let radix = (!self.digits.is_empty()).then(|| Box::new(radix));
        let mut map = AddressMap {
            pieces: self.pieces,
            short: None,
            xor,
            rows: u64::from(device.rows),
            rows_wrap,
            radix,
            transactions,
            inverse,
            starts,
        };
        let plain = map.radix.is_none() && map.xor.is_empty() && map.pieces[BANK].len() <= 4;
        if let ([row], true) = (&map.pieces[ROW][..], plain) {
            let mut bank = [Piece { from: 0, mask: 0, to: 0 }; 4];
            bank[..map.pieces[BANK].len()].copy_from_slice(&map.pieces[BANK]);
            map.short = Some((bank, *row));
        }
        Ok(map)
    }
}

/// Channel, column and row, and the levels below the channel from the outermost inwards.
fn fields(device: &Device, channels: u32) -> Vec<Field> {
    let mut out = vec![
        Field::new("channel", CHANNEL, 0, channels.max(1)),
        Field::new("column", COLUMN, 0, device.columns),
        Field::new("row", ROW, 0, device.rows),
    ];
    let levels = &device.levels[1..];
    for (i, level) in levels.iter().enumerate() {
        let offset = levels[i + 1..].iter().map(|l| bits_for(u64::from(l.per_parent))).sum();
        out.push(Field::new(&level.name, BANK, offset, level.per_parent));
    }
    out
}
