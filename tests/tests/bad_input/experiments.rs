//! Experiment files.

use super::{Judge, run};
use crate::common::{EXPERIMENT, Folder, ODD_MODEL};

#[test]
fn experiment_files_that_cannot_be_used() {
    let folder = Folder::new("bad-experiments");
    let mut judge = Judge::new();
    let edits: &[(&str, &str, &[&str])] = &[
        ("[mapping]", "[maping]", &["exp.toml:13: `maping` is not a key", "did you mean `mapping`"]),
        ("[machine]", "[machines]", &["`machine", "help:"]),
        ("base = \"pim-gpt\"\n", "", &["exp.toml:3: `machine.base` is missing", "or a cluster"]),
        ("model = \"gpt2-small\"\n", "", &["`workload.model` is missing"]),
        ("prompt_tokens = 1\n", "", &["exp.toml:9: `workload.generation.prompt_tokens` is missing"]),
        (
            "prompt_tokens = 1",
            "prompt_tokens = \"one\"",
            &["exp.toml:10: `workload.generation.prompt_tokens` has an invalid type"],
        ),
        ("prompt_tokens = 1", "prompt_tokens = ", &["exp.toml:10:"]),
        ("prompt_tokens = 1", "prompt_tokens = 1\nprompt_tokens = 2", &["exp.toml:11:", "duplicate key"]),
        ("[workload]", "[workload", &["exp.toml:6:"]),
        ("[workload]", "[[workload]]", &["workload"]),
        (
            "model = \"gpt2-small\"",
            "model = \"gpt2-smal\"",
            &["exp.toml:7: `workload.model` names no model", "did you mean `gpt2-small`"],
        ),
        (
            "model = \"gpt2-small\"",
            "model = \"none.toml\"",
            &["exp.toml:7: `workload.model`", "none.toml", "cannot be read"],
        ),
        ("base = \"pim-gpt\"", "base = \"none.toml\"", &["exp.toml:4: `machine.base`", "none.toml", "cannot be read"]),
        (
            "base = \"pim-gpt\"",
            "base = \"pim-gpt\"\nmemory.channels = 0",
            &["exp.toml:5: `machine.memory.channels` is 0: must be from 1 to 65536"],
        ),
        (
            "base = \"pim-gpt\"",
            "base = \"pim-gpt\"\nmemory.device = \"none.toml\"",
            &["exp.toml:5: `machine.memory.device`", "none.toml"],
        ),
        (
            "base = \"pim-gpt\"",
            "base = \"pim-gpt\"\nvector_unit.clock_ghz = 1.0",
            &["exp.toml:5: `machine.vector_unit.clock_ghz` is not a key", "clock_mhz"],
        ),
        ("[mapping]", "[device.timing_ns]\ntRP = -1.0\n[mapping]", &["exp.toml:14: `device.timing_ns.tRP` is -1"]),
        (
            "[mapping]",
            "[device.timing]\ntRP = 1.0\n[mapping]",
            &["exp.toml:13: `device.timing` is not a key", "did you mean"],
        ),
    ];
    for (from, to, fragments) in edits {
        assert!(EXPERIMENT.contains(from), "{from}");
        let path = folder.write("exp.toml", EXPERIMENT.replacen(from, to, 1));
        judge.refuses((to, fragments), &run(&path, &[]));
    }
    let models: &[(&str, &str, &[&str])] = &[
        ("layers = 2", "layers = 0", &["exp.toml:7: `workload.model.layers` is 0: must be from 1"]),
        ("layers = 2", "layer = 2", &["exp.toml:7: `workload.model.layer` is not a key", "did you mean `layers`"]),
        ("width = 320", "width = -320", &["`workload.model.width` is -320"]),
        (", head_dim = 96", "", &["`workload.model.heads` is 25, which does not divide", "head_dim"]),
        ("heads = 25", "heads = 25, kv_heads = 4", &["`workload.model.kv_heads` is 4", "help:"]),
        ("head_dim = 96", "head_dim = 1048576", &["heads of 1048576 elements", "use heads of at most 1024"]),
        ("heads = 25, head_dim = 96", "heads = 65536, head_dim = 1048576", &["heads of 1048576 elements"]),
        ("vocab = 1003", "vocab = 9223372036854775807", &["`workload.model.vocab` is 9223372036854775807"]),
        ("vocab = 1003", "vocab = 67108864, dtype = \"int4\"", &["help:"]),
        (
            "vocab = 1003",
            "vocab = 1003, dtype = \"bf61\"",
            &["`workload.model.dtype` is `bf61`", "did you mean `bf16`"],
        ),
        ("layers = 2, width = 320", "layers = 65536, width = 320", &["GiB more than", "channels"]),
    ];
    for (from, to, fragments) in models {
        assert!(ODD_MODEL.contains(from), "{from}");
        let model = ODD_MODEL.replacen(from, to, 1);
        let path = folder.write("exp.toml", EXPERIMENT.replacen("\"gpt2-small\"", &model, 1));
        judge.refuses((to, fragments), &run(&path, &[]));
    }
    for cut in [20, 60, 95, 120] {
        let path = folder.write("cut.toml", &EXPERIMENT.as_bytes()[..cut]);
        judge.refuses((&format!("cut at byte {cut}"), &["cut.toml"]), &run(&path, &[]));
    }
    let raw: &[(&str, Vec<u8>, &[&str])] = &[
        ("empty", Vec::new(), &["f.toml", "`machine` is missing", "add it"]),
        ("binary", vec![0x7f, b'E', b'L', b'F', b'\n', 0xff, 0xfe], &["f.toml:2: is not UTF-8 text"]),
        ("NUL bytes", vec![0; 64], &["f.toml:1:"]),
        ("20 MB", vec![b'#'; 20 << 20], &["f.toml: is too large", "16777216 bytes", "help:"]),
        ("deeply nested", format!("x = {}", "[".repeat(100_000)).into_bytes(), &["f.toml:1:"]),
        ("words", b"this is not TOML".to_vec(), &["f.toml:1:"]),
    ];
    for (name, content, fragments) in raw {
        let path = folder.write("f.toml", content);
        judge.refuses((name, fragments), &run(&path, &[]));
    }
    judge.refuses(("a folder", &["cannot be read"]), &run(&folder.0.display().to_string(), &[]));
    judge.refuses(("no file", &["none.toml: cannot be read"]), &run(&folder.path("none.toml"), &[]));
    judge.finish(40);
}
