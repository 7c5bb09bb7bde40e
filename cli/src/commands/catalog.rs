//! `banksia list` and `banksia show`.

use std::path::Path;

use banksia_experiments::{Experiment, shipped};
use banksia_hw::system::Machine;
use banksia_hw::{dram, gpu, machines, roofline};
use banksia_input::{InputError, Source};
use banksia_reports::units::short_count;
use banksia_workloads::model::Mixer;
use banksia_workloads::{Model, zoo};

use crate::CliError;
use crate::args::{Catalog, Format, ListArgs, ShowArgs};
use crate::output::{json, print};

/// One line of a list.
#[derive(serde::Serialize)]
struct Entry {
    name: String,
    kind: &'static str,
    description: String,
}

pub(super) fn list(args: &ListArgs) -> Result<(), CliError> {
    let entries = entries(args.catalog)?;
    print(&match args.format {
        Format::Json => json("list", &entries)?,
        Format::Table => {
            let width = entries.iter().map(|e| e.name.len()).max().unwrap_or(0);
            let kind = entries.iter().map(|e| e.kind.len()).max().unwrap_or(0);
            let line = |e: &Entry| format!("{:<width$}  {:<kind$}  {}\n", e.name, e.kind, e.description);
            entries.iter().map(line).collect()
        }
    })
}

fn entries(catalog: Catalog) -> Result<Vec<Entry>, InputError> {
    let mut out = Vec::new();
    let mut add = |name: &str, kind, description: String| out.push(Entry { name: name.to_owned(), kind, description });
    match catalog {
        Catalog::Models => {
            for name in zoo::names() {
                let m = zoo::load(name)?;
                let size = format!(
                    "{} parameters, {} layers, width {}",
                    short_count(m.parameters() as f64),
                    m.layers(),
                    m.width
                );
                add(name, kind(&m), size);
            }
        }
        Catalog::Hardware => {
            for name in machines::names() {
                add(name, "machine", Machine::load(name)?.description);
            }
            for (name, _) in gpu::CATALOG {
                let g = gpu::device(name)?;
                add(name, "GPU", format!("{} SMs at {} MHz", g.sms(), g.sm_clock_mhz));
            }
            for name in dram::catalog::names() {
                add(name, "memory device", dram::catalog::load(name)?.description.clone());
            }
        }
        Catalog::Mappings => {
            for mapper in banksia_mappers::mappers() {
                add(mapper.name(), "strategy", mapper.description().into());
            }
        }
        Catalog::Experiments => {
            for name in shipped::names() {
                let experiment = Experiment::read::<&str>(Path::new(name), &[])?;
                let what = format!("{} ({} on {})", experiment.name, experiment.model.name, experiment.machine.name);
                add(name, "experiment", what);
            }
        }
        Catalog::Rooflines => {
            for name in roofline::names() {
                let r = roofline::Roofline::load(name)?;
                let figures = format!("{} TFLOP/s, {} GB/s, {} W", r.peak_tflop_per_s, r.bandwidth_gb_per_s, r.power_w);
                add(name, "roofline", figures);
            }
        }
    }
    Ok(out)
}

pub(super) fn show(args: &ShowArgs) -> Result<(), CliError> {
    let name = args.name.as_str();
    let unwritable = |e: toml::ser::Error| CliError::Failed(format!("{name} cannot be written as TOML: {e}"));
    let text = match args.catalog {
        Catalog::Models => model(name)?,
        Catalog::Hardware if gpu::CATALOG.iter().any(|(n, _)| *n == name) => {
            gpu::device(name)?;
            gpu::catalog(name).map(|s| s.text().to_owned()).unwrap_or_default()
        }
        Catalog::Hardware if is_machine(name)? => machines::open(name, None)?.text().to_owned(),
        Catalog::Hardware => {
            // Compiled first, so that what is shown is known to be usable.
            let device = dram::catalog::load(name).map_err(|e| with_machines(e, name))?;
            let mut text = toml::to_string(&dram::catalog::resolved(name)?).map_err(unwritable)?;
            text.push_str("\n# Every named quantity, in cycles of the clock where it is a timing:\n");
            for (symbol, value) in &device.symbols {
                text.push_str(&format!("# {symbol} = {value}\n"));
            }
            text
        }
        Catalog::Mappings => match banksia_mappers::mappers().iter().find(|m| m.name() == name) {
            Some(mapper) => mapper.page().to_owned(),
            None => {
                let known = banksia_mappers::mappers().iter().map(|m| m.name());
                return Err(InputError::unknown_name("catalog", "mapping", name, known).into());
            }
        },
        Catalog::Experiments => match shipped::source(name) {
            Some(source) => source.text().to_owned(),
            None => return Err(InputError::unknown_name("catalog", "experiment", name, shipped::names()).into()),
        },
        Catalog::Rooflines => {
            roofline::Roofline::load(name)?;
            roofline::text(name).unwrap_or_default().to_owned()
        }
    };
    print(&text)
}

/// A file is a machine's if it has a `kind`.
fn is_machine(name: &str) -> Result<bool, InputError> {
    if !name.ends_with(".toml") {
        return Ok(machines::names().any(|n| n == name));
    }
    let table: toml::Table = Source::read(Path::new(name))?.parse()?;
    Ok(table.contains_key("kind"))
}

/// Machines are hardware too: an unknown name may have meant one.
fn with_machines(error: InputError, name: &str) -> InputError {
    if name.ends_with(".toml") {
        return error;
    }
    let known: Vec<&str> =
        machines::names().chain(gpu::CATALOG.map(|(n, _)| n)).chain(dram::catalog::names()).collect();
    InputError::unknown_name("catalog", "hardware", name, known)
}

/// What a model is, in a word.
fn kind(model: &Model) -> &'static str {
    let has = |test: fn(&Mixer) -> bool| model.mixers().any(|(mixer, _)| test(mixer));
    let attends = has(|m| matches!(m, Mixer::Attention(_) | Mixer::LatentAttention(_)));
    let recurs = has(|m| {
        matches!(
            m,
            Mixer::Mamba(_) | Mixer::Mamba2(_) | Mixer::LinearAttention(_) | Mixer::Rwkv(_) | Mixer::Diagonal(_)
        )
    });
    match (attends, recurs) {
        _ if model.encoder.is_some() => "encoder-decoder",
        (_, false) if has(|m| matches!(m, Mixer::Attention(a) if !a.causal && !a.cross)) => "encoder",
        (true, true) => "hybrid",
        (false, true) => "recurrent",
        _ if has(|m| matches!(m, Mixer::Experts(_))) => "mixture",
        _ => "decoder",
    }
}

fn model(name: &str) -> Result<String, CliError> {
    let (model, text) = if name.ends_with(".toml") {
        let source = Source::read(Path::new(name))?;
        (Model::from_source(&source)?, source.text().to_owned())
    } else {
        (zoo::load(name)?, zoo::text(name).unwrap_or_default().to_owned())
    };
    let mut out = text.trim_end().to_owned();
    let Some(gpt) = model.as_gpt() else {
        let (parameters, cache) = (model.parameters(), model.kv_bytes_per_token());
        out.push_str(&format!("\n\n# {parameters} parameters, {cache} bytes of KV cache a token\n"));
        if model.active_parameters() != parameters {
            out.push_str(&format!("# {} parameters used by a token\n", model.active_parameters()));
        }
        if model.state_bytes() > 0 {
            out.push_str(&format!("# {} bytes of states a sequence\n", model.state_bytes()));
        }
        return Ok(out);
    };
    out.push_str(&format!(
        "\n\n# {} parameters, {} bytes of weights, {} bytes of KV cache a token\n",
        gpt.parameters(),
        gpt.weight_bytes(),
        gpt.kv_bytes_per_token()
    ));
    for m in gpt.weight_matrices().iter().filter(|m| m.layer.is_none_or(|l| l == 0)) {
        out.push_str(&format!("# {}: {} x {}\n", m.name, m.shape[0], m.shape[1]));
    }
    Ok(out)
}
