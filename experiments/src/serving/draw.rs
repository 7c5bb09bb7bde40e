//! Requests: drawn from the experiment's seed, or read from a trace.

use std::path::Path;

use banksia_input::{InputError, Source};
use banksia_sim::rng;
use rand::RngExt;

use super::file::{MOST_REQUESTS, MOST_TOKENS, Process, ServingFile};
use super::load::Lengths;

/// Lengths of each request, and when it comes where that is not left to answers.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) lengths: Vec<Lengths>,
    pub(super) times: Vec<f64>,
}

/// Requests of nominal lengths.
///
/// # Errors
/// A length or the rate is missing, or cannot be.
pub(super) fn draw(file: &ServingFile, source: &Source, seed: u64) -> Result<Drawn, InputError> {
    let nominal = |key: &str, value: Option<u64>| {
        let path = format!("serving.{key}");
        let value = value
            .ok_or_else(|| source.error(&path, "is missing").help("or name a trace, which says it for each request"))?;
        source.check(&path, value, 1..=MOST_TOKENS)
    };
    let prompt = nominal("prompt_tokens", file.prompt_tokens)?;
    let answer = nominal("output_tokens", file.output_tokens)?;
    source.check("serving.spread", file.spread, 0.0..=1.0)?;
    let requests = file.requests.unwrap_or(100);
    let mut sizes = rng::stream(seed, "serving.lengths");
    let mut length = |longest: u64| {
        let least = (((1.0 - file.spread) * longest as f64).ceil() as u64).clamp(1, longest);
        sizes.random_range(least..=longest)
    };
    let lengths: Vec<Lengths> = (0..requests).map(|_| (length(prompt), length(answer))).collect();
    let Some(rate) = file.rate_per_s else { return Ok(Drawn { lengths, times: Vec::new() }) };
    source.check("serving.rate_per_s", rate, 1e-6..=1e9)?;
    let mut gaps = rng::stream(seed, "serving.arrivals");
    let mut now = 0.0;
    let times = lengths.iter().map(|_| {
        let at = now;
        now += match file.arrivals {
            Process::Constant => 1.0 / rate,
            // One less a number from 0 up to 1 is never 0.
            Process::Poisson => -(1.0 - gaps.random::<f64>()).ln() / rate,
        };
        at
    });
    let times = times.collect();
    Ok(Drawn { lengths, times })
}

/// Requests of a trace.
///
/// # Errors
/// The file cannot be read, a column is missing, or a value cannot be.
pub(super) fn read_trace(
    file: &ServingFile,
    name: &str,
    source: &Source,
    path: Option<&Path>,
    configuration: &mut String,
) -> Result<Drawn, InputError> {
    for (key, given) in [
        ("prompt_tokens", file.prompt_tokens.is_some()),
        ("output_tokens", file.output_tokens.is_some()),
        ("spread", file.spread != 0.0),
    ] {
        if given {
            let error =
                source.error(&format!("serving.{key}"), "is given beside a trace, which says it for each request");
            return Err(error.help("leave it out"));
        }
    }
    let folder = path.and_then(Path::parent).unwrap_or_else(|| Path::new(""));
    let text = Source::read(&folder.join(name)).map_err(|e| {
        let problem = format!("names a file that cannot be used: {}: {}", e.file, e.problem);
        InputError { help: e.help, ..source.error("serving.trace", problem) }
    })?;
    configuration.push_str(&format!("\n# requests\n{}", text.text()));
    let wrong = |line: Option<u64>, problem: String| {
        let error = InputError { line: line.and_then(|l| usize::try_from(l).ok()), ..InputError::new(name, problem) };
        error.help("a row a request: arrival_s,prompt_tokens,output_tokens")
    };
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.text().as_bytes());
    let header = reader.headers().map_err(|e| wrong(None, e.to_string()))?.clone();
    let column = |key: &str| {
        header.iter().position(|h| h == key).ok_or_else(|| wrong(Some(1), format!("has no column `{key}`")))
    };
    let columns = [column("arrival_s")?, column("prompt_tokens")?, column("output_tokens")?];
    let most = usize::try_from(file.requests.unwrap_or(MOST_REQUESTS)).unwrap_or(usize::MAX);
    let mut rows: Vec<(f64, Lengths)> = Vec::new();
    for record in reader.records().take(most) {
        let record = record.map_err(|e| wrong(e.position().map(csv::Position::line), e.to_string()))?;
        let line = record.position().map(csv::Position::line);
        let text = |at: usize| record.get(at).unwrap_or_default();
        let tokens = |at: usize| {
            let value = text(at).parse::<u64>().ok().filter(|n| (1..=MOST_TOKENS).contains(n));
            value.ok_or_else(|| wrong(line, format!("has `{}` tokens: must be a whole number from 1", text(at))))
        };
        let at = text(columns[0]).parse::<f64>().ok().filter(|t| (0.0..=1e9).contains(t));
        let at = at.ok_or_else(|| wrong(line, format!("comes at `{}`: must be seconds from 0", text(columns[0]))))?;
        rows.push((at, (tokens(columns[1])?, tokens(columns[2])?)));
    }
    if rows.is_empty() {
        return Err(wrong(None, "has no request".into()));
    }
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (times, lengths) = rows.into_iter().unzip();
    Ok(Drawn { lengths, times })
}
