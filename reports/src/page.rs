//! One HTML page of a sweep or of runs: a table, charts that filter it, figures, operator tables and timelines.
//!
//! The page is one file that loads nothing: style, script and data are in it, and its content security policy forbids the rest.
//! The data are JSON, the table's by column; the script beside this file draws only what is visible, so that twenty thousand
//! rows of forty columns open in a second or two. The same data give the same bytes.

mod cells;
mod content;
mod encode;

pub use cells::{ColumnKind, PageCell, PageColumn, PageUnit};
pub use content::{PageData, PageFigure, PageTimeline};

use crate::ReportError;

const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// Shows errors of the script that follows, so it is one of its own.
const ERRORS: &str = include_str!("page/errors.js");

/// The parts of the script in the order in which they need each other.
const SCRIPTS: [&str; 14] = [
    include_str!("page/dom.js"),
    include_str!("page/units.js"),
    include_str!("page/data.js"),
    include_str!("page/filter.js"),
    include_str!("page/axis.js"),
    include_str!("page/colour.js"),
    include_str!("page/table.js"),
    include_str!("page/scatter.js"),
    include_str!("page/parallel.js"),
    include_str!("page/runs.js"),
    include_str!("page/lanes.js"),
    include_str!("page/timeline.js"),
    include_str!("page/page.js"),
    include_str!("page/selftest.js"),
];

/// The page as HTML.
///
/// # Errors
/// A row has not as many cells as there are columns, or the JSON writer fails.
pub fn report_page(data: &PageData) -> Result<String, ReportError> {
    let json = encode::json(data)?;
    let provenance: String = data
        .provenance
        .iter()
        .map(|(name, value)| format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", escape(name), escape(value)))
        .collect();
    let script = SCRIPTS.join("\n");
    let parts: [(&str, &str); 7] = [
        ("title", &escape(&data.title)),
        ("style", STYLE),
        ("provenance", &provenance),
        ("configuration", &escape(&data.configuration)),
        ("errors", ERRORS),
        ("data", &json),
        ("script", &script),
    ];
    // In one pass: what is put in may itself look like a place for a part.
    let mut out = String::with_capacity(HTML.len() + parts.iter().map(|(_, text)| text.len() + 64).sum::<usize>());
    let mut rest = HTML;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        out += before;
        out += parts.iter().find(|(part, _)| *part == name).map_or("", |(_, text)| text);
        rest = after;
    }
    Ok(out + rest)
}

/// A text as the content of an element or of a quoted attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            // HTML has no way to write it.
            '\0' => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}
