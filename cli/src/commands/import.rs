//! `banksia import`.

use banksia_input::Source;
use banksia_reports::write_atomically;
use banksia_workloads::import_hf_named;

use crate::CliError;
use crate::args::{ImportArgs, ImportFrom};

pub(super) fn execute(args: &ImportArgs) -> Result<(), CliError> {
    let ImportFrom::Hf { config, output } = &args.from;
    let source = Source::read(config)?;
    let model = import_hf_named(source.name(), source.text())?;
    write_atomically(output, model.to_toml()?.as_bytes())?;
    eprintln!("{} parameters in {}", banksia_reports::units::count(model.parameters()), output.display());
    Ok(())
}
