//! Runs GPU suites and prints their tables: `cargo run --release --example validate -- known-programs gemm`.

use banksia_validation::{GPU_SUITES, ValidateOptions, run_suite};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = ValidateOptions { worst: 8, ..ValidateOptions::default() };
    let mut suites = Vec::new();
    let mut dump = false;
    let mut json = false;
    let mut markdown = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--device" => options.device = args.next(),
            "--measured" => options.measured = args.next().map(Into::into),
            "--grain" => options.grain_bytes = Some(args.next().unwrap_or_default().parse()?),
            "--waves" => options.waves = Some(args.next().unwrap_or_default().parse()?),
            "--worst" => options.worst = args.next().unwrap_or_default().parse()?,
            "--rows" => dump = true,
            "--json" => json = true,
            "--markdown" => markdown = true,
            _ => suites.push(arg),
        }
    }
    if suites.is_empty() {
        suites = GPU_SUITES.iter().map(|s| (*s).to_owned()).collect();
    }
    let mut results = Vec::new();
    for suite in suites {
        let start = std::time::Instant::now();
        for compared in run_suite(&suite, &options, &|_, _| ())? {
            if dump {
                for p in &compared.pairs {
                    let error = (p.predicted / p.measured - 1.0) * 100.0;
                    println!(
                        "{} {} {} {}: measured {:.4} predicted {:.4} {error:+.1}%",
                        suite, compared.subject.device, compared.subject.metric, p.label, p.measured, p.predicted
                    );
                }
            }
            results.push(compared.result(options.worst));
        }
        eprintln!("{suite}: {:.1} s", start.elapsed().as_secs_f64());
    }
    if json {
        println!("{}", banksia_reports::validation_json(&results)?);
    } else if markdown {
        println!("{}", banksia_reports::validation_markdown(&results));
    } else {
        println!("{}", banksia_reports::validation_table(&results, None, false));
    }
    Ok(())
}
