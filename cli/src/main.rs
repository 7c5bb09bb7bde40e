//! The `banksia` command.

use std::process::ExitCode;

use banksia::experiment::Experiment;
use banksia_hw::pim::RunOptions;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let t0 = std::time::Instant::now();
    let result =
        Experiment::read(std::path::Path::new(&args[0]), &args[1..]).map_err(banksia::CliError::from).and_then(|e| {
            banksia::run::run(
                &e,
                RunOptions { exact_stepping: std::env::var("STEP").is_ok(), timeline_step: None },
                &mut |_| {},
            )
        });
    match result {
        Ok((report, outcome)) => {
            print!("{}", banksia_reports::terminal(&report, false));
            println!("{:?} stepped {}", t0.elapsed(), outcome.commands_stepped);
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(e.exit_code())
        }
    }
}
