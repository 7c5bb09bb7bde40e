//! The least that each standard allows: a count of clocks, a time, or the larger of both.
//!
//! What depends on the speed grade stands here with its least value over the grades. A device that keeps a simulator's preset
//! (`preset_of`) is not held to these.

use crate::dram::device::Device;
use crate::dram::table::RawDevice;

/// A minimum: the timing, clocks, nanoseconds.
type Floor = (&'static str, f64, f64);

/// Holds a device to the minima of the standard that it builds on.
pub(super) fn floors(raw: &RawDevice, device: &Device, out: &mut Vec<String>) {
    if raw.preset_of.is_some() {
        return;
    }
    let names = || raw.bases.iter().map(String::as_str).chain([raw.name.as_str()]);
    let Some(standard) = STANDARDS.iter().find(|s| names().any(|n| n == s.base)) else { return };
    let clock_ps = device.clock_fs as f64 / 1000.0 * f64::from(device.ticks_per_clock);
    let chip = Chip::of(raw, device);
    let limits = standard.floors.iter().copied().chain((standard.by_chip)(&chip));
    let counts = device.row_hammer.is_some_and(|offer| offer.counting.is_some());
    for (timing, clocks, ns) in limits {
        // Where rows are counted, their timings are others.
        let (timing, clocks, ns) = match standard.counting.iter().find(|(name, ..)| counts && *name == timing) {
            Some(other) => *other,
            None => (timing, clocks, ns),
        };
        let Some(cycles) = device.timing(timing) else { continue };
        let least = clocks.max((ns * 1000.0 / clock_ps * standard.rounding - 1e-6).ceil());
        if cycles < least {
            out.push(format!(
                "{timing} is {cycles}, and {} has no less than {}: {least} cycles of {clock_ps} ps",
                standard.name,
                limit(clocks, ns)
            ));
        }
    }
    let interval_ns = device.timing("nREFI").map(|n| n * clock_ps / 1000.0);
    if let Some(ns) = interval_ns.filter(|ns| *ns > standard.refi_ns * 1.001 + clock_ps / 1000.0) {
        out.push(format!("nREFI is {ns:.0} ns, and {} has no more than {} ns", standard.name, standard.refi_ns));
    }
}

fn limit(clocks: f64, ns: f64) -> String {
    match (clocks > 0.0, ns > 0.0) {
        (true, true) => format!("the larger of {clocks} clocks and {ns} ns"),
        (true, false) => format!("{clocks} clocks"),
        _ => format!("{ns} ns"),
    }
}

/// What a minimum depends on.
struct Chip {
    /// Data pins of a chip.
    width: u32,
    /// Gigabits of a chip, or of a channel where one chip has several.
    gigabits: f64,
}

impl Chip {
    fn of(raw: &RawDevice, device: &Device) -> Self {
        let chips = raw.organization.devices.unwrap_or(1).max(1);
        let ranks: u32 = device.levels.iter().filter(|l| l.name == "rank").map(|l| l.per_parent).product();
        let bits = device.capacity_bytes() as f64 * 8.0 / f64::from(chips) / f64::from(ranks.max(1));
        Self { width: device.data_pins / chips, gigabits: bits / f64::from(1 << 30) }
    }

    /// Of values by density, that of the chip.
    fn by_density(&self, values: &[(f64, f64)]) -> f64 {
        values.iter().rev().find(|(gigabits, _)| self.gigabits >= gigabits * 0.99).map_or(0.0, |(_, ns)| *ns)
    }
}

struct Standard {
    base: &'static str,
    name: &'static str,
    /// The share of a clock that the standard lets a time fall short of whole clocks by, as a factor.
    rounding: f64,
    /// The longest average interval of refresh commands.
    refi_ns: f64,
    floors: &'static [Floor],
    by_chip: fn(&Chip) -> Vec<Floor>,
    /// In place of these where the device counts the activations of rows (PRAC).
    counting: &'static [Floor],
}

fn none(_: &Chip) -> Vec<Floor> {
    Vec::new()
}

fn ddr4(chip: &Chip) -> Vec<Floor> {
    let rfc = chip.by_density(&[(2.0, 160.0), (4.0, 260.0), (8.0, 350.0), (16.0, 550.0)]);
    let faw = match chip.width {
        0..=4 => ("nFAW", 16.0, 10.0),
        5..=8 => ("nFAW", 20.0, 21.0),
        _ => ("nFAW", 28.0, 30.0),
    };
    let rrd = if chip.width > 8 { 5.3 } else { 2.5 };
    vec![("nRFC", 0.0, rfc), faw, ("nRRDS", 4.0, rrd)]
}

fn ddr5(chip: &Chip) -> Vec<Floor> {
    let rfc = chip.by_density(&[(8.0, 195.0), (16.0, 295.0), (24.0, 410.0)]);
    let same = chip.by_density(&[(8.0, 115.0), (16.0, 130.0), (24.0, 190.0)]);
    let write = if chip.width < 8 { ("nCCDL_WR", 32.0, 20.0) } else { ("nCCDL_WR", 16.0, 10.0) };
    let faw = if chip.width > 8 { ("nFAW", 40.0, 12.5) } else { ("nFAW", 32.0, 10.0) };
    vec![("nRFC", 0.0, rfc), ("nRFCsb", 0.0, same), write, faw]
}

fn lpddr5(chip: &Chip) -> Vec<Floor> {
    let all = chip.by_density(&[(2.0, 130.0), (3.0, 180.0), (8.0, 210.0), (12.0, 280.0), (24.0, 380.0)]);
    let one = chip.by_density(&[(2.0, 60.0), (3.0, 90.0), (8.0, 120.0), (12.0, 140.0), (24.0, 190.0)]);
    vec![("nRFC", 0.0, all), ("nRFCpb", 0.0, one)]
}

/// HBM's and GDDR's times are their makers' own; what the standards fix are bursts, spacings in clocks, and refresh.
const STANDARDS: [Standard; 9] = [
    Standard {
        base: "ddr4",
        name: "JESD79-4",
        rounding: 0.974,
        refi_ns: 7800.0,
        floors: &[
            ("nBL", 4.0, 0.0),
            ("nCCDS", 4.0, 0.0),
            ("nCCDL", 4.0, 5.0),
            ("nRRDL", 4.0, 4.9),
            ("nWTRS", 2.0, 2.5),
            ("nWTRL", 4.0, 7.5),
            ("nRTP", 4.0, 7.5),
            ("nWR", 0.0, 15.0),
            ("nRAS", 0.0, 32.0),
            ("nRCD", 0.0, 12.5),
            ("nRP", 0.0, 12.5),
        ],
        by_chip: ddr4,
        counting: &[],
    },
    Standard {
        base: "ddr5",
        name: "JESD79-5",
        rounding: 0.997,
        refi_ns: 3900.0,
        floors: &[
            ("nBL", 8.0, 0.0),
            ("nCCDS", 8.0, 0.0),
            ("nCCDL", 8.0, 5.0),
            ("nRRDS", 8.0, 0.0),
            ("nRRDL", 8.0, 5.0),
            ("nWTRS", 4.0, 2.5),
            ("nWTRL", 16.0, 10.0),
            ("nRTP", 12.0, 7.5),
            ("nWR", 0.0, 30.0),
            ("nRAS", 0.0, 32.0),
            ("nRCD", 0.0, 13.75),
            ("nRP", 0.0, 13.75),
        ],
        by_chip: ddr5,
        counting: &[("nRP", 0.0, 36.0), ("nRAS", 0.0, 16.0), ("nRTP", 12.0, 5.0), ("nWR", 0.0, 10.0)],
    },
    Standard {
        base: "lpddr5",
        name: "JESD209-5",
        rounding: 1.0,
        refi_ns: 3906.0,
        floors: &[
            ("nCCDS", 2.0, 0.0),
            ("nRRDS", 2.0, 5.0),
            ("nRRDL", 2.0, 5.0),
            ("nFAW", 0.0, 20.0),
            ("nWTRS", 0.0, 6.25),
            ("nWTRL", 0.0, 12.0),
            ("nRTP", 2.0, 7.5),
            ("nWR", 3.0, 34.0),
            ("nRAS", 3.0, 42.0),
            ("nRCD", 2.0, 18.0),
            ("nRP", 2.0, 18.0),
            ("nRPab", 2.0, 21.0),
            ("nPPD", 2.0, 0.0),
            ("nPBR2PBR", 0.0, 90.0),
            ("nPBR2ACT", 0.0, 7.5),
        ],
        by_chip: lpddr5,
        counting: &[],
    },
    Standard {
        base: "hbm1",
        name: "JESD235",
        rounding: 0.974,
        refi_ns: 3900.0,
        floors: &[("nBL", 1.0, 0.0), ("nCCDS", 1.0, 0.0), ("nCCDL", 2.0, 0.0), ("nRFC", 0.0, 160.0)],
        by_chip: none,
        counting: &[],
    },
    Standard {
        base: "hbm2",
        name: "JESD235",
        rounding: 0.974,
        refi_ns: 3900.0,
        floors: &[("nBL", 2.0, 0.0), ("nCCDS", 2.0, 0.0), ("nCCDL", 3.0, 0.0), ("nRFC", 0.0, 160.0)],
        by_chip: none,
        counting: &[],
    },
    Standard {
        base: "hbm3",
        name: "JESD238",
        rounding: 0.974,
        refi_ns: 3900.0,
        floors: &[
            ("nBL", 2.0, 0.0),
            ("nCCDS", 2.0, 0.0),
            ("nCCDL", 2.0, 0.0),
            ("nPPD", 2.0, 0.0),
            ("nRFC", 0.0, 260.0),
        ],
        by_chip: none,
        counting: &[],
    },
    Standard {
        base: "hbm4",
        name: "JESD270-4",
        rounding: 0.974,
        refi_ns: 3900.0,
        floors: &[
            ("nBL", 2.0, 0.0),
            ("nCCDS", 2.0, 0.0),
            ("nCCDL", 4.0, 0.0),
            ("nPPD", 2.0, 0.0),
            ("nRFC", 0.0, 260.0),
        ],
        by_chip: none,
        counting: &[],
    },
    Standard {
        base: "gddr6-memory",
        name: "JESD250",
        rounding: 0.974,
        refi_ns: 1900.0,
        floors: &[("nBL", 2.0, 0.0), ("nCCDS", 2.0, 0.0), ("nCCDL", 3.0, 0.0)],
        by_chip: none,
        counting: &[],
    },
    Standard {
        base: "gddr7",
        name: "JESD239",
        rounding: 0.974,
        refi_ns: 1900.0,
        floors: &[("nBL", 2.0, 0.0), ("nCCD", 2.0, 0.0)],
        by_chip: none,
        counting: &[],
    },
];
