//! Physical sense of the PIM-GPT machine: bounds that no machine beats, counts that follow from a model's sizes, and
//! which way a result moves when the machine changes. Nothing here is a golden number of an earlier run.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use crate::pim::{MODELS, bank_bytes_per_s, experiment, program, step, weight_and_kv_bytes, whole};
use banksia_experiments::experiment::Experiment;
use banksia_experiments::run;
use banksia_hw::dram::{LoggedCommand, catalog};
use banksia_hw::outcome::Outcome;
use banksia_hw::pim::{CompiledPattern, PimChannel};
use banksia_hw::program::{ChannelSet, Pattern, PatternStep, ProgramBuilder, VectorFunction, VectorPhase, Work};
use banksia_hw::system::RunOptions;
use banksia_reports::RunReport;
use banksia_workloads::Model;
use rayon::prelude::*;

/// GPT-3 XL, 1024 tokens: run once for all tests.
fn gpt3_xl() -> &'static (Experiment, RunReport, Outcome) {
    static RUN: OnceLock<(Experiment, RunReport, Outcome)> = OnceLock::new();
    RUN.get_or_init(|| {
        let experiment = experiment("gpt3-xl", &[]);
        let (report, outcome) = whole(&experiment);
        (experiment, report, outcome)
    })
}

/// Contexts that begin and end a column of values, a group of banks and a round of channels.
const CONTEXTS: [u64; 8] = [1, 2, 16, 17, 128, 129, 600, 1024];

/// Numbers of channels on which a model fits: the two XL models and their caches exceed the 2 GiB of four.
fn channel_counts(model: &str) -> &'static [u32] {
    if model.ends_with("-xl") { &[8, 16, 32] } else { &[4, 8, 16, 32] }
}

fn latency(model: &str, settings: &[&str], context: u64) -> f64 {
    step(&experiment(model, settings), context).0.latency_s
}

// ---------------------------------------------------------------------------------------------------------------------
// The bandwidth bound

#[test]
fn no_step_is_faster_than_its_bytes_over_the_banks_rate() {
    MODELS.par_iter().for_each(|model| {
        for channels in [8, 16] {
            let experiment = experiment(model, &[&format!("machine.memory.channels={channels}")]);
            for context in CONTEXTS {
                let (report, _) = step(&experiment, context);
                assert!((report.machine.peak_bandwidth_bytes_per_s / bank_bytes_per_s(channels) - 1.0).abs() < 1e-12);
                let bound = weight_and_kv_bytes(&experiment.model, context, true) as f64 / bank_bytes_per_s(channels);
                assert!(report.latency_s > bound, "{model} at {context} on {channels}: {} < {bound}", report.latency_s);
                // A model of 12 narrow layers spends most of its time outside the products; none spends four fifths there.
                let most = if channels == 8 { 4.0 } else { 6.0 };
                assert!(
                    report.latency_s < most * bound,
                    "{model} at {context} on {channels}: {}",
                    report.latency_s / bound
                );
            }
        }
    });
}

#[test]
fn gpt3_xl_stays_within_twice_the_bound_over_1024_tokens() {
    let (experiment, report, _) = gpt3_xl();
    assert_eq!(report.steps.len(), 1024);
    let mut whole = 0.0;
    for (i, step) in report.steps.iter().enumerate() {
        assert_eq!(step.context_tokens, i as u64 + 1);
        let bound = weight_and_kv_bytes(&experiment.model, step.context_tokens, true) as f64 / bank_bytes_per_s(8);
        assert!((bound..2.0 * bound).contains(&step.latency_s), "token {i}: {} of {bound}", step.latency_s);
        whole += bound;
    }
    assert!((whole..2.0 * whole).contains(&report.latency_s), "{}", report.latency_s / whole);
}

#[test]
fn larger_models_come_nearer_to_the_bound() {
    // Within a family and by width: a wider matrix has longer rows of work between its overheads.
    for family in
        [["gpt2-small", "gpt2-medium", "gpt2-large", "gpt2-xl"], ["gpt3-small", "gpt3-medium", "gpt3-large", "gpt3-xl"]]
    {
        let shares: Vec<f64> = family
            .iter()
            .map(|model| {
                let experiment = experiment(model, &[]);
                let bound = weight_and_kv_bytes(&experiment.model, 512, true) as f64 / bank_bytes_per_s(8);
                bound / step(&experiment, 512).0.latency_s
            })
            .collect();
        assert!(shares[3] > shares[0] + 0.05, "{family:?}: {shares:?}");
        // Neighbours may lie close together where a width does not divide evenly over the banks (1280 is 80 groups of 16
        // on 8 channels, but 1600 is 100).
        assert!(shares.windows(2).all(|s| s[1] > s[0] - 0.02), "{family:?}: {shares:?}");
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Counts from a model's sizes

/// Commands of one step, summed over channels, by the scheme of docs/mapping-pim-gpt.md and the model's sizes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    wrgb: u64,
    mac: u64,
    rdmac: u64,
    wr: u64,
    rd: u64,
}

fn expected(model: &Model, channels: u64, context: u64, lm_head: bool, embedding: bool) -> Counts {
    let model = &model.as_gpt().unwrap();
    let mut counts = Counts::default();
    let columns = |elements: u64| elements.div_ceil(16);
    let mut matrix = |outputs: u64, inputs: u64, times: u64| {
        let groups = outputs.div_ceil(16);
        let chunks = columns(inputs).div_ceil(64);
        // Tiles of outputs: whole rows of every chunk, with 2-byte sums of all banks in at most a quarter of 128 KB.
        let last = columns(inputs) - (chunks - 1) * 64;
        let rows = (1..=64).find(|n| n * last % 64 == 0).unwrap();
        let tile = (32_768 / (channels * 16 * 2) / rows * rows).max(rows);
        let tiles = groups.div_ceil(channels).div_ceil(tile);
        counts.wrgb += times * channels * tiles * columns(inputs);
        counts.mac += times * groups * columns(inputs);
        counts.rdmac += times * groups * chunks;
    };
    let layers = u64::from(model.layers);
    matrix(3 * model.width, model.width, layers);
    matrix(model.width, model.width, layers);
    matrix(model.ffn_width, model.width, layers);
    matrix(model.width, model.ffn_width, layers);
    if lm_head {
        matrix(model.vocab, model.width, 1);
    }
    let (heads, head_columns, items) = (model.heads, columns(model.head_dim), model.head_dim.div_ceil(16));
    // Scores: the query to the channels that hold tokens; each group of 16 tokens times each head.
    let token_groups = context.div_ceil(16);
    counts.wrgb += layers * heads * head_columns * token_groups.min(channels);
    counts.mac += layers * heads * head_columns * token_groups;
    counts.rdmac += layers * heads * token_groups;
    // Values: an item is 16 elements of a head. Whole rounds of heads lie one to a channel; the items of the others are
    // dealt in runs. A head's probabilities go to each channel that has items of it, 1024 tokens to a buffer.
    let left_over = heads % channels;
    let (least, more) = (left_over * items / channels, left_over * items % channels);
    let owners = (0..channels).flat_map(|c| std::iter::repeat_n(c, (least + u64::from(c < more)) as usize));
    let holders: BTreeSet<(u64, u64)> = owners.enumerate().map(|(i, c)| (i as u64 / items, c)).collect();
    let broadcasts = heads - left_over + holders.len() as u64;
    let buffers = columns(context).div_ceil(64);
    counts.wrgb += layers * broadcasts * columns(context);
    counts.mac += layers * heads * items * columns(context);
    counts.rdmac += layers * heads * items * buffers;
    // The new token: its keys in one bank, and a column in every bank for each item of its values.
    counts.wr += layers * (heads * head_columns + heads * items * 16);
    if embedding {
        counts.rd += 2 * columns(model.width);
    }
    counts
}

fn counted(report: &RunReport) -> Counts {
    let of = |name: &str| report.commands.get(name).copied().unwrap_or(0);
    Counts { wrgb: of("WRGB"), mac: of("MAC16"), rdmac: of("RDMAC16"), wr: of("WR"), rd: of("RD") }
}

fn assert_traffic(report: &RunReport, counts: &Counts, what: &str) {
    let of = |name: &str| report.traffic_bytes.get(name).copied().unwrap_or(0);
    // A column of 32 bytes for each access over the pins, and 16 sums of 2 bytes for each result read.
    assert_eq!(of("pins_write"), 32 * (counts.wrgb + counts.wr), "{what}");
    assert_eq!(of("pins_read"), 32 * (counts.rdmac + counts.rd), "{what}");
    assert_eq!(of("bank_internal"), 16 * 32 * counts.mac, "{what}");
}

#[test]
fn commands_and_traffic_are_what_the_mapping_says() {
    MODELS.par_iter().for_each(|model| {
        for channels in channel_counts(model).iter().map(|c| u64::from(*c)) {
            for (lm_head, embedding) in [("pim", "pim"), ("host", "pim"), ("pim", "host"), ("host", "host")] {
                let settings = [
                    format!("machine.memory.channels={channels}"),
                    format!("mapping.lm_head=\"{lm_head}\""),
                    format!("mapping.embedding=\"{embedding}\""),
                ];
                let experiment = experiment(model, &settings.each_ref().map(String::as_str));
                let contexts: &[u64] = if lm_head == embedding { &[1, 17, 1024] } else { &[300] };
                for context in contexts {
                    let what =
                        format!("{model} at {context} on {channels}, head on {lm_head}, embedding on {embedding}");
                    let (report, outcome) = step(&experiment, *context);
                    let expected =
                        expected(&experiment.model, channels, *context, lm_head == "pim", embedding == "pim");
                    assert_eq!(counted(&report), expected, "{what}");
                    assert_traffic(&report, &expected, &what);
                    // 16 banks of 16 lanes multiply for each MAC16; what is useful is the model's own products.
                    assert_eq!(outcome.count("mac_slots"), 256 * expected.mac, "{what}");
                    let useful = weight_and_kv_bytes(&experiment.model, *context, lm_head == "pim") / 2;
                    let utilization = useful as f64 / outcome.count("mac_slots") as f64;
                    assert!((report.metrics["mac_utilization"] - utilization).abs() < 1e-12, "{what}");
                }
            }
        }
    });
}

#[test]
fn a_whole_run_moves_the_sum_of_its_steps() {
    let (experiment, report, outcome) = gpt3_xl();
    let mut sum = Counts::default();
    for context in 1..=1024 {
        let step = expected(&experiment.model, 8, context, true, true);
        sum.wrgb += step.wrgb;
        sum.mac += step.mac;
        sum.rdmac += step.rdmac;
        sum.wr += step.wr;
        sum.rd += step.rd;
    }
    assert_eq!(counted(report), sum);
    assert_traffic(report, &sum, "gpt3-xl");
    assert_eq!(outcome.count("mac_slots"), 256 * sum.mac);
    // Accesses of one bank to a column: a MAC16 is one in each of 16 banks.
    assert_eq!(outcome.count("accesses"), 16 * sum.mac + sum.wr + sum.rd);
}

// ---------------------------------------------------------------------------------------------------------------------
// Energy

/// Picojoules of one command by part, from the currents and times of the paper's table: mA x 1.25 V x ns.
/// nRC = tRAS 31 (30.2 rounded up) + tRP 12; a column holds the pins for 32 x 8 / (16 x 16) = 1 ns.
fn command_pj(command: &str) -> f64 {
    match command {
        "ACT" => (122.0 - 92.0) * 43.0 * 1.25,
        "ACT16" => 16.0 * (122.0 - 92.0) * 43.0 * 1.25,
        // 0.164 of a column read in each of 16 banks, and the MAC units at 149.29 mW for a nanosecond
        "MAC16" => 16.0 * 0.164 * (530.0 - 142.0) * 1.25 + 149.29,
        // 0.836 of a column's write or read: the part between the pins and the middle of the chip
        "WRGB" => 0.836 * (470.0 - 142.0) * 1.25,
        "RDMAC16" => 0.836 * (530.0 - 142.0) * 1.25,
        "RD" => (530.0 - 142.0) * 1.25,
        "WR" => (470.0 - 142.0) * 1.25,
        "REFab" => (277.0 - 92.0) * 455.0 * 1.25,
        "PREab" | "PREpb" => 0.0,
        other => panic!("{other} is not a command of this mapping"),
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

fn assert_energy(report: &RunReport, channels: f64) {
    report.check().unwrap();
    let what = &report.name;
    // By cause, without the standing power: counts times what one issue costs.
    let commands: f64 = report.commands.iter().map(|(name, n)| *n as f64 * command_pj(name)).sum::<f64>() * 1e-12;
    let part = |name: &str| report.energy_parts_j[name];
    let outside = part("background") + part("vector_unit") + part("vector_unit_idle");
    assert!(close(commands, report.energy_j - outside), "{what}: {commands} of {}", report.energy_j - outside);
    // Background: open cycles at IDD3N, the others at IDD2N. The open cycles that it implies are a whole number.
    let cycles = ((report.latency_s * 1e15).round() as u64).div_ceil(1_000_000) as f64 * channels;
    let open = (part("background") * 1e12 / 1.25 - 92.0 * cycles) / (142.0 - 92.0);
    assert!((0.0..=cycles).contains(&open), "{what}: {open} open cycles of {cycles}");
    assert!((open - open.round()).abs() < 1e-3 + 1e-9 * open, "{what}: {open} open cycles");
    // The vector unit: idle power throughout, and 304.59 - 30.459 mW more while it works.
    let asic = report.components.iter().find(|c| c.name == "ASIC").unwrap();
    assert!(close(part("vector_unit_idle"), 30.459e-3 * report.latency_s), "{what}");
    assert!(close(part("vector_unit"), (304.59e-3 - 30.459e-3) * asic.busy_s), "{what}");
    // By component, by operator and by step.
    let sum = |it: &mut dyn Iterator<Item = f64>| it.sum::<f64>();
    assert!(close(
        sum(&mut report.components.iter().flat_map(|c| c.energy_parts_j.values().copied())),
        report.energy_j
    ));
    assert!(close(sum(&mut report.operators.iter().map(|o| o.energy_j)), report.energy_j));
    assert!(close(sum(&mut report.steps.iter().map(|s| s.energy_j)), report.energy_j));
    assert!(close(sum(&mut report.energy_parts_j.values().copied()), report.energy_j));
    // No part is negative, and no step or operator is free.
    assert!(report.energy_parts_j.values().all(|j| *j >= 0.0));
    assert!(report.steps.iter().all(|s| s.energy_j > 0.0) && report.operators.iter().all(|o| o.energy_j > 0.0));
}

#[test]
fn energy_is_counts_times_currents() {
    assert_energy(&gpt3_xl().1, 8.0);
    MODELS.par_iter().for_each(|model| {
        for channels in channel_counts(model) {
            let experiment = experiment(model, &[&format!("machine.memory.channels={channels}")]);
            for context in [1, 512] {
                assert_energy(&step(&experiment, context).0, f64::from(*channels));
            }
        }
    });
    // Several steps, so that the steps' shares are seen to add up too.
    let short =
        experiment("gpt2-small", &["workload.generation.generated_tokens=12", "workload.generation.prompt_tokens=5"]);
    let (report, _) = whole(&short);
    assert_eq!((report.steps.len(), report.steps[0].context_tokens), (12, 5));
    assert_energy(&report, 8.0);
}

/// The background's open cycles, from the log of commands alone: a channel stands open from the first activate to the
/// last precharge.
#[test]
fn open_cycles_are_those_of_the_command_log() {
    let device = catalog::load("gddr6-pim-gpt").unwrap();
    let mut channel = PimChannel::with_log(Arc::clone(&device), true, true, Vec::<LoggedCommand>::new());
    let gpt2 = experiment("gpt2-small", &[]);
    let program = program(&gpt2, 40);
    let mut free = 0;
    for instruction in &program.instructions {
        if let Work::Pim { channels, pattern, row, iterations } = instruction.work
            && program.channel_sets[channels as usize].contains(0)
            && free < 60_000
        {
            let pattern = CompiledPattern::new(0, &program.patterns[pattern as usize], &device).unwrap();
            free = channel.run(&pattern, row, iterations, free).free;
        }
    }
    let (mut open, mut since, mut total) = (BTreeSet::new(), 0, 0);
    for issued in channel.dram().log() {
        let banks = device.banks_of(issued.command, issued.node);
        match device.spec(issued.command).name.as_str() {
            "ACT" | "ACT16" => {
                if open.is_empty() {
                    since = issued.cycle;
                }
                open.extend(banks);
            }
            "PREab" | "PREpb" => {
                let was = !open.is_empty();
                banks.for_each(|bank| {
                    open.remove(&bank);
                });
                total += if was && open.is_empty() { issued.cycle - since } else { 0 };
            }
            _ => {}
        }
    }
    total += if open.is_empty() { 0 } else { free - since };
    assert!(total > 20_000);
    assert_eq!(channel.dram().active_cycles(free), total);
}

/// A program small enough to do by hand, on one channel without refresh; times in ns, which are cycles of both clocks.
///
/// ```text
///   0  the program begins; the first instruction crosses the link (5)
///   5  WRGB           6  WRGB
///   7  ACT16          row 9 in all banks, on the next free command slot
///  19  MAC16          tRCD 12 after ACT16 (the buffer was ready at 6 + tCWL 4 + tBL 1 = 11)
///  20  MAC16         21  MAC16
///  38  PREab          tRAS 31 after ACT16 (and tRTP 3 after the last MAC16)
///  39  RDMAC16        next slot (the sums were ready at 21 + 6 = 27)
///  54  the sums are on the pins: tCL 14 + tBL 1;  59  in the ASIC: link 5
///  59  add of 256 elements: 1 cycle of 256 adders (512 elements in at 1024 bytes a cycle, 256 out at 512), then 3
///  63  done;  68  the write crosses the link
///  68  ACT            bank 2, row 4 (tRP 12 after PREab was 50)
///  80  WR  81  WR     tRCD 12 after ACT
///  86  written: tCWL 4 + tBL 1;  91  known in the ASIC: the end
///
///   2 WRGB      2 x 0.836 x 328 x 1.25      =    685.52 pJ
///   1 ACT16     16 x 30 x 43 x 1.25         = 25 800
///   3 MAC16     3 x 16 x 0.164 x 388 x 1.25 =  3 817.92,  and 3 x 149.29 = 447.87 in the MAC units
///   1 RDMAC16   0.836 x 388 x 1.25          =    405.46
///   1 ACT       30 x 43 x 1.25              =  1 612.5
///   2 WR        2 x 328 x 1.25              =    820
///   open  7-38 and 68-91: 54 x 142 x 1.25   =  9 585
///   closed 91 - 54 = 37:  37 x  92 x 1.25   =  4 255
///   ASIC  4 x (304.59 - 30.459) = 1 096.524, and 91 x 30.459 = 2 771.769
///   in all                                     51 297.563 pJ
/// ```
#[test]
fn a_program_done_by_hand() {
    let one = experiment("gpt2-small", &["machine.memory.channels=1", "machine.memory.refresh=false"]);
    let step = |command: &str, first_node, count, row| PatternStep {
        command: command.into(),
        first_node,
        nodes: 1,
        count,
        row,
        column: 0,
        open_with: None,
    };
    let mut builder = ProgramBuilder::new("decode", 1);
    let (product, sum, write) = (builder.operator("product"), builder.operator("sum"), builder.operator("write"));
    for operator in [product, sum, write] {
        builder.occurs(operator, 1.0, 0.0);
    }
    let steps = vec![
        step("WRGB", 0, 2, None),
        step("MAC16", 0, 3, Some(1)),
        step("PREab", 0, 1, None),
        step("RDMAC16", 0, 1, None),
    ];
    let pattern = builder.pattern(Pattern { steps, rows: 0 });
    let channels = builder.channels(&ChannelSet::one(0));
    let a = builder.push(product, Work::Pim { channels, pattern, row: 8, iterations: 1 }, &[]);
    let phase = VectorPhase { adds: 256, read_bytes: 1024, write_bytes: 512, add_depth: 1, ..VectorPhase::default() };
    let function = builder.function(VectorFunction { phases: vec![phase] });
    let b = builder.push(sum, Work::Vector { function }, &[a]);
    let pattern = builder.pattern(Pattern { steps: vec![step("WR", 2, 2, Some(4))], rows: 0 });
    builder.push(write, Work::Pim { channels, pattern, row: 0, iterations: 1 }, &[b]);
    let program = builder.finish();
    for exact_stepping in [false, true] {
        let options = RunOptions { stepping: exact_stepping, ..RunOptions::default() };
        let (report, outcome) =
            run::run_program(&one, std::path::Path::new("mapped"), program.clone(), options).unwrap();
        assert_eq!(outcome.latency.as_fs(), 91_000_000);
        let counts: Vec<(&str, u64)> = report.commands.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        let by_hand = [("ACT", 1), ("ACT16", 1), ("MAC16", 3), ("PREab", 1), ("RDMAC16", 1), ("WR", 2), ("WRGB", 2)];
        assert_eq!(counts, by_hand);
        let parts_pj = [
            ("activate", 25_800.0 + 1_612.5),
            ("background", 9_585.0 + 4_255.0),
            ("bank_read", 3_817.92),
            ("buffer_write", 685.52),
            ("mac_units", 447.87),
            ("read", 0.0),
            ("refresh", 0.0),
            ("result_read", 405.46),
            ("vector_unit", 1_096.524),
            ("vector_unit_idle", 2_771.769),
            ("write", 820.0),
        ];
        assert_eq!(report.energy_parts_j.len(), parts_pj.len());
        for (part, pj) in parts_pj {
            let measured = report.energy_parts_j[part] * 1e12;
            assert!((measured - pj).abs() < 1e-6, "{part}: {measured} pJ, by hand {pj}");
        }
        assert!((report.energy_j * 1e12 - 51_297.563).abs() < 1e-6, "{}", report.energy_j * 1e12);
        // The frontier moved from 0 to 59 by the product, to 63 by the sum and to 91 by the write.
        let latencies: Vec<u128> = outcome.operators.iter().map(|o| o.latency.as_fs()).collect();
        assert_eq!(latencies, [59_000_000, 4_000_000, 28_000_000]);
        assert_eq!((outcome.count("accesses"), outcome.count("row_misses")), (3 * 16 + 2, 16 + 1));
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Refresh

#[test]
fn refresh_comes_every_interval_and_costs_its_share() {
    let (_, report, outcome) = gpt3_xl();
    let per_channel = report.commands["REFab"] as f64 / 8.0;
    let elapsed = outcome.latency.as_fs() as f64 / 6_825_000_000.0;
    assert!((per_channel - elapsed).abs() <= 1.0, "{per_channel} refreshes in {elapsed} intervals");
    for model in ["gpt2-small", "gpt3-large", "gpt3-xl"] {
        // Some tokens one after the other, so that what is left of an interval at the end does not matter.
        let tokens = ["workload.generation.generated_tokens=24", "workload.generation.prompt_tokens=200"];
        let run = |refresh: bool| {
            let (report, _) =
                whole(&experiment(model, &[tokens[0], tokens[1], &format!("machine.memory.refresh={refresh}")]));
            (report.latency_s, report.commands.get("REFab").copied().unwrap_or(0))
        };
        let ((on, refreshes), (off, none)) = (run(true), run(false));
        assert_eq!(none, 0);
        assert!((refreshes as f64 / 8.0 - on / 6825e-9).abs() <= 1.0, "{model}: {refreshes} in {on} s");
        // tRFC of every tREFI, of the time with refresh; some of it passes while the channel would have waited for the ASIC.
        let share = 1.0 - off / on;
        assert!((0.7..1.3).contains(&(share / (455.0 / 6825.0))), "{model}: refresh takes {share} of the time");
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Which way results move

#[test]
fn doubling_the_channels_never_slows_a_run() {
    MODELS.par_iter().for_each(|model| {
        for context in [1, 200, 1024] {
            let times: Vec<f64> = channel_counts(model)
                .iter()
                .map(|channels| latency(model, &[&format!("machine.memory.channels={channels}")], context))
                .collect();
            for pair in times.windows(2) {
                assert!(pair[1] <= pair[0], "{model} at {context}: {times:?}");
                assert!(pair[1] >= 0.5 * pair[0], "{model} at {context}: more than twice as fast: {times:?}");
            }
        }
    });
}

#[test]
fn a_token_takes_longer_the_longer_the_context() {
    let (_, report, _) = gpt3_xl();
    let times: Vec<f64> = report.steps.iter().map(|s| s.latency_s).collect();
    // A token meets some refreshes more or fewer than the next, at its ends and where those of the channels do not fall
    // together and each holds all others up: half a dozen of 160, each tRFC and a row opened again.
    let refresh = 6.0 * (455e-9 + 100e-9);
    for (i, pair) in times.windows(2).enumerate() {
        assert!(pair[1] > pair[0] - refresh, "token {}: {} after {}", i + 1, pair[1], pair[0]);
    }
    let means: Vec<f64> = times.chunks(64).map(|c| c.iter().sum::<f64>() / c.len() as f64).collect();
    assert!(means.windows(2).all(|m| m[1] > m[0]), "{means:?}");
    // Without refresh, step by step from a standing start: never shorter by a cycle where only the context grew by a
    // whole group of tokens.
    for model in ["gpt2-small", "gpt2-large", "gpt3-xl"] {
        let experiment = experiment(model, &["machine.memory.refresh=false"]);
        let times: Vec<f64> = (1..=64).map(|i| step(&experiment, 16 * i).0.latency_s).collect();
        assert!(times.windows(2).all(|t| t[1] > t[0]), "{model}: {times:?}");
    }
}

#[test]
fn a_better_machine_is_never_slower() {
    let key = |key: &str, values: &[f64]| (key.to_owned(), values.to_vec());
    let ladders = [
        key("machine.vector_unit.clock_mhz", &[50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0]),
        key("device.organization.pin_gbps", &[1.0, 2.0, 4.0, 8.0, 16.0]),
        key("machine.vector_unit.adders", &[32.0, 64.0, 128.0, 256.0, 512.0]),
        key("machine.vector_unit.multipliers", &[16.0, 32.0, 64.0, 128.0, 256.0]),
        key("machine.vector_unit.sram_bytes", &[65536.0, 131_072.0, 262_144.0]),
    ];
    for model in ["gpt2-small", "gpt2-xl", "gpt3-xl"] {
        ladders.par_iter().for_each(|(key, values)| {
            for context in [1, 1024] {
                // Without refresh: whether a token meets one refresh more is chance, and not the machine's merit.
                let times: Vec<f64> = values
                    .iter()
                    .map(|v| latency(model, &[&format!("{key}={v}"), "machine.memory.refresh=false"], context))
                    .collect();
                // Where the unit in question is never waited for, nothing changes; but never slower by more than the cycles
                // by which an instruction can fall differently on the clock's edges.
                for pair in times.windows(2) {
                    assert!(pair[1] <= pair[0] * 1.0005, "{model} at {context}: {key} {values:?}: {times:?}");
                }
                assert!(times[0] > times[times.len() - 1] || key.ends_with("sram_bytes"), "{model}: {key}: {times:?}");
            }
        });
    }
}

#[test]
fn what_an_instruction_takes_of_the_sram_another_gives_back() {
    for model in MODELS {
        let experiment = experiment(model, &[]);
        for context in CONTEXTS {
            let program = program(&experiment, context);
            let taken: u64 = program.instructions.iter().map(|i| i.acquire_bytes).sum();
            let given: u64 = program.instructions.iter().map(|i| i.release_bytes).sum();
            assert_eq!(taken, given, "{model} at {context}");
        }
    }
}

#[test]
fn a_head_on_the_host_saves_its_share() {
    for model in ["gpt2-small", "gpt3-xl"] {
        let settings = ["machine.memory.refresh=false", "mapping.lm_head=\"host\""];
        let with = step(&experiment(model, &settings[..1]), 512).0;
        let without = step(&experiment(model, &settings), 512).0;
        let own: f64 = ["lm head", "argmax"]
            .iter()
            .map(|name| with.operators.iter().find(|o| o.name == *name).map_or(0.0, |o| o.latency_s))
            .sum();
        let saved = with.latency_s - without.latency_s;
        assert!((0.99..1.01).contains(&(saved / own)), "{model}: {saved} saved, {own} of its own");
        // And its bytes' share, within what other operators do better or worse than it.
        let bytes = |head| weight_and_kv_bytes(&experiment(model, &[]).model, 512, head) as f64;
        let share = 1.0 - bytes(false) / bytes(true);
        assert!((0.6..1.2).contains(&(saved / with.latency_s / share)), "{model}: {saved} of {}", with.latency_s);
        assert!(!without.operators.iter().any(|o| o.name == "lm head"));
    }
}

/// Twice every clock with every time halved is the same machine on a faster clock: the same cycles in half the time.
/// Twice the DRAM clock with the times as they are helps only what is counted in cycles.
#[test]
fn time_scales_with_the_clocks() {
    let half = [
        "device.clock_ps=500",
        "device.organization.pin_gbps=32",
        "machine.vector_unit.clock_mhz=2000",
        "machine.link.latency_ns=2.5",
        "machine.memory.refresh=false",
    ];
    let times_ns = [
        ("tRCDRD", 12.0),
        ("tRCDWR", 12.0),
        ("tRP", 12.0),
        ("tWR", 12.0),
        ("tRFCab", 455.0),
        ("tREFI", 6825.0),
        ("tCCDM", 1.0),
        ("tCL", 13.7),
        ("tCWL", 3.4),
        ("tRAS", 30.2),
        ("tRTP", 2.3),
        ("tRRDS", 4.6),
        ("tRRDL", 4.6),
        ("tFAW", 16.5),
        ("tWTRS", 5.1),
        ("tWTRL", 6.3),
        ("tPPD", 1.0),
        ("tRREFD", 8.6),
        ("tRFCpb", 120.3),
    ];
    let halved: Vec<String> =
        times_ns.iter().map(|(name, ns)| format!("device.timing_ns.{name}={}", ns / 2.0)).collect();
    let settings: Vec<&str> = half.iter().copied().chain(halved.iter().map(String::as_str)).collect();
    for model in ["gpt2-small", "gpt3-large"] {
        let as_is = step(&experiment(model, &["machine.memory.refresh=false"]), 300).1;
        let twice = step(&experiment(model, &settings), 300).1;
        assert_eq!(2 * twice.latency.as_fs(), as_is.latency.as_fs(), "{model}");
        assert_eq!(twice.commands, as_is.commands, "{model}");
        // The DRAM's clock alone, its times in ns as they are: what is a time stays, what is a cycle halves.
        let settings = ["machine.memory.refresh=false", "device.clock_ps=500"];
        let finer = step(&experiment(model, &settings), 300).1;
        let ratio = finer.latency.as_fs() as f64 / as_is.latency.as_fs() as f64;
        assert!((0.85..=1.0).contains(&ratio), "{model}: {ratio}");
        // And tCCD too, so that the products run twice as fast: a gain that no row's opening can take back whole.
        let settings = [settings[0], settings[1], "device.timing_ns.tCCDM=0.5"];
        let faster = step(&experiment(model, &settings), 300).1;
        let ratio = faster.latency.as_fs() as f64 / as_is.latency.as_fs() as f64;
        assert!((0.5..0.9).contains(&ratio), "{model}: {ratio}");
    }
}
