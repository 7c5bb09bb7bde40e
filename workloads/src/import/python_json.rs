//! JSON as Python writes it: with `NaN`, `Infinity` and `-Infinity`, which JSON does not have.

use std::collections::HashMap;

/// What a walk over the text finds, before it is parsed.
pub(super) struct Scan {
    /// The text with Python's three numbers as strings. Lines are those of the file.
    pub json: String,
    /// The line, from 1, of each key, with the keys that lead to it and dots between; of a key that is written twice, of the
    /// last, which holds. Keys of objects in lists have none.
    pub lines: HashMap<String, usize>,
}

/// Walks over a text, which need not be JSON.
pub(super) fn scan(text: &str) -> Scan {
    let mut json = String::with_capacity(text.len() + 16);
    let mut lines = HashMap::new();
    let mut line = 1usize;
    // The keys that lead to each open object, with a dot behind each; none for lists and what is in them.
    let mut open: Vec<Option<String>> = Vec::new();
    // The last key, whose value is to come.
    let mut last = Some(String::new());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            let end = string_end(rest);
            let (string, after) = rest.split_at(end);
            if let Some(Some(prefix)) = open.last()
                && after.trim_start().starts_with(':')
                && let Ok(key) = serde_json::from_str::<String>(string)
            {
                let key = format!("{prefix}{key}");
                last = Some(format!("{key}."));
                lines.insert(key, line);
            }
            line += string.matches('\n').count();
            json.push_str(string);
            rest = after;
            continue;
        }
        if let Some((word, after)) = python_number(rest) {
            json.push('"');
            json.push_str(word);
            json.push('"');
            rest = after;
            continue;
        }
        match c {
            '\n' => line += 1,
            '{' => open.push(last.take()),
            '[' => {
                last = None;
                open.push(None);
            }
            '}' | ']' => {
                open.pop();
            }
            _ => {}
        }
        // A word is taken whole, so that no number is found inside it.
        let length = match rest.find(|c: char| !c.is_alphanumeric() && c != '_') {
            None => rest.len(),
            Some(0) => c.len_utf8(),
            Some(length) => length,
        };
        let (word, after) = rest.split_at(length);
        json.push_str(word);
        rest = after;
    }
    Scan { json, lines }
}

/// Where the string that the text begins with ends: behind its closing quote, or with the text.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// One of Python's numbers at the beginning of a text, and what follows it.
fn python_number(text: &str) -> Option<(&str, &str)> {
    let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| text.starts_with(word))?;
    let (word, after) = text.split_at(word.len());
    (!after.starts_with(|c: char| c.is_alphanumeric() || c == '_')).then_some((word, after))
}

#[cfg(test)]
mod tests {
    use super::scan;

    #[test]
    fn pythons_numbers_are_strings_and_keys_have_lines() {
        let text = "{\"a\": Infinity,\n \"b\\\"\": [0.0, -Infinity, NaN],\n \"c\": {\"a\": \"NaN, Infinity\"},\n\"Infinity\" : 1}";
        let found = scan(text);
        let json: serde_json::Value = serde_json::from_str(&found.json).expect("JSON");
        assert_eq!(json["a"], "Infinity");
        assert_eq!(json["b\""][1], "-Infinity");
        assert_eq!(json["c"]["a"], "NaN, Infinity");
        assert_eq!(found.lines["a"], 1, "the key of the outer object");
        assert_eq!(found.lines["c.a"], 3, "the key of the inner object");
        assert_eq!((found.lines["b\""], found.lines["c"], found.lines["Infinity"]), (2, 3, 4));
        for other in ["xNaN", "NaNs", "Infinity2", "--Infinity", "\"NaN", "{\"a\\", "é\"NaN\"ü", "1Infinity"] {
            assert!(serde_json::from_str::<serde_json::Value>(&scan(other).json).is_err(), "{other}");
        }
    }
}
