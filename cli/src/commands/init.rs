//! `banksia init`.

use banksia_input::InputError;
use banksia_reports::write_atomically;

use crate::CliError;
use crate::args::{InitArgs, Start};
use crate::output::note;

/// The file that each kind starts from; each runs as it is.
fn text(kind: Start) -> &'static str {
    match kind {
        Start::Gpu => include_str!("init/gpu.toml"),
        Start::Pim => include_str!("init/pim.toml"),
        Start::Hybrid => include_str!("init/hybrid.toml"),
        Start::Sweep => include_str!("init/sweep.toml"),
    }
}

pub(super) fn execute(args: &InitArgs) -> Result<(), CliError> {
    let path = &args.output;
    if path.exists() && !args.force {
        let error = InputError::new("init", format!("{} is there already", path.display()));
        return Err(error.help("name another file, or write over it with --force").into());
    }
    write_atomically(path, text(args.kind).as_bytes())?;
    let command = if args.kind == Start::Sweep { "sweep" } else { "run" };
    note(&format!("{}: banksia {command} {}", path.display(), path.display()));
    Ok(())
}
