//! Results as tables that fit the terminal, and as lists of columns.
//!
//! Cells are narrowed first, the widest most, numbers not at all; when that does not help, columns in the middle are left out.
//! Either is said in the footer. Without a terminal nothing is cut.

use crate::answer::{Column, StatementResult};
use crate::terminal::Style;

use super::cell;

/// Cells are not narrowed below this.
const NARROWEST: usize = 8;
/// Cells of numbers are not narrowed below this, which holds any of 64 bits and any DECIMAL.
const LONGEST_NUMBER: usize = 30;
const BOLD: &str = "1";
const DIM: &str = "2";

/// A cell as it will be drawn.
struct Drawn {
    text: String,
    is_null: bool,
}

struct Grid {
    names: Vec<String>,
    is_number: Vec<bool>,
    rows: Vec<Vec<Drawn>>,
}

impl Grid {
    fn of(result: &StatementResult) -> Self {
        let rows = result.rows.iter().flatten().map(|row| {
            let cells = row.iter().enumerate().map(|(at, value)| match cell::raw(value, result.schema.get(at)) {
                Some(text) => Drawn { text: cell::on_one_line(&text), is_null: false },
                None => Drawn { text: "NULL".to_owned(), is_null: true },
            });
            cells.collect()
        });
        Self {
            names: result.schema.iter().map(|column| cell::on_one_line(&column.name)).collect(),
            is_number: result.schema.iter().map(Column::is_number).collect(),
            rows: rows.collect(),
        }
    }

    /// Columns of text that a column takes when nothing is cut.
    fn natural_width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|drawn| cell::width(&drawn.text));
        let name = self.names.get(column).map_or(0, |name| cell::width(name));
        cells.chain(std::iter::once(name)).max().unwrap_or(0)
    }
}

/// What is drawn of a grid: its columns with their widths; `None` stands for those left out.
struct Layout {
    columns: Vec<Option<(usize, usize)>>,
    is_narrowed: bool,
}

/// Width of a drawn line.
fn line_width(widths: impl Iterator<Item = usize>) -> usize {
    widths.map(|width| width + 3).sum::<usize>().saturating_sub(1)
}

/// A column's widths: whole, and as far as it may be narrowed.
#[derive(Clone, Copy)]
struct Widths {
    natural: usize,
    least: usize,
}

impl Widths {
    fn under(self, cap: usize) -> usize {
        self.natural.min(cap).max(self.least)
    }
}

/// The largest cap under which the columns fit, if there is one.
fn fitting_cap(widths: &[Widths], available: usize) -> Option<usize> {
    let fits = |cap: usize| line_width(widths.iter().map(|width| width.under(cap))) <= available;
    if !fits(0) {
        return None;
    }
    let widest = widths.iter().map(|width| width.natural).max().unwrap_or(0);
    let (mut fitting, mut too_wide) = (0, widest + 1);
    while too_wide - fitting > 1 {
        let middle = fitting.midpoint(too_wide);
        if fits(middle) {
            fitting = middle;
        } else {
            too_wide = middle;
        }
    }
    Some(fitting)
}

fn layout(grid: &Grid, available: Option<usize>) -> Layout {
    let widths: Vec<Widths> = (0..grid.names.len())
        .map(|column| {
            let natural = grid.natural_width(column);
            // A number without its last digits would pass for another number: columns go before digits do.
            let is_number = grid.is_number.get(column).copied().unwrap_or(false);
            Widths { natural, least: natural.min(if is_number { LONGEST_NUMBER } else { NARROWEST }) }
        })
        .collect();
    let all = || widths.iter().copied().enumerate();
    let Some(available) = available else {
        return Layout { columns: all().map(|(at, width)| Some((at, width.natural))).collect(), is_narrowed: false };
    };
    // Left out from the middle: of `kept` columns the first half, rounded up, is at the left.
    for kept in (1..=widths.len()).rev() {
        let left = kept.div_ceil(2);
        let right = widths.len() - (kept - left);
        let is_partial = kept < widths.len();
        let room = available.saturating_sub(if is_partial { 4 } else { 0 });
        let mut chosen: Vec<(usize, Widths)> = all().filter(|(at, _)| *at < left || *at >= right).collect();
        if let ([(_, only)], 1) = (chosen.as_mut_slice(), kept) {
            only.least = only.least.min(room.saturating_sub(2));
        }
        let kept_widths: Vec<Widths> = chosen.iter().map(|(_, width)| *width).collect();
        if let Some(cap) = fitting_cap(&kept_widths, room) {
            let is_narrowed = kept_widths.iter().any(|width| width.under(cap) < width.natural);
            let mut columns: Vec<_> = chosen.into_iter().map(|(at, width)| Some((at, width.under(cap)))).collect();
            if is_partial {
                columns.insert(left, None);
            }
            return Layout { columns, is_narrowed };
        }
    }
    Layout { columns: Vec::new(), is_narrowed: false }
}

/// Whether a table would lose something in the terminal.
pub(crate) fn is_too_wide(result: &StatementResult, style: Style) -> bool {
    let grid = Grid::of(result);
    let layout = layout(&grid, style.width);
    layout.is_narrowed || layout.columns.iter().flatten().count() < grid.names.len()
}

/// A query's result as a table with a footer.
pub(crate) fn table(result: &StatementResult, style: Style) -> String {
    let grid = Grid::of(result);
    let layout = layout(&grid, style.width);
    let mut out = open_body(&grid, &layout, style);
    out.push_str(&footer(&grid, &layout, style));
    out
}

/// The same without the footer.
pub(crate) fn table_body(result: &StatementResult, style: Style) -> String {
    let grid = Grid::of(result);
    open_body(&grid, &layout(&grid, style.width), style)
}

fn open_body(grid: &Grid, layout: &Layout, style: Style) -> String {
    let mut out = String::new();
    let mut push = |line: String| {
        out.push_str(line.trim_end());
        out.push('\n');
    };
    if !grid.names.is_empty() {
        push(header(grid, layout, style).join("│"));
        push(rule(layout).join("┼"));
    }
    for row in &grid.rows {
        push(cells(grid, layout, row, style).join("│"));
    }
    out
}

/// A query's result as a table in a frame, with the columns' types.
pub(crate) fn boxed(result: &StatementResult, style: Style) -> String {
    let mut grid = Grid::of(result);
    let types = result.schema.iter().map(|column| column.type_name().to_lowercase());
    let types: Vec<Drawn> = types.map(|text| Drawn { text, is_null: true }).collect();
    // The types take part in the widths.
    grid.rows.insert(0, types);
    let layout = layout(&grid, style.width.map(|width| width.saturating_sub(2)));
    let rule = rule(&layout);
    let framed =
        |left: &str, cells: &[String], between: &str, right: &str| format!("{left}{}{right}\n", cells.join(between));
    let mut out = framed("┌", &rule, "┬", "┐");
    out.push_str(&framed("│", &header(&grid, &layout, style), "│", "│"));
    let types = if grid.rows.is_empty() { Vec::new() } else { grid.rows.remove(0) };
    out.push_str(&framed("│", &cells(&grid, &layout, &types, style), "│", "│"));
    if !grid.rows.is_empty() {
        out.push_str(&framed("├", &rule, "┼", "┤"));
    }
    for row in &grid.rows {
        out.push_str(&framed("│", &cells(&grid, &layout, row, style), "│", "│"));
    }
    out.push_str(&framed("└", &rule, "┴", "┘"));
    out.push_str(&footer(&grid, &layout, style));
    out
}

fn header(grid: &Grid, layout: &Layout, style: Style) -> Vec<String> {
    let names = layout.columns.iter().map(|column| match column {
        Some((at, width)) => {
            let name = grid.names.get(*at).map_or("", String::as_str);
            padded(&cell::fit(name, *width), *width, false, |text| style.paint(BOLD, text))
        }
        None => " … ".to_owned(),
    });
    names.collect()
}

fn rule(layout: &Layout) -> Vec<String> {
    layout.columns.iter().map(|column| "─".repeat(column.map_or(1, |(_, width)| width) + 2)).collect()
}

fn cells(grid: &Grid, layout: &Layout, row: &[Drawn], style: Style) -> Vec<String> {
    let cells = layout.columns.iter().map(|column| match column {
        Some((at, width)) => {
            let (text, is_null) = row.get(*at).map_or(("", false), |drawn| (drawn.text.as_str(), drawn.is_null));
            let is_number = grid.is_number.get(*at).copied().unwrap_or(false);
            padded(&cell::fit(text, *width), *width, is_number, |text| {
                if is_null { style.paint(DIM, text) } else { text.to_owned() }
            })
        }
        None => " … ".to_owned(),
    });
    cells.collect()
}

fn footer(grid: &Grid, layout: &Layout, style: Style) -> String {
    let shown = layout.columns.iter().flatten().count();
    let mut notes = vec![count(grid.rows.len())];
    if shown < grid.names.len() {
        notes.push(format!("{shown} of {} columns shown, \\x shows all", grid.names.len()));
    } else if layout.is_narrowed {
        notes.push("long values are cut, \\x shows them whole".to_owned());
    }
    style.paint(DIM, &format!("({})", notes.join("; "))) + "\n"
}

/// A query's result as one list of columns per row, whole.
pub(crate) fn expanded(result: &StatementResult, style: Style) -> String {
    let grid = Grid::of(result);
    let names = grid.names.iter().map(|name| cell::width(name)).max().unwrap_or(0);
    let mut out = String::new();
    for (number, row) in grid.rows.iter().enumerate() {
        let head = format!("─[ {} ]", number + 1);
        let line = format!("{head}{}", "─".repeat((names + 12).saturating_sub(cell::width(&head))));
        out.push_str(&style.paint(DIM, &line));
        out.push('\n');
        for (name, drawn) in grid.names.iter().zip(row) {
            let text = if drawn.is_null { style.paint(DIM, &drawn.text) } else { drawn.text.clone() };
            let name = padded(name, names, false, |name| style.paint(BOLD, name));
            out.push_str(format!("{}│ {text}", name.get(1..).unwrap_or("")).trim_end());
            out.push('\n');
        }
    }
    out.push_str(&style.paint(DIM, &format!("({})", count(grid.rows.len()))));
    out.push('\n');
    out
}

fn count(rows: usize) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

/// A text between blanks, filled up to a width; painting does not count.
fn padded(text: &str, width: usize, is_right: bool, paint: impl Fn(&str) -> String) -> String {
    let fill = " ".repeat(width.saturating_sub(cell::width(text)));
    if is_right { format!(" {fill}{} ", paint(text)) } else { format!(" {}{fill} ", paint(text)) }
}
