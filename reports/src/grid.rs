//! A small grid of text cells, as aligned columns on a terminal, Markdown or CSV.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Which side of its column a cell keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// What becomes of a column where the page is too narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It stays whole.
    Always,
    /// It is cut, once no column is left to drop.
    Cut,
    /// It is dropped: the columns with the lowest numbers first, and [`ORNAMENT`] before any name is cut.
    Drop(u8),
}

/// A column that tells nothing of its own: a bar beside its number.
pub(crate) const ORNAMENT: u8 = 0;

/// A cut column keeps at least so much.
const LEAST_CUT: usize = 8;

#[derive(Debug, Clone)]
struct Column {
    title: String,
    align: Align,
    keep: Keep,
}

#[derive(Debug, Clone)]
struct Row {
    cells: Vec<String>,
    /// Text in place of the cells from this one on: it may reach to the end of the line.
    rest: Option<(usize, String)>,
}

/// Columns with titles, and rows of as many cells.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

impl Grid {
    /// Columns of which the first is cut where the page is too narrow.
    pub(crate) fn new<S: Into<String>>(columns: impl IntoIterator<Item = (S, Align)>) -> Self {
        let keep = |i: usize| if i == 0 { Keep::Cut } else { Keep::Always };
        Self::of(columns.into_iter().enumerate().map(|(i, (title, align))| (title, align, keep(i))))
    }

    /// Columns, and what becomes of each where the page is too narrow.
    pub(crate) fn of<S: Into<String>>(columns: impl IntoIterator<Item = (S, Align, Keep)>) -> Self {
        let column = |(title, align, keep): (S, Align, Keep)| Column { title: title.into(), align, keep };
        Self { columns: columns.into_iter().map(column).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(Row { cells, rest: None });
    }

    /// A row whose cells end early: a text takes the place of the others.
    pub(crate) fn row_with_rest(&mut self, cells: impl IntoIterator<Item = String>, rest: String) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        let from = cells.len().min(self.columns.len());
        cells.resize(self.columns.len(), String::new());
        self.rows.push(Row { cells, rest: Some((from, rest)) });
    }

    fn widths(&self) -> Vec<usize> {
        let in_column = |row: &Row, i: usize| row.rest.as_ref().is_none_or(|(from, _)| i < *from);
        let widest = |i: usize| self.rows.iter().filter(|r| in_column(r, i)).map(|r| r.cells[i].width()).max();
        self.columns.iter().enumerate().map(|(i, c)| c.title.width().max(widest(i).unwrap_or(0))).collect()
    }

    /// Columns of the terminal that the widest line takes, without the texts in place of cells.
    fn width(&self) -> usize {
        self.widths().iter().map(|w| w + 2).sum()
    }

    fn drop_column(&mut self, at: usize) {
        self.columns.remove(at);
        for row in &mut self.rows {
            row.cells.remove(at);
            if let Some((from, _)) = &mut row.rest
                && at < *from
            {
                *from -= 1;
            }
        }
    }

    /// The same in at most `width` columns, as far as its columns give way: ornaments go first; then the columns that may be
    /// dropped, as if no name were longer than half the page; then names are cut. Nothing is changed where it fits.
    pub(crate) fn fit(mut self, width: usize) -> Self {
        self.drop_ornaments(width);
        if self.width() > width {
            self.drop_while(|grid| grid.width_with_names_of(width / 2) > width, |_| true);
        }
        let mut widths = self.widths();
        let mut excess = widths.iter().map(|w| w + 2).sum::<usize>().saturating_sub(width);
        let mut cut = false;
        while excess > 0 {
            let may = |&i: &usize| self.columns[i].keep == Keep::Cut && widths[i] > LEAST_CUT;
            let Some(at) = (0..widths.len()).filter(may).max_by_key(|&i| widths[i]) else { break };
            widths[at] -= 1;
            excess -= 1;
            cut = true;
        }
        if cut {
            for (i, column) in self.columns.iter_mut().enumerate().filter(|(_, c)| c.keep == Keep::Cut) {
                column.title = clip(&column.title, widths[i]);
                for row in &mut self.rows {
                    row.cells[i] = clip(&row.cells[i], widths[i]);
                }
            }
        }
        // A text in place of cells ends where the page does.
        for row in &mut self.rows {
            if let Some((from, rest)) = &mut row.rest {
                let before: usize = widths[..*from].iter().map(|w| w + 2).sum();
                *rest = clip(rest, width.saturating_sub(before + 2).max(LEAST_CUT));
            }
        }
        self
    }

    /// Drops the columns that tell nothing of their own, where the page is narrower than `width`.
    pub(crate) fn drop_ornaments(&mut self, width: usize) {
        self.drop_while(|grid| grid.width() > width, |order| order == ORNAMENT);
    }

    /// The width, were no column that may be cut wider than `most`.
    fn width_with_names_of(&self, most: usize) -> usize {
        let most = most.max(LEAST_CUT);
        let width = |(c, w): (&Column, usize)| if c.keep == Keep::Cut { w.min(most) } else { w };
        self.columns.iter().zip(self.widths()).map(|of| width(of) + 2).sum()
    }

    /// Drops columns, the lowest numbers first and of equals the rightmost.
    fn drop_while(&mut self, too_wide: impl Fn(&Self) -> bool, may: impl Fn(u8) -> bool) {
        while too_wide(self) {
            let order = |&i: &usize| match self.columns[i].keep {
                Keep::Drop(order) if may(order) => Some(order),
                _ => None,
            };
            let droppable = (0..self.columns.len()).rev().filter(|i| order(i).is_some());
            match droppable.min_by_key(order) {
                Some(at) => self.drop_column(at),
                None => return,
            }
        }
    }

    /// Aligned lines, two spaces between columns, each line indented by two; titles are dim where `color` is set.
    pub(crate) fn text(&self, color: bool) -> String {
        let widths = self.widths();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::from(" ");
            for (i, cell) in cells.enumerate() {
                let padding = " ".repeat(widths[i].saturating_sub(cell.width()));
                line.push(' ');
                if i > 0 {
                    line.push(' ');
                }
                match self.columns[i].align {
                    Align::Left => line.extend([cell, &padding]),
                    Align::Right => line.extend([padding.as_str(), cell]),
                }
            }
            line.trim_end().to_owned()
        };
        let mut out = String::new();
        if self.columns.iter().any(|column| !column.title.is_empty()) {
            let titles = line(&mut self.columns.iter().map(|column| column.title.as_str()));
            match color {
                true => out.extend(["\u{1b}[2m", &titles, "\u{1b}[0m\n"]),
                false => out.extend([&titles, "\n"]),
            }
        }
        for row in &self.rows {
            match &row.rest {
                None => out.push_str(&line(&mut row.cells.iter().map(String::as_str))),
                Some((from, rest)) => {
                    let before: usize = widths[..*from].iter().map(|w| w + 2).sum();
                    let cells = line(&mut row.cells[..*from].iter().map(String::as_str));
                    let padding = " ".repeat((before + 2).saturating_sub(cells.width()));
                    out.extend([cells.as_str(), &padding, rest]);
                }
            }
            out.push('\n');
        }
        out
    }

    /// A Markdown table.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
        let escape = |cell: &String| clean(cell).replace('|', "\\|");
        let mut out = line(&mut self.columns.iter().map(|column| escape(&column.title)));
        out += &line(&mut self.columns.iter().map(|column| match column.align {
            Align::Left => "---".to_owned(),
            Align::Right => "---:".to_owned(),
        }));
        for row in &self.rows {
            let rest = |i: usize| row.rest.as_ref().filter(|(from, _)| *from == i).map(|(_, text)| text);
            out += &line(&mut row.cells.iter().enumerate().map(|(i, cell)| escape(rest(i).unwrap_or(cell))));
        }
        out
    }
}

/// A text without control characters, on one line: a file's name must not move the cursor, nor break a table.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A name fit for one cell: no control characters (a file's name must not move the cursor), and at most `width` columns.
pub(crate) fn clip(name: &str, width: usize) -> String {
    let clean = clean(name);
    if clean.width() <= width {
        return clean;
    }
    let mut out = String::new();
    let mut used = 1;
    for c in clean.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// A bar for a share from 0 to 1, in eighths of a cell.
pub(crate) fn bar(share: f64, cells: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    if !share.is_finite() {
        return String::new();
    }
    let eighths = (share.clamp(0.0, 1.0) * cells as f64 * 8.0).round() as usize;
    let mut out = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        out.push(EIGHTHS[eighths % 8]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_display_width() {
        let mut grid = Grid::new([("name", Align::Left), ("n", Align::Right)]);
        grid.row(["µ".into(), "1".into()]);
        grid.row(["模型".into(), "1,000".into()]);
        assert_eq!(grid.text(false), "  name      n\n  µ         1\n  模型  1,000\n");
        assert_eq!(grid.markdown(), "| name | n |\n| --- | ---: |\n| µ | 1 |\n| 模型 | 1,000 |\n");
    }

    #[test]
    fn clipped_names_fit_and_move_no_cursor() {
        assert_eq!(clip("a\u{1b}[2Jb", 10), "a [2Jb");
        assert_eq!(clip("abcdef", 4), "abc…");
        assert_eq!(clip("模型模型", 5), "模型…");
    }

    #[test]
    fn a_narrow_page_loses_columns_before_letters() {
        let mut grid = Grid::of([
            ("name", Align::Left, Keep::Cut),
            ("batch", Align::Right, Keep::Always),
            ("latency", Align::Right, Keep::Drop(9)),
            ("power", Align::Right, Keep::Drop(1)),
        ]);
        grid.row(["a long experiment".into(), "64".into(), "1.000 ms".into(), "100.0 W".into()]);
        grid.row_with_rest(["other".into(), "128".into()], "too many sequences for the memory".into());
        assert_eq!(grid.clone().fit(200).text(false), grid.text(false));
        let fitted = grid.clone().fit(37);
        assert_eq!(fitted.text(false).lines().next().unwrap(), "  name               batch   latency");
        assert_eq!(fitted.text(false).lines().last().unwrap(), "  other                128  too many…");
        let narrow = grid.clone().fit(20);
        assert_eq!(narrow.text(false), "  name         batch\n  a long exp…     64\n  other          128  too man…\n");
        assert!(grid.markdown().contains("| other | 128 | too many sequences for the memory |  |"));
        for width in 0..80 {
            let text = grid.clone().fit(width).text(false);
            assert!(text.contains("batch") && text.contains("128"), "{width}: {text}");
            // A text in place of cells keeps eight letters, where there is no room left for it too.
            assert!(text.lines().all(|l| l.width() <= width.max(20) + 12), "{width}: {text}");
            assert!(width < 43 || text.lines().all(|l| l.width() <= width), "{width}: {text}");
        }
    }

    #[test]
    fn bars_are_in_eighths() {
        assert_eq!(bar(1.0, 2), "██");
        assert_eq!(bar(0.0, 2), "");
        assert_eq!(bar(9.0 / 16.0, 2), "█▏");
        assert_eq!(bar(f64::NAN, 2), "");
    }
}
