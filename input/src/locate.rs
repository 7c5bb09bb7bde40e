//! From a dotted key to its line.

use std::ops::Range;

use toml_edit::{Document, Item, TableLike};

/// One step of a path: a key, or an index into an array.
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn steps(path: &str) -> Vec<Step<'_>> {
    let mut out = Vec::new();
    for part in path.split('.') {
        let (key, rest) = part.split_once('[').map_or((part, None), |(k, r)| (k, Some(r)));
        if !key.is_empty() {
            out.push(Step::Key(key));
        }
        for index in rest.into_iter().flat_map(|r| r.split('[')) {
            if let Ok(i) = index.trim_end_matches(']').parse() {
                out.push(Step::Index(i));
            }
        }
    }
    out
}

/// The byte offset at which the value at `path` (`a.b[2].c`), or the nearest table that contains it, is written.
pub(crate) fn offset_of(text: &str, path: &str) -> Option<usize> {
    let document = Document::parse(text).ok()?;
    let mut best = None;
    let mut table: Option<&dyn TableLike> = Some(document.as_table());
    let mut item: Option<&Item> = None;
    let mut value: Option<&toml_edit::Value> = None;
    for step in steps(path) {
        match step {
            Step::Key(key) => {
                let Some((k, found)) = table.and_then(|t| t.get_key_value(key)) else { break };
                best = k.span().or(found.span()).map(|s| s.start).or(best);
                table = found.as_table_like();
                value = found.as_value();
                item = Some(found);
            }
            Step::Index(i) => {
                if let Some(entry) = item.and_then(Item::as_array_of_tables).and_then(|a| a.get(i)) {
                    best = entry.span().map(|s| s.start).or(best);
                    table = Some(entry);
                    item = None;
                    value = None;
                } else if let Some(entry) = value.and_then(toml_edit::Value::as_array).and_then(|a| a.get(i)) {
                    best = entry.span().map(|s| s.start).or(best);
                    table = entry.as_inline_table().map(|t| t as &dyn TableLike);
                    value = Some(entry);
                    item = None;
                } else {
                    break;
                }
            }
        }
    }
    best
}

/// The byte offset of exactly the value at `path`; `None` where the text does not write it.
pub(crate) fn exact_offset_of(text: &str, path: &str) -> Option<usize> {
    let document = Document::parse(text).ok()?;
    let mut table: &dyn TableLike = document.as_table();
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        let (key, item) = table.get_key_value(part.split('[').next()?)?;
        if parts.peek().is_none() {
            return key.span().or(item.span()).map(|s| s.start);
        }
        table = item.as_table_like()?;
    }
    None
}

/// The dotted path of the innermost key or value that is written at an offset.
pub(crate) fn path_at(text: &str, offset: usize) -> Option<String> {
    let document = Document::parse(text).ok()?;
    in_table(document.as_table(), "", offset)
}

/// Whether the value at a path is a table, and a span begins and ends within what may be its own: not the whole file's.
pub(crate) fn table_at(text: &str, path: &str, span: &Range<usize>) -> bool {
    let Ok(document) = Document::parse(text) else { return false };
    if span.end >= text.trim_end().len() && span.start <= text.len() - text.trim_start().len() && path.contains('.') {
        return false;
    }
    let mut table: Option<&dyn TableLike> = Some(document.as_table());
    let mut item: Option<&Item> = None;
    for step in steps(path) {
        match step {
            Step::Key(key) => {
                item = table.and_then(|t| t.get(key));
                table = item.and_then(Item::as_table_like);
            }
            Step::Index(i) => {
                let in_tables =
                    item.and_then(Item::as_array_of_tables).and_then(|a| a.get(i)).map(|t| t as &dyn TableLike);
                let in_array = || item?.as_array()?.get(i)?.as_inline_table().map(|t| t as &dyn TableLike);
                table = in_tables.or_else(in_array);
                item = None;
            }
        }
    }
    table.is_some()
}

fn in_table(table: &dyn TableLike, prefix: &str, offset: usize) -> Option<String> {
    table.iter().find_map(|(name, item)| {
        let dot = if prefix.is_empty() { "" } else { "." };
        let path = format!("{prefix}{dot}{name}");
        let inner = if let Some(tables) = item.as_array_of_tables() {
            tables.iter().enumerate().find_map(|(i, t)| {
                let path = format!("{path}[{i}]");
                in_table(t, &path, offset).or_else(|| covers(t.span(), offset).then_some(path))
            })
        } else if let Some(table) = item.as_table_like() {
            in_table(table, &path, offset)
        } else {
            item.as_value().and_then(|value| in_array(value, &path, offset))
        };
        let key = table.get_key_value(name).and_then(|(key, _)| key.span());
        inner.or_else(|| (covers(key, offset) || covers(item.span(), offset)).then_some(path))
    })
}

fn in_array(value: &toml_edit::Value, path: &str, offset: usize) -> Option<String> {
    value.as_array()?.iter().enumerate().find_map(|(i, entry)| {
        let path = format!("{path}[{i}]");
        let inner = match entry.as_inline_table() {
            Some(table) => in_table(table, &path, offset),
            None => in_array(entry, &path, offset),
        };
        inner.or_else(|| covers(entry.span(), offset).then_some(path))
    })
}

fn covers(span: Option<Range<usize>>, offset: usize) -> bool {
    span.is_some_and(|span| span.contains(&offset))
}

/// The line (from 1) of a byte offset.
pub(crate) fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
}
