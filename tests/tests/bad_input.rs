//! Broken configurations: each is refused with exit code 2 and a message that names the file, the line, the key and a remedy;
//! nothing panics and nothing goes to standard output.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{EXPERIMENT, Folder, ODD_MODEL, banksia, in_process, succeeds};

/// A case's name, and what its message must contain.
type Expected<'a> = (&'a str, &'a [&'a str]);

/// Runs each case and reports every one that is not refused as it should be.
struct Judge {
    failures: Vec<String>,
    cases: usize,
}

impl Judge {
    fn new() -> Self {
        Self { failures: Vec::new(), cases: 0 }
    }

    fn refuses(&mut self, (name, fragments): Expected<'_>, args: &[String]) {
        self.refuses_with(2, (name, fragments), args);
    }

    fn refuses_with(&mut self, code: u8, (name, fragments): Expected<'_>, args: &[String]) {
        self.cases += 1;
        match in_process(args) {
            Ok(()) => self.failures.push(format!("{name}: accepted")),
            Err((got, message)) => {
                if got != code {
                    self.failures.push(format!("{name}: exit code {got}, not {code}: {message}"));
                }
                for fragment in fragments.iter().filter(|f| !message.contains(**f)) {
                    self.failures.push(format!("{name}: `{fragment}` is not in: {message}"));
                }
            }
        }
    }

    fn finish(self, least: usize) {
        assert!(self.cases >= least, "only {} cases", self.cases);
        assert!(self.failures.is_empty(), "{} failures\n{}", self.failures.len(), self.failures.join("\n"));
    }
}

fn run(path: &str, settings: &[&str]) -> Vec<String> {
    let mut args = vec!["run".to_owned(), path.to_owned()];
    args.extend(settings.iter().map(|s| format!("--set={s}")));
    args
}

#[test]
fn settings_that_cannot_be_used() {
    let folder = Folder::new("bad-settings");
    let experiment = folder.write("exp.toml", EXPERIMENT);
    let cases: &[(&str, &[&str])] = &[
        // what is not a setting
        ("machine.memory.channels", &["--set machine.memory.channels: has no `=`", "table.key=value"]),
        ("=8", &["--set =8: has an empty key", "help:"]),
        ("machine..channels=8", &["has an empty key", "help:"]),
        ("machine.base.name=8", &["goes through `machine.base`, which is not a table", "help:"]),
        ("name.x.y=8", &["goes through `name`, which is not a table"]),
        // unknown keys
        ("sed=1", &["--set sed=1: `sed` is not a key", "did you mean `seed`"]),
        ("machine.memory.chanels=8", &["--set", "`machine.memory.chanels` is not a key", "did you mean `channels`"]),
        ("machine.vector_unit.clock_ghz=1.0", &["`machine.vector_unit.clock_ghz`", "did you mean `clock_mhz`"]),
        ("device.organization.pin_gpbs=2", &["`device.organization.pin_gpbs`", "did you mean `pin_gbps`"]),
        ("workload.generation.tokens=1", &["`workload.generation.tokens` is not a key", "generated_tokens"]),
        ("workload.modle=1", &["`workload.modle` is not a key", "did you mean `model`"]),
        ("mapping.lmhead=\"pim\"", &["`mapping.lmhead` is not a key", "did you mean `lm_head`"]),
        // names
        ("machine.base=pim-gtp", &["`machine.base`", "there is no machine named `pim-gtp`", "did you mean `pim-gpt`"]),
        ("machine.memory.device=gddr6-pim-gtp", &["`machine.memory.device`", "did you mean `gddr6-pim-gpt`"]),
        (
            "workload.model=gpt3-xxl",
            &["`workload.model` names no model known here: `gpt3-xxl`", "did you mean `gpt3-xl`"],
        ),
        ("mapping.strategy=pimgpt", &["`mapping.strategy` is `pimgpt`", "did you mean `pim-gpt`"]),
        ("mapping.lm_head=gpu", &["`mapping.lm_head` is `gpu`", "pim, host"]),
        ("device.base=gdr6", &["`device.base`", "there is no DRAM device named `gdr6`", "did you mean"]),
        ("machine.kind=gpu", &["`machine.kind` is `gpu`", "help:"]),
        // types
        ("machine.vector_unit.clock_mhz=\"1 GHz\"", &["`machine.vector_unit.clock_mhz` has an invalid type", "1 GHz"]),
        ("machine.memory.channels=8.5", &["`machine.memory.channels` has an invalid type", "8.5"]),
        ("machine.memory.refresh=1", &["`machine.memory.refresh` has an invalid type", "boolean"]),
        ("machine=\"pim-gpt\"", &["`machine` has an invalid type", "pim-gpt"]),
        ("device=3", &["`device` has an invalid type"]),
        ("workload=[]", &["`workload`"]),
        ("workload.generation=7", &["`workload.generation` has an invalid type"]),
        ("workload.model=7", &["`workload.model` must be a model's name"]),
        ("machine.memory=8", &["`machine.memory` has an invalid type"]),
        ("seed=-1", &["`seed` has an invalid value", "-1"]),
        // values
        (
            "machine.memory.channels=0",
            &["--set machine.memory.channels=0: `machine.memory.channels` is 0: must be from 1 to 128"],
        ),
        ("machine.memory.channels=129", &["is 129: must be from 1 to 128"]),
        ("machine.memory.channels=-8", &["`machine.memory.channels` has an invalid value", "-8"]),
        ("machine.vector_unit.adders=0", &["`machine.vector_unit.adders` is 0: must be from 1"]),
        ("machine.vector_unit.multipliers=0", &["`machine.vector_unit.multipliers` is 0"]),
        ("machine.vector_unit.sram_read_bytes_per_cycle=0", &["is 0: must be from 1"]),
        ("machine.vector_unit.clock_mhz=0", &["`machine.vector_unit.clock_mhz` is 0"]),
        ("machine.vector_unit.clock_mhz=-5.0", &["`machine.vector_unit.clock_mhz` is -5"]),
        ("machine.vector_unit.clock_mhz=nan", &["`machine.vector_unit.clock_mhz` is NaN"]),
        ("machine.vector_unit.clock_mhz=inf", &["`machine.vector_unit.clock_mhz` is inf"]),
        ("machine.vector_unit.active_mw=-1.0", &["`machine.vector_unit.active_mw` is -1"]),
        ("machine.vector_unit.idle_mw=1000.0", &["`machine.vector_unit.idle_mw` is 1000: must be from 0 to 304.59"]),
        ("machine.vector_unit.series.exp_terms=0", &["`machine.vector_unit.series.exp_terms` is 0"]),
        ("machine.link.latency_ns=-1.0", &["`machine.link.latency_ns` is -1"]),
        ("machine.link.latency_ns=nan", &["`machine.link.latency_ns` is NaN"]),
        ("machine.vector_unit.sram_bytes=1024", &["`machine.vector_unit.sram_bytes` is 1024", "bytes", "more SRAM"]),
        ("device.organization.rows=0", &["`device.organization.rows` is 0: must be from 1"]),
        ("device.organization.rows=64", &["GiB more than the", "channels (machine.memory.channels)"]),
        ("device.organization.columns=0", &["`device.organization.columns` is 0"]),
        ("device.organization.access_bytes=0", &["`device.organization.access_bytes` is 0"]),
        ("device.organization.access_bytes=7", &["7-byte columns", "help:"]),
        ("device.organization.pin_gbps=0.0", &["`device.organization.pin_gbps` is 0"]),
        ("device.organization.count.bank=0", &["`device.organization.count.bank` is 0"]),
        ("device.organization.count.bnak=4", &["`device.organization.count.bnak`", "did you mean `bank`"]),
        ("device.organization.standby_level=rank", &["`device.organization.standby_level`", "bankgroup"]),
        ("device.clock_ps=0.0", &["`device.clock_ps` is 0"]),
        ("device.timing_ns.tRP=-12.0", &["`device.timing_ns.tRP` is -12"]),
        ("device.timing_ns.tRP=nan", &["`device.timing_ns.tRP` is NaN"]),
        ("device.timing_ns.nRP=12.0", &["`device.timing_ns.nRP` must begin with `t`", "timing_cycles"]),
        ("device.timing_cycles.tRP=12", &["`device.timing_cycles.tRP` must begin with `n`", "timing_ns"]),
        ("device.timing_ns.tREFI=1.0", &["refresh.interval", "is 1 cycles", "tREFI"]),
        (
            "device.timing_expressions.nRC=\"nRAS + \"",
            &["`device.timing_expressions.nRC`", "ends where a value should stand"],
        ),
        ("device.timing_expressions.nRC=\"nRAS + nXX\"", &["`device.timing_expressions.nRC`", "uses `nXX`"]),
        ("device.timing_expressions.nRC=\"nRC + 1\"", &["`device.timing_expressions.nRC`", "uses `nRC`"]),
        ("device.timing_expressions.nRC=\"nRAS / 0\"", &["not a finite number"]),
        ("device.timing_expressions.nRC=\"nRAS / 7\"", &["not a whole number", "ceil()"]),
        ("device.currents_ma.IDD0=-5.0", &["`device.currents_ma.IDD0` is -5"]),
        ("device.currents_ma.IDD4R=0.0", &["energy.command", "is -"]),
        ("device.parameters.mac_units_mw=-1.0", &["energy.command", "is -"]),
        ("device.parameters.global_buffer_bytes=0", &["global buffer of 0 bytes"]),
        ("device.energy.vdd_v=0.0", &["`device.energy.vdd_v` is 0"]),
        ("workload.generation.prompt_tokens=0", &["`workload.generation.prompt_tokens` is 0: must be from 1"]),
        ("workload.generation.generated_tokens=0", &["`workload.generation.generated_tokens` is 0"]),
        ("workload.generation.generated_tokens=-3", &["`workload.generation.generated_tokens` is -3"]),
        ("workload.generation.generated_tokens=1000000000000000000", &["is 1000000000000000000: must be from 1 to"]),
        ("workload.generation.generated_tokens=1025", &["`gpt2-small` has 1024 positions", "use at most 1024"]),
        ("workload.generation.generated_tokens=99999999999999999999", &["`workload.generation.generated_tokens`"]),
        ("workload.generation.generated_tokens=2.0", &["`workload.generation.generated_tokens` has an invalid type"]),
        ("workload.generation.batch=2", &["`workload.generation.batch` is 2", "set batch = 1"]),
        ("workload.model=llama2-7b", &["GiB more than the 4.00 GiB of 8 channels", "use about"]),
    ];
    let mut judge = Judge::new();
    for (setting, fragments) in cases {
        judge.refuses((setting, fragments), &run(&experiment, &[setting]));
    }
    judge.finish(75);
}

/// A setting moves no line: an error elsewhere in the file still names the line that its author sees.
#[test]
fn settings_do_not_move_the_lines_of_other_errors() {
    let folder = Folder::new("bad-lines");
    let broken = folder.write("exp.toml", EXPERIMENT.replace("generated_tokens = 2", "generated_tokens = 0"));
    let mut judge = Judge::new();
    let fragments: &[&str] = &["exp.toml:11: `workload.generation.generated_tokens` is 0: must be from 1"];
    judge.refuses(("alone", fragments), &run(&broken, &[]));
    judge.refuses(("with settings", fragments), &run(&broken, &["seed=4", "machine.memory.channels=4"]));
    judge.finish(2);
}

#[test]
fn experiment_files_that_cannot_be_used() {
    let folder = Folder::new("bad-experiments");
    let mut judge = Judge::new();
    let edits: &[(&str, &str, &[&str])] = &[
        ("[mapping]", "[maping]", &["exp.toml:13: `maping` is not a key", "did you mean `mapping`"]),
        ("[machine]", "[machines]", &["`machine", "help:"]),
        ("base = \"pim-gpt\"\n", "", &["exp.toml:3: `machine.base` is missing", "add it"]),
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
            &["exp.toml:5: `machine.memory.channels` is 0: must be from 1 to 128"],
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

/// Device files: a base, one file over it, and an experiment that uses it.
#[test]
fn device_files_that_cannot_be_used() {
    let folder = Folder::new("bad-devices");
    let experiment = folder.write(
        "exp.toml",
        EXPERIMENT.replace("base = \"pim-gpt\"", "base = \"pim-gpt\"\nmemory.device = \"dev.toml\""),
    );
    const HEAD: &str = "name = \"dev\"\nsource = \"a test\"\nbase = \"gddr6-pim-gpt\"\n";
    let mut judge = Judge::new();
    let row = |row: &str| format!("{HEAD}constraints = [\n  {row},\n]\n");
    let command = |text: &str| format!("{HEAD}\n[[command]]\n{text}\n");
    let energy = |text: &str| format!("{HEAD}\n[[energy.command]]\n{text}\n");
    let cases: Vec<(&str, String, &[&str])> = vec![
        (
            "unknown key",
            format!("{HEAD}clock_ns = 1.0\n"),
            &["dev.toml:4: `clock_ns` is not a key", "did you mean `clock_ps`"],
        ),
        ("no source", "name = \"dev\"\n".into(), &["dev.toml", "`source` is missing"]),
        (
            "empty source",
            HEAD.replace("a test", " "),
            &["dev.toml:2: `source` is empty", "where the numbers come from"],
        ),
        ("no base", HEAD.replace("gddr6-pim-gpt", "gddr66"), &["dev.toml:3: `base`", "gddr66", "did you mean `gddr6"]),
        (
            "no base file",
            HEAD.replace("gddr6-pim-gpt", "none.toml"),
            &["dev.toml:3: `base`", "none.toml", "cannot be read"],
        ),
        (
            "its own base",
            HEAD.replace("gddr6-pim-gpt", "dev.toml"),
            &["dev.toml:3: `base` goes round", "dev -> dev.toml", "help:"],
        ),
        (
            "base without clock",
            HEAD.replace("gddr6-pim-gpt", "gddr6"),
            &["dev.toml", "`clock_ps` is missing, here and in the base"],
        ),
        (
            "row: unknown command",
            row("{ level = \"bank\", from = \"ACTT\", to = \"RD\", cycles = \"1\" }"),
            &["dev.toml:5: `constraints[0].from` names no command", "did you mean `ACT`"],
        ),
        (
            "row: unknown level",
            row("{ level = \"rank\", from = \"ACT\", to = \"RD\", cycles = \"1\" }"),
            &["dev.toml:5: `constraints[0].level` names no level", "bankgroup"],
        ),
        (
            "row: unknown timing",
            row("{ level = \"bank\", from = \"ACT\", to = \"RD\", cycles = \"nRCDX\" }"),
            &["dev.toml:5: `constraints[0].cycles` uses `nRCDX`, which the device does not define"],
        ),
        (
            "row: bad expression",
            row("{ level = \"bank\", from = \"ACT\", to = \"RD\", cycles = \"(nRP\" }"),
            &["dev.toml:5: `constraints[0].cycles` lacks a `)`"],
        ),
        (
            "row: fraction",
            row("{ level = \"bank\", from = \"ACT\", to = \"RD\", cycles = \"nRP / 5\" }"),
            &["not a whole number", "ceil()"],
        ),
        (
            "row: no window",
            row("{ level = \"bank\", from = \"ACT\", to = \"RD\", cycles = \"1\", window = 0 }"),
            &["dev.toml:5: `constraints[0].window` is 0"],
        ),
        (
            "row: too deep a level",
            row("{ level = \"bank\", from = \"PREab\", to = \"RD\", cycles = \"1\" }"),
            &["dev.toml:5: `constraints[0].from` lists `PREab`, which acts on a whole channel"],
        ),
        (
            "row: no command",
            row("{ level = \"bank\", from = \"\", to = \"RD\", cycles = \"1\" }"),
            &["`constraints[0].from` names no command"],
        ),
        (
            "row: unknown key",
            row("{ level = \"bank\", from = \"ACT\", to = \"RD\", cycle = \"1\" }"),
            &["dev.toml:5:", "did you mean `cycles`"],
        ),
        (
            "row: number",
            row("{ level = \"bank\", from = \"ACT\", to = \"RD\", cycles = 1 }"),
            &["dev.toml:5:", "cycles", "has an invalid type"],
        ),
        (
            "command twice",
            command("name = \"NEW\"\nscope = \"bank\"\n[[command]]\nname = \"NEW\"\nscope = \"bank\""),
            &["dev.toml", "`NEW` is already a command"],
        ),
        (
            "command: no opener",
            command("name = \"NEW\"\nscope = \"bank\"\nneeds = \"open\""),
            &["dev.toml:5: `command[0].open_with` is missing from command `NEW`"],
        ),
        (
            "command: opener that does not open",
            command("name = \"NEW\"\nscope = \"bank\"\nneeds = \"open\"\nopen_with = \"RD\"\nclose_with = \"PREpb\""),
            &["dev.toml:9: `command[0].open_with` names `RD`, which does not open a row"],
        ),
        (
            "command: closer that does not close",
            command("name = \"NEW\"\nscope = \"bank\"\nneeds = \"open\"\nopen_with = \"ACT\"\nclose_with = \"ACT\""),
            &["dev.toml:10: `command[0].close_with` names `ACT`, which does not close a row"],
        ),
        (
            "command: opener of too few banks",
            command(
                "name = \"NEW\"\nscope = \"channel\"\nneeds = \"open\"\nopen_with = \"ACT\"\nclose_with = \"PREab\"",
            ),
            &["`command[0].open_with` names `ACT`, which acts on a bank; `NEW` acts on a channel"],
        ),
        (
            "command: unknown opener",
            command(
                "name = \"NEW\"\nscope = \"bank\"\nneeds = \"open\"\nopen_with = \"ACTIVATE\"\nclose_with = \"PREpb\"",
            ),
            &["dev.toml:9: `command[0].open_with` names no command", "help:"],
        ),
        (
            "command: unknown scope",
            command("name = \"NEW\"\nscope = \"rank\""),
            &["dev.toml:7: `command[0].scope` names no level"],
        ),
        (
            "command: unknown state",
            command("name = \"NEW\"\nscope = \"bank\"\nneeds = \"opened\""),
            &["dev.toml:8:", "`opened`", "did you mean `open`"],
        ),
        (
            "command: no bus slot",
            command("name = \"NEW\"\nscope = \"bank\"\nbus_cycles = 0"),
            &["dev.toml:8: `command[0].bus_cycles` is 0"],
        ),
        (
            "command: negative latency",
            command("name = \"NEW\"\nscope = \"bank\"\nlatency = \"-1\""),
            &["dev.toml:8: `command[0].latency` is -1"],
        ),
        (
            "energy: negative",
            energy("commands = \"RD\"\npart = \"io\"\npj = \"-1\""),
            &["dev.toml:8: `energy.command[0].pj` is -1"],
        ),
        (
            "energy: unknown command",
            energy("commands = \"RD RDX\"\npart = \"io\"\npj = \"1\""),
            &["dev.toml:6: `energy.command[0].commands` names no command", "`RDX`"],
        ),
        (
            "energy: neither",
            energy("commands = \"RD\"\npart = \"io\""),
            &["dev.toml:5: `energy.command[0]` needs either `pj`, or `current_ma` and `cycles`"],
        ),
        (
            "energy: unknown name",
            energy("commands = \"RD\"\npart = \"io\"\npj = \"IDD9 * 2\""),
            &["dev.toml:8: `energy.command[0].pj` uses `IDD9`"],
        ),
        (
            "refresh: unknown command",
            format!("{HEAD}[refresh]\ncommand = \"REF\"\ninterval = \"nREFI\"\n"),
            &["dev.toml:5: `refresh.command` names no command", "did you mean `REFab`"],
        ),
        (
            "refresh: does not refresh",
            format!("{HEAD}[refresh]\ncommand = \"ACT\"\ninterval = \"nREFI\"\n"),
            &["dev.toml:5: `refresh.command` `ACT` does not refresh"],
        ),
        (
            "refresh: never",
            format!("{HEAD}[refresh]\ncommand = \"REFab\"\ninterval = \"0\"\n"),
            &["dev.toml:6: `refresh.interval` is 0"],
        ),
        (
            "refresh: no time between",
            format!("{HEAD}[refresh]\ncommand = \"REFab\"\ninterval = \"nRFCab\"\n"),
            &["dev.toml:6: `refresh.interval` is 455 cycles", "help:"],
        ),
        (
            "timing twice",
            format!("{HEAD}[timing_cycles]\nnRP = 12\n[timing_ns]\ntRP = 12.0\n"),
            &["dev.toml:7: `timing_ns.tRP` is given again as `nRP`"],
        ),
        (
            "level twice",
            format!("{HEAD}[organization]\nlevels = [\"channel\", \"bankgroup\", \"bank\", \"bank\"]\n"),
            &["dev.toml:5: `organization.levels` names `bank` twice"],
        ),
        (
            "no level",
            format!("{HEAD}[organization]\nlevels = [\"channel\", \"rank\", \"bankgroup\", \"bank\"]\n"),
            &["`organization.count.rank` is missing"],
        ),
        (
            "two channels",
            format!("{HEAD}[organization]\ncount = {{ channel = 2 }}\n"),
            &["dev.toml:5: `organization.count.channel` is 2"],
        ),
        (
            "too many banks",
            format!("{HEAD}[organization]\ncount = {{ bank = 4096, bankgroup = 4096 }}\n"),
            &["dev.toml:5:", "more than 65536 banks"],
        ),
        (
            "too many bytes",
            format!(
                "{HEAD}[organization]\ncount = {{ bank = 4096, bankgroup = 16 }}\nrows = 67108864\ncolumns = 1048576\naccess_bytes = 4096\n"
            ),
            &["dev.toml:6: `organization.rows` makes a channel of", "help:"],
        ),
        (
            "no PIM commands",
            format!("{}[[command]]\nname = \"MAC16\"\nscope = \"rank\"\n", HEAD),
            &["`command", "scope` names no level"],
        ),
    ];
    for (name, text, fragments) in &cases {
        folder.write("dev.toml", text);
        judge.refuses((name, fragments), &run(&experiment, &[]));
        // A machine's device and one that is shown go through the same checks.
        judge.refuses((&format!("show: {name}"), &[]), &["show".into(), "hardware".into(), folder.path("dev.toml")]);
    }
    // Two files that build on each other.
    folder.write("dev.toml", HEAD.replace("gddr6-pim-gpt", "other.toml"));
    folder.write("other.toml", HEAD.replace("gddr6-pim-gpt", "dev.toml"));
    judge.refuses(("round of two", &["`base` goes round", "dev -> other.toml -> dev.toml"]), &run(&experiment, &[]));
    judge.finish(80);
    // A base is found beside the file that names it, wherever that is.
    std::fs::create_dir_all(folder.0.join("deep")).unwrap();
    folder.write("dev.toml", HEAD.replace("gddr6-pim-gpt", "deep/middle.toml"));
    folder.write("deep/middle.toml", HEAD.replace("gddr6-pim-gpt", "end.toml"));
    folder.write("deep/end.toml", HEAD);
    assert_eq!(in_process(&["show".into(), "hardware".into(), folder.path("dev.toml")]), Ok(()));
}

#[test]
fn programs_that_cannot_be_run() {
    let folder = Folder::new("bad-programs");
    let experiment = folder.write("exp.toml", EXPERIMENT.replace("\"gpt2-small\"", ODD_MODEL));
    let good = folder.path("good.json");
    succeeds(&["map", &experiment, "--program", &good]);
    let good = folder.read("good.json");
    let program: serde_json::Value = serde_json::from_str(&good).unwrap();
    let edited = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut p = program.clone();
        edit(&mut p);
        p.to_string()
    };
    let pim = program["instructions"].as_array().unwrap().iter().position(|i| i["work"]["pim"].is_object()).unwrap();
    let last = program["instructions"].as_array().unwrap().len() - 1;
    let n = program["dependencies"].as_array().unwrap().len();
    let with_row = |p: &serde_json::Value| {
        p["patterns"].as_array().unwrap().iter().position(|p| p["steps"][0]["row"].is_u64()).unwrap()
    };
    let column = with_row(&program);
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("empty", String::new(), &["is not a program", "banksia map --program"]),
        ("cut", good[..good.len() / 2].to_owned(), &["p.json: is not a program", "EOF", "help:"]),
        ("not JSON", "[machine]".into(), &["p.json: is not a program", "line 1"]),
        ("other JSON", "{\"a\": 1}".into(), &["unknown field `a`"]),
        ("cycle", edited(&|p| p["dependencies"][0] = last.into()), &["which does not come before it", "cyclic"]),
        (
            "dependency list",
            edited(&|p| p["instructions"][last]["first_dependency"] = n.into()),
            &["dependency", "does not exist"],
        ),
        (
            "operator",
            edited(&|p| p["instructions"][0]["operator"] = 9999.into()),
            &["instruction 0: operator 9999 does not exist"],
        ),
        (
            "pattern",
            edited(&|p| p["instructions"][pim]["work"]["pim"]["pattern"] = 9999.into()),
            &["pattern 9999 does not exist"],
        ),
        (
            "row",
            edited(&|p| p["instructions"][pim]["work"]["pim"]["row"] = 16384.into()),
            &["p.json", "is beyond the machine's 16384"],
        ),
        (
            "row far off",
            edited(&|p| p["instructions"][pim]["work"]["pim"]["row"] = u32::MAX.into()),
            &["is beyond the machine's 16384"],
        ),
        (
            "row of a pattern",
            edited(&|p| p["patterns"][column]["steps"][0]["row"] = u32::MAX.into()),
            &["row", "is beyond"],
        ),
        (
            "iterations",
            edited(&|p| p["instructions"][pim]["work"]["pim"]["channels"] = "0x100".into()),
            &["channel 8 is beyond the machine's 8"],
        ),
        (
            "no channel",
            edited(&|p| p["instructions"][pim]["work"]["pim"]["channels"] = "0x0".into()),
            &["is for no channel"],
        ),
        (
            "mask",
            edited(&|p| p["instructions"][pim]["work"]["pim"]["channels"] = "many".into()),
            &["not a hexadecimal channel mask"],
        ),
        (
            "command",
            edited(&|p| p["patterns"][0]["steps"][0]["command"] = "MAC17".into()),
            &["p.json: pattern 0: the device `gddr6-pim-gpt` has no command `MAC17`"],
        ),
        (
            "node",
            edited(&|p| p["patterns"][0]["steps"][0]["first_node"] = 4_000_000_000u32.into()),
            &["node", "is beyond the machine's"],
        ),
        ("nodes", edited(&|p| p["patterns"][0]["steps"][0]["nodes"] = 0.into()), &["pattern 0"]),
        (
            "columns",
            edited(&|p| p["patterns"][column]["steps"][0]["count"] = 65.into()),
            &["column count 65 is beyond the machine's 64"],
        ),
        (
            "SRAM",
            edited(&|p| p["instructions"][0]["acquire_bytes"] = 131_073.into()),
            &["needs 131073 bytes of SRAM", "131072"],
        ),
    ];
    let mut judge = Judge::new();
    for (name, text, fragments) in &cases {
        let path = folder.write("p.json", text);
        let args = ["run", &experiment, "--program", &path].map(str::to_owned);
        judge.refuses((name, fragments), &args);
    }
    let none = ["run", &experiment, "--program", &folder.path("none.json")].map(str::to_owned);
    judge.refuses(("no file", &["none.json: cannot be read"]), &none);
    let inside = ["run", &experiment, "--program", &folder.0.display().to_string()].map(str::to_owned);
    judge.refuses(("a folder", &[]), &inside);
    // A run that cannot go on says who waits for whom, and that is not the file's form: exit code 1.
    let hog = edited(&|p| p["instructions"][0]["acquire_bytes"] = 131_072.into());
    let path = folder.write("p.json", hog);
    let args = ["run", &experiment, "--program", &path].map(str::to_owned);
    judge.refuses_with(1, ("deadlock", &["deadlock at", "waits for", "bytes of SRAM, of which"]), &args);
    let endless = edited(&|p| p["functions"][0]["phases"][0]["adds"] = u64::MAX.into());
    let path = folder.write("p.json", endless);
    let args = ["run", &experiment, "--program", &path].map(str::to_owned);
    judge.refuses_with(1, ("no end", &["simulated time passes"]), &args);
    judge.finish(20);
    // Numbers at their limits are counted, or refused, but never break the run.
    for edit in [
        &(|p: &mut serde_json::Value| p["instructions"][0]["release_bytes"] = u64::MAX.into())
            as &dyn Fn(&mut serde_json::Value),
        &|p| p["functions"][0]["phases"][0]["add_depth"] = 10_000_000.into(),
        &|p| p["operators"][0]["count"] = u64::MAX.into(),
        &|p| p["context_tokens"] = u64::MAX.into(),
        &|p| p["instructions"][pim]["work"]["pim"]["iterations"] = 0.into(),
        &|p| p["patterns"][0]["steps"] = serde_json::json!([]),
        &|p| p["instructions"] = serde_json::json!([]),
    ] {
        let path = folder.write("p.json", edited(edit));
        let result = in_process(&["run", &experiment, "--program", &path, "--format", "json"].map(str::to_owned));
        assert!(!matches!(result, Err((101, _))), "{result:?}");
    }
}

#[test]
fn sweeps_that_cannot_be_run() {
    let folder = Folder::new("bad-sweeps");
    folder.write("exp.toml", EXPERIMENT);
    let many: String = (0..1001).map(|i| format!("{i},")).collect();
    let vary = |key: &str, values: &str| format!("[[vary]]\nkey = \"{key}\"\nvalues = [{values}]\n");
    let one = "experiments = [\"exp.toml\"]\n";
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("empty", String::new(), &["`experiments` is missing"]),
        ("none", "experiments = []\n".into(), &["s.toml:1: `experiments` names no experiment", "list at least one"]),
        ("unknown key", format!("{one}varry = 1\n"), &["s.toml:2: `varry` is not a key", "did you mean `vary`"]),
        (
            "unknown key of vary",
            format!("{one}[[vary]]\nkey = \"a\"\nvalue = [1]\n"),
            &["s.toml:4: `vary[0].value` is not a key", "did you mean `values`"],
        ),
        ("no values", format!("{one}{}", vary("seed", "")), &["s.toml:4: `vary[0].values` has no value"]),
        (
            "too many",
            format!("{one}{}{}", vary("seed", &many), vary("seed", &many)),
            &["`vary[1].values` makes more than 1000000 points"],
        ),
        ("missing experiment", "experiments = [\"none.toml\"]\n".into(), &["none.toml: cannot be read"]),
        ("string for list", "experiments = \"exp.toml\"\n".into(), &["s.toml:1: `experiments` has an invalid type"]),
        ("set without =", format!("{one}set = [\"seed\"]\n"), &["s.toml:2: `set[0]`", "has no `=`"]),
        (
            "bad set",
            format!("{one}set = [\"machine.memory.channels=0\"]\n"),
            &["s.toml:2: `set[0]`", "`machine.memory.channels` is 0"],
        ),
        (
            "bad value",
            format!("{one}{}", vary("machine.memory.channels", "8, 0")),
            &["s.toml:2: `vary[0]`", "is 0: must be from 1 to 128"],
        ),
        (
            "unknown key varied",
            format!("{one}{}", vary("machine.memory.chanels", "8")),
            &["s.toml:2: `vary[0]`", "did you mean `channels`"],
        ),
        ("empty key varied", format!("{one}{}", vary("", "8")), &["s.toml:2: `vary[0]`", "empty key"]),
        (
            "point",
            format!("{one}[[point]]\nname = \"p\"\nset = [\"machine.memory.channels=0\"]\n"),
            &["s.toml:4: `point[0].set[0]`", "is 0"],
        ),
        ("point without name", format!("{one}[[point]]\nset = []\n"), &["`point[0].name` is missing"]),
    ];
    let mut judge = Judge::new();
    for (name, text, fragments) in &cases {
        let path = folder.write("s.toml", text);
        judge.refuses((name, fragments), &["sweep".into(), path]);
    }
    let good = folder.write("s.toml", one);
    let args =
        |more: &[&str]| -> Vec<String> { ["sweep", &good].iter().chain(more).map(|s| (*s).to_owned()).collect() };
    judge.refuses(("jobs 0", &["--jobs: is 0: must be from 1 to 4096"]), &args(&["--jobs", "0"]));
    judge.refuses(("jobs -1", &["--jobs"]), &args(&["--jobs=-1"]));
    judge.refuses(("jobs 10^6", &["--jobs: is 1000000"]), &args(&["--jobs", "1000000"]));
    judge.refuses(("resume from nowhere", &["--out"]), &args(&["--resume"]));
    judge.refuses(("roofline", &["no roofline named `t5`", "use one of: h200, t4"]), &args(&["--versus", "t5"]));
    judge.refuses(("set", &["--set seed: has no `=`"]), &args(&["--set", "seed"]));
    judge.finish(20);
}

#[test]
fn commands_that_cannot_be_done() {
    let folder = Folder::new("bad-commands");
    let experiment = folder.write("exp.toml", EXPERIMENT);
    let csv = folder.write("t.csv", "channels,latency_s,name\n8,1.0,a\n16,0.5,b\n");
    let ragged = folder.write("ragged.csv", "a,b\n1,2\n1,2,3\n");
    let words = folder.write("words.csv", "a,b\nx,y\nz,w\n");
    let header = folder.write("header.csv", "channels,latency_s\n");
    let nothing = folder.write("nothing.csv", "");
    let json = folder.write("r.json", "{\"schema\": 1");
    let other = folder.write("o.json", "{\"schema\": 1}");
    let none = folder.path("none.json");
    let svg = folder.path("p.svg");
    let here = folder.0.display().to_string();
    let cases: &[(&[&str], &[&str])] = &[
        (&["plot", "breakdwn", &csv, "-o", &svg], &["no kind of plot named `breakdwn`", "did you mean `breakdown`"]),
        (&["plot", "sweep", &csv, "-o", "p.pdf"], &["--output", "does not end in .svg or .png", "help:"]),
        (&["plot", "sweep", &csv, "-o", "p"], &["does not end in .svg or .png"]),
        (&["plot", "sweep", "-o", &svg], &["INPUT"]),
        (&["plot", "breakdown", &json, "-o", &svg], &["r.json:1: is not a run report", "EOF", "report.json"]),
        (&["plot", "breakdown", &other, "-o", &svg], &["o.json", "is not a run report", "missing field"]),
        (&["plot", "breakdown", &none, "-o", &svg], &["none.json: cannot be read", "help:"]),
        (&["plot", "breakdown", &here, "-o", &svg], &["report.json: cannot be read", "help:"]),
        (&["plot", "breakdown", &csv, "-o", &svg], &["t.csv", "is not a run report", "help:"]),
        (&["plot", "sweep", &none, "-o", &svg], &["none.json: cannot be read"]),
        (&["plot", "sweep", &ragged, "-o", &svg], &["ragged.csv:3: is not a table"]),
        (&["plot", "sweep", &words, "-o", &svg], &["words.csv", "help:"]),
        (&["plot", "sweep", &words, "--x", "a", "--y", "b", "-o", &svg], &["`a` row 1 has `x`", "give a number"]),
        (&["plot", "sweep", &nothing, "-o", &svg], &["nothing.csv"]),
        (&["plot", "sweep", &header, "-o", &svg], &["header.csv", "help:"]),
        (
            &["plot", "sweep", &csv, "--x", "chanels", "-o", &svg],
            &["t.csv: there is no column named `chanels`", "did you mean `channels`"],
        ),
        (&["plot", "validation", &csv, "-o", &svg], &["t.csv: has no column `measured", "--x"]),
        (&["run", &experiment, "--timeline-token", "0"], &["--timeline-token: is 0: must be from 1 to 2"]),
        (&["run", &experiment, "--timeline-token", "3"], &["--timeline-token: is 3: must be from 1 to 2"]),
        (&["run", &experiment, "--timeline-token", "x"], &["invalid value 'x'"]),
        (&["run", &experiment, "--versus", "h2000"], &["no roofline named `h2000`", "did you mean `h200`"]),
        (&["run", &experiment, "--format", "xml"], &["invalid value 'xml'", "json"]),
        (&["run"], &["EXPERIMENT"]),
        (&["rum", &experiment], &["unrecognized subcommand 'rum'", "'run'"]),
        (&["map", &experiment, "--token", "0"], &["--token: is 0: must be from 1 to 2"]),
        (&["map", &experiment, "--set", "machine.memory.channels=0"], &["`machine.memory.channels` is 0"]),
        (&["show", "models", "gpt5"], &["no model named `gpt5`", "help:"]),
        (&["show", "hardware", "pim-gtp"], &["no hardware named `pim-gtp`", "pim-gpt"]),
        (&["show", "mappings", "x"], &["no mapping named `x`", "pim-gpt"]),
        (&["show", "rooflines", "x"], &["no roofline named `x`", "use one of"]),
        (&["show", "hardware", "none.toml"], &["none.toml: cannot be read"]),
        (&["show", "models", &experiment], &["exp.toml:3: `machine` is not a key"]),
        (&["show", "model", "x"], &["invalid value 'model'", "models"]),
        (&["list", "x"], &["invalid value 'x'"]),
        (&["import", "hf", &json, "-o", "m.toml"], &["r.json"]),
        (&["import", "hf", &none, "-o", "m.toml"], &["none.json: cannot be read"]),
    ];
    let mut judge = Judge::new();
    for (args, fragments) in cases {
        let args: Vec<String> = args.iter().map(|s| (*s).to_owned()).collect();
        judge.refuses((&args.join(" "), fragments), &args);
    }
    judge.finish(35);
    assert!(!folder.0.join("p.svg").exists(), "a plot of nothing");
}

/// The process itself: exit code 2, the message on standard error, and nothing on standard output.
#[test]
fn the_binary_refuses_as_the_library_does() {
    let folder = Folder::new("bad-binary");
    let experiment = folder.write("exp.toml", EXPERIMENT);
    let empty = folder.write("empty.toml", "");
    let none = folder.path("none.toml");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["run", &experiment, "--set", "machine.memory.channels=0"], 2, "error: --set machine.memory.channels=0: "),
        (&["run", &empty], 2, "`machine` is missing"),
        (&["run", &none], 2, "none.toml: cannot be read"),
        (&["sweep", &empty], 2, "`experiments` is missing"),
        (&["map", &experiment, "--set", "workload.model=llama2-7b"], 2, "GiB more than"),
        (&["plot", "x", &empty, "-o", "x.svg"], 2, "no kind of plot"),
        (&["show", "hardware", "x"], 2, "no hardware named `x`"),
        (&["run", &experiment, "--jobs", "2"], 2, "--jobs"),
        (
            &[
                "run",
                &experiment,
                "--set",
                "workload.generation.generated_tokens=1",
                "--out",
                &format!("{experiment}/x"),
            ],
            1,
            "cannot be created",
        ),
    ];
    for (args, code, fragment) in cases {
        let output = banksia(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {error}");
        assert!(error.contains(fragment) && error.starts_with("error: "), "{args:?}: {error}");
        if *code == 2 {
            assert!(output.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        }
    }
    // What was not expected to be long-running must not be: an endless file is read up to the limit only.
    #[cfg(target_os = "linux")]
    {
        let output = banksia(&["run", "/dev/zero"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("too large"));
    }
}
