//! The directory that `--out` names.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use banksia_input::InputError;

use crate::csv_files::{components_csv, operators_csv, steps_csv};
use crate::plot::{self, Drawing};
use crate::timeline::chrome_trace;
use crate::write::write_atomically;
use crate::{ReportError, RunReport};

/// The report as the JSON that `--format json` prints and `report.json` holds.
///
/// # Errors
/// The JSON writer fails.
pub fn report_json(report: &RunReport) -> Result<String, ReportError> {
    let json = |source| ReportError::Json { what: "report", source };
    let mut text = serde_json::to_string_pretty(report).map_err(json)?;
    text.push('\n');
    Ok(text)
}

/// No report or table is larger than this.
const MAX_BYTES: u64 = 1 << 30;
/// A text file is read in pieces of so many bytes.
const PIECE: u64 = 1 << 20;

/// Reads a text file that a run or sweep wrote, of at most 1 GiB. A device or a pipe may never end: what is read decides, and
/// what is no text is refused at its first zero byte.
pub(crate) fn read_text(path: &Path) -> Result<String, InputError> {
    let fail = |problem: String| InputError::new(path.display().to_string(), problem);
    let unreadable = |e: std::io::Error| fail(format!("cannot be read: {e}"));
    let meant = "check that this is the file that was meant";
    let mut file = fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        let read = (&mut file).take(PIECE).read_to_end(&mut bytes).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        if bytes[before..].contains(&0) {
            return Err(fail("is not text: it has a zero byte".to_owned()).help(meant));
        }
        if bytes.len() as u64 > MAX_BYTES {
            return Err(fail(format!("is too large: at most {MAX_BYTES} bytes are read")).help(meant));
        }
    }
    String::from_utf8(bytes).map_err(|_| fail("is not UTF-8 text".to_owned()).help(meant))
}

/// Reads a `report.json` back.
///
/// # Errors
/// The file is missing, is not a report, or comes from a later version of Banksia.
pub fn read_report(path: &Path) -> Result<RunReport, ReportError> {
    let file = path.display().to_string();
    let text = read_text(path).map_err(|e| match e.help {
        None => e.help("give the `report.json` that `banksia run --out DIR` wrote, or its folder"),
        Some(_) => e,
    })?;
    let report: RunReport = serde_json::from_str(&text).map_err(|e| {
        InputError::new(&file, format!("is not a run report: {e}"))
            .at_line(e.line())
            .help("give the `report.json` that `banksia run --out DIR` wrote")
    })?;
    if report.schema > crate::SCHEMA {
        let problem = format!("is {}, and this version of Banksia knows up to {}", report.schema, crate::SCHEMA);
        let error = InputError::new(&file, problem).key("schema").help("use a later version of Banksia");
        return Err(error.into());
    }
    Ok(report)
}

/// Writes everything about a run into a directory, which is made where it is missing: `report.json`, `operators.csv`,
/// `components.csv`, `steps.csv`, `breakdown.svg` and `.png`, `context.svg` and `.png` where there are steps, and
/// `timeline.json` where spans were recorded. Each file appears whole or not at all; files of an earlier run are replaced,
/// and those of them that this run does not have are removed. Other files are left alone. Returns the paths written.
///
/// # Errors
/// The report breaks one of its laws, or a file cannot be written.
pub fn write_directory(report: &RunReport, directory: &Path) -> Result<Vec<PathBuf>, ReportError> {
    report.check().map_err(ReportError::Inconsistent)?;
    fs::create_dir_all(directory).map_err(|e| ReportError::io("created", directory, e))?;
    let mut files: Vec<(&str, Option<Vec<u8>>)> = vec![
        ("report.json", Some(report_json(report)?.into_bytes())),
        ("operators.csv", Some(operators_csv(report)?.into_bytes())),
        ("components.csv", Some(components_csv(report)?.into_bytes())),
        ("steps.csv", Some(steps_csv(report)?.into_bytes())),
    ];
    let timeline = match report.timeline.is_empty() {
        true => None,
        false => Some(chrome_trace(report)?.into_bytes()),
    };
    files.push(("timeline.json", timeline));
    let context =
        (!report.steps.is_empty()).then(|| plot::context(std::slice::from_ref(report), &plot::Style::default()));
    for (svg, png, drawing) in [
        (
            "breakdown.svg",
            "breakdown.png",
            Some(plot::breakdown(std::slice::from_ref(report), &plot::Style::default())),
        ),
        ("context.svg", "context.png", context),
    ] {
        files.push((svg, drawing.as_ref().map(Drawing::svg).transpose()?.map(String::into_bytes)));
        files.push((png, drawing.as_ref().map(Drawing::png).transpose()?));
    }
    let mut written = Vec::new();
    for (name, content) in files {
        let path = directory.join(name);
        match content {
            Some(content) => {
                write_atomically(&path, &content)?;
                written.push(path);
            }
            None => remove(&path)?,
        }
    }
    Ok(written)
}

fn remove(path: &Path) -> Result<(), ReportError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ReportError::io("removed", path, e)),
        _ => Ok(()),
    }
}
