//! Tables with highlighted cells. Columns of numbers are aligned at the right.

use super::{
    Drawn, FRAME, GRID, INK, MUTED, Picture, VERMILLION, draw, draw_title, fit, px, save, text, width, wrap, write,
};
use crate::error::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use std::path::Path;

const TITLE: f64 = 84.0;
const MARGIN: f64 = 30.0;
const TEXT: f64 = 22.0;
const LINE: f64 = 38.0;
const GAP: f64 = 34.0;
/// Maximum width of a cell, in figure pixels.
const CELL: f64 = 420.0;

/// Contents of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Title of the figure.
    pub title: String,
    /// Caption below the table; wrapped.
    pub caption: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// Cells, and whether each is highlighted.
    pub rows: Vec<Vec<(String, bool)>>,
}

/// Draws a table into a PNG or SVG file of the required size.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if `path` cannot be written; [`Error::Config`](crate::Error::Config) if it ends in neither
/// .png nor .svg.
pub fn save_table(path: impl AsRef<Path>, table: &Table) -> Result<()> {
    save(path.as_ref(), &render(path.as_ref(), table)?)
}

/// Whether a column has numbers, and nothing else but empty cells.
fn is_numeric(table: &Table, column: usize) -> bool {
    let cells = || table.rows.iter().filter_map(|row| row.get(column)).map(|(cell, _)| cell.trim());
    let number = |cell: &str| cell.trim_end_matches('%').trim_end().replace([',', '−'], "").parse::<f64>().is_ok();
    cells().any(number) && cells().all(|cell| cell.is_empty() || cell == "n/a" || number(cell))
}

fn render(path: &Path, table: &Table) -> Result<Picture> {
    let style = |colour| text(TEXT, colour, HPos::Left, VPos::Center);
    let columns = table.rows.iter().map(Vec::len).chain([table.head.len()]).max().unwrap_or(0);
    let mut widths = vec![0; columns];
    let mut caption = Vec::new();
    let (mut full, mut used) = (0, 0);
    draw(path, 8, 8, |area| {
        let heads = table.head.iter().enumerate();
        let cells = table.rows.iter().flat_map(|row| row.iter().map(|(cell, _)| cell).enumerate());
        for (c, words) in heads.chain(cells) {
            widths[c] = widths[c].max(width(area, words, &style(INK))?.min(px(CELL)));
        }
        used = widths.iter().sum::<i32>() + px(GAP) * columns.saturating_sub(1) as i32 + px(2.0 * MARGIN);
        full = used.max(px(1000.0));
        caption = wrap(area, &table.caption, &style(INK), full - px(2.0 * MARGIN))?;
        Ok(())
    })?;
    let lines = table.rows.len() as f64 + 1.0;
    let height = TITLE + LINE * (lines + caption.len() as f64) + 2.0 * MARGIN;
    let figure_width = (f64::from(full) / f64::from(px(1.0))).ceil() as u32;
    draw(path, figure_width, height.ceil() as u32, |area| {
        draw_title(area, &table.title, MARGIN, TITLE)?;
        let left = |c: usize| px(MARGIN) + widths[..c].iter().sum::<i32>() + px(GAP) * c as i32;
        let middle = |k: usize| px(TITLE + LINE * (k as f64 + 0.5));
        let numeric: Vec<bool> = (0..columns).map(|c| is_numeric(table, c)).collect();
        let write_cell = |words: &str, colour, (k, c): (usize, usize)| -> Drawn {
            let words = fit(area, words, &style(colour), widths[c])?;
            match numeric[c] {
                _ if words.is_empty() => Ok(()),
                true => {
                    let style = text(TEXT, colour, HPos::Right, VPos::Center);
                    write(area, &words, &style, (left(c) + widths[c], middle(k)))
                }
                false => write(area, &words, &style(colour), (left(c), middle(k))),
            }
        };
        for (c, words) in table.head.iter().enumerate() {
            write_cell(words, MUTED, (0, c))?;
        }
        for (k, row) in table.rows.iter().enumerate() {
            let line = px(TITLE + LINE * (k as f64 + 1.0));
            let colour = if k == 0 { FRAME } else { GRID };
            let across = [(px(MARGIN), line), (used - px(MARGIN), line)];
            area.draw(&PathElement::new(across, colour.stroke_width(px(1.0) as u32)))?;
            for (c, (cell, stands_out)) in row.iter().enumerate() {
                write_cell(cell, if *stands_out { VERMILLION } else { INK }, (k + 1, c))?;
            }
        }
        for (k, line) in caption.iter().enumerate() {
            let below = px(TITLE + LINE * (lines + k as f64 + 0.5) + MARGIN);
            write(area, line, &style(INK), (px(MARGIN), below))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_out_is_in_colour() {
        let table = |stands_out| Table {
            title: "t".into(),
            caption: "words ".repeat(50),
            head: vec!["setting".into(), "paper".into()],
            rows: vec![vec![("a".into(), false), ("long ".repeat(80), stands_out)], vec![]],
        };
        let coloured = |table: &Table| {
            let figure = render(Path::new("x.png"), table).unwrap().pixels();
            figure.pixels().any(|p| p.0 == [VERMILLION.0, VERMILLION.1, VERMILLION.2])
        };
        assert!(coloured(&table(true)) && !coloured(&table(false)));
        render(Path::new("x.png"), &Table { head: vec![], rows: vec![], ..table(false) }).unwrap();
    }

    #[test]
    fn columns_of_numbers_end_at_the_right() {
        let rows = [["T-shirt", "1,000", "", "n/a"], ["bag", "7", "93.10 %", ""], ["9", "−0.5", "", ""]];
        let cells = |row: [&str; 4]| row.map(|cell| (cell.to_owned(), false)).to_vec();
        let table = Table {
            title: "t".into(),
            caption: String::new(),
            head: vec![String::new(); 4],
            rows: rows.map(cells).to_vec(),
        };
        let numeric: Vec<bool> = (0..5).map(|c| is_numeric(&table, c)).collect();
        assert_eq!(numeric, [false, true, true, false, false]);
        let svg = render(Path::new("x.svg"), &table).unwrap().svg();
        assert_eq!(svg.matches("text-anchor=\"end\"").count(), 4, "{svg}");
    }
}
