//! Figures of energy that are not a device's own.

use banksia_input::{InputError, Source};

use super::expr::Symbols;
use super::table::RawDevice;

/// A figure that is not known of the device itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Assumed {
    /// The part of the energy that it goes into.
    pub part: String,
    /// Its name in the file (`IDD4R`, `io_pj_per_bit`).
    pub figure: String,
    /// Its value, in the unit that its name says; milliamperes for a current.
    pub value: f64,
    /// Whose it is: a device, a source, or the clock that it was given for.
    pub of: String,
}

/// The currents that are scaled to another clock, with the parts that they go into.
const SCALED: [(&str, &str); 4] =
    [("read", "IDD4R"), ("write", "IDD4W"), ("background", "IDD3N"), ("background", "IDD2N")];

/// What the file assumes, and what is scaled from the clock of `given` picoseconds where the device's is another.
pub(super) fn assumptions(
    raw: &RawDevice,
    source: &Source,
    symbols: &Symbols,
    given: f64,
    scaled: bool,
) -> Result<Vec<Assumed>, InputError> {
    let mut out = Vec::new();
    for (i, a) in raw.energy.assumed.iter().enumerate() {
        let known = || raw.currents_ma.keys().chain(raw.parameters.keys()).map(String::as_str);
        let Some(value) = symbols.get(&a.figure).filter(|_| known().any(|k| k == a.figure)) else {
            let key = format!("energy.assumed[{i}].figure");
            return Err(source.unknown_name(&key, "current or parameter", &a.figure, known()));
        };
        let (part, figure, of) = (a.part.clone(), a.figure.clone(), a.of.clone());
        out.push(Assumed { part, figure, value: *value, of });
    }
    for (part, figure) in SCALED.into_iter().filter(|_| scaled) {
        if let Some(value) = raw.currents_ma.get(figure) {
            let of = format!("a clock of {given} ps, scaled");
            out.push(Assumed { part: part.into(), figure: figure.into(), value: *value, of });
        }
    }
    Ok(out)
}
