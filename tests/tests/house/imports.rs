//! No two files of a crate import each other.
//!
//! A file imports another when it names something that the other defines: in a `use`, or by a path (`super::units::short`). Names are
//! followed through re-exports to the file that defines them, and through `use x::*` where they are used. A file that only declares
//! modules and re-exports from them imports nothing. What is compiled for tests only is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, UseTree, Visibility};

use super::{members, read, root};

/// Pairs that import each other today, a line each, sorted. The list may only get shorter.
const KNOWN: &str = include_str!("known_pairs.txt");

type Segments = Vec<String>;

/// A module: a file, or a part of one.
#[derive(Default)]
struct Module {
    file: PathBuf,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// What it defines.
    items: BTreeSet<String>,
    /// What its `use` lines bring in: the name there, and the path.
    imports: BTreeMap<String, Segments>,
    /// The modules of its `use x::*` lines.
    globs: Vec<Segments>,
    /// Paths that it names, in `use` lines that are no re-exports and in code.
    paths: BTreeSet<Segments>,
}

/// The modules of a crate, from its root on.
#[derive(Default)]
struct Crate(Vec<Module>);

fn only_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|a| a.path().is_ident("cfg")).any(|a| {
        let text = a.meta.require_list().map(|l| l.tokens.to_string()).unwrap_or_default();
        !text.contains("not") && text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Macro(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => &[],
    }
}

/// The name that an item defines.
fn name_of(item: &Item) -> Option<String> {
    match item {
        Item::Const(i) => Some(i.ident.to_string()),
        Item::Enum(i) => Some(i.ident.to_string()),
        Item::Fn(i) => Some(i.sig.ident.to_string()),
        Item::Macro(i) => i.ident.as_ref().map(ToString::to_string),
        Item::Static(i) => Some(i.ident.to_string()),
        Item::Struct(i) => Some(i.ident.to_string()),
        Item::Trait(i) => Some(i.ident.to_string()),
        Item::Type(i) => Some(i.ident.to_string()),
        Item::Union(i) => Some(i.ident.to_string()),
        _ => None,
    }
}

/// The leaves of a `use`: the name there (none for `*`), and the path.
fn leaves(tree: &UseTree, before: &Segments, out: &mut Vec<(Option<String>, Segments)>) {
    let with = |ident: &syn::Ident| {
        let mut path = before.clone();
        if ident != "self" || path.is_empty() {
            path.push(ident.to_string());
        }
        path
    };
    match tree {
        UseTree::Path(p) => leaves(&p.tree, &with(&p.ident), out),
        UseTree::Name(n) => {
            let path = with(&n.ident);
            out.push((path.last().cloned(), path));
        }
        UseTree::Rename(r) => out.push((Some(r.rename.to_string()), with(&r.ident))),
        UseTree::Glob(_) => out.push((None, before.clone())),
        UseTree::Group(g) => g.items.iter().for_each(|t| leaves(t, before, out)),
    }
}

/// The paths that code names.
#[derive(Default)]
struct Paths {
    code: BTreeSet<Segments>,
    uses: BTreeSet<Segments>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        if !only_for_tests(attributes(item)) && !matches!(item, Item::Mod(_)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if matches!(item.vis, Visibility::Inherited) {
            let mut all = Vec::new();
            leaves(&item.tree, &Vec::new(), &mut all);
            self.uses.extend(all.into_iter().filter(|(name, _)| name.is_some()).map(|(_, path)| path));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.code.insert(path.segments.iter().map(|s| s.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {} // `pub(in crate::x)` imports nothing

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.visit_path(&item.path);
        self.code.extend(paths_of_tokens(&item.tokens.to_string()));
    }
}

/// The paths in a macro's arguments, which are not parsed as code.
fn paths_of_tokens(text: &str) -> Vec<Segments> {
    let outside: String = text.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let spaced = outside.replace("::", " :: ");
    let mut paths = Vec::new();
    let mut path = Segments::new();
    let mut joined = false;
    for word in spaced.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).filter(|w| !w.is_empty()) {
        if word == "::" {
            joined = true;
            continue;
        }
        if !joined && !path.is_empty() {
            paths.push(std::mem::take(&mut path));
        }
        path.push(word.to_owned());
        joined = false;
    }
    paths.push(path);
    paths
}

impl Crate {
    fn read(file: &Path) -> Self {
        let mut all = Self::default();
        let parsed = syn::parse_file(&read(file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        all.add(file, file.parent().unwrap(), None, &parsed.items);
        all
    }

    /// Adds a module of a file whose own modules lie in `folder`.
    fn add(&mut self, file: &Path, folder: &Path, parent: Option<usize>, items: &[Item]) -> usize {
        let id = self.0.len();
        self.0.push(Module { file: file.to_owned(), parent, ..Module::default() });
        let mut paths = Paths::default();
        for item in items.iter().filter(|i| !only_for_tests(attributes(i))) {
            self.0[id].items.extend(name_of(item));
            paths.visit_item(item);
            match item {
                Item::Use(u) => {
                    let mut all = Vec::new();
                    leaves(&u.tree, &Vec::new(), &mut all);
                    for (name, path) in all {
                        match name {
                            Some(name) => drop(self.0[id].imports.insert(name, path)),
                            None => self.0[id].globs.push(path),
                        }
                    }
                }
                Item::Mod(m) => {
                    let name = m.ident.to_string();
                    let child = match &m.content {
                        Some((_, inner)) => self.add(file, &folder.join(&name), Some(id), inner),
                        None => {
                            let flat = folder.join(format!("{name}.rs"));
                            let path = if flat.exists() { flat } else { folder.join(&name).join("mod.rs") };
                            let parsed = syn::parse_file(&read(&path)).unwrap_or_else(|e| panic!("{path:?}: {e}"));
                            self.add(&path, &folder.join(&name), Some(id), &parsed.items)
                        }
                    };
                    self.0[id].children.insert(name, child);
                }
                _ => {}
            }
        }
        // A re-export is an import where the file itself uses the name.
        let used: BTreeSet<&String> = paths.code.iter().filter_map(|p| p.first()).collect();
        let re_exported = self.0[id].imports.iter().filter(|(name, _)| used.contains(name)).map(|(_, p)| p.clone());
        let re_exported: Vec<Segments> = re_exported.collect();
        self.0[id].paths = paths.uses.into_iter().chain(paths.code).chain(re_exported).collect();
        id
    }

    /// The module and file in which a path's thing is defined, as seen from a module; none where it is not this crate's.
    fn defined(&self, from: usize, path: &[String], depth: usize) -> Option<usize> {
        let (first, rest) = path.split_first()?;
        if depth == 0 {
            return None;
        }
        match first.as_str() {
            "crate" => self.within(0, rest, depth),
            "self" => self.within(from, rest, depth),
            "super" => {
                let mut at = self.0[from].parent?;
                let mut rest = rest;
                while rest.first().is_some_and(|s| s == "super") {
                    at = self.0[at].parent?;
                    rest = &rest[1..];
                }
                self.within(at, rest, depth)
            }
            _ => self.looked_up(from, path, depth),
        }
    }

    /// A path that begins in a module, which has what it names even if it is not seen here (a macro made it).
    fn within(&self, at: usize, path: &[String], depth: usize) -> Option<usize> {
        if path.is_empty() { Some(at) } else { self.looked_up(at, path, depth).or(Some(at)) }
    }

    fn looked_up(&self, at: usize, path: &[String], depth: usize) -> Option<usize> {
        let module = &self.0[at];
        let (first, rest) = path.split_first()?;
        if let Some(child) = module.children.get(first) {
            return self.within(*child, rest, depth);
        }
        if module.items.contains(first) {
            return Some(at);
        }
        if let Some(import) = module.imports.get(first).filter(|i| i.first() != Some(first) || i.len() > 1) {
            let whole: Segments = import.iter().chain(rest).cloned().collect();
            return self.defined(at, &whole, depth - 1);
        }
        let through = |glob: &Segments| {
            let module = self.defined(at, glob, depth - 1)?;
            if module == at { None } else { self.looked_up(module, path, depth - 1) }
        };
        if depth > 1 { module.globs.iter().find_map(through) } else { None }
    }

    /// Which file imports which.
    fn imports(&self) -> BTreeSet<(PathBuf, PathBuf)> {
        let mut all = BTreeSet::new();
        for (id, module) in self.0.iter().enumerate() {
            for target in module.paths.iter().filter_map(|path| self.defined(id, path, 12)) {
                let other = &self.0[target].file;
                if *other != module.file {
                    all.insert((module.file.clone(), other.clone()));
                }
            }
        }
        all
    }

    /// The pairs of files that import each other.
    fn mutual(&self) -> Vec<(PathBuf, PathBuf)> {
        let all = self.imports();
        all.iter().filter(|(a, b)| a < b && all.contains(&(b.clone(), a.clone()))).cloned().collect()
    }
}

#[test]
fn no_two_files_import_each_other() {
    let mut pairs = BTreeSet::new();
    for member in members() {
        for name in ["lib.rs", "main.rs"] {
            let file = root().join(&member).join("src").join(name);
            if file.exists() {
                let short = |p: &Path| p.strip_prefix(root()).unwrap().display().to_string().replace('\\', "/");
                pairs.extend(Crate::read(&file).mutual().iter().map(|(a, b)| format!("{} {}", short(a), short(b))));
            }
        }
    }
    let known: BTreeSet<String> = KNOWN.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect();
    let new: Vec<&String> = pairs.difference(&known).collect();
    let gone: Vec<&String> = known.difference(&pairs).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "files that import each other (move what both need into a third): {new:#?}\n\
        no longer so (take these out of tests/tests/house/known_pairs.txt): {gone:#?}"
    );
}

/// A crate of some files, in a folder of its own.
fn mutual_of(name: &str, files: &[(&str, &str)]) -> Vec<String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("house-{name}-{}", std::process::id()));
    for (file, text) in files {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let short = |p: &Path| p.strip_prefix(&folder).unwrap().display().to_string();
    let pairs = Crate::read(&folder.join("lib.rs")).mutual();
    let pairs = pairs.iter().map(|(a, b)| format!("{} {}", short(a), short(b))).collect();
    std::fs::remove_dir_all(&folder).unwrap();
    pairs
}

#[test]
fn files_that_import_each_other_are_found() {
    // Through a `use`, a path in code, a re-export, a star, and a macro's arguments.
    let files = [
        ("lib.rs", "mod a; mod b; mod c; pub use a::A; pub use c::D;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        ("b.rs", "pub struct B; fn f() -> crate::A { panic!() }"),
        ("c/mod.rs", "mod d; mod e; pub use d::D; pub fn x() -> u32 { 1 }"),
        ("c/d.rs", "use super::*; pub struct D; fn g() -> u32 { x() }"),
        ("c/e.rs", "fn h() { println!(\"{}\", super::x()); }"),
    ];
    assert_eq!(mutual_of("found", &files), ["a.rs b.rs"]);
    let mut with_use = files;
    with_use[3].1 = "mod d; mod e; pub use d::D; pub fn x() -> D { D }";
    assert_eq!(mutual_of("star", &with_use), ["a.rs b.rs", "c/d.rs c/mod.rs"]);
    with_use[3].1 = "mod d; mod e; pub use d::D; pub fn x() -> u32 { e::h(); 1 }";
    assert_eq!(mutual_of("macro", &with_use), ["a.rs b.rs", "c/e.rs c/mod.rs"]);
}

#[test]
fn declarations_re_exports_and_tests_are_no_imports() {
    let files = [
        ("lib.rs", "mod a; mod b; pub use a::{A, make as build}; pub struct Error;"),
        ("a.rs", "use crate::Error; pub struct A; pub fn make() -> Error { Error }"),
        ("b.rs", "use crate::build; fn f() { build(); } #[cfg(test)] mod tests { use super::*; }"),
    ];
    assert!(mutual_of("none", &files).is_empty());
    let tests =
        ("a.rs", "use crate::Error; pub struct A; pub fn make() {} #[cfg(test)] mod tests { use crate::b::f; }");
    assert!(mutual_of("tests", &[files[0], tests, files[2]]).is_empty());
}
