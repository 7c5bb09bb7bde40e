//! What a user can write wrongly, and what is said of it.

use banksia_input::Source;
use banksia_workloads::{Generation, GenerationFile, GptConfig, Model, zoo};

const GOOD: &str = "name = \"m\"\nlayers = 2\nwidth = 64\nheads = 4\nvocab = 100\nmax_positions = 32\n";

/// The good model with a line replaced, or with a line added behind it (line 7).
fn model(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    let text = if from.is_empty() { format!("{GOOD}{to}\n") } else { GOOD.replace(from, to) };
    match GptConfig::from_toml("m.toml", &text) {
        Ok(_) => "accepted".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn bad_models_are_refused_with_file_line_key_and_remedy() {
    assert_eq!(model("", ""), "accepted");
    for (from, to, expected) in [
        ("layers = 2", "layers = 0", "m.toml:2: `layers` is 0: must be from 1 to 65536"),
        ("layers = 2", "layers = -3", "m.toml:2: `layers` is -3: must be from 1 to 65536"),
        ("layers = 2", "layers = 70000", "m.toml:2: `layers` is 70000: must be from 1 to 65536"),
        ("layers = 2", "layers = 2.5", "m.toml:2: `layers` has an invalid type: floating point `2.5`, expected i64"),
        ("layers = 2", "layers = \"2\"", "m.toml:2: `layers` has an invalid type: string \"2\", expected i64"),
        ("layers = 2\n", "", "`layers` is missing"),
        ("name = \"m\"", "name = \" \"", "m.toml:1: `name` is empty"),
        ("width = 64", "width = 0", "m.toml:3: `width` is 0: must be from 1 to 1048576"),
        ("width = 64", "width = 99999999999999999999", "m.toml:3: "),
        ("width = 64", "widht = 64", "m.toml:3: `widht` is not a key of this table\n  help: did you mean `width`?"),
        (
            "heads = 4",
            "heads = 5",
            "m.toml:4: `heads` is 5, which does not divide the width of 64\n  help: add head_dim",
        ),
        ("heads = 4", "heads = 0", "m.toml:4: `heads` is 0"),
        ("vocab = 100", "vocab = 9000000000000000000", "m.toml:5: `vocab` is 9000000000000000000: must be from 1 to"),
        ("max_positions = 32", "max_positions = 0", "m.toml:6: `max_positions` is 0"),
        ("max_positions = 32", "max_positions = ", "m.toml:6: "),
        ("", "kv_heads = 3", "m.toml:7: `kv_heads` is 3, which does not divide the 4 heads"),
        ("", "kv_heads = 0", "m.toml:7: `kv_heads` is 0"),
        ("", "head_dim = 0", "m.toml:7: `head_dim` is 0"),
        ("", "ffn_width = 0", "m.toml:7: `ffn_width` is 0"),
        (
            "",
            "dtype = \"bf61\"",
            "m.toml:7: `dtype` is `bf61`, which is not one of the values known here\n  help: did you mean `bf16`?",
        ),
        (
            "",
            "dtype = \"int32\"",
            "m.toml:7: `dtype` is int32, which is the type of token indices\n  help: use f32, bf16",
        ),
        (
            "",
            "activation = \"mish\"",
            "m.toml:7: `activation` is `mish`, which is not one of the values known here\n  help: use one of: gelu, relu",
        ),
        ("", "bias = 1", "m.toml:7: `bias` has an invalid type: integer `1`, expected a boolean"),
        ("", "rotary_dim = 8", "m.toml:7: `rotary_dim` is given, but positions are not rotary\n  help: add positions"),
        ("", "positions = \"rotary\"\nrotary_dim = 7", "m.toml:8: `rotary_dim` is 7 (by default head_dim, 16)"),
        ("", "positions = \"rotary\"\nrotary_dim = 18", "m.toml:8: `rotary_dim` is 18 (by default head_dim, 16)"),
        ("", "position_rows = 31", "m.toml:7: `position_rows` is 31, fewer than max_positions = 32"),
        (
            "",
            "positions = \"none\"\nposition_rows = 40",
            "m.toml:8: `position_rows` is given, but positions are not learned",
        ),
        ("", "layers = 3", "m.toml:7: "),
        ("layers = 2\nwidth = 64", "layers = 65536\nwidth = 1048576", "m.toml:2: `layers` makes a model of "),
    ] {
        let message = model(from, to);
        assert!(
            message.starts_with(expected) || (expected.starts_with('`') && message.contains(expected)),
            "`{to}`: expected\n{expected}\ngot\n{message}"
        );
    }
}

fn generation(text: &str) -> Result<Generation, String> {
    let source = Source::from_text("g.toml", text);
    let model = zoo::gpt("gpt2-small").map_err(|e| e.to_string())?;
    let file: GenerationFile = source.parse().map_err(|e| e.to_string())?;
    file.resolve(&source, "", &Model::from(&model)).map_err(|e| e.to_string())
}

#[test]
fn bad_generations_are_refused_with_the_limit() {
    for (text, expected) in [
        ("prompt_tokens = 0\ngenerated_tokens = 1", "g.toml:1: `prompt_tokens` is 0: must be from 1 to 1073741824"),
        ("prompt_tokens = 1\ngenerated_tokens = -1", "g.toml:2: `generated_tokens` is -1"),
        ("prompt_tokens = 1\ngenerated_tokens = 1\nbatch = 0", "g.toml:3: `batch` is 0: must be from 1 to 1048576"),
        (
            "prompt_tokens = 1\ngenerated_tokens = 1\nlm_haed = true",
            "g.toml:3: `lm_haed` is not a key of this table\n  help: did you mean `lm_head`?",
        ),
        ("prompt_tokens = 1", "g.toml:1: `generated_tokens` is missing"),
        (
            "prompt_tokens = 1\ngenerated_tokens = 1025",
            "g.toml:2: `generated_tokens` gives a context of 1025 tokens (1 of the prompt and 1024 fed back), but `gpt2-small` has 1024 positions\n  help: use at most 1024, or set ignore_position_limit = true",
        ),
        (
            "prompt_tokens = 2000\ngenerated_tokens = 1",
            "g.toml:1: `prompt_tokens` gives a context of 2000 tokens (2000 of the prompt and 0 fed back), but `gpt2-small` has 1024 positions\n  help: use at most 1024,",
        ),
        (
            "prompt_tokens = 0\ngenerated_tokens = 1",
            "g.toml:1: `prompt_tokens` is 0: must be from 1 to 1073741824\n  help: to start with tokens in the cache",
        ),
        (
            "context_tokens = -1\nprompt_tokens = 1\ngenerated_tokens = 1",
            "g.toml:1: `context_tokens` is -1: must be from 0",
        ),
        (
            "context_tokens = 5\nprompt_tokens = -1\ngenerated_tokens = 1",
            "g.toml:2: `prompt_tokens` is -1: must be from 0",
        ),
        (
            "context_tokens = 2000000000\nprompt_tokens = 0\ngenerated_tokens = 1",
            "g.toml:1: `context_tokens` is 2000000000: must be from 0 to 1073741824",
        ),
        (
            "context_tokens = 1024\nprompt_tokens = 0\ngenerated_tokens = 1",
            "g.toml:1: `context_tokens` gives a context of 1025 tokens (1024 in the cache before, 0 of the prompt and 1 fed back), but `gpt2-small` has 1024 positions\n  help: use at most 1023,",
        ),
        (
            "context_tokens = 1000\nprompt_tokens = 30\ngenerated_tokens = 1",
            "g.toml:2: `prompt_tokens` gives a context of 1030 tokens (1000 in the cache before, 30 of the prompt and 0 fed back), but `gpt2-small` has 1024 positions\n  help: use at most 24,",
        ),
        (
            "context_tokens = 1000\nprompt_tokens = 0\ngenerated_tokens = 25",
            "g.toml:3: `generated_tokens` gives a context of 1025 tokens (1000 in the cache before, 0 of the prompt and 25 fed back), but `gpt2-small` has 1024 positions\n  help: use at most 24,",
        ),
        (
            "context_tokens = 1000\nprompt_tokens = 10\ngenerated_tokens = 16",
            "g.toml:3: `generated_tokens` gives a context of 1025 tokens (1000 in the cache before, 10 of the prompt and 15 fed back), but `gpt2-small` has 1024 positions\n  help: use at most 15,",
        ),
        (
            "prompt_tokens = 1000000000\ngenerated_tokens = 1\nbatch = 1000000\nignore_position_limit = true",
            "g.toml:3: `batch` makes the operator `",
        ),
    ] {
        let message = generation(text).unwrap_err();
        assert!(message.starts_with(expected), "`{text}`: expected\n{expected}\ngot\n{message}");
    }
}

#[test]
fn generations_at_the_limit_and_defaults_are_accepted() {
    let at_limit = generation("prompt_tokens = 1000\ngenerated_tokens = 25").unwrap();
    assert_eq!(at_limit.last_context(), 1024);
    assert!(at_limit.lm_head && at_limit.embedding && at_limit.batch == 1 && !at_limit.ignore_position_limit);
    for most in [
        "context_tokens = 1023\nprompt_tokens = 0\ngenerated_tokens = 1",
        "context_tokens = 1000\nprompt_tokens = 0\ngenerated_tokens = 24",
        "context_tokens = 1000\nprompt_tokens = 24\ngenerated_tokens = 1",
        "context_tokens = 1000\nprompt_tokens = 10\ngenerated_tokens = 15",
    ] {
        assert_eq!(generation(most).unwrap().last_context(), 1024, "{most}");
    }
    let beyond = generation("prompt_tokens = 1\ngenerated_tokens = 5000\nignore_position_limit = true").unwrap();
    assert_eq!(beyond.steps().last().unwrap().context(), 5000);
}

#[test]
fn a_generation_in_a_table_is_located_there() {
    let text = "[workload.generation]\nprompt_tokens = 1\ngenerated_tokens = 4096\n";
    let source = Source::from_text("e.toml", text);
    let generation = Generation { prompt_tokens: 1, generated_tokens: 4096, ..Default::default() };
    let error =
        generation.check(&Model::from(&zoo::gpt("gpt3-xl").unwrap()), &source, "workload.generation").unwrap_err();
    assert_eq!((error.line, error.key.as_deref()), (Some(3), Some("workload.generation.generated_tokens")));
}
