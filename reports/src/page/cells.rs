//! What a table on the page is made of: columns and cells.

use crate::plot::Better;
use crate::units;

/// What a column holds, which decides where the page offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// A key that points set. Shown as it was written; those that vary are axes of the parallel coordinates.
    Setting,
    /// A number that came out.
    Result,
    /// A name or a remark.
    Text,
}

/// How the numbers of a column are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageUnit {
    /// With an SI prefix before this unit: `s`, `B/s`, `J`; empty for a large count.
    Si(String),
    /// As a percentage: the values are shares of one.
    Share,
    /// As a plain number before this unit, which takes no prefix: `cycles`.
    Plain(String),
}

/// A column of the page's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageColumn {
    /// Its name, with the unit as in the CSV files: `latency_s`.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// How its numbers are written; `None` for plain numbers.
    pub unit: Option<PageUnit>,
    /// Which values are better; `None` where neither are, or nobody knows.
    pub better: Option<Better>,
}

impl PageColumn {
    /// A column of results: unit and better values by the name's ending, as everywhere else.
    pub fn result(name: impl Into<String>) -> Self {
        let name = name.into();
        let (unit, better) = (PageUnit::of(&name), Some(Better::of(&name)));
        Self { name, kind: ColumnKind::Result, unit, better }
    }

    /// A column of a setting.
    pub fn setting(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ColumnKind::Setting, unit: None, better: None }
    }

    /// A column of text.
    pub fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ColumnKind::Text, unit: None, better: None }
    }
}

impl PageUnit {
    /// The unit that a name's ending says, as [`units::metric`] reads it.
    pub fn of(name: &str) -> Option<Self> {
        match units::unit_of(name) {
            Some((_, "cycles")) => Some(Self::Plain("cycles".into())),
            Some((_, unit)) => Some(Self::Si(unit.into())),
            None if units::is_share(name) => Some(Self::Share),
            None => None,
        }
    }
}

/// A cell of the page's table.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum PageCell {
    /// Nothing: the point does not have this.
    #[default]
    Empty,
    /// A number in the column's base unit; what is not finite is shown as `n/a`.
    Number(f64),
    /// A text.
    Text(String),
    /// Why the point has no result. Its whole row is marked.
    Error(String),
}

impl From<f64> for PageCell {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<Option<f64>> for PageCell {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Empty, Self::Number)
    }
}

impl From<&str> for PageCell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for PageCell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
