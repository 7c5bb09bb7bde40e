//! Mappings of small models of every kind on every PIM device pass.

use std::sync::Arc;

use banksia_hw::system::{RunOptions, System};
use proptest::prelude::*;

use super::{Case, DEVICES, mixed, model, small};
use crate::plan::LayoutReport;
use crate::replay::CheckReport;

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

/// A batch whose values are more than the vector unit's memory goes in waves, each of which fits; one sequence's values must fit by themselves.
#[test]
fn batches_go_in_waves_that_the_vector_unit_holds() {
    let model = model(4, 2, 32, 96, 136);
    for base in ["aim", "attacc", "hbm-pim"] {
        let one = Case::new(&model, 30, 1, base, &small(base, 4)).unwrap().passes();
        let alive = |report: &CheckReport| {
            let level = report.levels.iter().find(|l| l.level.contains("values alive"));
            level.map_or((0, 0), |l| (l.most, l.capacity))
        };
        let bytes = 3 * alive(&one).0;
        let keys = format!("memory.channels = 4\nvector_unit.sram_bytes = {bytes}\n");
        let whole = Case::new(&model, 30, 7, base, &small(base, 4)).unwrap();
        let waves = Case::new(&model, 30, 7, base, &keys).unwrap();
        let (together, report) = (whole.passes(), waves.passes());
        assert!(alive(&together).0 > bytes, "{base}: {} fit {bytes}", alive(&together).0);
        assert!(alive(&report).0 <= bytes && alive(&report).1 == bytes, "{base}: {:?}", alive(&report));
        // Weights are read as often, and keys and values too.
        assert_eq!(report.banks[0].of_tensors, together.banks[0].of_tensors, "{base}");
        assert!(report.operators > together.operators, "{base}");
    }
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
