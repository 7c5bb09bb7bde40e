//! `banksia completions` and `banksia man`.

use banksia_input::InputError;
use banksia_reports::write_atomically;
use clap::CommandFactory;

use crate::CliError;
use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::output::{note, print};

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), CliError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "banksia", &mut text);
    print(&String::from_utf8_lossy(&text))
}

pub(super) fn pages(args: &ManArgs) -> Result<(), CliError> {
    let folder = &args.output;
    let made = std::fs::create_dir_all(folder);
    made.map_err(|e| InputError::new("--output", format!("{}: cannot be made: {e}", folder.display())))?;
    let mut root = Cli::command();
    root.build();
    let mut count = 0;
    let mut write = |command: clap::Command, name: String| -> Result<(), CliError> {
        let mut text = Vec::new();
        let page = clap_mangen::Man::new(command);
        page.render(&mut text).map_err(|e| CliError::Failed(format!("{name}.1: cannot be written: {e}")))?;
        write_atomically(&folder.join(format!("{name}.1")), &text)?;
        count += 1;
        Ok(())
    };
    for command in root.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        write(command.clone(), format!("banksia-{}", command.get_name()))?;
    }
    write(root.clone(), "banksia".to_owned())?;
    note(&format!("{count} pages in {}", folder.display()));
    Ok(())
}
