//! `banksia schema`.

use banksia_experiments::schema::{
    cluster, collective, controller, device, experiment, fabric, machine, model, net, published, sweep, training,
};

use crate::CliError;
use crate::args::{FileFormat, SchemaArgs};
use crate::output::print;

pub(super) fn execute(args: &SchemaArgs) -> Result<(), CliError> {
    let schema = match args.of {
        FileFormat::Experiment => experiment(),
        FileFormat::Sweep => sweep(),
        FileFormat::Machine => machine(),
        FileFormat::Device => device(),
        FileFormat::Controller => controller(),
        FileFormat::Model => model(),
        FileFormat::Training => training(),
        FileFormat::Net => net(),
        FileFormat::Collective => collective(),
        FileFormat::Fabric => fabric(),
        FileFormat::Cluster => cluster(),
        FileFormat::Published => published(),
    };
    let text = serde_json::to_string_pretty(&schema);
    print(&format!("{}\n", text.map_err(|e| CliError::Failed(format!("the schema cannot be written: {e}")))?))
}
