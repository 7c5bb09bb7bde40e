//! Arithmetic in device tables: `nCWL + nBL + nWR`, `max(nBL, nCCD)`, `(IDD4R - IDD3N) * 0.16`.

use std::collections::BTreeMap;

/// Named quantities of a device: timings in cycles, currents in milliamperes, counts.
pub(crate) type Symbols = BTreeMap<String, f64>;

/// Evaluates an expression of numbers, names, `+ - * /`, parentheses, `max(a, b)`, `min(a, b)`, `ceil(a)` and
/// `floor(a)`.
pub(crate) fn evaluate(text: &str, symbols: &Symbols) -> Result<f64, String> {
    let mut parser = Parser { rest: text, symbols, depth: 0 };
    let value = parser.sum()?;
    if parser.peek().is_some() {
        return Err(format!("has unexpected `{}` in `{text}`", parser.rest.trim()));
    }
    if value.is_finite() { Ok(value) } else { Err(format!("`{text}` is not a finite number")) }
}

/// Evaluates an expression that must be a whole number (a count of cycles, possibly negative).
pub(crate) fn evaluate_integer(text: &str, symbols: &Symbols) -> Result<i64, String> {
    let value = evaluate(text, symbols)?;
    if (value - value.round()).abs() > 1e-6 || value.abs() > 1e12 {
        return Err(format!("`{text}` is {value}, not a whole number of cycles: wrap it in ceil() or floor()"));
    }
    Ok(value.round() as i64)
}

struct Parser<'a> {
    rest: &'a str,
    symbols: &'a Symbols,
    depth: u32,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.rest = &self.rest[c.len_utf8()..];
        }
        found
    }

    fn sum(&mut self) -> Result<f64, String> {
        self.depth += 1;
        if self.depth > 64 {
            return Err("is nested too deeply".into());
        }
        let mut value = self.product()?;
        loop {
            if self.eat('+') {
                value += self.product()?;
            } else if self.eat('-') {
                value -= self.product()?;
            } else {
                self.depth -= 1;
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<f64, String> {
        let mut value = self.atom()?;
        loop {
            if self.eat('*') {
                value *= self.atom()?;
            } else if self.eat('/') {
                value /= self.atom()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn atom(&mut self) -> Result<f64, String> {
        match self.peek() {
            Some('(') => {
                self.eat('(');
                let value = self.sum()?;
                if self.eat(')') { Ok(value) } else { Err("lacks a `)`".into()) }
            }
            Some('-') => {
                self.eat('-');
                self.depth += 1;
                if self.depth > 64 {
                    return Err("is nested too deeply".into());
                }
                let value = self.atom()?;
                self.depth -= 1;
                Ok(-value)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => {
                let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.rest.len());
                let (number, rest) = self.rest.split_at(end);
                self.rest = rest;
                number.parse().map_err(|_| format!("has a malformed number `{number}`"))
            }
            Some(c) if c.is_ascii_alphabetic() => {
                let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
                let (name, rest) = self.rest.split_at(end);
                self.rest = rest;
                if self.eat('(') { self.call(name) } else { self.lookup(name) }
            }
            Some(c) => Err(format!("has unexpected `{c}`")),
            None => Err("ends where a value should stand".into()),
        }
    }

    fn call(&mut self, name: &str) -> Result<f64, String> {
        let first = self.sum()?;
        let second = if self.eat(',') { Some(self.sum()?) } else { None };
        if !self.eat(')') {
            return Err(format!("lacks a `)` after {name}("));
        }
        match (name, second) {
            ("max", Some(second)) => Ok(first.max(second)),
            ("min", Some(second)) => Ok(first.min(second)),
            // A quotient that is whole but for rounding must not be pushed up a cycle.
            ("ceil", None) => Ok((first - 1e-9).ceil()),
            ("floor", None) => Ok((first + 1e-9).floor()),
            _ => Err(format!("calls `{name}`: the functions are max(a, b), min(a, b), ceil(a) and floor(a)")),
        }
    }

    fn lookup(&self, name: &str) -> Result<f64, String> {
        self.symbols.get(name).copied().ok_or_else(|| {
            let known: Vec<&str> = self.symbols.keys().map(String::as_str).collect();
            format!("uses `{name}`, which the device does not define (it defines {})", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_follows_precedence() {
        let symbols = Symbols::from([("nCL".to_owned(), 16.0), ("nBL".to_owned(), 4.0)]);
        let value = |text| evaluate(text, &symbols);
        assert_eq!(value("nCL + nBL * 2 - 1"), Ok(23.0));
        assert_eq!(value("-(nCL - 20) / 2"), Ok(2.0));
        assert_eq!(value("max(nCL, 20) + min(nBL, 1) + ceil(nBL / 3)"), Ok(23.0));
        assert_eq!(evaluate_integer("ceil(1000 / 1000)", &symbols), Ok(1));
        assert_eq!(evaluate_integer("floor(nCL / 3) + floor(nCL / 4)", &symbols), Ok(9));
    }

    #[test]
    fn mistakes_are_named() {
        let symbols = Symbols::from([("nCL".to_owned(), 16.0)]);
        for (text, expected) in [
            ("nCl", "uses `nCl`"),
            ("nCL +", "ends where"),
            ("(nCL", "lacks a `)`"),
            ("nCL 3", "unexpected `3`"),
            ("sqrt(nCL)", "calls `sqrt`"),
            ("1 / 0", "not a finite"),
            ("nCL $ 1", "unexpected `$ 1`"),
            ("1.2.3", "malformed number"),
        ] {
            let error = evaluate(text, &symbols).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(evaluate_integer("nCL / 3", &symbols).unwrap_err().contains("ceil() or floor()"));
        assert!(evaluate(&"(".repeat(100_000), &symbols).is_err());
        assert!(evaluate(&"-".repeat(100_000), &symbols).is_err());
    }
}
