//! Energy of PIM devices by one convention (`docs/mapping-pim.md`): a command at several banks counts at each of them, nothing is paid at pins
//! that it does not use, and multiply-accumulates are counted.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use banksia_hw::dram::{Device, catalog};
use banksia_hw::pim::{HostKernel, IsaMachine, IsaOutcome, IsaSet};
use banksia_input::Source;

const DEVICES: [&str; 3] = ["gddr6-aim", "hbm2-pim", "hbm3-attacc"];

fn gemv(name: &str, outputs: u64, inputs: u64) -> (Arc<Device>, IsaOutcome) {
    let device = catalog::load(name).unwrap();
    let outcome = if catalog::resolved(name).unwrap().kernel.is_some() {
        let mut kernel = HostKernel::new(name, &device).unwrap();
        kernel.gemv(outputs, inputs).unwrap();
        kernel.execute(true).unwrap()
    } else {
        let set = IsaSet::load(name, &device).unwrap();
        let mut machine = IsaMachine::new(device.clone(), set.clone(), true).unwrap();
        set.gemv(outputs, inputs, |i| machine.run(i)).unwrap();
        machine.finish()
    };
    (device, outcome)
}

fn joules(device: &Device, outcome: &IsaOutcome) -> BTreeMap<String, f64> {
    let standing = outcome.standby_nodes * outcome.cycles;
    device.energy.joules(&outcome.counts, outcome.active_cycles, standing - outcome.active_cycles)
}

fn close(a: f64, b: f64, what: &str) {
    assert!((a - b).abs() <= 1e-9 * b.abs() + 1e-18, "{what}: {a} is not {b}");
}

/// Bytes that a command of this name takes from or brings to the banks, over all of them.
fn energy_of(device: &Device, outcome: &IsaOutcome, command: &str, part: &str) -> f64 {
    let c = device.command(command).unwrap().0 as usize;
    let p = device.energy.parts.iter().position(|p| p == part).unwrap();
    outcome.counts[c] as f64 * device.energy.per_issue_pj[c][p] * 1e-12
}

#[test]
fn products_of_the_three_devices_are_counted_alike() {
    let (outputs, inputs) = (4096, 4096);
    let bits = (outputs * inputs * 16) as f64;
    for (name, multiply) in DEVICES.into_iter().zip(["MAC16", "MACAB", "MACAB"]) {
        let (device, outcome) = gemv(name, outputs, inputs);
        assert_eq!(outcome.macs(&device), outputs * inputs, "{name}");
        let get = |parameter: &str| device.timing(parameter).unwrap();
        // The weights come out of their banks once, and pay the cells and the way to the bank's edge.
        let each = get("cell_column_pj_per_bit") + get("bank_pj_per_bit");
        close(energy_of(&device, &outcome, multiply, "bank_read"), bits * each * 1e-12, name);
        assert!((bits * each * 1e-6 - 389.231).abs() < 1e-3, "{name}");
        // They use no pins, and nothing of the way there.
        close(energy_of(&device, &outcome, multiply, "io"), 0.0, name);
        close(energy_of(&device, &outcome, multiply, "global"), 0.0, name);
        // Their rows are opened in every bank that they lie in.
        let energy = joules(&device, &outcome);
        let rows = bits * get("cell_row_pj_per_bit") * 1e-12;
        assert!(energy["activate"] >= 0.999 * rows && energy["activate"] < 1.4 * rows, "{name}: {energy:?} {rows}");
        for part in ["activate", "bank_read", "mac_units", "global", "io", "refresh", "background"] {
            assert!(energy.contains_key(part), "{name} has {part}: {energy:?}");
        }
    }
}

/// What is not published is unknown, and not nothing.
#[test]
fn multiplications_without_a_published_energy_are_unknown() {
    for (name, unknown) in DEVICES.into_iter().zip([true, true, false]) {
        let (device, outcome) = gemv(name, 512, 512);
        let known = device.energy.known(&joules(&device, &outcome));
        assert_eq!(known["mac_units"].is_none(), unknown, "{name}");
        assert!(known["background"].is_none(), "{name}");
    }
}

#[test]
fn parts_channels_and_banks_add_up() {
    for name in DEVICES {
        for (outputs, inputs) in [(4096, 1024), (100, 300)] {
            let (device, outcome) = gemv(name, outputs, inputs);
            let total: f64 = joules(&device, &outcome).values().sum();
            let places = outcome.energy_places(&device);
            close(places.by_channel_j.iter().sum(), total, name);
            close(places.by_bank_j.iter().sum::<f64>() + places.outside_banks_j, total, name);
            assert_eq!(places.by_bank_j.len(), device.banks as usize);
            assert!(places.by_bank_j.iter().all(|j| *j > 0.0), "{name} works in every bank: {places:?}");
        }
    }
}

/// A sum of vectors multiplies nothing; its accesses act on the banks of every block, and only registers' writes use pins.
#[test]
fn a_sum_of_vectors_has_no_macs_and_leaves_the_pins_alone() {
    let device = catalog::load("hbm2-pim").unwrap();
    let mut kernel = HostKernel::new("hbm2-pim", &device).unwrap();
    let elements = 64 * 16 * 8 * 16 * 4;
    kernel.add(elements).unwrap();
    let outcome = kernel.execute(false).unwrap();
    assert_eq!(outcome.macs(&device), 0);
    let bits = elements as f64 * 16.0;
    close(energy_of(&device, &outcome, "RDAB", "bank_read"), 2.0 * bits * 1.45e-12, "two operands");
    close(energy_of(&device, &outcome, "WRAB", "bank_write"), bits * 1.45e-12, "the sum");
    close(energy_of(&device, &outcome, "WRAB", "io"), 0.0, "inside");
    assert!(energy_of(&device, &outcome, "WRREG", "io") > 0.0);
}

/// Accesses of one bank are paid at that bank.
#[test]
fn energy_is_where_the_work_is() {
    let device = catalog::load("gddr6-aim").unwrap();
    let set = IsaSet::load("gddr6-aim", &device).unwrap();
    let mut machine = IsaMachine::new(device.clone(), set.clone(), false).unwrap();
    let trace = "W MEM 3 5 0\nR MEM 7 9 0\nAiM MAC_SBK 4 0x8 2 1\nAiM EOC\n";
    set.read_source(&Source::from_text("t", trace), |i| machine.run(i)).unwrap();
    let places = machine.finish().energy_places(&device);
    let some = |list: &[f64]| list.iter().enumerate().filter(|(_, j)| **j > 0.0).map(|(i, _)| i).collect::<Vec<_>>();
    assert_eq!((some(&places.by_channel_j), some(&places.by_bank_j)), (vec![3, 7], vec![2, 5, 9]));
}

/// `[isa]` and `[kernel]` come from the base key by key, and an instruction of the same name takes the base's place.
#[test]
fn tables_are_inherited_key_by_key() {
    let load = |text: &str| {
        let source = Source::from_text("mine.toml", format!("name = \"mine\"\nsource = \"a test of bases\"\n{text}"));
        let device = catalog::load_source(&source).unwrap_or_else(|e| panic!("{e}"));
        (source, device)
    };
    let (source, device) = load(
        "base = \"gddr6-aim\"\n[isa]\nchannels = 4\n[isa.gemv]\nload = \"LOAD\"\n[[instruction]]\nname = \"LOAD\"\n\
         operands = [\"columns\", \"channels\"]\ncommand = \"WRGB\"\nregisters = true\n[[instruction]]\nname = \"AF\"\noperands = []\n",
    );
    let set = IsaSet::of(&source, &device).unwrap();
    assert_eq!((set.channels, &*set.prefix, set.queue, set.row_elements()), (4, "AiM", 33, 1024));
    assert_eq!(set.instructions.iter().filter(|k| k.name == "AF").count(), 1);
    assert!(set.instructions[set.kind("AF").unwrap()].operands.is_empty());
    let mut names = Vec::new();
    set.gemv(64, 64, |i| names.push(set.instructions[i.kind].name.clone())).unwrap();
    assert_eq!(names, ["LOAD", "WR_BIAS", "MAC_ABK", "RD_MAC", "EOC"]);
    let (source, device) = load("base = \"hbm2-pim\"\n[kernel]\nchannels = 16\n");
    assert_eq!(HostKernel::of(&source, &device).unwrap().channels(), 16);
    // More lanes are more multiplications; nothing else is written again.
    let (source, device) = load("base = \"hbm2-pim\"\n[kernel]\nblocks = 4\n");
    assert_eq!(HostKernel::of(&source, &device).unwrap().macs_of_read(), 64);
    assert_eq!(device.spec(device.command("MACAB").unwrap()).macs, 64);
    for (text, expected) in [
        ("base = \"ddr4-2400r\"\n[isa]\nchannels = 4\n", "`isa.prefix` is missing"),
        ("base = \"ddr4-2400r\"\n[isa]\nprefix = \"X\"\nqueue = 1\n", "`isa.channels` is missing"),
        ("base = \"ddr4-2400r\"\n[isa]\nprefix = \"R\"\nqueue = 1\nchannels = 1\n", "`isa.prefix` is `R`"),
        (
            "base = \"ddr4-2400r\"\n[isa]\nprefix = \"X\"\nqueue = 1\nchannels = 1\n[isa.gemv]\nload = \"A\"\n",
            "`isa.row_elements` is missing",
        ),
    ] {
        let (source, device) = load(text);
        let error = IsaSet::of(&source, &device).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let (source, device) = load("base = \"ddr4-2400r\"\n[kernel]\nblocks = 4\n");
    let error = HostKernel::of(&source, &device).unwrap_err().to_string();
    assert!(error.contains("`kernel.channels` is missing, here and in the base"), "{error}");
    let twice = "name = \"m\"\nsource = \"x\"\nbase = \"gddr6-aim\"\n[[instruction]]\nname = \"A\"\noperands = []\n\
                 [[instruction]]\nname = \"A\"\noperands = []\n";
    let error = catalog::load_source(&Source::from_text("t.toml", twice)).unwrap_err().to_string();
    assert!(error.contains("`A` is already an instruction"), "{error}");
}
