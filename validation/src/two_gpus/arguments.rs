//! Words of a row's arguments.

/// A number of `key=number` words.
pub(super) fn argument(args: &str, key: &str, most: u64) -> Result<u64, String> {
    let word = args.split_whitespace().find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
    let text = word.ok_or_else(|| format!("`{args}` has no {key}"))?;
    let n = text.parse::<u64>().map_err(|_| format!("{key} is {text}: must be a whole number"))?;
    if n <= most { Ok(n) } else { Err(format!("{key} is {n}: at most {most} is modelled")) }
}
