//! What imports, as a table for people.

use super::families::FAMILIES;
use super::wrappers::WRAPPERS;

/// The families of Hugging Face configurations that are imported, as a table in Markdown: `model_type`, what the graph has, and what is
/// refused beside keys that are not known. docs/models.md holds it.
pub fn import_table() -> String {
    let mut text = String::from("| `model_type` | graph | refused |\n|---|---|---|\n");
    for family in FAMILIES {
        let types: Vec<String> = family.model_types.iter().map(|name| format!("`{name}`")).collect();
        text.push_str(&format!("| {} | {} | {} |\n", types.join(", "), family.graph, family.refuses));
    }
    text
}

/// The `model_type`s of models with towers for pictures or sound, of which `--text-only` imports the language model, in Markdown.
pub fn import_wrappers() -> String {
    let names = WRAPPERS.iter().filter(|wrapper| !wrapper.family.is_empty()).flat_map(|wrapper| wrapper.model_types);
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
