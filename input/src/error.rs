//! The one error type for anything a user wrote.

use std::fmt;

/// Something a user wrote cannot be used: which file, line and key, what is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InputError {
    /// The file (or `--set`, or the name of an embedded catalog entry).
    pub file: String,
    /// The line in that file, from 1, where it is known.
    pub line: Option<usize>,
    /// The dotted path of the key at fault (`machine.asic.clock_mhz`), where there is one.
    pub key: Option<String>,
    /// What is wrong, in a phrase that follows the key.
    pub problem: String,
    /// What would be right.
    pub help: Option<String>,
}

impl InputError {
    /// An error about a whole file or command-line value, with no line or key.
    pub fn new(file: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, key: None, problem: problem.into(), help: None }
    }

    /// The same error, saying also what would be right.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same error, at a line of its file.
    #[must_use]
    pub fn at_line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// The same error, about one key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// An error for a name that is not in a list, which suggests the nearest of those that are.
    pub fn unknown_name<'a>(
        file: impl Into<String>,
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut known: Vec<&str> = known.into_iter().collect();
        known.sort_unstable();
        Self::new(file, format!("there is no {what} named `{name}`")).help(suggest(name, &known))
    }
}

/// "did you mean `x`?" where one is near, otherwise the list (cut when it is long).
pub(crate) fn suggest(name: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|k| (strsim::jaro_winkler(&name.to_lowercase(), &k.to_lowercase()), *k))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)));
    let list = if known.len() > 24 {
        format!("{}, ... ({} in all)", known[..24].join(", "), known.len())
    } else {
        known.join(", ")
    };
    match near {
        Some((_, near)) => format!("did you mean `{near}`? (known: {list})"),
        None if known.is_empty() => "none is known here".to_owned(),
        None => format!("use one of: {list}"),
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        match &self.key {
            Some(key) => write!(f, "`{key}` {}", self.problem)?,
            None => f.write_str(&self.problem)?,
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}
