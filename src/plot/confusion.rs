//! Confusion matrices: square cells of one size, shaded by their share of the row.

use super::{
    Area, Drawn, FRAME, Format, GRID, INK, MUTED, Picture, class_label, draw, draw_title, fit, grouped, px, save, text,
    width, wrap, write,
};
use crate::error::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use std::path::Path;

const TITLE: f64 = 84.0;
const MARGIN: f64 = 30.0;
const TEXT: f64 = 22.0;
const LINE: f64 = 34.0;
/// Space between the cells and what is written beside them.
const GAP: f64 = 10.0;
/// Maximum length of a class name, in figure pixels.
const NAME: f64 = 220.0;
/// Side of the cells of a matrix of one class. Sides decrease with the root of the number of classes.
const SIDE: f64 = 240.0;
/// Maximum width of all columns.
const COLUMNS: f64 = 2000.0;
/// Minimum width of the figure.
const LEAST_WIDTH: f64 = 900.0;
/// Minimum size of the numbers in the cells. Where they would have to be smaller, there are none.
const LEAST_NUMBER: f64 = 11.0;
/// Sides below which cells have no lines between them.
const LEAST_RULED: f64 = 12.0;
/// Least distance of two names. Where cells are smaller, only each second, third, ... class is named.
const LEAST_PITCH: f64 = 16.0;
/// Width and height of the scale of shades.
const SCALE_BAR: (f64, f64) = (320.0, 18.0);
const SCALE_STEPS: usize = 160;

/// The shade of a share of 1. That of 0 is white.
const DARK: RGBColor = RGBColor(0x00, 0x4c, 0x85);
/// Depth of shade from which numbers are white.
const DEEP: f64 = 0.67;

/// Contents of a confusion matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfusionMatrix {
    /// Title of the figure.
    pub title: String,
    /// Caption below the matrix, after the explanation of rows, columns and frames; wrapped.
    pub caption: String,
    /// Number of samples: `[label][predicted class]`. Missing entries are 0.
    pub counts: Vec<Vec<u64>>,
    /// Names of the classes; empty if they have none.
    pub class_names: Vec<String>,
}

impl ConfusionMatrix {
    fn classes(&self) -> usize {
        self.counts.len()
    }

    fn count(&self, label: usize, class: usize) -> u64 {
        self.counts[label].get(class).copied().unwrap_or(0)
    }

    fn samples(&self, label: usize) -> u64 {
        (0..self.classes()).map(|class| self.count(label, class)).sum()
    }

    fn accuracy(&self, label: usize) -> String {
        match self.samples(label) {
            0 => "n/a".into(),
            samples => format!("{:.1} %", 100.0 * self.count(label, label) as f64 / samples as f64),
        }
    }

    fn name(&self, format: Format, class: usize) -> String {
        match self.class_names.is_empty() {
            true => class.to_string(),
            false => class_label(format, class, self.class_names.get(class).map(String::as_str)),
        }
    }
}

/// Draws a confusion matrix into a PNG or SVG file, at most about 2400 pixels wide, whatever the number of classes. Each cell
/// is shaded by its share of its row's samples and has their number, unless the cells are too small for numbers.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if `path` cannot be written; [`Error::Config`](crate::Error::Config) if it ends in neither
/// .png nor .svg.
pub fn save_confusion(path: impl AsRef<Path>, matrix: &ConfusionMatrix) -> Result<()> {
    save(path.as_ref(), &render(path.as_ref(), matrix)?)
}

/// How deep the shade of a share is, 0 to 1: the root, so that rare mistakes show.
fn depth(share: f64) -> f64 {
    share.clamp(0.0, 1.0).sqrt()
}

fn shade(share: f64) -> RGBColor {
    let mix = |to: u8| (255.0 + (f64::from(to) - 255.0) * depth(share)).round() as u8;
    RGBColor(mix(DARK.0), mix(DARK.1), mix(DARK.2))
}

/// Where things are. Lengths are in figure pixels.
struct Layout {
    /// Side of a cell.
    side: f64,
    /// Names of the classes in rows and columns, as long as there is room.
    names: Vec<String>,
    /// Size of the names.
    text: f64,
    /// Each how many-th class is named.
    every: usize,
    /// Whether the names of the columns are turned.
    turned: bool,
    /// Size of the numbers in the cells, if there is room for them.
    number: Option<f64>,
    /// The upper left corner of the cells.
    corner: (f64, f64),
    /// Width of the figure.
    width: f64,
    /// The lines of the caption.
    caption: Vec<String>,
}

impl Layout {
    /// Measures the words of `matrix`.
    fn of(area: &Area, matrix: &ConfusionMatrix, format: Format) -> Drawn<Self> {
        let classes = matrix.classes().max(1) as f64;
        let side = (SIDE / classes.sqrt()).min(COLUMNS / classes);
        let size = (0.55 * side).clamp(LEAST_PITCH - 3.0, TEXT);
        let style = text(size, INK, HPos::Left, VPos::Center);
        let name = |class| fit(area, &matrix.name(format, class), &style, px(NAME));
        let names: Vec<String> = (0..matrix.classes()).map(name).collect::<Drawn<_>>()?;
        let longest = longest(area, &names, &style)?;
        let turned = longest > side - 8.0;
        let above = if turned { longest + GAP } else { LINE };
        let corner = (MARGIN + longest.max(extent(area, LABEL, TEXT)?) + GAP, TITLE + LINE + above);
        let right = side * classes + GAP + extent(area, ACCURACY, TEXT)? + MARGIN;
        let width = (corner.0 + right).max(LEAST_WIDTH).ceil();
        let number = number_size(area, matrix, side)?;
        let words = format!(
            "Rows: labels. Columns: predicted classes. Framed: correct predictions. {}{}",
            if number.is_none() { "The cells are too small for numbers, which eval --json prints. " } else { "" },
            matrix.caption
        );
        let caption = wrap(area, &words, &text(TEXT, INK, HPos::Left, VPos::Center), px(width - 2.0 * MARGIN))?;
        let every = (LEAST_PITCH / side).ceil().max(1.0) as usize;
        Ok(Layout { side, names, text: size, every, turned, number, corner, width, caption })
    }

    /// The bottom of the cells.
    fn bottom(&self) -> f64 {
        self.corner.1 + self.side * self.names.len() as f64
    }

    fn height(&self) -> f64 {
        (self.bottom() + 3.6 * LINE + LINE * self.caption.len() as f64 + MARGIN).ceil()
    }

    /// The canvas point of a corner between cells: after so many columns and rows.
    fn at(&self, column: f64, row: f64) -> (i32, i32) {
        (px(self.corner.0 + self.side * column), px(self.corner.1 + self.side * row))
    }
}

const LABEL: &str = "label";
const PREDICTED: &str = "predicted class";
const ACCURACY: &str = "accuracy";

/// Width of `words` in figure pixels.
fn extent(area: &Area, words: &str, size: f64) -> Drawn<f64> {
    let style = text(size, INK, HPos::Left, VPos::Center);
    Ok(f64::from(width(area, words, &style)?) / f64::from(px(1.0)))
}

fn longest(area: &Area, words: &[String], style: &TextStyle) -> Drawn<f64> {
    let mut most = 0;
    for word in words {
        most = most.max(width(area, word, style)?);
    }
    Ok(f64::from(most) / f64::from(px(1.0)))
}

/// The largest size in which each number fits its cell; `None` if that cannot be read.
fn number_size(area: &Area, matrix: &ConfusionMatrix, side: f64) -> Drawn<Option<f64>> {
    // The digits of the font have one width.
    let largest = grouped(&matrix.counts.iter().flatten().max().map_or(String::new(), u64::to_string));
    let most = (0.36 * side).min(TEXT + 2.0);
    let mut size = most.max(LEAST_NUMBER);
    while size >= LEAST_NUMBER {
        if size <= 0.7 * side && extent(area, &largest, size)? <= side - 4.0 {
            return Ok(Some(size));
        }
        size -= 0.5;
    }
    Ok(None)
}

fn render(path: &Path, matrix: &ConfusionMatrix) -> Result<Picture> {
    let format = Format::of(path)?;
    let mut layout = None;
    draw(path, 8, 8, |area| {
        layout = Some(Layout::of(area, matrix, format)?);
        Ok(())
    })?;
    let size = layout.as_ref().map_or((8, 8), |layout| (layout.width as u32, layout.height() as u32));
    draw(path, size.0, size.1, |area| {
        let Some(layout) = &layout else { return Ok(()) };
        draw_title(area, &matrix.title, MARGIN, TITLE)?;
        draw_cells(area, matrix, layout)?;
        draw_names(area, layout)?;
        draw_accuracies(area, matrix, layout)?;
        draw_scale(area, layout)?;
        let style = text(TEXT, INK, HPos::Left, VPos::Center);
        for (k, line) in layout.caption.iter().enumerate() {
            let below = layout.bottom() + 3.6 * LINE + LINE * (k as f64 + 0.5);
            write(area, line, &style, (px(MARGIN), px(below)))?;
        }
        Ok(())
    })
}

fn draw_cells(area: &Area, matrix: &ConfusionMatrix, layout: &Layout) -> Drawn {
    let n = matrix.classes();
    let end = n as f64;
    let ruled = layout.side >= LEAST_RULED;
    // Without lines between them, cells are wider by a unit of the canvas, so that no seams show.
    let wider = i32::from(!ruled);
    for label in 0..n {
        let samples = matrix.samples(label).max(1) as f64;
        for class in (0..n).filter(|&class| matrix.count(label, class) > 0) {
            let (column, row) = (class as f64, label as f64);
            let share = matrix.count(label, class) as f64 / samples;
            let (right, bottom) = layout.at(column + 1.0, row + 1.0);
            let corners = [layout.at(column, row), (right + wider, bottom + wider)];
            area.draw(&Rectangle::new(corners, shade(share).filled()))?;
            if let Some(size) = layout.number {
                let colour = if depth(share) > DEEP { WHITE } else { INK };
                let style = text(size, colour, HPos::Center, VPos::Center);
                let number = grouped(&matrix.count(label, class).to_string());
                write(area, &number, &style, layout.at(column + 0.5, row + 0.5))?;
            }
        }
    }
    let line = px(1.0) as u32;
    if ruled {
        for k in 1..n {
            for ends in [
                [layout.at(k as f64, 0.0), layout.at(k as f64, end)],
                [layout.at(0.0, k as f64), layout.at(end, k as f64)],
            ] {
                area.draw(&PathElement::new(ends, GRID.stroke_width(line)))?;
            }
        }
        for k in 0..n {
            let corners = [layout.at(k as f64, k as f64), layout.at(k as f64 + 1.0, k as f64 + 1.0)];
            area.draw(&Rectangle::new(corners, INK.stroke_width(line)))?;
        }
    }
    Ok(area.draw(&Rectangle::new([layout.at(0.0, 0.0), layout.at(end, end)], FRAME.stroke_width(line)))?)
}

/// Draws the names of the classes at the rows and above the columns.
fn draw_names(area: &Area, layout: &Layout) -> Drawn {
    let (gap, half_line) = (px(GAP), px(0.5 * LINE));
    let (left, top) = layout.at(0.0, 0.0);
    for (k, name) in layout.names.iter().enumerate().step_by(layout.every) {
        let style = text(layout.text, INK, HPos::Right, VPos::Center);
        write(area, name, &style, (left - gap, layout.at(0.0, k as f64 + 0.5).1))?;
        let x = layout.at(k as f64 + 0.5, 0.0).0;
        match layout.turned {
            true => {
                let style = text(layout.text, INK, HPos::Left, VPos::Center).transform(FontTransform::Rotate270);
                write(area, name, &style, (x, top - gap))?;
            }
            false => write(area, name, &text(layout.text, INK, HPos::Center, VPos::Center), (x, top - half_line))?,
        }
    }
    let style = |h| text(TEXT, MUTED, h, VPos::Center);
    write(area, PREDICTED, &style(HPos::Left), (left, px(TITLE + 0.5 * LINE)))?;
    write(area, LABEL, &style(HPos::Right), (left - gap, top - half_line))
}

fn draw_accuracies(area: &Area, matrix: &ConfusionMatrix, layout: &Layout) -> Drawn {
    let (edge, top) = layout.at(matrix.classes() as f64, 0.0);
    let right = edge + px(GAP) + px(extent(area, ACCURACY, TEXT)?);
    let style = |size, colour| text(size, colour, HPos::Right, VPos::Center);
    write(area, ACCURACY, &style(TEXT, MUTED), (right, top - px(0.5 * LINE)))?;
    for label in (0..matrix.classes()).step_by(layout.every) {
        let middle = layout.at(0.0, label as f64 + 0.5).1;
        write(area, &matrix.accuracy(label), &style(layout.text, INK), (right, middle))?;
    }
    Ok(())
}

/// Draws which shade is which share.
fn draw_scale(area: &Area, layout: &Layout) -> Drawn {
    let (long, high) = SCALE_BAR;
    let top = layout.bottom() + LINE;
    let middle = px(top + 0.5 * high);
    let style = |h| text(TEXT - 2.0, MUTED, h, VPos::Center);
    let words = "share of the row's samples";
    write(area, words, &style(HPos::Left), (px(MARGIN), middle))?;
    let left = MARGIN + extent(area, words, TEXT - 2.0)? + 2.0 * GAP;
    let at = |share: f64| px(left + long * share);
    for k in 0..SCALE_STEPS {
        let part = |k: usize| k as f64 / SCALE_STEPS as f64;
        let corners = [(at(part(k)), px(top)), (at(part(k + 1)) + 1, px(top + high))];
        area.draw(&Rectangle::new(corners, shade((k as f64 + 0.5) / SCALE_STEPS as f64).filled()))?;
    }
    let corners = [(at(0.0), px(top)), (at(1.0), px(top + high))];
    area.draw(&Rectangle::new(corners, FRAME.stroke_width(px(1.0) as u32)))?;
    for percent in [0, 25, 50, 75, 100] {
        let below = px(top + high + 0.5 * LINE);
        write(area, &format!("{percent} %"), &style(HPos::Center), (at(f64::from(percent) / 100.0), below))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every label is predicted right `right` times, and once as the next class.
    fn matrix(classes: usize, right: u64, name: impl Fn(usize) -> String) -> ConfusionMatrix {
        let row = |label: usize| {
            let mut row = vec![0; classes];
            row[label] = right;
            row[(label + 1) % classes] += 1;
            row
        };
        ConfusionMatrix {
            title: "Something, 1,000 test samples".into(),
            caption: "best.safetensors of epoch 7.".into(),
            counts: (0..classes).map(row).collect(),
            class_names: (0..classes).map(name).filter(|name| !name.is_empty()).collect(),
        }
    }

    fn svg(matrix: &ConfusionMatrix) -> String {
        render(Path::new("confusion.svg"), matrix).unwrap().svg()
    }

    fn size(svg: &str) -> (u32, u32) {
        let of =
            |key: &str| svg.split_once(&format!("{key}=\"")).unwrap().1.split_once('"').unwrap().0.parse().unwrap();
        (of("width"), of("height"))
    }

    #[test]
    fn the_size_is_bounded_whatever_classes_there_are_and_are_called() {
        for classes in [1, 2, 10, 35, 47, 100, 101, 700] {
            for name in ["", "a", &"long ".repeat(60), "two\nlines"] {
                let (width, height) = size(&svg(&matrix(classes, 40, |_| name.into())));
                assert!((900..=2450).contains(&width) && height <= 2700, "{classes} {name:?}: {width} x {height}");
            }
        }
        render(Path::new("x.png"), &matrix(2, 40, |_| "a".into())).unwrap();
        let none = ConfusionMatrix { counts: Vec::new(), ..matrix(2, 40, |_| "a".into()) };
        render(Path::new("x.svg"), &none).unwrap();
    }

    #[test]
    fn numbers_are_in_all_cells_or_none() {
        let numbers = |classes, right: u64| {
            let svg = svg(&matrix(classes, right, |_| String::new()));
            let said = svg.contains("too small for numbers");
            let shown = svg.lines().filter(|line| *line == grouped(&right.to_string())).count();
            assert_eq!(said, shown == 0, "{classes}, {right}");
            shown
        };
        assert_eq!((numbers(2, 777_777), numbers(10, 7_777), numbers(35, 777), numbers(47, 777)), (2, 10, 35, 47));
        assert_eq!((numbers(100, 777), numbers(700, 7_777)), (0, 0));
    }

    #[test]
    fn cells_are_square_and_shaded_by_their_share_of_the_row() {
        let svg = svg(&matrix(4, 3, |_| String::new()));
        let filled = |share| {
            let RGBColor(r, g, b) = shade(share);
            let fill = format!("fill=\"#{r:02X}{g:02X}{b:02X}\"");
            svg.lines()
                .filter(|line| {
                    line.starts_with("<rect") && line.contains(&fill) && line.contains("width=\"240\" height=\"240\"")
                })
                .count()
        };
        assert_eq!((filled(0.75), filled(0.25), filled(0.5)), (4, 4, 0), "{svg}");
        assert_eq!(shade(0.0), WHITE);
        assert_eq!(shade(1.0), DARK);
    }

    #[test]
    fn names_that_are_wider_than_cells_are_turned_and_shortened() {
        let turned = |classes, name: &str| {
            let svg = svg(&matrix(classes, 3, |_| name.into()));
            assert_eq!(svg.matches('…').count() > 0, name.len() > 100, "{name}");
            svg.matches("rotate(270").count()
        };
        assert_eq!((turned(10, "bag"), turned(10, "ankle boot"), turned(35, &"long ".repeat(60))), (0, 10, 35));
        assert_eq!((turned(10, ""), turned(47, "")), (0, 0));
    }

    #[test]
    fn a_class_without_samples_has_no_accuracy() {
        let mut matrix = matrix(3, 3, |class| ["up", "down", "left"][class].into());
        matrix.counts[1] = vec![0; 3];
        let svg = svg(&matrix);
        assert_eq!((svg.matches("n/a").count(), svg.matches("75.0 %").count()), (1, 2), "{svg}");
    }
}
