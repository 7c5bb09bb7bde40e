//! A figure's file: how it looks, what it shows, and its panels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use banksia_input::{InputError, Source};
use serde::Deserialize;

use super::options::PlotOptions;
use crate::plot::{Annotation, LegendPlace, Place, PlotKind, Style, Typeface};

/// What a figure's file says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figure {
    /// The kind of plot, where the file names one.
    pub kind: Option<PlotKind>,
    /// The inputs that the file names, by paths from its folder.
    pub inputs: Vec<PathBuf>,
    /// How to draw them; the style is the whole figure's.
    pub options: PlotOptions,
    /// The plots of a figure of several.
    pub panels: Vec<Panel>,
    /// How many panels stand side by side.
    pub columns: usize,
}

/// One plot of a figure of several.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// The kind of plot.
    pub kind: PlotKind,
    /// Its inputs.
    pub inputs: Vec<PathBuf>,
    /// How to draw them. The style has the panel's labels and the figure's font, order and names.
    pub options: PlotOptions,
    /// What stands behind its letter.
    pub title: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    figure: Keys,
    #[serde(default)]
    panel: Vec<Keys>,
}

/// The keys of `[figure]` and of each `[[panel]]`; see `docs/reports.md`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    title: Option<String>,
    x_label: Option<String>,
    y_label: Option<String>,
    width: Option<String>,
    width_in: Option<f64>,
    height_in: Option<f64>,
    font: Option<String>,
    legend: Option<String>,
    legend_title: Option<String>,
    order: Vec<String>,
    rename: BTreeMap<String, String>,
    annotations: Vec<Note>,
    columns: Option<usize>,
    kind: Option<String>,
    inputs: Vec<PathBuf>,
    x: Option<String>,
    y: Option<OneOrMore>,
    z: Option<String>,
    by: Option<String>,
    log_x: bool,
    log_y: bool,
    log2_x: bool,
    log2_y: bool,
    normalize: Option<String>,
    speedup: bool,
    geomean: bool,
    stack: bool,
    errors: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a column's name, or a list of them")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    text: String,
    x: OneOrNumber,
    y: OneOrNumber,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number in the axis's unit, or a name on it")]
enum OneOrNumber {
    Whole(i64),
    Number(f64),
    Name(String),
}

/// Reads a figure's file.
///
/// # Errors
/// The file is missing, is not TOML, or has a key or a value that a figure does not know.
pub fn read_figure(path: &Path) -> Result<Figure, InputError> {
    let source = Source::read(path)?;
    let file: File = source.parse()?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let whole = file.figure;
    let columns = whole.columns.unwrap_or(file.panel.len().clamp(1, 3));
    source.check("figure.columns", columns, 1..=12)?;
    let figure_style = style(&whole, Style::default(), &source, "figure")?;
    let kind = kind_of(&whole, &source, "figure")?;
    let inputs = inputs_of(&whole, &folder);
    let options = options(whole, figure_style.clone());
    let mut panels = Vec::new();
    for (i, keys) in file.panel.into_iter().enumerate() {
        let at = |key: &str| format!("panel[{i}].{key}");
        let missing =
            |key: &str, help: &str| InputError::new(source.name(), "is missing").key(at(key)).help(help.to_owned());
        let kind = kind_of(&keys, &source, &format!("panel[{i}]"))?
            .filter(|kind| *kind != PlotKind::Panels)
            .ok_or_else(|| missing("kind", "name a kind of plot, such as \"bars\""))?;
        if keys.inputs.is_empty() {
            return Err(missing("inputs", "name files, as in inputs = [\"comparison.csv\"]"));
        }
        for (key, given) in [("width", keys.width.is_some()), ("width_in", keys.width_in.is_some())] {
            if given {
                let error = InputError::new(source.name(), "is the whole figure's").key(at(key));
                return Err(error.help("give the width in [figure]: its panels share it"));
            }
        }
        let base = Style {
            title: None,
            x_label: None,
            y_label: None,
            legend_title: None,
            scale: 1.0,
            annotations: Vec::new(),
            ..figure_style.clone()
        };
        let mut panel_style = style(&keys, base, &source, &format!("panel[{i}]"))?;
        let title = panel_style.title.take().unwrap_or_default();
        panels.push(Panel {
            kind,
            inputs: inputs_of(&keys, &folder),
            title,
            options: self::options(keys, panel_style),
        });
    }
    Ok(Figure { kind, inputs, options, panels, columns })
}

fn inputs_of(keys: &Keys, folder: &Path) -> Vec<PathBuf> {
    keys.inputs.iter().map(|input| folder.join(input)).collect()
}

fn kind_of(keys: &Keys, source: &Source, table: &str) -> Result<Option<PlotKind>, InputError> {
    let Some(name) = keys.kind.as_deref() else { return Ok(None) };
    let found: Result<PlotKind, InputError> = name.parse();
    found.map(Some).map_err(|e| InputError { file: source.name().to_owned(), key: Some(format!("{table}.kind")), ..e })
}

fn options(keys: Keys, style: Style) -> PlotOptions {
    let y = match keys.y {
        None => Vec::new(),
        Some(OneOrMore::One(one)) => vec![one],
        Some(OneOrMore::More(more)) => more,
    };
    PlotOptions {
        x: keys.x,
        y,
        by: keys.by,
        value: keys.z,
        log_x: keys.log_x,
        log_y: keys.log_y,
        log2_x: keys.log2_x,
        log2_y: keys.log2_y,
        normalize: keys.normalize,
        speedup: keys.speedup,
        geomean: keys.geomean,
        stack: keys.stack,
        errors: keys.errors,
        peak_bandwidth_bytes_per_s: None,
        style,
    }
}

/// The keys of a table written over a style.
fn style(keys: &Keys, mut style: Style, source: &Source, table: &str) -> Result<Style, InputError> {
    let unknown = |key: &str, what: &str, name: &str, known: &[&'static str]| {
        let error = InputError::unknown_name(source.name(), what, name, known.iter().copied());
        error.key(format!("{table}.{key}"))
    };
    if let Some(width) = &keys.width
        && !style.sized(width)
    {
        return Err(unknown("width", "width", width, &["column", "page", "slide"]));
    }
    for (key, inches) in [("width_in", keys.width_in), ("height_in", keys.height_in)] {
        let Some(inches) = inches else { continue };
        source.check(&format!("{table}.{key}"), inches, 1.0..=40.0)?;
        if key == "width_in" { style.width_inches(inches) } else { style.height_inches(inches) }
    }
    if let Some(name) = &keys.font {
        let known = Typeface::ALL.map(Typeface::name);
        style.font = Typeface::ALL
            .into_iter()
            .find(|t| t.name() == name)
            .ok_or_else(|| unknown("font", "font", name, &known))?;
    }
    if let Some(name) = &keys.legend {
        style.legend = match name.as_str() {
            "auto" => LegendPlace::Auto,
            "above" => LegendPlace::Above,
            "below" => LegendPlace::Below,
            "right" => LegendPlace::Right,
            "none" => LegendPlace::Hidden,
            _ => return Err(unknown("legend", "place", name, &["auto", "above", "below", "right", "none"])),
        };
    }
    let words = [
        (&keys.title, &mut style.title),
        (&keys.x_label, &mut style.x_label),
        (&keys.y_label, &mut style.y_label),
        (&keys.legend_title, &mut style.legend_title),
    ];
    for (given, place) in words {
        if given.is_some() {
            place.clone_from(given);
        }
    }
    if !keys.order.is_empty() {
        style.order.clone_from(&keys.order);
    }
    style.rename.extend(keys.rename.iter().map(|(old, new)| (old.clone(), new.clone())));
    for note in &keys.annotations {
        let place = |value: &OneOrNumber| match value {
            OneOrNumber::Whole(v) => Place::At(*v as f64),
            OneOrNumber::Number(v) => Place::At(*v),
            OneOrNumber::Name(name) => Place::Named(name.clone()),
        };
        let (x, y) = (place(&note.x), place(&note.y));
        style.annotations.push(Annotation { text: note.text.clone(), x, y });
    }
    Ok(style)
}
