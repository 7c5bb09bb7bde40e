//! What a comparison of devices cannot tell apart.

use super::device::Device;

/// A figure that devices have in common and that one of them at least only assumes.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    /// The part of the energy that it goes into.
    pub part: String,
    /// Its name.
    pub figure: String,
    /// Its value.
    pub value: f64,
    /// The devices that have it, in the order given.
    pub devices: Vec<String>,
}

/// The figures that two or more of these devices have in common and that at least one of them only assumes: where they are compared,
/// these do not tell them apart.
pub fn shared_assumptions(devices: &[&Device]) -> Vec<Shared> {
    let mut out: Vec<Shared> = Vec::new();
    for a in devices.iter().flat_map(|d| &d.energy.assumed) {
        let same = |value: f64| (value - a.value).abs() <= 1e-9 * a.value.abs();
        if out.iter().any(|s| (&s.part, &s.figure) == (&a.part, &a.figure) && same(s.value)) {
            continue;
        }
        let mut names: Vec<String> = Vec::new();
        for d in devices.iter().filter(|d| d.timing(&a.figure).is_some_and(same)) {
            if !names.contains(&d.name) {
                names.push(d.name.clone());
            }
        }
        if names.len() > 1 {
            let (part, figure) = (a.part.clone(), a.figure.clone());
            out.push(Shared { part, figure, value: a.value, devices: names });
        }
    }
    out
}
