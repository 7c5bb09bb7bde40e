//! JSON schemas (draft 2020-12) of what users write, by which editors complete and check keys.
//!
//! A schema is derived from the type that a file is read into. Here it is put into the words of TOML: there is no `null`, a key that may be
//! left out says its default, and a description is a text and not the page of a program.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

/// The schema of a file that is read as a `T`.
pub fn of_file<T: JsonSchema>(title: &str) -> Schema {
    let root = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    let mut value = root.to_value();
    tidy(&mut value);
    if let Some(map) = value.as_object_mut() {
        map.insert("title".into(), title.into());
    }
    schema(value)
}

/// The schema of a table whose keys are written over those of a file that is read as a `T`: none is required, and what is left out is the
/// file's. It refers to no definitions, so that it can stand within another schema.
pub fn of_overlay<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut value = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut value);
    loosen(&mut value);
    if let Some(map) = value.as_object_mut() {
        map.remove("$schema");
        map.remove("title");
    }
    schema(value)
}

/// Puts a part in the place of what stands at a JSON pointer; what is said of that place stays.
pub fn put(whole: &mut Schema, pointer: &str, part: Schema) {
    let Some(place) = whole.pointer_mut(pointer) else { return };
    let said = place.get("description").cloned();
    *place = part.to_value();
    let Some(map) = place.as_object_mut() else { return };
    map.remove("$schema");
    if let Some(said) = said {
        map.insert("description".into(), said);
    }
}

fn schema(value: Value) -> Schema {
    Schema::try_from(value).unwrap_or_default()
}

/// Does something to every schema directly within one.
fn within(map: &mut Map<String, Value>, mut act: impl FnMut(&mut Value)) {
    for (key, value) in map {
        match (key.as_str(), value) {
            ("properties" | "$defs" | "patternProperties", Value::Object(named)) => {
                named.values_mut().for_each(&mut act);
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(list)) => list.iter_mut().for_each(&mut act),
            ("items" | "additionalProperties" | "propertyNames" | "not", value) => act(value),
            _ => {}
        }
    }
}

fn tidy(value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    say_defaults(map);
    drop_null(map);
    // What a number is in a program is not what it is in a file.
    map.remove("format");
    if let Some(Value::String(text)) = map.get_mut("description") {
        *text = plain(text);
    }
    within(map, tidy);
}

/// A flag or a count that may be left out is `false` or 0 then, where nothing else is said; one that may be absent has no default.
fn say_defaults(map: &mut Map<String, Value>) {
    let required = map.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (key, property) in properties {
        let Some(property) = property.as_object_mut() else { continue };
        if property.get("default").is_some_and(Value::is_null) {
            property.remove("default");
            continue;
        }
        let kind = property.get("type").and_then(Value::as_str);
        let default = match kind {
            Some("boolean") => Value::Bool(false),
            Some("integer") => Value::from(0),
            _ => continue,
        };
        if !required.iter().any(|r| r.as_str() == Some(key)) {
            property.entry("default").or_insert(default);
        }
    }
}

/// TOML has no `null`: a key is left out.
fn drop_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = map.get_mut("type") {
        kinds.retain(|k| k != "null");
        if let [one] = kinds.as_slice() {
            let one = one.clone();
            map.insert("type".into(), one);
        }
    }
    if let Some(Value::Array(any)) = map.get_mut("anyOf") {
        let before = any.len();
        any.retain(|s| s.get("type").is_none_or(|t| t != "null"));
        if let ([Value::Object(one)], true) = (any.as_slice(), any.len() < before) {
            let one = one.clone();
            map.remove("anyOf");
            for (key, value) in one {
                map.entry(key).or_insert(value);
            }
        }
    }
}

/// Keys that may all be left out. What is in a list is given whole.
fn loosen(value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    map.remove("required");
    map.remove("default");
    let items = map.remove("items");
    within(map, loosen);
    if let Some(items) = items {
        map.insert("items".into(), items);
    }
}

/// Lines of a comment as running text, without links to other items.
fn plain(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
    let text = paragraphs.collect::<Vec<_>>().join("\n\n");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("[`") {
        out.push_str(before);
        let Some((name, after)) = after.split_once("`]") else {
            out.push_str("[`");
            rest = after;
            continue;
        };
        out.push_str(&format!("`{name}`"));
        rest = match after.strip_prefix('(').and_then(|path| path.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file.
    #[derive(JsonSchema, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct File {
        /// How many,
        /// as [`File`] has them.
        count: u32,
        /// None of them.
        #[serde(default)]
        none: bool,
        limit: Option<u32>,
        inner: Option<Inner>,
        list: Vec<Inner>,
    }

    /// A part.
    #[derive(JsonSchema, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        rate: f64,
    }

    #[test]
    fn a_file_is_said_in_the_words_of_toml() {
        let schema = of_file::<File>("A file");
        let at = |pointer: &str| schema.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at("/properties/count/description"), "How many, as `File` has them.");
        assert_eq!(at("/properties/none/default"), false);
        assert_eq!(at("/properties/limit/type"), "integer");
        assert_eq!(at("/properties/limit/default"), Value::Null);
        assert_eq!(at("/properties/inner/$ref"), "#/$defs/Inner");
        assert_eq!(at("/required"), serde_json::json!(["count", "list"]));
        assert_eq!(at("/additionalProperties"), false);
        assert_eq!(at("/title"), "A file");
    }

    #[test]
    fn an_overlay_requires_nothing_but_within_lists() {
        let schema = of_overlay::<File>();
        assert!(schema.pointer("/required").is_none() && schema.pointer("/properties/inner/required").is_none());
        assert_eq!(schema.pointer("/properties/inner/additionalProperties"), Some(&Value::Bool(false)));
        assert_eq!(schema.pointer("/properties/list/items/required"), Some(&serde_json::json!(["rate"])));
        assert!(!schema.as_value().to_string().contains("$ref"));
    }
}
