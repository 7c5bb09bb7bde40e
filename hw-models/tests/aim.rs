//! SK hynix AiM against the measured cycles of the public AiM simulator (`tests/reference/pim`), which issues no refresh.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use banksia_hw::dram::checker::Checker;
use banksia_hw::dram::{Channel, LoggedCommand, NO_ROW, catalog};
use banksia_hw::pim::{IsaMachine, IsaOutcome, IsaSet};
use banksia_input::Source;

fn run(trace: &str, refresh: bool) -> IsaOutcome {
    let device = catalog::load("gddr6-aim").unwrap();
    let set = IsaSet::load("gddr6-aim", &device).unwrap();
    let mut machine = IsaMachine::new(device, set.clone(), refresh).unwrap();
    set.read_source(&Source::from_text("test.trace", trace), |i| machine.run(i)).unwrap();
    machine.finish()
}

fn gemv(outputs: u64, inputs: u64, refresh: bool) -> IsaOutcome {
    let device = catalog::load("gddr6-aim").unwrap();
    let set = IsaSet::load("gddr6-aim", &device).unwrap();
    let mut machine = IsaMachine::new(device, set.clone(), refresh).unwrap();
    set.gemv(outputs, inputs, |i| machine.run(i)).unwrap();
    machine.finish()
}

#[test]
fn single_instructions_take_the_measured_cycles() {
    for (instruction, cycles) in [
        ("MAC_ABK 1 0xffffffff 0", 59),
        ("MAC_ABK 64 0xffffffff 0", 185),
        ("WR_GB 64 0 0xffffffff", 163),
        ("WR_BIAS 0 0xffffffff", 37),
        ("RD_MAC 0 0xffffffff", 37),
        ("AF 0xffffffff", 89),
        ("EWMUL 64 0xffffffff 0", 154),
        ("COPY_BKGB 64 0xffffffff 0 0", 195),
        ("COPY_GBBK 64 0xffffffff 0 0", 177),
    ] {
        assert_eq!(run(&format!("AiM {instruction}\nAiM EOC\n"), false).cycles, cycles, "{instruction}");
    }
}

#[test]
fn reference_traces_take_the_measured_cycles() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/pim");
    for (name, cycles) in
        [("gemv_512x1024_reuse-GB", 414), ("gemv_512x1024_no-reuse", 414), ("ewmul64", 154), ("wrbias", 37)]
    {
        let trace = std::fs::read_to_string(folder.join(format!("{name}.trace"))).unwrap();
        assert_eq!(run(&trace, false).cycles, cycles, "{name}");
    }
}

/// Every further row of a running product costs its columns, the closing of one row and the opening of the next.
#[test]
fn products_follow_the_closed_forms() {
    let rows = |n: u64| {
        let lines: String = (0..n).map(|row| format!("AiM MAC_ABK 64 0xffffffff {row}\n")).collect();
        run(&(lines + "AiM EOC\n"), false).cycles
    };
    for n in 2..6 {
        assert_eq!(rows(n) - rows(n - 1), 56 + 126 + 12 + 32);
    }
    assert_eq!(gemv(512, 1024, false).cycles, 414);
    assert_eq!(gemv(4096, 4096, false).cycles, 9664);
    // 128 cycles to load each kilobyte of input, 286 for each row of a bank.
    for (outputs, inputs) in [(512, 2048), (1024, 1024), (2048, 3072), (8192, 1024)] {
        let (chunks, per_bank) = (inputs / 1024, outputs / 512);
        assert_eq!(gemv(outputs, inputs, false).cycles, chunks * 128 + chunks * per_bank * 286, "{outputs} x {inputs}");
    }
}

/// A real device loses about tRFC in every tREFI.
#[test]
fn refresh_costs_its_share() {
    let (without, with) = (gemv(16384, 16384, false), gemv(16384, 16384, true));
    let device = catalog::load("gddr6-aim").unwrap();
    let refreshes = with.counts[device.command("REFab").unwrap().0 as usize] / 32;
    assert_eq!(without.counts[device.command("REFab").unwrap().0 as usize], 0);
    assert_eq!(refreshes, with.cycles / device.refresh.unwrap().interval);
    let lost = (with.cycles - without.cycles) as f64 / with.cycles as f64;
    let share = device.timing("nRFC").unwrap() / device.timing("nREFI").unwrap();
    assert!(lost > 0.8 * share && lost < 1.6 * share, "{lost} of the time, where tRFC is {share} of tREFI");
}

#[test]
fn mistakes_name_their_line() {
    let device = catalog::load("gddr6-aim").unwrap();
    let set = IsaSet::load("gddr6-aim", &device).unwrap();
    for (trace, expected) in [
        ("AiM MAC_ABK 65 0xf 0", "t:1: has columns 65"),
        ("\nAiM MAC_ALL 64 0xf 0", "t:2"),
        ("AiM WR_GB 64 0", "t:1: gives"),
        ("AiM AF 0x100000000", "t:1: has channels"),
        ("MAC_ABK 64 0xf 0", "t:1: begins with"),
        ("AiM EWMUL x 0xf 0", "t:1: has `x`"),
        ("R MEM 32 0 0", "t:1: has channel `32`: must be from 0 to 31"),
        ("W MEM 0 16 0", "t:1: has bank `16`: must be from 0 to 15"),
        ("AiM EWMUL 1 1 0\nR MEM 0 0", "t:2: gives MEM 2 operands: it takes channel, bank and row"),
        ("R ROW 0 0", "t:1: has `ROW` where GPR, CFR or MEM should stand"),
        ("R", "t:1: ends after `R`"),
    ] {
        let error = set.read_source(&Source::from_text("t", trace), |_| {}).unwrap_err().to_string();
        assert!(error.contains(expected), "{trace}: {error}");
    }
}

/// AttAcc's all-bank MACs issue every six cycles of HBM3's clock, the interval of its power budget.
#[test]
fn attacc_multiplies_at_its_interval() {
    let device = catalog::load("hbm3-attacc").unwrap();
    let set = IsaSet::load("hbm3-attacc", &device).unwrap();
    let cycles = |columns: u32| {
        let mut machine = IsaMachine::new(device.clone(), set.clone(), false).unwrap();
        let trace = format!("PIM MAC {columns} 0xffffffff 0\nPIM END\n");
        set.read_source(&Source::from_text("test.trace", trace), |i| machine.run(i)).unwrap();
        machine.finish().cycles
    };
    // Two ticks a clock.
    assert_eq!(cycles(32) - cycles(1), 31 * 6 * 2);
}

/// Ordinary accesses between instructions (`R|W MEM CHANNEL BANK ROW`), and the cycles of the public AiM simulator (commit 0f28a07). It does not
/// wait for accesses at the end, so each trace ends with a row of MACs.
#[test]
fn ordinary_accesses_take_their_place() {
    let lines = |line: &dyn Fn(u32) -> String, n: u32| (0..n).map(|i| line(i) + "\n").collect::<String>();
    let mac = "AiM MAC_ABK 1 0xffffffff 7\n";
    for (accesses, cycles) in [
        ("R MEM 0 0 0\n".to_owned(), 148),
        ("W MEM 0 0 0\n".to_owned(), 160),
        (lines(&|_| "R MEM 0 0 0".into(), 4), 148),
        (lines(&|b| format!("R MEM 0 {b} 0"), 4), 166),
        (lines(&|b| format!("R MEM 0 {} 0", 4 * b), 4), 163),
        (lines(&|b| format!("W MEM 0 {b} 3"), 16), 235),
        (lines(&|r| format!("R MEM 0 0 {r}"), 4), 415),
        (lines(&|r| format!("W MEM 0 0 {r}"), 4), 463),
        (lines(&|c| format!("R MEM {c} 0 5"), 32), 179),
        (mac.to_owned() + "R MEM 0 2 8\n", 248),
        (mac.to_owned() + "W MEM 0 2 7\n", 67),
        ("AiM WR_GB 4 0 0xffffffff\nW MEM 0 2 8\n".to_owned(), 231),
        ("AiM WR_SBK 0 1 0 0\nAiM RD_SBK 0 2 0 0\n".to_owned(), 160),
        ("W GPR 0\nW CFR 0 0\nR GPR 1\n".to_owned(), 62),
        ("R MEM 0 0 0\nW MEM 0 1 0\n".to_owned(), 166),
        (lines(&|b| format!("W MEM 0 {} {}", b % 16, b / 16), 40), 398),
        (lines(&|b| format!("R MEM 0 {} {}", b % 16, b / 16), 40), 361),
    ] {
        let got = run(&format!("{accesses}{mac}AiM EOC\n"), false).cycles;
        assert_eq!(got, cycles, "{accesses}");
    }
}

/// An access that has opened its row goes before the instructions that come after it, as soon as it is ready; where these need the registers' mode,
/// the mode changes to and fro. Cycles of the public AiM simulator (commit 0f28a07): 106 of the first trace.
#[test]
fn a_register_command_waits_for_accesses_before_it() {
    for (trace, cycles) in [
        // ACT 1, TMOD 2 and 34, WR 66, TMOD 68, WRGB 100 and 102.
        ("AiM WR_SBK 0 1 0 0\nAiM WR_GB 2 0 1\n", 106),
        ("W MEM 0 0 0\nAiM WR_GB 2 0 1\n", 106),
        // ACT 1, TMOD 2, WRGB 34 and 36; a read may come 12 after that: TMOD 48, RD 80, whose data is waited for (that simulator does not).
        ("AiM RD_SBK 0 1 0 0\nAiM WR_GB 2 0 1\n", 80 + 52 + 1),
        // A channel without accesses is not held up by one that has some.
        ("AiM WR_SBK 0 1 0 0\nAiM WR_GB 2 0 2\n", 40),
    ] {
        assert_eq!(run(&format!("{trace}AiM EOC\n"), false).cycles, cycles, "{trace}");
    }
}

/// A row that an access has opened is not closed before the access is done, whatever comes in between; and every command is legal.
#[test]
fn accesses_and_instructions_mixed_at_random_are_legal_and_complete() {
    let device = catalog::load("gddr6-aim").unwrap();
    let set = IsaSet::load("gddr6-aim", &device).unwrap().with_channels(2);
    let lines = [
        "AiM WR_SBK 0 1 % #",
        "AiM RD_SBK 0 3 % #",
        "W MEM 0 % #",
        "R MEM 1 % #",
        "AiM WR_GB 3 0 0x3",
        "AiM WR_BIAS 0 0x1",
        "AiM RD_MAC 0 0x2",
        "AiM MAC_ABK 5 0x3 #",
        "AiM MAC_SBK 3 0x1 % #",
        "AiM COPY_BKGB 2 0x2 % #",
        "AiM AF 0x3",
        "AiM WR_ABK 0 0x3 #",
    ];
    let mut random = 1u64;
    let mut next = |n: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % n
    };
    for round in 0..30 {
        let mut trace = String::new();
        let mut accesses = 0;
        for _ in 0..200 {
            let line = lines[next(lines.len() as u64) as usize];
            accesses += match line.split(' ').nth(1) {
                Some("MEM" | "WR_SBK") => 1,
                Some("RD_SBK") => 2,
                _ => 0,
            };
            let (bank, row) = (next(16).to_string(), next(3).to_string());
            trace += &(line.replace('%', &bank).replace('#', &row) + "\n");
        }
        let mut kept = IsaMachine::new(device.clone(), set.clone(), round % 2 == 1).unwrap().keeping_commands();
        let mut plain = IsaMachine::new(device.clone(), set.clone(), round % 2 == 1).unwrap();
        set.read_source(&Source::from_text("t", trace.clone()), |i| {
            kept.run(i);
            plain.run(i);
        })
        .unwrap();
        let (kept, plain) = (kept.finish(), plain.finish());
        assert_eq!((kept.cycles, &kept.counts), (plain.cycles, &plain.counts));
        let mut done = 0;
        for channel in &kept.channels {
            let mut checker = banksia_hw::dram::checker::Checker::new(&device);
            let logged: Vec<_> = channel
                .commands
                .iter()
                .map(|c| banksia_hw::dram::LoggedCommand {
                    cycle: c.cycle,
                    command: c.on_bus,
                    node: c.bank / device.levels[device.spec(c.on_bus).scope.0 as usize].banks,
                    row: c.row,
                })
                .collect();
            checker.accept_all(&logged).unwrap_or_else(|e| panic!("round {round}: {e:?}\n{trace}"));
            let access = |name: &str| channel.counts[device.command(name).unwrap().0 as usize];
            done += (access("RD") + access("WR")) * u64::from(channel.members.len());
        }
        assert_eq!(done, accesses, "round {round}");
    }
}

/// AttAcc's units beside the banks see 16 times the bandwidth of the pins at an interval of 4 cycles, two thirds of that at the 6 of the power budget, and
/// about 9 times with the rows' opening and closing in between; one unit a bank group 8 times, one at the buffer what the pins see.
#[test]
fn attacc_gains_the_published_bandwidth() {
    let device = |interval: u32| {
        let text =
            format!("name = \"a\"\nsource = \"a test\"\nbase = \"hbm3-attacc\"\n[timing_cycles]\nnMAC = {interval}\n");
        catalog::load_source(&Source::from_text("attacc.toml", text)).unwrap()
    };
    let gain = |interval: u32| {
        let d = device(interval);
        let mac = d.command("MACAB").unwrap();
        let mut channel = banksia_hw::dram::Channel::new(d.clone());
        channel.issue(d.command("ACTAB").unwrap(), 0, 0, 1);
        let (first, last) = channel.issue_run(mac, 0, 0, 0, 32);
        // Ticks of half a clock between MACs, each of an access in every bank; the pins carry an access every tCCD_S.
        let between = (last - first) as f64 / 31.0 / f64::from(d.ticks_per_clock);
        f64::from(d.banks) * d.timing("nCCDS").unwrap() / between
    };
    let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(close(gain(4), 16.0), "{}", gain(4));
    assert!(close(gain(6), 16.0 * 4.0 / 6.0), "{}", gain(6));
    let d = device(6);
    let groups = d.levels[d.levels.len() - 2].nodes;
    assert_eq!(groups, 8);
    let set = IsaSet::load("hbm3-attacc", &d).unwrap();
    let rows = |n: u32| {
        let mut machine = IsaMachine::new(d.clone(), set.clone(), false).unwrap();
        let trace: String = (0..n).map(|row| format!("PIM MAC 32 0x1 {row}\n")).collect();
        set.read_source(&Source::from_text("t", trace + "PIM END\n"), |i| machine.run(i)).unwrap();
        machine.finish().cycles
    };
    let row_cycles = (rows(9) - rows(1)) as f64 / 8.0 / f64::from(d.ticks_per_clock);
    let sustained = f64::from(d.banks) * 32.0 * d.timing("nCCDS").unwrap() / row_cycles;
    assert!((7.0..10.7).contains(&sustained), "{sustained}");
}

/// `gddr6-aim` with a change, as a device file.
fn changed(number: usize, from: &str, to: &str) -> Result<IsaSet, String> {
    let text = include_str!("../catalog/dram/gddr6-aim.toml");
    assert!(text.contains(from), "{from}");
    let path = std::env::temp_dir().join(format!("banksia-aim-{}-{number}.toml", std::process::id()));
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    let name = path.to_str().unwrap();
    let result = catalog::load(name).and_then(|device| IsaSet::load(name, &device)).map_err(|e| e.to_string());
    std::fs::remove_file(&path).unwrap();
    result
}

/// Sets that no program could be run with: each of these once panicked or went round for ever.
#[test]
fn a_set_that_cannot_run_is_refused() {
    for (i, (from, to, expected)) in [
        ("row_elements = 1024", "row_elements = 0", "`isa.row_elements` is 0: must be whole columns of 16"),
        ("row_elements = 1024", "row_elements = 1000", "`isa.row_elements` is 1000"),
        ("row_elements = 1024", "row_elements = 2048", "from 16 to 1024"),
        ("column_elements = 16", "column_elements = 0", "`isa.column_elements` is 0"),
        ("fixed_row = 16383", "fixed_row = 4294967295", "fixed_row` is 4294967295: must be from 0 to 16383"),
        ("mode_change = \"TMOD\"", "mode_change = \"MAC\"", "`isa.mode_change` names `MAC`"),
        ("command = \"RDCP\"", "command = \"ACT\"", "which itself opens rows"),
        ("command = \"RDCP\"", "command = \"REFab\"", "names `REFab`"),
        ("channels = 32", "channels = 65537", "`isa.channels` is 65537"),
    ]
    .into_iter()
    .enumerate()
    {
        let error = changed(i, from, to).unwrap_err();
        assert!(error.contains(expected), "{to}: {error}");
        if expected.starts_with("`isa.") {
            assert!(error.contains(".toml:"), "{to}: the line is named: {error}");
        }
    }
}

#[test]
fn a_trace_of_nothing_or_without_an_end_is_refused() {
    let device = catalog::load("gddr6-aim").unwrap();
    let set = IsaSet::load("gddr6-aim", &device).unwrap();
    for text in ["", "\n\n", "# a comment\n"] {
        let error = set.read_source(&Source::from_text("t", text), |_| {}).unwrap_err().to_string();
        assert!(error.contains("has no instruction"), "{text:?}: {error}");
    }
    // What never ends, as a device does not, ends at the longest line.
    let mut endless = std::io::BufReader::new(std::io::repeat(0));
    let error = set.read("zeros", &mut endless, |_| {}).unwrap_err().to_string();
    assert!(error.contains("zeros:1") && error.contains("longer than any instruction"), "{error}");
    let mut bytes = &b"AiM SYNC\n\xff\xfe\n"[..];
    let error = set.read("t", &mut bytes, |_| {}).unwrap_err().to_string();
    assert!(error.contains("t:2") && error.contains("UTF-8"), "{error}");
}

/// NeuPIMs' banks have two row buffers: a row that the units work on stays open beside one that is accessed, in the same bank, and only a refresh needs both
/// closed. Commands of both are judged legal.
#[test]
fn two_row_buffers_do_not_close_each_others_row() {
    let device = catalog::load("hbm2-neupims").unwrap();
    assert_eq!(device.row_buffers, 2);
    let id = |name: &str| device.command(name).unwrap();
    let mut channel = Channel::with_log(device.clone(), Vec::new());
    let mut at = 0;
    let mut issue = |channel: &mut Channel<Vec<LoggedCommand>>, name: &str, row: u32| {
        at = channel.earliest(id(name), 0).max(at + 1);
        assert!(channel.state_allows(id(name), 0, row), "{name}");
        channel.issue(id(name), 0, row, at);
        at
    };
    issue(&mut channel, "ACTPIM", 7);
    let first = issue(&mut channel, "MACAB", 7);
    issue(&mut channel, "ACT", 3);
    issue(&mut channel, "RD", 3);
    // Both rows are open, of which neither command sees the other's.
    assert!(channel.state_allows(id("MACAB"), 0, 7) && !channel.state_allows(id("MACAB"), 0, 3));
    assert!(channel.state_allows(id("RD"), 0, 3) && !channel.state_allows(id("RD"), 0, 7));
    let last = issue(&mut channel, "MACAB", 7);
    issue(&mut channel, "PREpb", NO_ROW);
    assert!(channel.state_allows(id("MACAB"), 0, 7), "closing the one leaves the other");
    assert!(!channel.state_allows(id("REFab"), 0, NO_ROW), "a refresh needs both closed");
    issue(&mut channel, "PREall", NO_ROW);
    issue(&mut channel, "REFab", NO_ROW);
    // Four groups of four banks of a rank open one window of four activations apart, counted from the second cycle of a command on the bus.
    assert_eq!(first - 1, 1 + 3 * 30 + 14);
    assert!(last > first);
    let mut checker = Checker::new(&device);
    checker.accept_all(channel.log()).unwrap_or_else(|v| panic!("{v}"));
}

/// The same banks with one row buffer, and the rows between the commands that now meet in it.
const ONE_ROW_BUFFER: &str = r#"
name = "single"
source = "a test"
base = "hbm2-neupims"
constraints = [
    { level = "channel", from = "ACTPIM", to = "PREab PREpb", cycles = "nGROUPS * nFAW + nRAS" },
    { level = "channel", from = "MACAB", to = "PREab PREpb", cycles = "nRTPL" },
    { level = "channel", from = "PREab PREpb", to = "ACTPIM", cycles = "nRP" },
]

[[command]]
name = "ACTPIM"
scope = "channel"
needs = "closed"
effect = "open"
bus_cycles = 2
close_with = "PREab"

[[command]]
name = "MACAB"
scope = "channel"
needs = "open"
data = "internal"
latency = "nBL"
bus = "column"
open_with = "ACTPIM"
close_with = "PREab"
"#;

/// Reads of other rows between the units' commands do not make these open their rows anew: a single row buffer does.
#[test]
fn accesses_beside_the_units_cost_no_row() {
    let device = catalog::load("hbm2-neupims").unwrap();
    let single =
        catalog::load_source(&Source::from_text("single.toml", ONE_ROW_BUFFER)).unwrap_or_else(|e| panic!("{e}"));
    let cycles = |device: &std::sync::Arc<banksia_hw::dram::Device>| {
        let set = IsaSet::load("hbm2-neupims", device).unwrap().with_channels(1);
        let mut machine = IsaMachine::new(device.clone(), set.clone(), false).unwrap();
        let trace: String = (0..32).map(|i| format!("PIM MAC 16 0x1 5\nR MEM 0 {i} 9\n")).collect();
        set.read_source(&Source::from_text("t", trace + "PIM END\n"), |i| machine.run(i)).unwrap();
        machine.finish().cycles
    };
    let (two, one) = (cycles(&device), cycles(&single));
    // One row cycle of all banks, 104 cycles and more, at every turn.
    assert!(one > 2 * two, "{two} cycles with two row buffers, {one} with one");
}
