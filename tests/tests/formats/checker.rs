//! Whether a value is of a JSON schema: the words that Banksia's schemas are written in, and no others.

use serde_json::{Map, Value};

/// Words that say nothing of what is right.
const SAID: [&str; 6] = ["$schema", "$defs", "title", "description", "default", "examples"];

/// What is wrong with a value, by its path; nothing where it is of the schema.
pub(crate) fn faults(root: &Value, value: &Value) -> Vec<String> {
    check(root, root, value, "")
}

/// The schema that a reference leads to.
pub(crate) fn resolved<'a>(root: &'a Value, reference: &str) -> &'a Value {
    let at = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads out of the schema"));
    root.pointer(at).unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = match schema {
        Value::Bool(true) => return Vec::new(),
        Value::Bool(false) => return vec![format!("{at}: nothing may stand here")],
        Value::Object(schema) => schema,
        other => panic!("{at}: no schema: {other}"),
    };
    let mut wrong = Vec::new();
    for (word, says) in schema {
        let holds = match word.as_str() {
            word if SAID.contains(&word) => true,
            "$ref" => {
                wrong.extend(check(root, resolved(root, says.as_str().unwrap()), value, at));
                true
            }
            "type" => match says {
                Value::Array(kinds) => kinds.iter().any(|k| is(k, value)),
                kind => is(kind, value),
            },
            "const" => says == value,
            "enum" => says.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|v| v >= says.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|v| v <= says.as_f64().unwrap()),
            "minItems" => value.as_array().is_none_or(|v| v.len() as u64 >= says.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|v| v.len() as u64 <= says.as_u64().unwrap()),
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    wrong.extend(check(root, says, item, &format!("{at}[{i}]")));
                }
                true
            }
            "required" => {
                let missing = |key: &&Value| value.as_object().is_some_and(|v| !v.contains_key(key.as_str().unwrap()));
                wrong.extend(
                    says.as_array().unwrap().iter().filter(missing).map(|key| format!("{at}: {key} is missing")),
                );
                true
            }
            "properties" | "additionalProperties" => true,
            "allOf" => {
                wrong.extend(says.as_array().unwrap().iter().flat_map(|s| check(root, s, value, at)));
                true
            }
            "anyOf" | "oneOf" => {
                let each: Vec<_> = says.as_array().unwrap().iter().map(|s| check(root, s, value, at)).collect();
                match each.iter().filter(|w| w.is_empty()).count() {
                    0 => {
                        wrong.extend(each.into_iter().min_by_key(Vec::len).unwrap_or_default());
                        true
                    }
                    n => word == "anyOf" || n == 1,
                }
            }
            other => panic!("{at}: the checker does not know `{other}`"),
        };
        if !holds {
            wrong.push(format!("{at}: {value} is not as `{word}` says: {says}"));
        }
    }
    if let Some(table) = value.as_object() {
        wrong.extend(check_table(root, schema, table, at));
    }
    wrong
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("TOML has no {other}"),
    }
}

fn check_table(root: &Value, schema: &Map<String, Value>, table: &Map<String, Value>, at: &str) -> Vec<String> {
    let nothing = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
    let others = schema.get("additionalProperties").unwrap_or(&Value::Bool(true));
    let each = table
        .iter()
        .flat_map(|(key, value)| check(root, properties.get(key).unwrap_or(others), value, &format!("{at}.{key}")));
    each.collect()
}

#[test]
fn what_is_wrong_is_found() {
    let schema = serde_json::json!({
        "$defs": { "A": { "type": "object", "properties": { "n": { "type": "integer", "minimum": 1 } }, "required": ["n"],
            "additionalProperties": false } },
        "type": "object",
        "properties": { "a": { "$ref": "#/$defs/A" }, "l": { "type": "array", "items": { "$ref": "#/$defs/A" } },
            "k": { "oneOf": [{ "const": "x" }, { "const": "y" }] } },
        "additionalProperties": { "type": "number" },
    });
    let found = |text: &str| faults(&schema, &serde_json::from_str(text).unwrap()).len();
    assert_eq!(found(r#"{ "a": { "n": 1 }, "l": [{ "n": 2 }], "k": "y", "other": 1.5 }"#), 0);
    for wrong in [
        r#"{ "a": { "n": 0 } }"#,
        r#"{ "a": { "n": 1.5 } }"#,
        r#"{ "a": {} }"#,
        r#"{ "l": [{ "n": 1, "m": 2 }] }"#,
        r#"{ "k": "z" }"#,
        r#"{ "other": "text" }"#,
        "[]",
    ] {
        assert_ne!(found(wrong), 0, "{wrong}");
    }
}
