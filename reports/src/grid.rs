//! A small grid of text cells, as aligned columns on a terminal, Markdown or CSV.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Which side of its column a cell keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Columns with titles, and rows of as many cells.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub(crate) fn new<S: Into<String>>(columns: impl IntoIterator<Item = (S, Align)>) -> Self {
        Self { columns: columns.into_iter().map(|(title, align)| (title.into(), align)).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    /// Aligned lines, two spaces between columns, each line indented by two; titles are dim where `color` is set.
    pub(crate) fn text(&self, color: bool) -> String {
        let cell_widths = |i: usize| self.rows.iter().map(move |row| row[i].width());
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|i| cell_widths(i).chain([self.columns[i].0.width()]).max().unwrap_or(0))
            .collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::from(" ");
            for (i, cell) in cells.enumerate() {
                let padding = " ".repeat(widths[i].saturating_sub(cell.width()));
                line.push(' ');
                if i > 0 {
                    line.push(' ');
                }
                match self.columns[i].1 {
                    Align::Left => line.extend([cell, &padding]),
                    Align::Right => line.extend([padding.as_str(), cell]),
                }
            }
            line.trim_end().to_owned()
        };
        let mut out = String::new();
        if self.columns.iter().any(|(title, _)| !title.is_empty()) {
            let titles = line(&mut self.columns.iter().map(|(title, _)| title.as_str()));
            match color {
                true => out.extend(["\u{1b}[2m", &titles, "\u{1b}[0m\n"]),
                false => out.extend([&titles, "\n"]),
            }
        }
        for row in &self.rows {
            out.push_str(&line(&mut row.iter().map(String::as_str)));
            out.push('\n');
        }
        out
    }

    /// A Markdown table.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
        let escape = |cell: &String| cell.replace('|', "\\|");
        let mut out = line(&mut self.columns.iter().map(|(title, _)| escape(title)));
        out += &line(&mut self.columns.iter().map(|(_, align)| match align {
            Align::Left => "---".to_owned(),
            Align::Right => "---:".to_owned(),
        }));
        for row in &self.rows {
            out += &line(&mut row.iter().map(escape));
        }
        out
    }
}

/// A name fit for one cell: no control characters (a file's name must not move the cursor), and at most `width` columns.
pub(crate) fn clip(name: &str, width: usize) -> String {
    let clean: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
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
    fn bars_are_in_eighths() {
        assert_eq!(bar(1.0, 2), "██");
        assert_eq!(bar(0.0, 2), "");
        assert_eq!(bar(9.0 / 16.0, 2), "█▏");
        assert_eq!(bar(f64::NAN, 2), "");
    }
}
