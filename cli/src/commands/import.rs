//! `banksia import`.

use banksia_input::InputError;
use banksia_reports::write_atomically;
use banksia_workloads::{Parts, import_hf_file};

use crate::CliError;
use crate::args::{ImportArgs, ImportFrom};

pub(super) fn execute(args: &ImportArgs) -> Result<(), CliError> {
    let ImportFrom::Hf { config, output, name, force, text_only } = &args.from;
    if name.as_deref().is_some_and(|name| name.trim().is_empty()) {
        return Err(InputError::new("--name", "is empty").help("give the model a name; reports print it").into());
    }
    let model = import_hf_file(config, name.as_deref(), if *text_only { Parts::TextOnly } else { Parts::Whole })?;
    if output.exists() && !force {
        let error = InputError::new(output.display().to_string(), "is there already");
        return Err(error.help("give another file, or --force to write over it").into());
    }
    write_atomically(output, model.to_toml()?.as_bytes())?;
    let parameters = banksia_reports::units::count(model.parameters());
    eprintln!("{}: {parameters} parameters in {}", model.name, output.display());
    Ok(())
}
