//! The numbers that a figure shows: the CSV beside it, and what a script draws it again from.

/// How the rows of a figure's table are drawn. The columns of each come in the order named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chart {
    /// `series, x, y`: points joined in their order.
    Lines,
    /// `series, x, y`: points alone.
    Marks,
    /// `series, x, y`: points joined by steps.
    Steps,
    /// `category, series, part, value, least, most`: groups of upright bars, of parts where a bar has several.
    Bars,
    /// `row, part, value`: bars to the right, of parts one after the other.
    Rows,
    /// `row, series, value`: bars to the right, those of a row one below the other.
    RowPairs,
    /// `x, y, value`: shaded cells.
    Cells,
    /// `category, rows, low, quarter, median, three_quarters, high`: boxes with whiskers.
    Boxes,
    /// `lane, name, start, duration`: stretches of time in lanes.
    Spans,
}

/// A line across a figure that is not of its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// A level line at a value of the vertical axis.
    Level(f64),
    /// An upright line at a value of the horizontal axis.
    Upright(f64),
    /// Where both axes have the same value.
    Equality,
}

/// An axis, as a script needs it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AxisOf {
    /// Name and unit. Values of the table are in this unit.
    pub title: String,
    /// The base of a logarithmic axis (2 or 10), or 0 of one in proportion.
    pub base: u8,
    /// The names on it in order, where it is one of names: a value is a place among them.
    pub names: Vec<String>,
    /// The ends, in its unit.
    pub ends: (f64, f64),
}

/// A figure's table.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    /// How its rows are drawn.
    pub chart: Chart,
    /// The figure's title, or empty.
    pub title: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`. A number is the shortest text that reads back as it; what has no value is empty.
    pub rows: Vec<Vec<String>>,
    /// The horizontal axis.
    pub x: AxisOf,
    /// The vertical axis.
    pub y: AxisOf,
    /// Lines that are not of the rows.
    pub rules: Vec<Rule>,
    /// Series that are limits rather than data (roofs, fronts): drawn as plain lines.
    pub limits: Vec<String>,
    /// Whether cells are shaded by the logarithm of their value.
    pub log_shades: bool,
    /// Width and height of the figure, in inches.
    pub inches: (f64, f64),
}

impl Data {
    /// A table without rows.
    pub(crate) fn new(chart: Chart, columns: &[&str], x: &AxisOf, y: &AxisOf) -> Self {
        Self {
            chart,
            title: String::new(),
            columns: columns.iter().map(|&c| c.to_owned()).collect(),
            rows: Vec::new(),
            x: x.clone(),
            y: y.clone(),
            rules: Vec::new(),
            limits: Vec::new(),
            log_shades: false,
            inches: (0.0, 0.0),
        }
    }

    /// The different values of a column, in order of first appearance.
    pub(crate) fn distinct(&self, column: usize) -> Vec<&str> {
        let mut seen = std::collections::BTreeSet::new();
        self.rows.iter().map(|row| row[column].as_str()).filter(|&cell| seen.insert(cell)).collect()
    }
}

/// A number as a cell: the shortest text that reads back, of at most 12 digits since a scaled unit adds rounding; empty where
/// it is not finite.
pub(crate) fn cell(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    // 0.1 + 0.2 is 0.3 to every reader of a figure.
    let rounded = format!("{value:.11e}").parse::<f64>().unwrap_or(value);
    let text = format!("{:?}", rounded + 0.0);
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_short_and_read_back() {
        assert_eq!((cell(0.1 + 0.2), cell(8.0), cell(-0.0)), ("0.3".into(), "8".into(), "0".into()));
        assert_eq!((cell(f64::NAN), cell(1.5e-9), cell(1e300)), (String::new(), "1.5e-9".into(), "1e300".into()));
    }
}
