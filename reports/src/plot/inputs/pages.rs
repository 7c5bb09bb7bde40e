//! A figure's file drawn: one plot, or panels on one page.

use std::path::Path;

use banksia_input::InputError;

use super::figure::Figure;
use super::options::Plotted;
use super::plot_files;
use crate::ReportError;
use crate::plot::panels::{panel_width, panels};

/// Draws the panels of a figure's file on one page; `file` is its name in errors.
///
/// # Errors
/// The file has no panel, or one of them cannot be drawn.
pub fn plot_figure(figure: &Figure, file: &Path) -> Result<Plotted, ReportError> {
    if figure.panels.is_empty() {
        let error = InputError::new(file.display().to_string(), "has no [[panel]]");
        return Err(error.help("add a [[panel]] with `kind` and `inputs` for each plot").into());
    }
    let style = &figure.options.style;
    let columns = figure.columns.min(figure.panels.len());
    let width = panel_width(style, columns);
    let (mut drawings, mut warnings) = (Vec::new(), Vec::new());
    for (i, panel) in figure.panels.iter().enumerate() {
        let mut options = panel.options.clone();
        options.style.width = width;
        let mut plotted = plot_files(panel.kind, &panel.inputs, &options)?;
        let letter = crate::plot::panels::letters(i);
        warnings.extend(plotted.warnings.into_iter().map(|warning| format!("({letter}) {warning}")));
        for data in &mut plotted.drawing.data {
            data.title.clone_from(&panel.title);
        }
        drawings.push((panel.title.clone(), plotted.drawing));
    }
    let mut drawing = panels(drawings, columns, style);
    if style.scale > 1.0 {
        drawing = drawing.scaled(style.scale);
    }
    Ok(Plotted { drawing, warnings })
}
