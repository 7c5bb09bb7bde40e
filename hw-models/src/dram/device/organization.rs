//! The levels of a channel, and what its pins carry.

use banksia_input::InputError;

use super::Level;
use super::compile::Compiler;

impl Compiler<'_> {
    pub(super) fn levels(&self) -> Result<Vec<Level>, InputError> {
        let org = &self.raw.organization;
        let key = "organization.levels";
        if org.levels.is_empty() || org.levels.len() > 8 {
            return Err(self.source.error(key, "must name 1 to 8 levels").help("from `channel` inwards to `bank`"));
        }
        for name in org.count.keys() {
            if !org.levels.contains(name) {
                let known = org.levels.iter().map(String::as_str);
                return Err(self.source.unknown_name(&format!("organization.count.{name}"), "level", name, known));
            }
        }
        let mut levels = Vec::with_capacity(org.levels.len());
        let mut nodes = 1u32;
        for (i, name) in org.levels.iter().enumerate() {
            if org.levels[..i].contains(name) {
                return Err(self.source.error(key, format!("names `{name}` twice")));
            }
            let count_key = format!("organization.count.{name}");
            let per_parent = match org.count.get(name) {
                Some(n) => self.source.check(&count_key, *n, 1..=4096)?,
                None if i == 0 => 1,
                None => return Err(self.source.error(&count_key, "is missing, here and in the base")),
            };
            if i == 0 && per_parent != 1 {
                return Err(self
                    .source
                    .error(&count_key, format!("is {per_parent}: a device file describes one {name}"))
                    .help("how many channels there are is the machine's or the command line's to say"));
            }
            nodes = nodes
                .checked_mul(per_parent)
                .filter(|n| *n <= 65_536)
                .ok_or_else(|| self.source.error(&count_key, "makes more than 65536 banks in a channel"))?;
            levels.push(Level { name: name.clone(), per_parent, nodes, banks: 0 });
        }
        for level in &mut levels {
            level.banks = nodes / level.nodes;
        }
        Ok(levels)
    }

    /// An access fills whole beats of its pins. Pins that it does not fill are those of an error-correcting code.
    pub(super) fn check_beats(&self, levels: &[Level], access_bytes: u32, data_pins: u32) -> Result<(), InputError> {
        let parts = levels.iter().find(|l| l.name == "pseudochannel").map_or(1, |l| l.per_parent);
        let (pins, bits) = (data_pins / parts, access_bytes * 8);
        if pins > 0 && pins * parts == data_pins && bits.is_multiple_of(pins) {
            return Ok(());
        }
        let problem =
            format!("is {data_pins}: an access of {access_bytes} bytes does not fill whole beats of so many pins");
        let data = (0..=pins.max(1).ilog2()).rev().map(|b| 1u32 << b).find(|p| bits.is_multiple_of(*p)).unwrap_or(1);
        Err(self.source.error("organization.data_pins", problem).help(format!(
            "bits of an error-correcting code are capacity, not bandwidth: write data_pins = {} and ecc_pins = {}",
            data * parts,
            data_pins.saturating_sub(data * parts)
        )))
    }
}
