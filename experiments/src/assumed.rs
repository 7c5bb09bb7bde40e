//! Constants of a machine that no source gives: keys that its files mark `assumed`.

/// A number that is assumed.
#[derive(Debug, Clone, PartialEq)]
pub struct Assumed {
    /// Its key in an experiment (`machine.link.latency_ns`).
    pub key: String,
    /// Its value.
    pub value: f64,
    /// Whether only whole numbers make sense.
    pub whole: bool,
}

impl Assumed {
    /// It multiplied by a factor, as a setting of an experiment; a whole number changes by one at least.
    pub fn times(&self, factor: f64) -> String {
        let scaled = self.value * factor;
        if !self.whole {
            // Six digits: more than an assumption has, and few enough for every key.
            let rounded: f64 = format!("{scaled:.5e}").parse().unwrap_or(scaled);
            return format!("{}={rounded:?}", self.key);
        }
        let nearest = scaled.round().max(1.0);
        let moved = if (nearest - self.value).abs() < 0.5 && factor > 1.0 {
            self.value + 1.0
        } else if (nearest - self.value).abs() < 0.5 && factor < 1.0 {
            (self.value - 1.0).max(1.0)
        } else {
            nearest
        };
        format!("{}={}", self.key, moved as i64)
    }
}

/// Finds the assumed numbers of an experiment's configuration, which holds the files of its machine one after the other.
///
/// A key is assumed if its line says so in a comment, or the comment above it does; that holds for the keys that follow until the next comment or
/// an empty line.
pub fn assumed(configuration: &str) -> Vec<Assumed> {
    let mut found: Vec<Assumed> = Vec::new();
    // Where the keys of the file at hand stand in an experiment.
    let mut prefix: Option<String> = None;
    let (mut table, mut above) = (String::new(), false);
    for line in configuration.lines() {
        let line = line.trim();
        if let Some(section) = section(line) {
            (prefix, table, above) = (section, String::new(), false);
            continue;
        }
        if line.is_empty() {
            above = false;
        } else if line.starts_with('#') {
            above = says(line);
        } else if let Some(header) = line.strip_prefix('[') {
            above = false;
            // Entries of lists cannot be set by themselves.
            table = if header.starts_with('[') {
                "[]".into()
            } else {
                header.split(']').next().unwrap_or_default().trim().into()
            };
        } else if let (Some(prefix), Some((key, rest))) = (&prefix, line.split_once('=')) {
            let (value, comment) = rest.split_once('#').unwrap_or((rest, ""));
            let value = value.trim().replace('_', "");
            let Ok(number) = value.parse::<f64>() else { continue };
            if (above || says(comment)) && table != "[]" && number.is_finite() && number != 0.0 {
                let dot = if table.is_empty() { "" } else { "." };
                let key = format!("{prefix}{table}{dot}{}", key.trim());
                let whole = value.parse::<i64>().is_ok();
                // What is written over a file comes last.
                found.retain(|a| a.key != key);
                found.push(Assumed { key, value: number, whole });
            }
        }
    }
    found
}

fn says(comment: &str) -> bool {
    comment.to_ascii_lowercase().contains("assumed")
}

/// The prefix of the keys of a file that begins here; `Some(None)` for a file whose keys cannot be set.
#[allow(clippy::option_option)] // no file begins; one of which nothing is set; one with a prefix
fn section(line: &str) -> Option<Option<String>> {
    let name = line.strip_prefix("# ")?;
    Some(match name.split_once(" of ") {
        Some(("machine", device)) if !device.contains(' ') => Some(format!("machine.devices.{device}.")),
        Some(("device", device)) if !device.contains(' ') => Some(format!("machine.devices.{device}.device.")),
        _ => match name {
            "machine" => Some("machine.".to_owned()),
            "device" => Some("device.".to_owned()),
            "experiment" | "model" => None,
            _ if name.starts_with("file ") => None,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_numbers_are_found_where_an_experiment_sets_them() {
        let text = "# experiment\na = 1 # assumed\n# machine\n[link]\n# Assumed: by eye\nlatency_ns = 5.0\nb = 3\n\nc = 4\n[[rows]]\nd = 1 # assumed\n\
                    # device of pim\nclock = 1_000 # assumed\nname = \"x\" # assumed\n";
        let keys: Vec<(String, f64)> = assumed(text).into_iter().map(|a| (a.key, a.value)).collect();
        let expected =
            [("machine.link.latency_ns", 5.0), ("machine.link.b", 3.0), ("machine.devices.pim.device.clock", 1000.0)];
        assert_eq!(keys, expected.map(|(k, v)| (k.to_owned(), v)));
    }

    #[test]
    fn whole_numbers_stay_whole_and_move() {
        let of = |value, whole| Assumed { key: "k".into(), value, whole };
        assert_eq!(of(3.0, true).times(1.1), "k=4");
        assert_eq!(of(3.0, true).times(0.9), "k=2");
        assert_eq!(of(1.0, true).times(0.5), "k=1");
        assert_eq!(of(2.0, false).times(1.5), "k=3.0");
    }
}
