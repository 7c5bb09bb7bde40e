//! What docs/architecture.md names exists: files and folders, types and what they have, and every crate is named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{members, read, root};

/// What stands between backticks of a page, outside of its blocks of code.
fn quoted(text: &str) -> Vec<String> {
    let outside: String = text.split("```").step_by(2).collect::<Vec<_>>().join("\n");
    outside.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The words of what is drawn in a page's blocks of code.
fn drawn(text: &str) -> Vec<String> {
    let inside = text.split("```").skip(1).step_by(2).collect::<Vec<_>>().join("\n");
    let word = |c: char| !(c.is_alphanumeric() || c == '-' || c == '_');
    inside.split(word).map(str::to_owned).collect()
}

/// `Name` of a type and, after `::`, of what it has; nothing where the text is something else.
fn type_name(text: &str) -> Option<(&str, Option<&str>)> {
    let (name, member) = text.split_once("::").map_or((text, None), |(name, member)| (name, Some(member)));
    let word = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_alphanumeric() || c == '_');
    let camel = name.starts_with(|c: char| c.is_uppercase()) && name.contains(|c: char| c.is_lowercase());
    (camel && word(name) && member.is_none_or(word)).then_some((name, member))
}

/// A path of the tree: it has a folder in it, and begins with one of the tree's.
fn is_path(text: &str, folders: &BTreeSet<String>) -> bool {
    text.split_once('/').is_some_and(|(first, _)| folders.contains(first)) && !text.contains([' ', '*'])
}

/// The files below a folder.
fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            files(&entry, out);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            out.push(entry);
        }
    }
}

/// What the public types of some sources have beside them in their file, by type.
fn types<'a>(sources: impl Iterator<Item = &'a str>) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for text in sources {
        let word = |c: char| !(c.is_alphanumeric() || c == '_');
        let words: BTreeSet<String> = text.split(word).map(str::to_owned).collect();
        for line in text.lines().map(str::trim_start) {
            let kinds = ["pub struct ", "pub enum ", "pub trait ", "pub type "];
            let Some(rest) = kinds.iter().find_map(|kind| line.strip_prefix(kind)) else { continue };
            let name = rest.split(word).next().unwrap_or_default();
            all.entry(name.to_owned()).or_default().extend(words.iter().cloned());
        }
    }
    all
}

/// What a page names and the tree does not have.
fn faults(page: &str, folders: &BTreeSet<String>, types: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for text in quoted(page) {
        if is_path(&text, folders) {
            if !root().join(&text).exists() {
                wrong.push(format!("`{text}`: there is no such file or folder"));
            }
        } else if let Some((name, member)) = type_name(&text) {
            match types.get(name) {
                None => wrong.push(format!("`{text}`: no crate has a public type `{name}`")),
                Some(words) if member.is_some_and(|m| !words.contains(m)) => {
                    wrong.push(format!("`{text}`: `{name}` has no such part"));
                }
                Some(_) => {}
            }
        }
    }
    let drawn = drawn(page);
    for folder in folders.iter().filter(|f| !drawn.contains(f)) {
        wrong.push(format!("{folder} is not drawn"));
    }
    wrong
}

fn folders() -> BTreeSet<String> {
    members().into_iter().chain(["docs".to_owned(), "configs".to_owned()]).collect()
}

#[test]
fn what_the_page_on_architecture_names_exists() {
    let mut all = Vec::new();
    members().iter().for_each(|member| files(&root().join(member).join("src"), &mut all));
    let sources: Vec<String> = all.iter().map(|f| read(f)).collect();
    let page = read(&root().join("docs/architecture.md"));
    let named = quoted(&page).iter().filter(|t| type_name(t).is_some()).count();
    assert!(named > 30, "only {named} types are named");
    let wrong = faults(&page, &folders(), &types(sources.iter().map(String::as_str)));
    assert!(wrong.is_empty(), "docs/architecture.md:\n{}", wrong.join("\n"));
}

#[test]
fn what_does_not_exist_is_found() {
    let source = "pub struct Disk { rate: f64 }\nimpl Disk { pub fn spin(&self) {} }\nstruct Hidden;";
    let page = "```\n cli docs\n```\n`Disk` and `Disk::spin`, `Disk::stop`, `Hidden`, `docs/no-such-page.md`, `cli/src`, `word`";
    let folders = BTreeSet::from(["cli".to_owned(), "docs".to_owned(), "attic".to_owned()]);
    let wrong = faults(page, &folders, &types([source].into_iter()));
    assert_eq!(wrong.len(), 4, "{wrong:#?}");
    let all = wrong.join("\n");
    assert!(all.contains("`Disk::stop`") && all.contains("`Hidden`") && all.contains("no-such-page"), "{all}");
    assert!(all.contains("attic is not drawn"), "{all}");
}
