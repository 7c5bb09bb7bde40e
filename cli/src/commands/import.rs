//! `banksia import`.

use banksia_input::InputError;
use banksia_reports::write_atomically;
use banksia_workloads::{Model, Parts, import_hf_file};

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
    eprintln!("{}: {} in {}", model.name, sizes(&model), output.display());
    Ok(())
}

/// Parameters, and what a sequence leaves behind.
fn sizes(model: &Model) -> String {
    let mut text = format!("{} parameters", banksia_reports::units::count(model.parameters()));
    if model.active_parameters() != model.parameters() {
        text.push_str(&format!(", {} of them active", banksia_reports::units::count(model.active_parameters())));
    }
    let (cache, state) = (model.kv_bytes_per_token(), model.state_bytes());
    if cache > 0 {
        text.push_str(&format!(", {cache} bytes of cache a token"));
    }
    if state > 0 {
        text.push_str(&format!(", {state} bytes of state a sequence"));
    }
    text
}
