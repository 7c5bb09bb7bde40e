//! `banksia plot`.

use banksia_input::InputError;
use banksia_reports::plot::{
    Emit, Figure, PlotKind, PlotOptions, Plotted, plot_figure, plot_files, read_figure, write_figure,
};

use crate::CliError;
use crate::args::PlotArgs;

pub(super) fn execute(args: &PlotArgs) -> Result<(), CliError> {
    let extension = args.output.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if !["svg", "png", "pdf"].iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        let problem = format!("`{}` does not end in .svg, .png or .pdf", args.output.display());
        return Err(InputError::new("--output", problem).help("name a file like plot.svg").into());
    }
    let plotted = plotted(args)?;
    let languages: Vec<Emit> = args.emit.iter().copied().map(Emit::from).collect();
    let (scripts, said) = write_figure(&plotted.drawing, &args.output, &languages)?;
    for warning in plotted.warnings.iter().chain(&said) {
        eprintln!("warning: {warning}");
    }
    for file in [&args.output].into_iter().chain(&scripts) {
        eprintln!("{}", file.display());
    }
    Ok(())
}

/// The figure that the arguments ask for, by themselves or with a figure's file.
fn plotted(args: &PlotArgs) -> Result<Plotted, CliError> {
    let kind: Option<PlotKind> = args.kind.as_deref().map(str::parse).transpose()?;
    if kind == Some(PlotKind::Panels) {
        // `plot panels FILE` is `plot --figure FILE`.
        let [file] = args.inputs.as_slice() else {
            let error = InputError::new("plot panels", format!("is given {} files", args.inputs.len()));
            return Err(error.help("give one TOML file with [[panel]] tables").into());
        };
        return Ok(plot_figure(&read_figure(file)?, file)?);
    }
    let figure = args.figure.as_deref().map(read_figure).transpose()?.unwrap_or_default();
    if let (None, Some(file), false) = (kind, &args.figure, figure.panels.is_empty()) {
        return Ok(plot_figure(&figure, file)?);
    }
    let kind = kind.or(figure.kind).ok_or_else(|| {
        let known = PlotKind::ALL.map(PlotKind::name).join(", ");
        InputError::new("plot", "is not told what to draw").help(format!("name a kind of plot: {known}"))
    })?;
    let inputs = if args.inputs.is_empty() { &figure.inputs } else { &args.inputs };
    Ok(plot_files(kind, inputs, &options(args, &figure))?)
}

/// The figure's options, with those of the command line over them.
fn options(args: &PlotArgs, figure: &Figure) -> PlotOptions {
    let mut options = figure.options.clone();
    let given = [
        (&args.x, &mut options.x),
        (&args.by, &mut options.by),
        (&args.z, &mut options.value),
        (&args.normalize, &mut options.normalize),
        (&args.errors, &mut options.errors),
        (&args.title, &mut options.style.title),
        (&args.x_label, &mut options.style.x_label),
        (&args.y_label, &mut options.style.y_label),
    ];
    for (argument, option) in given {
        if argument.is_some() {
            option.clone_from(argument);
        }
    }
    if !args.y.is_empty() {
        options.y.clone_from(&args.y);
    }
    options.log_x |= args.log_x;
    options.log_y |= args.log_y;
    options.log2_x |= args.log2_x;
    options.log2_y |= args.log2_y;
    options.speedup |= args.speedup;
    options.geomean |= args.geomean;
    options.stack |= args.stack;
    options
}
