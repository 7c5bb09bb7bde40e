//! Every command of README and docs does what its page shows.
//!
//! In the pages, blocks of these languages are checked, in order, a page in a folder of its own with the repository's files:
//!
//! - `console`: lines `$ banksia ...`, each with what it prints below it; a line `...` stands for any lines, `[..]` within a line for anything;
//! - `sh`: a command a line, without what it prints;
//! - any after a line `<!-- file=NAME -->`: a file to write into the folder before the commands that follow.
//!
//! A command ends with `# exit 2` if that is its exit code, else it must be 0. Commands of a block marked `long` (`console,long`, or a line `<!-- long -->` before it) are parsed
//! only, unless `BANKSIA_DOCS_LONG=1`. `cargo` is not run: the package, the test and the example that it names must exist. A command anywhere else is a
//! fault, since nothing would check it. Commands within a line of text must have arguments that exist.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

use banksia::args::Cli;
use clap::Parser;
use clap::error::ErrorKind;
use rayon::prelude::*;

use crate::common::Folder;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// README and everything in docs, as paths from the root.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![PathBuf::from("README.md")];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// A fenced block.
#[derive(Debug, Default)]
struct Block {
    language: String,
    /// Not to be run, but parsed.
    long: bool,
    file: Option<String>,
    /// Of its first line.
    line: usize,
    lines: Vec<String>,
}

/// A page's blocks, and its text outside of them with line numbers.
fn parts(page: &str) -> (Vec<Block>, Vec<(usize, String)>) {
    let (mut blocks, mut text) = (Vec::new(), Vec::new());
    let mut open: Option<(Block, String)> = None;
    let mut before = "";
    for (i, line) in page.lines().enumerate() {
        let bare = line.trim_start();
        match &mut open {
            Some((_, fence)) if bare.trim_end() == *fence => blocks.extend(open.take().map(|(block, _)| block)),
            Some((block, _)) => block.lines.push(line.to_owned()),
            None if bare.starts_with("```") => {
                let marks = bare.chars().take_while(|c| *c == '`').count();
                let mut words = bare[marks..].split([' ', ',']).filter(|w| !w.is_empty());
                let language = words.next().unwrap_or_default().to_owned();
                let mut block = Block { language, line: i + 2, ..Block::default() };
                let comment =
                    before.trim().strip_prefix("<!--").and_then(|c| c.strip_suffix("-->")).unwrap_or_default();
                for word in words.chain(comment.split_whitespace()) {
                    block.long |= word == "long";
                    block.file = word.strip_prefix("file=").map(str::to_owned).or(block.file);
                }
                open = Some((block, "`".repeat(marks)));
            }
            None => text.push((i + 1, line.to_owned())),
        }
        before = line;
    }
    assert!(open.is_none(), "a block is not closed: {open:?}");
    (blocks, text)
}

/// A command of a page, and the lines that follow it.
struct Step {
    line: usize,
    command: String,
    exit: i32,
    shown: Vec<String>,
}

/// The commands of a block.
fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut continued = false;
    for (i, line) in block.lines.iter().enumerate() {
        let command = if block.language == "sh" { Some(line.trim()) } else { line.trim().strip_prefix("$ ") };
        if continued {
            let last = steps.last_mut().unwrap();
            last.command.push_str(line.trim());
        } else if let Some(command) = command {
            if command.is_empty() || command.starts_with('#') {
                continue;
            }
            steps.push(Step { line: block.line + i, command: command.to_owned(), exit: 0, shown: Vec::new() });
        } else {
            match steps.last_mut() {
                Some(step) => step.shown.push(line.clone()),
                None => panic!("line {}: output before any command", block.line + i),
            }
            continue;
        }
        let last = steps.last_mut().unwrap();
        continued = last.command.ends_with('\\');
        if continued {
            last.command.pop();
        }
        if let Some((command, exit)) = last.command.rsplit_once("# exit ") {
            last.exit = exit.trim().parse().unwrap_or_else(|_| panic!("line {}: `# exit {exit}`", last.line));
            last.command = command.trim_end().to_owned();
        }
    }
    steps
}

/// The words of a command, up to what only the shell sees: a pipe, a redirection, a comment.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    for c in command.chars() {
        match (quote, c) {
            (None, '\'' | '"') => (quote, begun) = (Some(c), true),
            (Some(q), _) if q == c => quote = None,
            (None, '|' | '>' | '<' | ';' | '&') => break,
            (None, '#') if !begun => break,
            (None, c) if c.is_whitespace() => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    let assigned = words.iter().take_while(|w| w.contains('=') && !w.starts_with('-')).count();
    words.split_off(assigned)
}

/// Whether a line matches one with `[..]`.
fn line_matches(pattern: &str, line: &str) -> bool {
    let (pattern, line) = (pattern.trim_end(), line.trim_end());
    let mut parts = pattern.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether lines match those of a page, where `...` stands for any lines.
fn matches(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim() == "..." => (0..=printed.len()).any(|n| matches(rest, &printed[n..])),
        Some((first, rest)) => printed.split_first().is_some_and(|(p, ps)| line_matches(first, p) && matches(rest, ps)),
    }
}

fn trimmed<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let all: Vec<&str> = lines.skip_while(|l| l.trim().is_empty()).collect();
    let end = all.iter().rposition(|l| !l.trim().is_empty()).map_or(0, |i| i + 1);
    all[..end].to_vec()
}

/// The repository as a page's commands see it, in a folder of their own, with the binary as `banksia`.
struct Place {
    folder: Folder,
    path: String,
}

impl Place {
    fn new(name: &str) -> Self {
        let folder = Folder::new(&format!("docs-{}", name.replace(['/', '.'], "-")));
        for name in ["docs", "hw-models", "workloads", "tests", "README.md"] {
            link(&root().join(name), &folder.0.join(name));
        }
        copy(&root().join("configs"), &folder.0.join("configs"));
        let bin = folder.0.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        link(Path::new(env!("CARGO_BIN_EXE_banksia-under-test")), &bin.join("banksia"));
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        Self { folder, path }
    }

    /// The exit code, and what was printed on both streams.
    fn run(&self, command: &str) -> (Option<i32>, String) {
        let whole = format!("{{ {command}\n}} 2>&1");
        let output =
            Command::new("sh").args(["-c", &whole]).current_dir(&self.folder.0).env("PATH", &self.path).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn link(from: &Path, to: &Path) {
    let _ = std::fs::remove_file(to);
    std::os::unix::fs::symlink(from, to).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// What is wrong with the arguments of a command that is not run; files of the repository that it names must exist.
fn unparsable(words: &[String]) -> Option<String> {
    if let Err(e) = Cli::try_parse_from(words)
        && !matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
    {
        return Some(e.to_string());
    }
    let ours = |w: &&String| w.starts_with("configs/") || w.starts_with("tests/") || w.starts_with("docs/");
    words.iter().find(|w| ours(w) && !root().join(w).exists()).map(|w| format!("{w} does not exist"))
}

/// Whether a folder of tests has one that a filter `module::part of a name`, or either alone, would run.
fn tests_named(folder: &Path, filter: &str) -> bool {
    let (modules, name) = filter.rsplit_once("::").map_or(("", filter), |(modules, name)| (modules, name));
    let module = |m: &str| folder.join(m).is_dir() || folder.join(format!("{m}.rs")).is_file();
    let sources = |file: &Path| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|l| l.trim().starts_with("fn ") && l.contains(name))
    };
    let mut files = if modules.is_empty() {
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect()
    } else {
        vec![folder.join(format!("{modules}.rs")), folder.join(modules).join("mod.rs")]
    };
    files.retain(|f| f.is_file());
    !files.is_empty() && (modules.is_empty() && module(name) || name.is_empty() || files.iter().any(|f| sources(f)))
}

/// What is wrong with a `cargo` command: what it names must exist.
fn unknown_to_cargo(words: &[String]) -> Option<String> {
    let ours = words.iter().position(|w| w == "--").unwrap_or(words.len());
    let (own, after) = (&words[..ours], words.get(ours + 1..).unwrap_or_default());
    let value = |flags: &[&str]| own.iter().position(|w| flags.contains(&w.as_str())).and_then(|i| own.get(i + 1));
    let workspace: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let named = |member: &&str| {
        let manifest = std::fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        let package = value(&["-p", "--package"]).map_or("banksia", String::as_str);
        manifest.lines().any(|l| l == format!("name = \"{package}\""))
    };
    let Some(member) = members.iter().filter_map(toml::Value::as_str).find(named) else {
        return Some("no such package".to_owned());
    };
    for (flag, folder) in [("--test", "tests"), ("--example", "examples"), ("--bench", "benches")] {
        let Some(name) = value(&[flag]) else { continue };
        let base = root().join(member).join(folder);
        let file = [base.join(format!("{name}.rs")), base.join(name).join("main.rs")].into_iter().find(|f| f.exists());
        let Some(file) = file else { return Some(format!("{member}/{folder} has no {name}")) };
        let filter = own.iter().position(|w| w == name).and_then(|i| own.get(i + 1)).filter(|w| !w.starts_with('-'));
        let there = |f: &String| tests_named(file.parent().unwrap_or(&base), f);
        if let Some(filter) = filter.filter(|f| flag == "--test" && !there(f)) {
            return Some(format!("{name} has no test of `{filter}`"));
        }
    }
    let runs_us = own.get(1).is_some_and(|w| w == "run") && value(&["--example"]).is_none() && !after.is_empty();
    runs_us.then(|| unparsable(&[&["banksia".to_owned()], after].concat()))?
}

/// A file that a command would write, and that is the repository's or somewhere else.
fn written_outside(command: &str) -> Option<&str> {
    const OUTPUTS: [&str; 8] =
        ["--out", "-o", "--output", "--commands", "--completions", "--timeline", "--program", ">"];
    let words: Vec<&str> = command.split([' ', '=']).filter(|w| !w.is_empty()).collect();
    let outside = |file: &str| {
        let shared = ["docs/", "hw-models/", "workloads/", "tests/", "/", "~"];
        shared.iter().any(|s| file.starts_with(s)) || file.contains("..") || file == "README.md"
    };
    words.windows(2).find(|w| OUTPUTS.contains(&w[0]) && outside(w[1])).map(|w| w[1])
}

/// What is wrong with a step, which is run or looked at.
fn fault(step: &Step, block: &Block, place: &Place) -> Option<String> {
    let words = words(&step.command);
    let first = words.first().map_or("", String::as_str);
    if first == "cargo" && block.language == "sh" {
        return unknown_to_cargo(&words);
    }
    if let Some(at) = words.iter().position(|w| w.ends_with("/banksia")) {
        return unparsable(&words[at..]); // a measurement of a built binary
    }
    if first != "banksia" {
        return Some("nothing checks such a command".to_owned());
    }
    if let Some(file) = written_outside(&step.command) {
        return Some(format!("writes {file}, which is not in the page's own folder"));
    }
    if block.long && std::env::var("BANKSIA_DOCS_LONG").is_err() {
        return unparsable(&words);
    }
    let (code, printed) = place.run(&step.command);
    if code != Some(step.exit) {
        return Some(format!("exits with {code:?}, not {}:\n{printed}", step.exit));
    }
    let shown = trimmed(step.shown.iter().map(String::as_str));
    let lines = trimmed(printed.lines());
    let differs = block.language == "console" && !matches(&shown, &lines);
    differs.then(|| format!("prints\n{}\nwhere the page has\n{}", lines.join("\n"), shown.join("\n")))
}

/// The commands in a line of text.
fn inline(line: &str) -> Vec<&str> {
    let spans = line.split('`').skip(1).step_by(2);
    spans.filter(|s| s.starts_with("banksia ") || s.starts_with("cargo ")).collect()
}

/// What is wrong with a command within a text, where capitals stand for values.
fn inline_fault(command: &str) -> Option<String> {
    let words: Vec<String> =
        words(command).into_iter().map(|w| if w == "N" { "1".to_owned() } else { w.replace("...", "") }).collect();
    if words[0] == "cargo" {
        return unknown_to_cargo(&words);
    }
    match Cli::try_parse_from(&words) {
        Err(e) if matches!(e.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand) => Some(e.to_string()),
        _ => None,
    }
}

/// Everything that is wrong with a page's commands.
fn faults(page: &Path, text: &str) -> Vec<String> {
    let (blocks, outside) = parts(text);
    let place = Place::new(&page.display().to_string());
    let mut all = Vec::new();
    let mut note = |line: usize, what: &str, why: &str| all.push(format!("{}:{line}: {what}\n{why}\n", page.display()));
    for block in &blocks {
        if let Some(name) = &block.file {
            place.folder.write(name, format!("{}\n", block.lines.join("\n")));
        } else if matches!(block.language.as_str(), "console" | "sh") {
            for step in steps(block) {
                if let Some(why) = fault(&step, block, &place) {
                    note(step.line, &step.command, &why);
                }
            }
        } else {
            for (i, line) in block.lines.iter().enumerate() {
                let command = line.trim().trim_start_matches("$ ");
                if ["banksia ", "cargo "].iter().any(|p| command.starts_with(p)) {
                    note(block.line + i, command, "an unchecked command: make the block `console` or `sh`");
                }
            }
        }
    }
    for (line, text) in outside {
        for command in inline(&text) {
            if let Some(why) = inline_fault(command) {
                note(line, command, &why);
            }
        }
    }
    all
}

#[test]
fn commands_do_what_the_pages_show() {
    let read = |page: &PathBuf| std::fs::read_to_string(root().join(page)).unwrap();
    let wrong: Vec<String> = pages().par_iter().flat_map_iter(|page| faults(page, &read(page))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn links_lead_to_files() {
    let mut wrong = Vec::new();
    for page in pages() {
        let (_, text) = parts(&std::fs::read_to_string(root().join(&page)).unwrap());
        for (line, text) in text {
            for link in text.split("](").skip(1).filter_map(|l| l.split_once(')')).map(|(l, _)| l) {
                let file = link.split('#').next().unwrap_or_default();
                let folder = root().join(page.parent().unwrap());
                if !file.is_empty() && !file.contains("://") && !folder.join(file).exists() {
                    wrong.push(format!("{}:{line}: {link}", page.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "links to nothing:\n{}", wrong.join("\n"));
}

#[test]
fn what_a_page_gets_wrong_is_found() {
    let found = |text: &str| faults(Path::new("docs/made-up.md"), text).len();
    let right =
        "```console\n$ banksia list mappings\npim-gpt [..] decoder[..]\n...\n$ banksia lists  # exit 2\n...\n```\n";
    assert_eq!(found(right), 0, "{:?}", faults(Path::new("docs/made-up.md"), right));
    assert_eq!(found("```console\n$ banksia list mappings\npim-gpt\n...\n```\n"), 1, "another line");
    assert_eq!(found("```console\n$ banksia list mappings\n```\n"), 1, "output that is not shown");
    assert_eq!(found("```console\n$ banksia list mappings # exit 2\n...\n```\n"), 1, "another exit code");
    assert_eq!(found("```sh\nbanksia list mapping\n```\n"), 1, "a command that fails");
    assert_eq!(found("```sh,long\nbanksia run configs/none.toml\n```\n"), 1, "a file that is not there");
    assert_eq!(found("<!-- long -->\n```sh\nbanksia validate --suite all\n```\n"), 1, "an argument that is not there");
    assert_eq!(found("```\nbanksia list models\n```\n"), 1, "a block of no language");
    assert_eq!(found("```text\n$ banksia list models\n```\n"), 1, "another language");
    assert_eq!(found("```sh\ncargo test -p banksia-hw --test no_such_test\n```\n"), 1, "no such test");
    assert_eq!(found("```sh\ncargo run --release -- run configs/none.toml\n```\n"), 1, "no such experiment");
    assert_eq!(found("```sh\nrm -r everything\n```\n"), 1, "another program");
    assert_eq!(found("```sh\nbanksia list models > docs/models.md\n```\n"), 1, "a file of the repository");
    assert_eq!(found("It is `banksia simulate`, or `banksia list --all models`.\n"), 2, "within a line");
    assert_eq!(found("`banksia map EXPERIMENT.toml --token N`, `cargo bench -p banksia-sim --bench hold`\n"), 0);
    assert_eq!(
        found("<!-- file=x.toml -->\n```toml\nname = 1\n```\n```sh\nbanksia run x.toml # exit 2\n```\n"),
        0,
        "a file"
    );
}

#[test]
fn lines_are_compared_as_said() {
    assert!(matches(&["a", "...", "b [..] s"], &["a", "x", "y", "b 1.5 s"]));
    assert!(matches(&["..."], &[]));
    assert!(!matches(&["a", "..."], &["b", "a"]));
    assert!(line_matches("x [..] y [..]z", "x 1 y 2z") && !line_matches("x [..] y", "x 1 z"));
    assert!(line_matches("a", "a  ") && !line_matches("a", "ab") && line_matches("[..]", ""));
    assert_eq!(words("A=1 banksia x='a b' \"c\" # d"), ["banksia", "x=a b", "c"]);
    assert_eq!(words("banksia run a#b | jq"), ["banksia", "run", "a#b"]);
}
