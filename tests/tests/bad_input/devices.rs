//! Device files.

use super::{Judge, run};
use crate::common::{EXPERIMENT, Folder, in_process};

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
