//! `banksia plot`.

use banksia_input::InputError;
use banksia_reports::plot::{PlotKind, PlotOptions, plot_files};

use crate::CliError;
use crate::args::PlotArgs;

pub(super) fn execute(args: &PlotArgs) -> Result<(), CliError> {
    let kind = PlotKind::ALL.into_iter().find(|k| k.name() == args.kind).ok_or_else(|| {
        InputError::unknown_name("plot", "kind of plot", &args.kind, PlotKind::ALL.map(PlotKind::name))
    })?;
    let extension = args.output.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if !["svg", "png", "pdf"].iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        let problem = format!("`{}` does not end in .svg, .png or .pdf", args.output.display());
        return Err(InputError::new("--output", problem).help("name a file like plot.svg").into());
    }
    let options = PlotOptions {
        x: args.x.clone(),
        y: args.y.clone(),
        by: args.by.clone(),
        value: args.value.clone(),
        log_x: args.log_x,
        log_y: args.log_y,
        ..PlotOptions::default()
    };
    let plotted = plot_files(kind, &args.inputs, &options)?;
    plotted.drawing.write(&args.output)?;
    for warning in &plotted.warnings {
        eprintln!("warning: {warning}");
    }
    eprintln!("{}", args.output.display());
    Ok(())
}
