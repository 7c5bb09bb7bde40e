//! How a figure looks: its size, its font, its words, and the order and names of what it shows.

use std::collections::BTreeMap;

use super::drawing::Drawing;
use super::font::Typeface;

/// One column of a two-column paper: 3.5 inches.
pub(crate) const COLUMN: f64 = 252.0;
/// Both columns of a paper: 7 inches.
pub(crate) const PAGE: f64 = 504.0;
/// Height of an ordinary plot.
pub(crate) const HEIGHT: f64 = 165.0;
/// Titles, legends and labels in points; ticks are a little smaller.
pub(crate) const TEXT: f64 = 8.0;
pub(crate) const SMALL: f64 = 7.0;
/// A slide is a page of this many points, drawn twice as large so that its words can be read from afar.
const SLIDE: (f64, f64) = (320.0, 180.0);
const SLIDE_SCALE: f64 = 2.0;
/// Points of an inch.
const INCH: f64 = 72.0;
/// The least and the most that a page measures, in points: smaller ones have no room for axes, larger ones no printer.
pub(crate) const SIDES: (f64, f64) = (108.0, 2880.0);

/// Where a legend stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LegendPlace {
    /// Above the data where it is low, else below.
    #[default]
    Auto,
    /// Above the data.
    Above,
    /// Below the horizontal axis.
    Below,
    /// At the right of the data.
    Right,
    /// Nowhere.
    Hidden,
}

/// A text over the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// What it says.
    pub text: String,
    /// Its place: a value in the horizontal axis's unit, or one of its names.
    pub x: Place,
    /// Its place on the vertical axis, as `x`.
    pub y: Place,
}

/// A place on an axis.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// A value in the axis's unit, as its ticks show it.
    At(f64),
    /// A name of an axis of names.
    Named(String),
}

/// How a figure looks. The default is one column of a paper.
#[derive(Debug, Clone, PartialEq)]
pub struct Style {
    /// A title above everything.
    pub title: Option<String>,
    /// The horizontal axis's title, in place of the column's.
    pub x_label: Option<String>,
    /// The vertical axis's title, in place of the column's.
    pub y_label: Option<String>,
    /// Width in points, before `scale`.
    pub width: f64,
    /// Height in points, before `scale`; by the kind of plot where none is given.
    pub height: Option<f64>,
    /// What everything is multiplied by at the end.
    pub scale: f64,
    /// What texts are set in.
    pub font: Typeface,
    /// Where the legend stands.
    pub legend: LegendPlace,
    /// What the legend's entries are of, before them.
    pub legend_title: Option<String>,
    /// Texts over the data.
    pub annotations: Vec<Annotation>,
    /// Names of series, categories, reports and operators in the order in which they are drawn; others come after them.
    pub order: Vec<String>,
    /// What to call series, categories, reports and operators, by their names in the input.
    pub rename: BTreeMap<String, String>,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            title: None,
            x_label: None,
            y_label: None,
            width: COLUMN,
            height: None,
            scale: 1.0,
            font: Typeface::default(),
            legend: LegendPlace::default(),
            legend_title: None,
            annotations: Vec::new(),
            order: Vec::new(),
            rename: BTreeMap::new(),
        }
    }
}

impl Style {
    /// The style of a width that has a name: `column`, `page` or `slide`.
    pub(crate) fn sized(&mut self, name: &str) -> bool {
        match name {
            "column" => (self.width, self.scale) = (COLUMN, 1.0),
            "page" => (self.width, self.scale) = (PAGE, 1.0),
            "slide" => {
                (self.width, self.scale) = (SLIDE.0, SLIDE_SCALE);
                self.height = self.height.or(Some(SLIDE.1));
            }
            _ => return false,
        }
        true
    }

    /// Takes a width in inches.
    pub(crate) fn width_inches(&mut self, inches: f64) {
        self.width = (inches * INCH / self.scale).clamp(SIDES.0, SIDES.1);
    }

    /// Takes a height in inches.
    pub(crate) fn height_inches(&mut self, inches: f64) {
        self.height = Some((inches * INCH / self.scale).clamp(SIDES.0, SIDES.1));
    }

    /// An empty page of the style, as high as it says, else `usual` points.
    pub(crate) fn page(&self, usual: f64) -> Drawing {
        let mut drawing = Drawing::new(self.width, self.height.unwrap_or(usual));
        drawing.typeface = self.font;
        drawing
    }

    /// About how many ticks there is room for along the page.
    pub(crate) fn x_ticks(&self) -> usize {
        (self.width / 50.0).clamp(3.0, 14.0) as usize
    }

    /// What a name of the input is called.
    pub(crate) fn called(&self, name: &str) -> String {
        self.rename.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    /// The place of a name in the order: those that are not in it come last, as they came. A name stands in the order as the
    /// input has it or as it is called.
    pub(crate) fn rank(&self, name: &str) -> usize {
        let called = |o: &String| o == name || self.rename.get(o).is_some_and(|new| new == name);
        self.order.iter().position(called).unwrap_or(self.order.len())
    }
}
