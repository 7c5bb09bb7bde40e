//! The catalog as a whole: every device compiles, none contradicts itself, and the named ones are what the preset table says.
#![allow(clippy::unwrap_used, clippy::panic)]

use banksia_hw::dram::lint::{check_names, lint};
use banksia_hw::dram::table::RawDevice;
use banksia_hw::dram::{Device, catalog};
use banksia_input::Source;

#[test]
fn every_device_compiles_and_none_contradicts_itself() {
    let mut names = catalog::names();
    for name in &names {
        let device = catalog::load(name).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(device.name, *name);
        assert!(device.roles.is_some(), "{name} has the commands of a memory controller");
        let findings = lint(&catalog::resolved(name).unwrap(), &device);
        assert!(findings.is_empty(), "{name}: {findings:#?}");
    }
    let listed = names.clone();
    names.sort_unstable();
    assert_eq!(listed, names, "the embedded list is in alphabetical order");
    for standard in ["ddr4", "ddr5", "lpddr5", "gddr6", "gddr7", "hbm2-", "hbm2e", "hbm3-", "hbm3e", "hbm4"] {
        assert!(listed.iter().filter(|n| n.starts_with(standard)).count() >= 2, "{standard} has several grades");
    }
}

/// The lint finds what it is for: each of these changes makes a good device an impossible one.
#[test]
fn impossible_presets_are_found() {
    let broken = |changes: &str| -> Vec<String> {
        let text = format!("name = \"broken\"\nsource = \"a test of the lint\"\nbase = \"ddr5-4800an\"\n{changes}\n");
        let path = std::env::temp_dir().join(format!("banksia-lint-{}-{}.toml", std::process::id(), changes.len()));
        std::fs::write(&path, text).unwrap();
        let name = path.to_str().unwrap();
        let found = lint(&catalog::resolved(name).unwrap(), &catalog::load(name).unwrap());
        std::fs::remove_file(&path).unwrap();
        found
    };
    assert!(broken("").is_empty());
    for (changes, expected) in [
        ("[timing_cycles]\nnRRDL = 5", "nRRDL is 5, less than nRRDS"),
        ("[timing_cycles]\nnRC = 140", "nRC is 140"),
        ("[timing_cycles]\nnFAW = 4", "nFAW is 4, less than nRRDS"),
        ("[timing_cycles]\nnBL = 4", "the pins need"),
        ("[timing_cycles]\nnRFC = 20000", "a refresh takes 20000"),
        ("[parameters]\nleakage = 3.0", "`parameters.leakage`"),
    ] {
        let found = broken(changes).join("\n");
        assert!(found.contains(expected), "{changes}: {found}");
    }
}

fn cycles(device: &Device, name: &str) -> u64 {
    device.timing(name).unwrap_or_else(|| panic!("{} lacks {name}", device.name)) as u64
}

/// Values of the named devices' rows of the preset table (Ramulator 2.1), spelt out here a second time.
#[test]
fn named_devices_are_their_presets() {
    type Row = (&'static str, u64, u32, u32, u32, u32, &'static [(&'static str, u64)]);
    let rows: [Row; 8] = [
        (
            "ddr4-2400r",
            833,
            16,
            65536,
            128,
            64,
            &[("nCL", 16), ("nRCD", 16), ("nRP", 16), ("nRAS", 39), ("nFAW", 26), ("nRFC", 433), ("nREFI", 9364)],
        ),
        ("ddr4-3200aa", 625, 16, 65536, 128, 64, &[("nCL", 22), ("nRCD", 22), ("nRP", 22), ("nRAS", 52)]),
        ("ddr4-2400r-2rank", 833, 32, 65536, 128, 64, &[("nCL", 16), ("nCS", 2)]),
        ("ddr5-4800an", 416, 32, 65536, 64, 64, &[("nCL", 34), ("nRCD", 34), ("nRP", 34), ("nRAS", 77)]),
        (
            "lpddr5-6400",
            1250,
            16,
            65536,
            64,
            32,
            &[("nCL", 17), ("nRCD", 15), ("nRAS", 34), ("nAAD", 8), ("nRFC", 224), ("nREFI", 3125)],
        ),
        (
            "gddr6-14000-1350mv",
            570,
            16,
            16384,
            64,
            32,
            &[("nCL", 24), ("nRCDRD", 27), ("nRAS", 53), ("nFAW", 29), ("nREFI", 3333)],
        ),
        ("hbm2-2000", 1000, 32, 32768, 32, 32, &[("nRCDRD", 14), ("nREFI", 3900)]),
        (
            "hbm3-6400",
            625,
            64,
            16384,
            32,
            32,
            &[("nCL", 20), ("nRCDRD", 31), ("nRP", 26), ("nFAW", 24), ("nRFC", 560), ("nREFI", 6240)],
        ),
    ];
    for (name, clock_ps, banks, rows, columns, access, timings) in rows {
        let d = catalog::load(name).unwrap();
        assert_eq!(d.clock_fs * u64::from(d.ticks_per_clock), clock_ps * 1000, "{name}");
        assert_eq!((d.banks, d.rows, d.columns, d.access_bytes), (banks, rows, columns, access), "{name}");
        for (timing, value) in timings {
            assert_eq!(cycles(&d, timing), *value, "{name} {timing}");
        }
    }
}

/// DDR4-2400R by hand, one rank of eight chips at 1.2 V and 833 ps: 1 mA for a cycle is 1.2 x 0.833 x 8 = 7.9968 pJ.
#[test]
fn energy_of_ddr4_by_hand() {
    let d = catalog::load("ddr4-2400r").unwrap();
    let per = |command: &str, part: &str| {
        let p = d.energy.parts.iter().position(|p| p == part).unwrap();
        d.energy.per_issue_pj[d.command(command).unwrap().0 as usize][p]
    };
    let unit = 1.2 * 0.833 * 8.0;
    let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-9 * b.abs(), "{a} is not {b}");
    // IDD0 48 for nRC 55, less IDD3N 43 for nRAS 39 and IDD2N 34 for the other 16: 2640 - 1677 - 544 = 419 mA cycles.
    close(per("ACT", "activate"), 419.0 * unit);
    // (IDD4R 135 - IDD3N 43) for four cycles; (IDD4W 123 - 43) for four.
    close(per("RD", "read"), 368.0 * unit);
    close(per("WR", "write"), 320.0 * unit);
    // (IDD5B 250 - IDD2N 34) for nRFC 433.
    close(per("REFab", "refresh"), 93_528.0 * unit);
    // Ten activations, 30 reads, 5 writes, one refresh; a row open for 1000 cycles and none for 500.
    let mut counts = vec![0; d.commands.len()];
    for (command, n) in [("ACT", 10), ("RD", 30), ("WR", 5), ("REFab", 1)] {
        counts[d.command(command).unwrap().0 as usize] = n;
    }
    let joules = d.energy.joules(&counts, 1000, 500);
    close(joules["activate"], 4190.0 * unit * 1e-12);
    close(joules["read"], 11_040.0 * unit * 1e-12);
    close(joules["write"], 1600.0 * unit * 1e-12);
    close(joules["refresh"], 93_528.0 * unit * 1e-12);
    close(joules["background"], (43.0 * 1000.0 + 34.0 * 500.0) * unit * 1e-12);
}

/// HBM3 by hand: 1 KB rows at 0.11 pJ/bit, 32-byte accesses at 2.68 and 0.8.
#[test]
fn energy_of_hbm3_by_hand() {
    let d = catalog::load("hbm3-6400").unwrap();
    let mut counts = vec![0; d.commands.len()];
    counts[d.command("ACT").unwrap().0 as usize] = 2;
    counts[d.command("RD").unwrap().0 as usize] = 3;
    let joules = d.energy.joules(&counts, 0, 0);
    let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-9 * b.abs(), "{a} is not {b}");
    close(joules["activate"], 2.0 * 0.11 * 8192.0 * 1e-12);
    close(joules["read"], 3.0 * 2.68 * 256.0 * 1e-12);
    close(joules["io"], 3.0 * 0.8 * 256.0 * 1e-12);
}

#[test]
fn mistakes_in_a_device_name_their_line() {
    let text = "name = \"mine\"\nsource = \"a test\"\nbase = \"ddr4-2400r\"\n[timing_cycles]\nnCL = -3\n";
    assert!(Source::from_text("mine.toml", text).parse::<banksia_hw::dram::table::RawDevice>().is_err());
    let text = "name = \"mine\"\nsource = \"a test\"\nbase = \"ddr4-2400r\"\n[controller]\nactivate = \"ACTX\"\n";
    let error = catalog::load_source(&Source::from_text("mine.toml", text)).unwrap_err().to_string();
    assert!(error.contains("mine.toml:5") && error.contains("ACT"), "{error}");
}

/// Every number of the catalog is used, or its file says that it is not.
#[test]
fn every_number_is_used_or_said_not_to_be() {
    let mut lost = Vec::new();
    for name in catalog::names() {
        let source = catalog::open(name, None).unwrap();
        let mut own: RawDevice = source.parse().unwrap();
        let merged = catalog::resolved(name).unwrap();
        while let Err(e) = check_names(&source, &own, &merged) {
            let figure = e.problem.split('`').nth(1).unwrap().to_owned();
            lost.push(format!("{name} {figure}"));
            own.unused.push(figure);
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}
