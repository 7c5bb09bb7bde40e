//! The embedded models against what was published, and random models.

use banksia_input::Source;
use banksia_workloads::{Generation, GptConfig, Model, OperatorNode, Phase, zoo};
use proptest::prelude::*;

/// Name, layers, width, heads, published parameters in millions.
///
/// GPT-2: the corrected counts after which the released models are named (124M, 355M, 774M, 1558M; the paper's table 2
/// prints 117M, 345M, 762M, 1542M). GPT-3: Brown et al. 2020, table 2.1.
const PUBLISHED: [(&str, u32, u64, u64, f64); 8] = [
    ("gpt2-small", 12, 768, 12, 124.0),
    ("gpt2-medium", 24, 1024, 16, 355.0),
    ("gpt2-large", 36, 1280, 20, 774.0),
    ("gpt2-xl", 48, 1600, 25, 1558.0),
    ("gpt3-small", 12, 768, 12, 125.0),
    ("gpt3-medium", 24, 1024, 16, 350.0),
    ("gpt3-large", 24, 1536, 16, 760.0),
    ("gpt3-xl", 24, 2048, 16, 1300.0),
];

#[test]
fn the_eight_models_come_within_two_percent_of_the_published_parameters() {
    for (name, layers, width, heads, millions) in PUBLISHED {
        let model = zoo::gpt(name).unwrap();
        assert_eq!((model.layers, model.width, model.heads, model.vocab), (layers, width, heads, 50257));
        assert_eq!(model.attention_width(), width, "{name}");
        assert_eq!(model.max_positions, if name.starts_with("gpt2") { 1024 } else { 2048 });
        let ratio = model.parameters() as f64 / (millions * 1e6);
        assert!((0.98..1.02).contains(&ratio), "{name}: {} parameters, {ratio} of published", model.parameters());
    }
}

/// Element counts of the released checkpoints, as Hugging Face's model pages and `model.num_parameters()` give them.
#[test]
fn released_checkpoints_match_to_the_parameter() {
    for (name, parameters) in [
        ("gpt2-small", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("opt-1.3b", 1_315_758_080),
        ("pythia-1.4b", 1_414_647_808),
        ("llama2-7b", 6_738_415_616),
    ] {
        assert_eq!(zoo::gpt(name).unwrap().parameters(), parameters, "{name}");
    }
}

/// Why gpt3-xl is 16 heads of 128: the two readings of the published 24 heads miss the published 1.3 billion.
#[test]
fn the_other_readings_of_gpt3_xl_miss_its_parameters() {
    let model = zoo::gpt("gpt3-xl").unwrap();
    let of =
        |heads, head_dim| GptConfig { heads, kv_heads: heads, head_dim, ..model.clone() }.parameters() as f64 / 1.3e9;
    assert!((of(16, 128) - 1.0121).abs() < 1e-4);
    assert!((of(24, 128) - 1.1670).abs() < 1e-4, "{}", of(24, 128));
    assert!((of(24, 64) - 0.9346).abs() < 1e-4, "{}", of(24, 64));
}

#[test]
fn an_unknown_model_gets_a_suggestion() {
    let error = zoo::load("gpt2_small").unwrap_err().to_string();
    assert!(error.contains("there is no model named `gpt2_small`") && error.contains("did you mean `gpt2-small`"));
}

#[test]
fn every_model_survives_the_way_through_toml() {
    for name in zoo::plain_names() {
        let model = zoo::gpt(name).unwrap();
        assert_eq!(model.name, name);
        assert!(!model.source.is_empty(), "{name} has a source");
        assert_eq!(GptConfig::from_toml("again.toml", &model.to_toml().unwrap()).unwrap(), model);
    }
}

/// The table of `docs/workloads.md` is generated: run with `BANKSIA_UPDATE_DOCS=1` to write it anew.
#[test]
fn the_documented_table_is_current() {
    let mut table = String::from(
        "| model | layers | width | heads x size | feed-forward | vocabulary | positions | parameters | KV bytes/token |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for name in zoo::plain_names() {
        let m = zoo::gpt(name).unwrap();
        table.push_str(&format!(
            "| {name} | {} | {} | {} x {} | {} | {} | {} | {} | {} |\n",
            m.layers,
            m.width,
            m.heads,
            m.head_dim,
            m.ffn_width,
            m.vocab,
            m.max_positions,
            m.parameters(),
            m.kv_bytes_per_token()
        ));
    }
    table.push_str("\nSources:\n\n");
    for name in zoo::plain_names() {
        table.push_str(&format!("- `{name}`: {}.\n", zoo::gpt(name).unwrap().source));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/workloads.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- models: generated -->\n", "<!-- end -->");
    let from = text.find(begin).unwrap() + begin.len();
    let to = text.find(end).unwrap();
    if std::env::var_os("BANKSIA_UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{}{table}{}", &text[..from], &text[to..])).unwrap();
    } else {
        assert_eq!(&text[from..to], table, "run this test with BANKSIA_UPDATE_DOCS=1");
    }
}

#[test]
fn a_cache_that_is_there_already_makes_contexts_longer_and_costs_nothing_itself() {
    let of = |context_tokens, prompt_tokens, generated_tokens| {
        let generation = Generation { context_tokens, prompt_tokens, generated_tokens, ..Default::default() };
        let steps: Vec<(Phase, u64, u64)> = generation.steps().map(|s| (s.phase, s.tokens(), s.context())).collect();
        assert_eq!(steps[0].2, generation.first_context());
        assert_eq!(steps.last().unwrap().2, generation.last_context());
        assert_eq!(steps.len() as u64, generated_tokens);
        steps
    };
    let (prefill, decode) = (Phase::Prefill, Phase::Decode);
    assert_eq!(of(0, 5, 3), [(prefill, 5, 5), (decode, 1, 6), (decode, 1, 7)]);
    assert_eq!(of(100, 5, 3), [(prefill, 5, 105), (decode, 1, 106), (decode, 1, 107)]);
    assert_eq!(of(100, 0, 3), [(decode, 1, 101), (decode, 1, 102), (decode, 1, 103)]);
    // The decode steps after a prompt are those over a cache of as many tokens.
    assert_eq!(of(0, 100, 4)[1..], of(100, 0, 3)[..]);
    // A prompt in two parts computes what it computes at once: every operation but those of the first part's last token,
    // of which nothing is sampled.
    let model = zoo::gpt("gpt2-small").unwrap();
    let flops = |context_tokens, prompt_tokens| {
        let generation = Generation { context_tokens, prompt_tokens, lm_head: false, ..Default::default() };
        let graph = model.step_graph(&generation.step(0).unwrap(), &generation);
        graph.operators().filter(|n| n.layer.is_some()).map(OperatorNode::flops).sum::<u64>()
    };
    assert_eq!(flops(0, 96), flops(0, 64) + flops(64, 32));
}

#[test]
fn a_1024_token_generation_from_one_token_has_contexts_1_to_1024() {
    let generation = Generation { prompt_tokens: 1, generated_tokens: 1024, ..Default::default() };
    assert!(generation.steps().map(|s| s.context()).eq(1..=1024));
    assert!(generation.steps().all(|s| s.tokens() == 1));
    assert_eq!(generation.steps().filter(|s| s.phase == Phase::Prefill).count(), 1);
    assert_eq!(generation.last_context(), 1024);
    assert_eq!(generation.step(1024), None);
}

prop_compose! {
    fn models()(
        layers in 1u32..6, kv_heads in 1u64..5, group in 1u64..4, half_head in 1u64..33, width in 1u64..300,
        (ffn_width, vocab, max_positions) in (1u64..500, 1u64..1000, 1u64..600),
        flags in prop::array::uniform5(any::<bool>()), dtype in 0usize..6, positions in 0usize..3,
    ) -> String {
        let [tied, gated, bias, rms, parallel] = flags;
        let dtype = ["f32", "bf16", "f16", "fp8", "int8", "int4"][dtype];
        let positions = ["learned", "rotary", "none"][positions];
        let norm = if rms { "rms_norm" } else { "layer_norm" };
        format!(
            "name = \"m\"\nlayers = {layers}\nwidth = {width}\nheads = {}\nkv_heads = {kv_heads}\nhead_dim = {}\n\
             ffn_width = {ffn_width}\nvocab = {vocab}\nmax_positions = {max_positions}\ntied_embeddings = {tied}\n\
             gated = {gated}\nbias = {bias}\nnorm = \"{norm}\"\nparallel_block = {parallel}\ndtype = \"{dtype}\"\n\
             positions = \"{positions}\"\n",
            kv_heads * group, half_head * 2,
        )
    }
}

proptest! {
    /// Any model's graph is valid, its weights are the model's, and its bytes those of its matrices, tables and vectors.
    #[test]
    fn random_models_conserve_parameters(
        text in models(), context in 0u64..40, prompt in 0u64..40, generated in 1u64..4, batch in 1u64..4,
    ) {
        // Something must enter, or be there.
        let prompt = if context == 0 { prompt.max(1) } else { prompt };
        let model = GptConfig::from_toml("m.toml", &text).unwrap();
        prop_assert_eq!(&GptConfig::from_toml("m.toml", &model.to_toml().unwrap()).unwrap(), &model);
        let generation = Generation {
            context_tokens: context,
            prompt_tokens: prompt,
            generated_tokens: generated,
            batch,
            ignore_position_limit: true,
            ..Default::default()
        };
        generation.check(&Model::from(&model), &Source::from_text("g.toml", ""), "").unwrap();
        let mut previous = None;
        for step in generation.steps() {
            let graph = model.step_graph(&step, &generation);
            graph.validate().unwrap();
            let mut tensors: Vec<_> =
                graph.operators().flat_map(|n| &n.weights).map(|t| (t.name.clone(), t.elements())).collect();
            tensors.sort();
            tensors.dedup();
            prop_assert_eq!(tensors.iter().map(|(_, elements)| elements).sum::<u64>(), model.parameters());
            let written: u64 = graph.operators().map(OperatorNode::kv_bytes_written).sum();
            let layer_bits = model.kv_width() * 2 * step.tokens() * batch * model.dtype.bits();
            prop_assert_eq!(written, u64::from(model.layers) * layer_bits.div_ceil(8));
            prop_assert!(previous.is_none_or(|context| step.context() == context + 1));
            previous = Some(step.context());
        }
        prop_assert_eq!(previous, Some(context + prompt.max(1) + generated - 1));
        prop_assert_eq!(previous, Some(generation.last_context()));
        let matrices: u64 = model
            .weight_matrices()
            .iter()
            .map(|m| if m.tied { 0 } else { m.shape[0] * m.shape[1] } + if m.bias { m.shape[0] } else { 0 })
            .sum();
        let norm = if text.contains("rms") { model.width } else { 2 * model.width };
        let learned = if text.contains("learned") { model.position_rows * model.width } else { 0 };
        let vectors = norm * (2 * u64::from(model.layers) + 1);
        let elements = matrices + vectors + model.vocab * model.width + learned;
        prop_assert_eq!(model.weight_bytes(), (elements * model.dtype.bits()).div_ceil(8));
    }

    /// No numbers, however absurd, make anything but a model or an error.
    #[test]
    fn no_numbers_panic(values in prop::array::uniform8(prop_oneof![any::<i64>(), 1i64..70_000, 1i64..(1 << 26)])) {
        let [layers, width, heads, kv_heads, head_dim, ffn, vocab, positions] = values;
        let text = format!(
            "name = \"m\"\nlayers = {layers}\nwidth = {width}\nheads = {heads}\nkv_heads = {kv_heads}\n\
             head_dim = {head_dim}\nffn_width = {ffn}\nvocab = {vocab}\nmax_positions = {positions}\n"
        );
        if let Ok(model) = GptConfig::from_toml("m.toml", &text) {
            let generation = Generation { prompt_tokens: 1 << 30, generated_tokens: 1 << 30, batch: 1 << 20, ..Default::default() };
            let _ = generation.check(&Model::from(&model), &Source::from_text("g.toml", ""), "");
            prop_assert!(model.weight_bytes() < u64::MAX);
            for node in model.distinct_operators(&generation.step(5).unwrap(), &generation) {
                let _ = (node.flops(), node.weight_bytes(), node.activation_bytes_in(), node.kv_bytes_read());
            }
        }
    }
}
