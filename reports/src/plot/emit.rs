//! What stands beside a figure: its numbers as CSV, and scripts that draw it again.

mod matplotlib;
mod pgfplots;

use std::path::{Path, PathBuf};

use banksia_input::InputError;

use super::data::{Chart, Data};
use super::drawing::Drawing;
use super::panels::letters;
use crate::csv_files::render;
use crate::{ReportError, write_atomically};

/// A language in which a script draws the figure again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// Python with matplotlib, which reads the figure's CSV.
    Matplotlib,
    /// LaTeX with pgfplots; its numbers are in it, since TeX cannot read every name in a CSV file.
    Pgfplots,
}

impl Emit {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::Matplotlib, Self::Pgfplots];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Matplotlib => "matplotlib",
            Self::Pgfplots => "pgfplots",
        }
    }

    /// How the script's file ends.
    fn extension(self) -> &'static str {
        match self {
            Self::Matplotlib => "py",
            Self::Pgfplots => "tex",
        }
    }
}

/// The columns that begin the header of every figure's table: so a table of a figure is known from other CSV files.
const HEADERS: [&str; 7] =
    ["series,", "category,series,part,", "row,part,", "operator,series,", "x: ", "category,rows,low,", "lane,name,"];

fn table(data: &Data) -> Result<String, ReportError> {
    let mut columns = data.columns.clone();
    if data.chart == Chart::Cells {
        columns[0] = format!("x: {}", columns[0]);
        columns[1] = format!("y: {}", columns[1]);
    }
    render("figure's table", &columns, data.rows.iter().cloned())
}

/// What is drawn, as CSV in the units of the axes: for each panel the ending of the table's name (empty of a figure that has one)
/// and its text.
///
/// # Errors
/// The CSV writer fails.
pub fn data_csv(drawing: &Drawing) -> Result<Vec<(String, String)>, ReportError> {
    let several = drawing.data().len() > 1;
    let ending = |i: usize| if several { format!("-{}", letters(i)) } else { String::new() };
    drawing.data().iter().enumerate().map(|(i, data)| Ok((ending(i), table(data)?))).collect()
}

/// A script that draws the figure again. `tables` are the names of the files of [`data_csv`], beside it.
pub fn script(drawing: &Drawing, language: Emit, tables: &[String], stem: &str) -> String {
    match language {
        Emit::Matplotlib => matplotlib::script(drawing, tables, stem),
        Emit::Pgfplots => pgfplots::script(drawing),
    }
}

/// Writes a figure, and beside it its numbers (`NAME.csv`, or `NAME-a.csv` and so on for panels) and scripts. A CSV file that is no
/// figure's table is left alone: then the numbers go to `NAME-drawn.csv`. Returns the scripts' paths, and what is to be said.
///
/// # Errors
/// The figure's name ends in no known way, or a file cannot be written.
pub fn write_figure(
    drawing: &Drawing,
    path: &Path,
    languages: &[Emit],
) -> Result<(Vec<PathBuf>, Vec<String>), ReportError> {
    drawing.write(path)?;
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = |name: &str| path.with_file_name(name);
    let (mut tables, mut said) = (Vec::new(), Vec::new());
    for (ending, text) in data_csv(drawing)? {
        let mut name = format!("{stem}{ending}.csv");
        if is_foreign(&beside(&name)) {
            let other = format!("{stem}{ending}-drawn.csv");
            if is_foreign(&beside(&other)) {
                let problem = "is there, and is no figure's table";
                let error = InputError::new(beside(&other).display().to_string(), problem);
                return Err(error.help("give the figure another name with -o").into());
            }
            said.push(format!("{name} is another table, and is left alone: the figure's numbers are in {other}"));
            name = other;
        }
        write_atomically(&beside(&name), text.as_bytes())?;
        tables.push(name);
    }
    let mut scripts = Vec::new();
    for &language in languages {
        let file = beside(&format!("{stem}.{}", language.extension()));
        write_atomically(&file, script(drawing, language, &tables, &stem).as_bytes())?;
        scripts.push(file);
    }
    Ok((scripts, said))
}

/// Whether a file is there that is no figure's table.
fn is_foreign(path: &Path) -> bool {
    use std::io::Read;
    let Ok(file) = std::fs::File::open(path) else { return path.exists() };
    let mut start = Vec::new();
    // A header is all that is looked at.
    let read = file.take(256).read_to_end(&mut start);
    let start = String::from_utf8_lossy(&start);
    read.is_err() || !HEADERS.iter().any(|header| start.trim_start_matches('"').starts_with(header))
}
