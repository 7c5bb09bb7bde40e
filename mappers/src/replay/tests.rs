//! Mappings of small models of every kind on every PIM device pass, and programs and layouts that have been spoilt are refused by name.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed set-up is a failed test

use std::sync::Arc;

use banksia_hw::program::{Block, PimInstruction, Program, Work};
use banksia_hw::system::{Machine, RunOptions, System};
use banksia_input::{InputError, Source};
use banksia_workloads::{Generation, Model};
use proptest::prelude::*;

use super::{CheckReport, Claims, Place, Wrong, check};
use crate::plan::{LayoutReport, Problem};

/// A model of two layers, of attention and a feed-forward network each.
fn model(heads: u64, kv_heads: u64, head_dim: u64, width: u64, inner: u64) -> Model {
    mixed(
        width,
        &[
            &format!(r#"kind = "attention", heads = {heads}, kv_heads = {kv_heads}, head_dim = {head_dim}"#),
            &format!(r#"kind = "feed_forward", inner = {inner}, gated = true, bias = true"#),
        ],
    )
}

fn mixed(width: u64, mixers: &[&str]) -> Model {
    let stages: String = mixers
        .iter()
        .map(|m| format!("[[blocks.stages]]\nnorm = \"rms_norm\"\nbranches = [{{ mixer = {{ {m} }} }}]\n"))
        .collect();
    let text = format!(
        r#"
name = "small"
width = {width}
max_positions = 4096
types = {{ weights = {{ dtype = "bf16" }}, activations = "bf16", cache = "bf16" }}
embed = {{ vocab = 100 }}
head = {{ norm = "rms_norm", vocab = 100 }}
pattern = [{{ block = "b", layers = 2 }}]
[[blocks]]
name = "b"
{stages}"#
    );
    Model::from_toml("model.toml", &text).unwrap_or_else(|e| panic!("{e}"))
}

struct Case {
    program: Program,
    claims: Claims,
    machine: Machine,
}

impl Case {
    /// The last step of a generation.
    fn new(model: &Model, context: u64, batch: u64, base: &str, keys: &str) -> Result<Self, InputError> {
        Ok(Self::with_layout(model, context, batch, base, keys)?.0)
    }

    /// The same, and what the plan says of its layout.
    fn with_layout(
        model: &Model,
        context: u64,
        batch: u64,
        base: &str,
        keys: &str,
    ) -> Result<(Self, LayoutReport), InputError> {
        let generation = Generation { context_tokens: context, prompt_tokens: 1, batch, ..Generation::default() };
        let source = Source::from_text("case.toml", format!("[machine]\nbase = \"{base}\"\n{keys}\n"));
        let machine = Machine::read(base, &source, None)?;
        let problem = Problem { model, generation: &generation, machine: &machine, source: &source };
        let mut plan = crate::choose(&problem)?.plan(&problem)?;
        let mut system = System::new(&machine, RunOptions::default());
        let index = plan.program_of(1);
        let program = plan.lower(index, &mut system).unwrap();
        let claims = plan.claims(index, &mut system).unwrap().unwrap();
        let layout = plan.layout(1, &mut system).unwrap();
        Ok((Self { program, claims, machine }, layout))
    }

    fn check(&self) -> Result<CheckReport, Wrong> {
        check(&self.program, &self.claims, &self.machine)
    }

    fn passes(&self) -> CheckReport {
        self.check().unwrap_or_else(|e| panic!("{e}"))
    }

    fn refused(&self) -> Wrong {
        self.check().err().unwrap_or_else(|| panic!("a spoilt program passes"))
    }

    fn operator(&self, instruction: usize) -> &str {
        &self.program.operators[self.program.instructions[instruction].operator as usize].name
    }

    /// The first instruction of an operator that a test picks.
    fn first(&self, operator: &str, is: impl Fn(&Program, Work) -> bool) -> usize {
        (0..self.program.instructions.len())
            .find(|i| self.operator(*i) == operator && is(&self.program, self.program.instructions[*i].work))
            .unwrap_or_else(|| panic!("no {operator}"))
    }

    /// Changes a block of an instruction by itself.
    fn block(&mut self, instruction: usize, change: impl FnOnce(&mut Block)) {
        let Work::Block { block } = self.program.instructions[instruction].work else { panic!("no block") };
        let mut own = (*self.program.blocks[block as usize]).clone();
        change(&mut own);
        self.program.blocks.push(Arc::new(own));
        self.program.instructions[instruction].work = Work::Block { block: self.program.blocks.len() as u32 - 1 };
    }

    /// Takes an instruction away; what waited for it waits for what it waited for.
    fn drop_instruction(&mut self, instruction: usize) {
        let operators = self.program.operators.len() as u32;
        let name = "taken away".to_owned();
        self.program.operators.push(banksia_hw::program::ProgramOperator { name, ..Default::default() });
        self.program.instructions[instruction].operator = operators;
        self.program = self.program.without(&["taken away"]);
    }

    /// Takes all of an instruction's dependencies away.
    fn forget_dependencies(&mut self, instruction: usize) {
        self.program.instructions[instruction].dependencies = 0;
    }
}

const DEVICES: [&str; 6] = ["aim", "attacc", "attacc-bank-group", "attacc-buffer", "hbm-pim", "pim-gpt"];

fn small(base: &str, channels: u32) -> String {
    let sram = if base == "pim-gpt" { "" } else { "vector_unit.sram_bytes = 67108864\n" };
    format!("memory.channels = {channels}\n{sram}")
}

#[test]
fn small_models_are_the_plain_products_bit_for_bit() {
    let model = model(4, 2, 32, 96, 136);
    for base in DEVICES {
        for context in [0, 1, 17, 130] {
            let case = Case::new(&model, context, 1, base, &small(base, 4)).unwrap_or_else(|e| panic!("{base}: {e}"));
            let report = case.check().unwrap_or_else(|e| panic!("{base} at {context}: {e}"));
            assert!(report.replayed > 0 && report.replayed == report.outputs, "{base}: {report:?}");
            assert!(report.levels.iter().all(|l| l.most > 0 && l.most <= l.capacity), "{base}: {:?}", report.levels);
            let own = report.moved.iter().find(|m| m.over == "cells to units, tensors").unwrap();
            assert_eq!(Some(own.bytes), own.says, "{base}");
        }
    }
}

/// Tokens beyond a row of values: those before stay where they are.
#[test]
fn values_of_more_tokens_than_a_row_holds_are_found() {
    let model = model(2, 1, 16, 32, 32);
    for base in ["aim", "attacc", "hbm-pim", "pim-gpt"] {
        for context in [511, 512, 1023, 1024, 1500] {
            let case = Case::new(&model, context, 1, base, &small(base, 2)).unwrap_or_else(|e| panic!("{base}: {e}"));
            case.check().unwrap_or_else(|e| panic!("{base} at {context}: {e}"));
        }
    }
}

#[test]
fn kinds_of_layers_pass() {
    let kinds = [
        r#"kind = "latent_attention", heads = 4, query_rank = 24, kv_rank = 32, nope_dim = 16, rope_dim = 8, value_dim = 16"#,
        r#"kind = "attention", heads = 8, kv_heads = 2, head_dim = 8, rotary_dim = 4, qkv_bias = true, window = 7"#,
        r#"kind = "attention", heads = 8, kv_heads = 1, head_dim = 16, soft_cap = true"#,
        r#"kind = "experts", experts = 8, top_k = 2, inner = 96, activation = "silu", shared_inner = 32"#,
        r#"kind = "mamba2", heads = 4, head_dim = 32, state = 16, groups = 2, conv_kernel = 4"#,
        r#"kind = "linear_attention", rule = "gated_delta", key_heads = 2, value_heads = 4, key_dim = 8, value_dim = 8, conv_kernel = 4"#,
    ];
    for base in ["aim", "attacc", "hbm-pim", "pim-gpt"] {
        for kind in kinds {
            let model = mixed(64, &[kind]);
            let case = Case::new(&model, 20, 1, base, &small(base, 4)).unwrap_or_else(|e| panic!("{base} {kind}: {e}"));
            case.check().unwrap_or_else(|e| panic!("{base} {kind}: {e}"));
        }
    }
}

#[test]
fn hybrids_and_gpus_pass() {
    let model = model(4, 2, 32, 128, 256);
    let mut wrong = String::new();
    for (base, mapping) in [
        ("h200-aim", ""),
        ("h200-attacc", ""),
        ("h200-aim", "[mapping]\nattention_on = \"gpu\"\n"),
        ("h200", ""),
        ("h200", "[mapping]\nattention = \"plain\"\n"),
    ] {
        for batch in [1, 4] {
            let case = Case::new(&model, 40, batch, base, mapping).unwrap_or_else(|e| panic!("{base}: {e}"));
            match case.check() {
                Ok(report) => assert!(report.kernels > 0),
                Err(e) => wrong.push_str(&format!("{base} {mapping} of {batch}: {e}\n")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What adds and normalises in one kernel does so in the first layer too, where there is nothing to add yet: the mapping says so, and the check as well.
#[test]
fn the_first_fused_norm_is_taken_for_one_like_the_others() {
    let model = model(4, 2, 32, 128, 256);
    for framework in ["vllm", "trtllm", "sglang"] {
        let mapping = format!("[mapping]\nframework = \"{framework}\"\n");
        let case = Case::new(&model, 40, 1, "h200", &mapping).unwrap();
        let report = case.passes();
        assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
        assert!(report.notes[0].contains("`ffn_down`"), "{:?}", report.notes);
        let mut case = case;
        case.claims.gpus[0].alike.clear();
        assert!(case.refused().to_string().contains("nothing has written"));
    }
}

/// The layout's share of multiply-accumulates that are the matrices' own is that of the columns that the program reads.
#[test]
fn what_the_layout_says_of_padding_is_what_the_program_reads() {
    let model = mixed(96, &[r#"kind = "feed_forward", inner = 136, gated = true, bias = true"#]);
    for base in DEVICES {
        let (case, layout) = Case::with_layout(&model, 5, 1, base, &small(base, 4)).unwrap();
        let report = case.passes();
        let LayoutReport::Banks(layout) = layout else { panic!("banks") };
        let products = layout.regions.iter().filter(|r| !r.name.contains("embedding"));
        let read: f64 = products.map(|r| r.bytes as f64 / r.mac_utilization).sum();
        let counted = report.banks[0].to_units as f64;
        assert!(
            (read / counted - 1.0).abs() < 1e-9,
            "{base}: the layout says {read} bytes, the program reads {counted}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any small shape, on any device, however it lies.
    #[test]
    fn any_small_shape_passes(
        device in 0..DEVICES.len(),
        channels in prop::sample::select(vec![1u32, 2, 3, 4, 8]),
        (heads, shared) in (1u64..4, 1u64..4),
        head_dim in 1u64..40,
        (width, inner) in (1u64..150, 1u64..150),
        context in 0u64..100,
        batch in 1u64..4,
        (split, packed) in (prop::sample::select(vec![1u32, 2, 4]), any::<bool>()),
        width_of_head in prop::option::of(1u32..4),
        (columns, part) in (1u32..64, 2u32..9),
    ) {
        let base = DEVICES[device];
        let model = model(heads * shared, heads, head_dim, width, inner);
        let (mapping, batch) = if base == "pim-gpt" {
            let least = head_dim.div_ceil(16) as u32;
            (format!("[mapping]\nbuffer_columns = {}\ntile_part = {part}\n", columns.max(least)), 1)
        } else {
            let split = if channels % split == 0 { split } else { 1 };
            let head = width_of_head.map_or(String::new(), |n| format!("attention_channels = {}\n", n.min(channels)));
            (format!("[mapping]\n{head}layout.\"ffn down projection\" = {{ split = {split}, packed = {packed} }}\n"), batch)
        };
        let text = format!("{}{mapping}", small(base, channels));
        match Case::new(&model, context, batch, base, &text) {
            Ok(case) => {
                let report = case.check();
                prop_assert!(report.is_ok(), "{base}, {channels} channels: {}", report.unwrap_err());
            }
            // What does not fit is refused before.
            Err(e) => prop_assert!(e.to_string().contains("fit") || e.to_string().contains("takes") || e.to_string().contains("SRAM"), "{e}"),
        }
    }
}

fn aim() -> Case {
    let case = Case::new(&model(4, 2, 32, 96, 136), 30, 1, "aim", &small("aim", 4)).unwrap();
    case.passes();
    case
}

/// Instructions of a block.
fn list(block: &mut Block) -> &mut Vec<PimInstruction> {
    match block {
        Block::Instructions(list) => list,
        Block::Accesses(_) => panic!("accesses"),
    }
}

#[test]
fn a_swapped_row_is_refused() {
    let mut case = aim();
    let down = case.first("ffn down projection", |_, w| matches!(w, Work::Block { .. }));
    case.block(down, |b| {
        let list = list(b);
        let multiplies: Vec<usize> = (0..list.len()).filter(|i| list[*i].name == "MAC_ABK").collect();
        let (first, second) = (multiplies[0], multiplies[1]);
        let row = list[first].row;
        list[first].row = list[second].row;
        list[second].row = row;
        list[second].row += 1000;
    });
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Address { operator, .. } if operator == "ffn down projection"), "{wrong}");
}

#[test]
fn a_dropped_and_a_doubled_tile_are_refused() {
    for doubled in [false, true] {
        let mut case = aim();
        let down = case.first("ffn down projection", |_, w| matches!(w, Work::Block { .. }));
        case.block(down, |b| {
            let list = list(b);
            let at = list.iter().position(|i| i.name == "WR_BIAS").unwrap();
            let tile: Vec<_> = list[at..at + 3].to_vec();
            if doubled {
                list.extend(tile);
            } else {
                list.drain(at..at + 3);
            }
        });
        let wrong = case.refused();
        assert!(matches!(&wrong, Wrong::Times { operator, .. } if operator == "ffn down projection"), "{wrong}");
    }
}

#[test]
fn a_vector_that_is_not_loaded_anew_is_refused() {
    let mut case = aim();
    let up = case.first("ffn up projection", |_, w| matches!(w, Work::Block { .. }));
    case.block(up, |b| list(b).retain(|i| i.name != "WR_GB"));
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Buffer { operator, .. } if operator == "ffn up projection"), "{wrong}");
}

#[test]
fn an_overfull_buffer_is_refused() {
    let mut case = aim();
    let up = case.first("ffn up projection", |_, w| matches!(w, Work::Block { .. }));
    case.block(up, |b| list(b).iter_mut().filter(|i| i.name == "WR_GB").for_each(|i| i.columns = 65));
    let wrong = case.refused();
    assert!(
        matches!(&wrong, Wrong::Capacity { level, needs: 65, capacity: 64, .. } if level.contains("buffer")),
        "{wrong}"
    );
}

#[test]
fn sums_that_are_not_read_are_refused() {
    let mut case = aim();
    let up = case.first("ffn up projection", |_, w| matches!(w, Work::Block { .. }));
    case.block(up, |b| {
        let at = list(b).iter().rposition(|i| i.name == "RD_MAC").unwrap();
        list(b).remove(at);
    });
    assert!(matches!(case.refused(), Wrong::Sums { .. }));
}

#[test]
fn a_key_in_another_place_is_refused() {
    let moves: [fn(&mut PimInstruction); 3] = [|i| i.bank ^= 1, |i| i.column += 2, |i| i.row += 1];
    for move_it in moves {
        let mut case = aim();
        let append = case.first("kv append", |_, _| true);
        case.block(append, |b| list(b).iter_mut().for_each(move_it));
        let wrong = case.refused();
        assert!(
            matches!(&wrong, Wrong::Address { operator, does: "writes", .. } if operator == "kv append"),
            "{wrong}"
        );
    }
}

#[test]
fn keys_that_nothing_has_written_are_refused() {
    let mut case = aim();
    case.drop_instruction(case.first("kv append", |_, _| true));
    let wrong = case.refused();
    assert!(
        matches!(&wrong, Wrong::Address { operator, holds, .. } if operator == "attention scores" && holds.contains("nothing has written")),
        "{wrong}"
    );
}

#[test]
fn a_dropped_operator_is_named() {
    let mut case = aim();
    case.drop_instruction(case.first("ffn down projection", |_, w| matches!(w, Work::Block { .. })));
    // The bias alone is left.
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Times { operator, .. } if operator == "ffn down projection"), "{wrong}");
    let mut case = aim();
    let label = case.program.operators.iter().position(|o| o.name.contains("norm")).unwrap();
    let name = case.program.operators[label].name.clone();
    case.drop_instruction(case.first(&name, |_, _| true));
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::NotRun { operator, .. } if operator.starts_with("layer0")), "{wrong}");
}

/// Whoever forgets whom it waits for is refused, but for what need wait for no one: the first, and reads of what lies in the banks.
#[test]
fn forgotten_dependencies_are_refused() {
    for base in ["aim", "attacc", "hbm-pim", "pim-gpt"] {
        let make = || Case::new(&model(4, 2, 32, 96, 136), 30, 1, base, &small(base, 4)).unwrap();
        let whole = make();
        let (mut refused, mut all) = (0, 0);
        for i in 0..whole.program.instructions.len() {
            let vector = matches!(whole.program.instructions[i].work, Work::Vector { .. });
            if !vector || whole.program.instructions[i].dependencies == 0 {
                continue;
            }
            let mut case = make();
            case.forget_dependencies(i);
            all += 1;
            match case.check() {
                Ok(_) => panic!("{base}: instruction {i} ({}) waits for nobody, and passes", whole.operator(i)),
                Err(Wrong::NotThere { .. }) => refused += 1,
                Err(other) => panic!("{base}: {other}"),
            }
        }
        assert!(refused == all && all > 10, "{base}: {refused} of {all}");
    }
}

#[test]
fn layouts_that_overlap_or_outgrow_the_banks_are_refused() {
    let mut case = aim();
    let second = case.claims.banks[0].regions.iter().position(|r| r.first_row > 0).unwrap();
    case.claims.banks[0].regions[second].first_row -= 1;
    assert!(matches!(case.refused(), Wrong::Overlap { .. }));
    let mut case = aim();
    case.claims.banks[0].regions[second].first_row += 1 << 20;
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Capacity { level, .. } if level.contains("rows")), "{wrong}");
}

/// A layout that stores an element nowhere is found by putting numbers through it.
#[test]
fn a_layout_that_loses_elements_is_refused() {
    let mut case = aim();
    let region = case.claims.banks[0].regions.iter_mut().find(|r| r.operator == "ffn down projection").unwrap();
    let Place::Rows { inputs, .. } = &mut region.place else { panic!("rows") };
    *inputs += 5000;
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Stored { times: 0, .. }), "{wrong}");
}

/// PIM-GPT: a walk in another row, a walk left out, one too many, a broadcast too wide.
#[test]
fn spoilt_patterns_are_refused() {
    let make = || Case::new(&model(4, 2, 32, 96, 136), 30, 1, "pim-gpt", &small("pim-gpt", 4)).unwrap();
    let multiplies = |p: &Program, w: Work| match w {
        Work::Pim { pattern, .. } => p.patterns[pattern as usize].steps.iter().any(|s| s.command == "MAC16"),
        _ => false,
    };
    let mut case = make();
    case.passes();
    let at = case.first("ffn down projection", multiplies);
    if let Work::Pim { row, .. } = &mut case.program.instructions[at].work {
        *row += 1;
    }
    let wrong = case.refused();
    let named = |w: &Wrong| w.to_string().contains("ffn down");
    assert!(named(&wrong), "{wrong}");
    let mut case = make();
    case.drop_instruction(at);
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Times { .. }) && named(&wrong), "{wrong}");
    let mut case = make();
    let Work::Pim { pattern, .. } = case.program.instructions[at].work else { panic!("no pattern") };
    let mut twice = case.program.patterns[pattern as usize].clone();
    twice.steps.extend(twice.steps.clone());
    case.program.patterns.push(twice);
    let last = case.program.patterns.len() as u32 - 1;
    if let Work::Pim { pattern, .. } = &mut case.program.instructions[at].work {
        *pattern = last;
    }
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Times { .. }) && named(&wrong), "{wrong}");
    let mut case = make();
    let load = case.first("ffn down projection", |p, w| !multiplies(p, w));
    let Work::Pim { pattern, .. } = case.program.instructions[load].work else { panic!("no pattern") };
    let mut wide = case.program.patterns[pattern as usize].clone();
    wide.steps[0].count = 65;
    case.program.patterns.push(wide);
    if let Work::Pim { pattern, .. } = &mut case.program.instructions[load].work {
        *pattern = last;
    }
    assert!(matches!(case.refused(), Wrong::Capacity { needs: 65, .. }));
}

/// HBM-PIM: a column of another tile, results that the host does not fetch.
#[test]
fn spoilt_accesses_are_refused() {
    let make = || Case::new(&model(4, 2, 32, 96, 136), 30, 1, "hbm-pim", &small("hbm-pim", 4)).unwrap();
    let mut case = make();
    case.passes();
    let down = case.first("ffn down projection", |_, w| matches!(w, Work::Block { .. }));
    case.block(down, |b| {
        let Block::Accesses(list) = b else { panic!("accesses") };
        let at = list.iter().position(|a| !a.write && a.row < 1000).unwrap();
        list[at].column = (list[at].column + 8) % 32;
    });
    let wrong = case.refused();
    assert!(wrong.to_string().contains("ffn down"), "{wrong}");
    let mut case = make();
    case.drop_instruction(case.first("read results", |_, _| true));
    let wrong = case.refused();
    assert!(matches!(wrong, Wrong::Sums { .. }), "{wrong}");
}

/// A kernel that reads what nobody wrote.
#[test]
fn a_kernel_without_its_tensor_is_refused() {
    let mut case = Case::new(&model(4, 2, 32, 128, 256), 40, 2, "h200", "").unwrap();
    case.passes();
    case.drop_instruction(case.first("ffn up projection", |_, _| true));
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Strange { problem, .. } if problem.contains("nothing has written")), "{wrong}");
}

/// What a run's books have is what the check counts.
#[test]
fn traffic_is_that_of_the_books() {
    let model = model(4, 2, 32, 96, 136);
    for base in DEVICES {
        let case = Case::new(&model, 30, 1, base, &small(base, 4)).unwrap();
        let report = case.passes();
        let mut system = System::new(&case.machine, RunOptions::default());
        system.run(&Arc::new(case.program.clone())).unwrap();
        let outcome = system.finish();
        let traffic = report.banks[0];
        let device = &case.machine.lone_pim_machine().unwrap().device;
        // Units get their columns from the banks, and no other byte is counted there.
        if base != "hbm-pim" {
            let sum = device
                .commands
                .iter()
                .filter(|c| c.name.starts_with("RDMAC") || c.name == "RDACC")
                .map(|c| c.pin_bytes);
            let pins = traffic.loads + traffic.reads + traffic.writes + traffic.sums * u64::from(sum.max().unwrap());
            let counted = outcome.traffic("pins_read") + outcome.traffic("pins_write");
            let biases = outcome.commands.get("WRMAC16").copied().unwrap_or(0) * u64::from(device.access_bytes);
            assert_eq!(pins, counted - biases, "{base}: {:?}", outcome.commands);
        }
        assert!(outcome.traffic("bank_internal") >= traffic.to_units, "{base}");
        let written: u64 = report.moved.iter().filter(|m| m.over == "vector unit, read").map(|m| m.bytes).sum();
        assert_eq!(written, outcome.traffic("vector_sram_read"), "{base}");
    }
}
