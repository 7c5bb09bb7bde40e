//! The keys of a schema as tables of a page.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::checker::resolved;

/// Tables of every key of a schema. `elsewhere` names keys that another page has, with what is said of them here.
pub(crate) fn tables(root: &Value, elsewhere: &[(&str, &str)]) -> String {
    let mut page = Page { root, elsewhere, described: BTreeMap::new(), values: BTreeMap::new(), text: String::new() };
    let kinds: Vec<&Value> = alternatives(root).filter(|kind| kind.get("$ref").is_some()).collect();
    if kinds.is_empty() {
        page.table("", "", root);
    }
    for kind in kinds {
        let title = text(kind, "description");
        writeln!(page.text, "### {}\n", title.trim_end_matches('.')).unwrap();
        page.described.clear();
        page.table("", "", page.object(kind));
    }
    page.values();
    page.text
}

/// Every key of a schema, wherever it stands.
pub(crate) fn names(schema: &Value, out: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(properties) = map.get("properties").and_then(Value::as_object) {
                out.extend(properties.keys().cloned());
            }
            map.values().for_each(|v| names(v, out));
        }
        Value::Array(list) => list.iter().for_each(|v| names(v, out)),
        _ => {}
    }
}

struct Page<'a> {
    root: &'a Value,
    elsewhere: &'a [(&'a str, &'a str)],
    /// Where each definition is described.
    described: BTreeMap<String, String>,
    /// Sets of values that have a meaning each, by definition, and the keys that take them.
    values: BTreeMap<&'a str, BTreeSet<String>>,
    text: String,
}

/// A table that is written in one of several forms.
struct Inner<'a> {
    /// As TOML writes its head.
    head: String,
    path: String,
    schema: &'a Value,
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf"].iter().filter_map(|word| schema.get(*word)?.as_array()).flatten()
}

/// The key that tells a kind of table from others, and its value.
fn tag(schema: &Value) -> Option<(&str, &str)> {
    let properties = schema.get("properties")?.as_object()?;
    properties.iter().find_map(|(key, p)| Some((key.as_str(), p.get("const")?.as_str()?)))
}

fn cell(text: &str) -> String {
    text.replace("\n\n", " ").replace('|', "\\|")
}

/// A value as TOML writes it.
fn written(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(written).collect::<Vec<_>>().join(", ")),
        Value::Object(map) if map.is_empty() => "{}".into(),
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{k} = {}", written(v))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

impl<'a> Page<'a> {
    /// What a schema refers to, or itself.
    fn object(&self, schema: &'a Value) -> &'a Value {
        schema.get("$ref").map_or(schema, |r| resolved(self.root, r.as_str().unwrap()))
    }

    /// What the values of keys mean that take one of a few.
    fn values(&mut self) {
        let sets = std::mem::take(&mut self.values);
        if !sets.is_empty() {
            self.text.push_str("### Values\n\n");
        }
        for (reference, keys) in sets {
            let set = resolved(self.root, reference);
            let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
            writeln!(
                self.text,
                "{}: {}\n\n| value | meaning |\n|---|---|",
                keys.join(", "),
                cell(text(set, "description"))
            )
            .unwrap();
            for value in alternatives(set) {
                let said = cell(text(value, "description"));
                writeln!(self.text, "| `{}` | {said} |", written(&value["const"])).unwrap();
            }
            self.text.push('\n');
        }
    }

    /// A table of the keys of an object, and tables of those within it.
    fn table(&mut self, head: &str, path: &str, schema: &'a Value) {
        let properties: BTreeMap<&str, &Value> = schema
            .get("properties")
            .and_then(Value::as_object)
            .map_or_else(BTreeMap::new, |map| map.iter().map(|(key, value)| (key.as_str(), value)).collect());
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        if !head.is_empty() {
            let said = cell(text(schema, "description"));
            writeln!(self.text, "{head}{}{said}\n", if said.is_empty() { "" } else { ": " }).unwrap();
        }
        self.text.push_str("| key | type | meaning | default |\n|---|---|---|---|\n");
        let mut inner = Vec::new();
        let optional = properties.keys().copied().filter(|key| !required.contains(key));
        for key in required.iter().copied().filter(|key| properties.contains_key(*key)).chain(optional) {
            let property = properties[key];
            let at = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            let kind = match self.elsewhere.iter().find(|(key, _)| *key == at) {
                Some((_, says)) => (*says).to_owned(),
                None => self.kind(property, &at, "", &mut inner),
            };
            let meaning = match text(property, "description") {
                "" if property.get("const").is_some() => "Which kind of table this is.",
                "" => text(self.object(property), "description"),
                said => said,
            };
            let default = match property.get("default") {
                _ if required.contains(&key) => "required".to_owned(),
                Some(value) => format!("`{}`", written(value)),
                None => "none".to_owned(),
            };
            writeln!(self.text, "| `{key}` | {kind} | {} | {default} |", cell(meaning)).unwrap();
        }
        self.text.push('\n');
        for one in inner {
            self.table(&one.head, &one.path, one.schema);
        }
    }

    /// The type of a value in words; tables within it are put aside. `list` is `[[`'s second bracket.
    fn kind(&mut self, schema: &'a Value, path: &str, name: &str, inner: &mut Vec<Inner<'a>>) -> String {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            if let Some(at) = self.described.get(reference) {
                return format!("table, as {at}");
            }
            let object = resolved(self.root, reference);
            if alternatives(object).all(|a| a.get("const").is_some()) && object.get("oneOf").is_some() {
                let key = path.rsplit('.').next().unwrap_or_default().to_owned();
                self.values.entry(reference).or_default().insert(key);
            }
            if object.get("properties").is_some() || alternatives(object).any(|a| a.get("properties").is_some()) {
                self.described.insert(reference.to_owned(), format!("`[{path}]`"));
            }
            return self.kind(object, path, name, inner);
        }
        if let Some(value) = schema.get("const") {
            return format!("`{}`", written(value));
        }
        let kinds: Vec<&Value> = alternatives(schema).map(|a| self.object(a)).collect();
        let values: Vec<String> =
            kinds.iter().filter_map(|k| k.get("const")).map(|v| format!("`{}`", written(v))).collect();
        if !values.is_empty() && values.len() == kinds.len() {
            return if values.len() > 4 { "one of the [values](#values) below".into() } else { values.join(", ") };
        }
        let tables: Vec<&Value> = kinds.iter().copied().filter(|k| k.get("properties").is_some()).collect();
        let head = format!("[{path}{name}]");
        if !tables.is_empty() {
            for schema in tables {
                let of = tag(schema).map_or(String::new(), |(key, value)| format!(", `{key} = \"{value}\"`"));
                inner.push(Inner { head: format!("`{head}`{of}"), path: path.to_owned(), schema });
            }
            return "table, one of those below".to_owned();
        }
        if schema.get("properties").is_some() {
            inner.push(Inner { head: format!("`{head}`"), path: path.to_owned(), schema });
            return "table".to_owned();
        }
        match schema.get("type") {
            Some(Value::Array(kinds)) => {
                kinds.iter().filter_map(Value::as_str).map(word).collect::<Vec<_>>().join(" or ")
            }
            Some(Value::String(kind)) if kind == "array" => {
                let items = schema.get("items").map_or("anything".into(), |items| {
                    let before = inner.len();
                    let kind = self.kind(items, path, name, inner);
                    for one in &mut inner[before..] {
                        one.head = one.head.replacen('[', "[[", 1).replacen(']', "]]", 1);
                    }
                    kind
                });
                let count = schema.get("maxItems").and_then(Value::as_u64);
                count.map_or(format!("list of {items}"), |n| format!("{n} x {items}"))
            }
            Some(Value::String(kind)) if kind == "object" => match schema.get("additionalProperties") {
                Some(of @ Value::Object(_)) => {
                    format!("table by name: {}", self.kind(of, path, &format!("{name}.NAME"), inner))
                }
                _ => "table".to_owned(),
            },
            Some(Value::String(kind)) => word(kind).to_owned(),
            _ => "anything".to_owned(),
        }
    }
}

fn word(kind: &str) -> &str {
    match kind {
        "string" => "text",
        "integer" => "whole number",
        "boolean" => "`true`, `false`",
        other => other,
    }
}
