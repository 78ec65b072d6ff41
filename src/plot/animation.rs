//! The rasters of a run one after another, as an animated GIF or PNG.
//!
//! All frames share one palette, which has the shades of the figures' colours, and a frame stores only the pixels that differ from
//! those of the frame before. Both keep the file small enough for a web page.

use super::raster::{Raster, pixels};
use super::{COLOURS, FAINT, FRAME, GRID, INK, MUTED, replace};
use crate::error::{Error, Result};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use image::{RgbImage, imageops};
use plotters::style::{RGBColor, WHITE};
use std::collections::HashMap;
use std::fmt::Display;
use std::io::{Read, Write};
use std::path::Path;

/// Maximum number of frames: epochs 0 to 100. Beyond, every other frame is dropped.
pub const MOST_FRAMES: usize = 101;
/// Room for [`MOST_FRAMES`] compressed rasters of usual size and the file with them, in bytes.
pub const ANIMATION_BYTES: u64 = 20 << 20;
/// Width of a raster in a file of its own / width of a frame.
const SHRINK: u32 = 2;
/// Time that all frames are shown for, in 1/100 s, within the limits below.
const LENGTH: usize = 1000;
/// Minimum and maximum time that a frame is shown for, in 1/100 s.
const DELAYS: (usize, usize) = (10, 70);
/// Time that the last frame is shown for, in 1/100 s.
const LAST_DELAY: u16 = 250;
/// The palette's index for pixels that are those of the frame before.
const SAME: u8 = 0;
/// The palette's index of white.
const BACKGROUND: u8 = 1;

/// The format of an animation's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnimationFormat {
    /// Shown everywhere.
    Gif,
    /// Smaller; programs that know no animated PNG show the first frame.
    Png,
}

impl AnimationFormat {
    /// All formats.
    pub const ALL: [AnimationFormat; 2] = [AnimationFormat::Gif, AnimationFormat::Png];

    /// The ending of the names of its files.
    pub fn ending(self) -> &'static str {
        match self {
            AnimationFormat::Gif => "gif",
            AnimationFormat::Png => "png",
        }
    }

    /// The format that the ending of `path` names.
    ///
    /// # Errors
    /// [`Error::Config`] for any other ending, or none.
    pub fn of(path: &Path) -> Result<Self> {
        let named = |format: &Self| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(format.ending()));
        AnimationFormat::ALL.into_iter().find(named).ok_or_else(|| {
            Error::Config(format!(
                "{}: animations are written as GIF or PNG; use a name that ends in .gif or .png",
                path.display()
            ))
        })
    }
}

/// An animation of rasters.
pub struct Animation {
    palette: Vec<[u8; 3]>,
    /// Index in the palette of each colour seen so far.
    indices: HashMap<[u8; 3], u8>,
    width: usize,
    frames: Vec<Frame>,
    /// Frames are kept if their number is a multiple of it.
    stride: u64,
}

struct Frame {
    number: u64,
    height: usize,
    /// Indices in the palette, compressed.
    packed: Vec<u8>,
}

/// The part of a frame that differs from the frame before.
struct Patch {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    /// Indices in the palette, row by row.
    pixels: Vec<u8>,
    /// How long the frame is shown, in 1/100 s.
    delay: u16,
}

impl Default for Animation {
    fn default() -> Self {
        Animation { palette: palette(), indices: HashMap::new(), width: 0, frames: Vec::new(), stride: 1 }
    }
}

impl Animation {
    /// Number of frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are no frames.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The number of the last frame.
    pub fn last(&self) -> Option<u64> {
        self.frames.last().map(|frame| frame.number)
    }

    /// Whether frame `number` is to be drawn: every one at first, and fewer as the animation gets longer.
    pub fn wants(&self, number: u64) -> bool {
        number.is_multiple_of(self.stride)
    }

    /// Adds a frame. Numbers must increase. If there are now more than [`MOST_FRAMES`], every other one between the first and
    /// the last is dropped.
    ///
    /// # Errors
    /// As [`super::save_raster`], without those of files; [`Error::Data`] if `raster` has another width than those before.
    pub fn push(&mut self, number: u64, raster: &Raster) -> Result<()> {
        self.add(number, &pixels(raster)?)
    }

    fn add(&mut self, number: u64, full: &RgbImage) -> Result<()> {
        let (width, height) = (full.width().div_ceil(SHRINK), full.height().div_ceil(SHRINK));
        if !self.is_empty() && width as usize != self.width {
            let was = self.width;
            return Err(Error::Data(format!("a frame of {width} pixels in a row after frames of {was}")));
        }
        let indexed = self.indexed(&imageops::thumbnail(full, width, height));
        let packed = pack(&indexed).map_err(broken)?;
        self.width = width as usize;
        // The last frame stays only as long as it is the last, unless it is wanted.
        self.thin(number);
        self.frames.push(Frame { number, height: height as usize, packed });
        if self.frames.len() > MOST_FRAMES {
            self.stride *= 2;
            self.thin(number);
        }
        Ok(())
    }

    /// Drops the frames that are not wanted, but not the first one and the `last`.
    fn thin(&mut self, last: u64) {
        let (first, stride) = (self.frames.first().map(|frame| frame.number), self.stride);
        self.frames.retain(|f| Some(f.number) == first || f.number == last || f.number.is_multiple_of(stride));
    }

    /// Writes the frames so far, atomically, in the format that `path` names. They are repeated for ever.
    ///
    /// # Errors
    /// [`Error::Io`] if `path` cannot be written; [`Error::Config`] if it ends in neither .gif nor .png, there are no frames, or
    /// they are too large for a GIF.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        replace(path, &self.encode(AnimationFormat::of(path)?)?)
    }

    /// The bytes of the file that [`save`](Self::save) writes.
    ///
    /// # Errors
    /// As [`save`](Self::save), without those of files.
    pub fn encode(&self, format: AnimationFormat) -> Result<Vec<u8>> {
        // The height depends on how many lines a frame's caption has.
        let height = self.frames.iter().map(|frame| frame.height).max();
        let height = height.ok_or_else(|| Error::Config("an animation without frames: add one first".into()))?;
        match format {
            AnimationFormat::Gif => self.gif(height),
            AnimationFormat::Png => self.png(height),
        }
    }

    fn gif(&self, height: usize) -> Result<Vec<u8>> {
        let (Ok(width), Ok(rows)) = (u16::try_from(self.width), u16::try_from(height)) else {
            return Err(Error::Config(format!(
                "frames of {} × {height} pixels: a GIF has at most {} in a row or column; use a name that ends in .png",
                self.width,
                u16::MAX
            )));
        };
        let mut bytes = Vec::new();
        let mut encoder = gif::Encoder::new(&mut bytes, width, rows, self.palette.as_flattened()).map_err(broken)?;
        encoder.set_repeat(gif::Repeat::Infinite).map_err(broken)?;
        for patch in self.patches(height) {
            let patch = patch?;
            let frame = gif::Frame {
                delay: patch.delay,
                dispose: gif::DisposalMethod::Keep,
                transparent: Some(SAME),
                left: patch.left as u16,
                top: patch.top as u16,
                width: patch.width as u16,
                height: patch.height as u16,
                buffer: patch.pixels.into(),
                ..gif::Frame::default()
            };
            encoder.write_frame(&frame).map_err(broken)?;
        }
        // Writes the end of the file.
        encoder.into_inner().map_err(broken)?;
        Ok(bytes)
    }

    fn png(&self, height: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, height as u32);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(self.palette.as_flattened());
        // Index 0, SAME, is transparent, and the others are not.
        encoder.set_trns(&[0][..]);
        encoder.set_compression(png::Compression::Balanced);
        // Neighbouring indices are not similar colours, so that no filter helps.
        encoder.set_filter(png::Filter::NoFilter);
        encoder.set_animated(self.frames.len() as u32, 0).map_err(broken)?;
        encoder.set_blend_op(png::BlendOp::Over).map_err(broken)?;
        encoder.validate_sequence(true);
        let mut writer = encoder.write_header().map_err(broken)?;
        for patch in self.patches(height) {
            let patch = patch?;
            writer.reset_frame_position().map_err(broken)?;
            writer.set_frame_dimension(patch.width as u32, patch.height as u32).map_err(broken)?;
            writer.set_frame_position(patch.left as u32, patch.top as u32).map_err(broken)?;
            writer.set_frame_delay(patch.delay, 100).map_err(broken)?;
            writer.write_image_data(&patch.pixels).map_err(broken)?;
        }
        writer.finish().map_err(broken)?;
        Ok(bytes)
    }

    /// The first frame, and what the others change.
    fn patches(&self, height: usize) -> impl Iterator<Item = Result<Patch>> + '_ {
        let mut before: Option<Vec<u8>> = None;
        let delay = (LENGTH / self.frames.len().max(1)).clamp(DELAYS.0, DELAYS.1) as u16;
        self.frames.iter().enumerate().map(move |(k, frame)| {
            let mut pixels = unpack(&frame.packed).map_err(broken)?;
            pixels.resize(self.width * height, BACKGROUND);
            let delay = if k + 1 == self.frames.len() { LAST_DELAY } else { delay };
            let patch = match before.take() {
                Some(before) => difference(&before, &pixels, self.width, delay),
                None => Patch { left: 0, top: 0, width: self.width, height, pixels: pixels.clone(), delay },
            };
            before = Some(pixels);
            Ok(patch)
        })
    }

    /// The most similar colours of the palette.
    fn indexed(&mut self, picture: &RgbImage) -> Vec<u8> {
        let palette = &self.palette;
        let index = |colour: [u8; 3]| nearest(palette, colour);
        picture.pixels().map(|pixel| *self.indices.entry(pixel.0).or_insert_with(|| index(pixel.0))).collect()
    }
}

/// [`SAME`], [`BACKGROUND`], the figures' colours in shades to white, which edges of dots, lines and letters have, and greys for
/// the input's image.
fn palette() -> Vec<[u8; 3]> {
    const GREYS: usize = 40;
    let white = [WHITE.0, WHITE.1, WHITE.2];
    let greys = [(INK, 24), (MUTED, 16), (FAINT, 8), (FRAME, 6), (GRID, 3)];
    let shades = greys.into_iter().chain(COLOURS.map(|colour| (colour, 20))).flat_map(|(colour, count)| {
        (0..count).map(move |k| {
            let RGBColor(r, g, b) = colour;
            [r, g, b].map(|c| (usize::from(c) + (255 - usize::from(c)) * k / count) as u8)
        })
    });
    let image = (0..GREYS).map(|k| [(255 * k / (GREYS - 1)) as u8; 3]);
    [white, white].into_iter().chain(shades).chain(image).collect()
}

/// The index of the most similar colour, other than [`SAME`].
fn nearest(palette: &[[u8; 3]], colour: [u8; 3]) -> u8 {
    let distance =
        |other: &[u8; 3]| -> i32 { other.iter().zip(colour).map(|(&a, b)| (i32::from(a) - i32::from(b)).pow(2)).sum() };
    let others = palette.iter().enumerate().skip(usize::from(BACKGROUND));
    others.min_by_key(|(_, other)| distance(other)).map_or(BACKGROUND, |(k, _)| k as u8)
}

/// The smallest rectangle with all pixels that differ; a single pixel if none does.
fn difference(before: &[u8], after: &[u8], width: usize, delay: u16) -> Patch {
    let (mut left, mut right, mut top, mut bottom) = (width, 0, usize::MAX, 0);
    for (y, (before, after)) in before.chunks(width).zip(after.chunks(width)).enumerate() {
        let differs = |&x: &usize| before[x] != after[x];
        let Some(first) = (0..width).find(differs) else { continue };
        let last = (first..width).rfind(differs).unwrap_or(first);
        (left, right) = (left.min(first), right.max(last + 1));
        (top, bottom) = (top.min(y), y + 1);
    }
    if bottom == 0 {
        return Patch { left: 0, top: 0, width: 1, height: 1, pixels: vec![SAME], delay };
    }
    let rows = (top..bottom).flat_map(|y| y * width + left..y * width + right);
    let pixels = rows.map(|at| if before[at] == after[at] { SAME } else { after[at] }).collect();
    Patch { left, top, width: right - left, height: bottom - top, pixels, delay }
}

fn pack(indices: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(indices)?;
    encoder.finish()
}

fn unpack(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut indices = Vec::new();
    ZlibDecoder::new(packed).read_to_end(&mut indices)?;
    Ok(indices)
}

fn broken(error: impl Display) -> Error {
    Error::Data(format!("the animation could not be encoded: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Logits;
    use crate::plot::{Decision, RasterImage, RasterPanel};
    use image::codecs::gif::GifDecoder;
    use image::codecs::png::PngDecoder;
    use image::{AnimationDecoder, RgbaImage};
    use std::io::Cursor;

    /// A raster with a spike at time `k`.
    fn raster(k: u64) -> Raster {
        let spikes = vec![(k as usize % 100, 3)];
        Raster {
            title: "An example".into(),
            time_steps: 100,
            dt_ms: 1.0,
            panels: vec![RasterPanel { name: "Input".into(), neurons: 10, spikes }],
            image: None,
            readout: vec![vec![0.0; 100], vec![0.5; 100]],
            decision: Decision::Potentials(Logits::Max),
            logits: vec![0.0, 0.5],
            class_names: None,
            label: 0,
            predicted: 1,
        }
    }

    fn animation(rasters: &[Raster]) -> Animation {
        let mut animation = Animation::default();
        (0..).zip(rasters).for_each(|(k, raster)| animation.push(k, raster).unwrap());
        animation
    }

    /// What a viewer shows, and for how long, in ms.
    fn shown(bytes: &[u8], format: AnimationFormat) -> Vec<(RgbaImage, u32)> {
        let frames = match format {
            AnimationFormat::Gif => GifDecoder::new(Cursor::new(bytes)).unwrap().into_frames(),
            AnimationFormat::Png => PngDecoder::new(Cursor::new(bytes)).unwrap().apng().unwrap().into_frames(),
        };
        let frames = frames.collect_frames().unwrap().into_iter();
        frames.map(|frame| (frame.buffer().clone(), frame.delay().numer_denom_ms().0)).collect()
    }

    /// What the file should show of `raster`.
    fn expected(raster: &Raster) -> RgbImage {
        let full = pixels(raster).unwrap();
        imageops::thumbnail(&full, full.width().div_ceil(SHRINK), full.height().div_ceil(SHRINK))
    }

    /// The largest difference of a channel.
    fn distance(shown: &RgbaImage, expected: &RgbImage) -> u8 {
        assert_eq!(shown.dimensions(), expected.dimensions());
        let pairs = shown.pixels().zip(expected.pixels());
        pairs.flat_map(|(a, b)| (0..3).map(|c| a.0[c].abs_diff(b.0[c]))).max().unwrap()
    }

    #[test]
    fn viewers_show_what_was_drawn() {
        let image = RasterImage { width: 4, pixels: (0..16).map(|k| k as f32 / 15.0).collect(), caption: "x".into() };
        // The second frame repeats the first one, the last has another outcome.
        let mut rasters = [0, 0, 30, 60].map(|k| Raster { image: Some(image.clone()), ..raster(k) });
        rasters[3].predicted = 0;
        let animation = animation(&rasters);
        for format in AnimationFormat::ALL {
            let frames = shown(&animation.encode(format).unwrap(), format);
            assert_eq!(frames.len(), 4, "{format:?}");
            for ((frame, _), raster) in frames.iter().zip(&rasters) {
                assert!(frame.pixels().all(|pixel| pixel.0[3] == 255), "{format:?}: transparent");
                let off = distance(frame, &expected(raster));
                assert!(off <= 32, "{format:?}: a colour is off by {off}");
            }
            let differ: Vec<bool> = frames.windows(2).map(|pair| pair[0].0 != pair[1].0).collect();
            assert_eq!(differ, [false, true, true], "{format:?}");
            let delays: Vec<u32> = frames.iter().map(|frame| frame.1).collect();
            assert_eq!(delays, [700, 700, 700, 2500], "{format:?}");
        }
    }

    #[test]
    fn it_is_repeated_for_ever() {
        let animation = animation(&[raster(0), raster(1)]);
        let gif = animation.encode(AnimationFormat::Gif).unwrap();
        let mut decoder = gif::Decoder::new(&gif[..]).unwrap();
        while decoder.read_next_frame().unwrap().is_some() {}
        assert_eq!(decoder.repeat(), gif::Repeat::Infinite);
        let png = animation.encode(AnimationFormat::Png).unwrap();
        let reader = png::Decoder::new(Cursor::new(png)).read_info().unwrap();
        let control = reader.info().animation_control.unwrap();
        assert_eq!((control.num_frames, control.num_plays), (2, 0));
    }

    #[test]
    fn a_frame_stores_only_what_changed() {
        let size = |n: u64| {
            let rasters: Vec<Raster> = (0..n).map(raster).collect();
            AnimationFormat::ALL.map(|format| animation(&rasters).encode(format).unwrap().len())
        };
        let (one, ten) = (size(1), size(10));
        assert!(ten[0] < 2 * one[0] && ten[1] < 2 * one[1], "{one:?} {ten:?}");
    }

    #[test]
    fn a_long_animation_is_thinned_and_keeps_its_ends() {
        let mut animation = Animation::default();
        let (first, last) = (3, 2000);
        // What a run does: it draws what is wanted, and the last one.
        let mut drawn = 0;
        for number in first..=last {
            if number == first || number == last || animation.wants(number) {
                animation.add(number, &RgbImage::new(8, 6)).unwrap();
                drawn += 1;
            }
            assert!(animation.len() <= MOST_FRAMES);
        }
        let numbers: Vec<u64> = animation.frames.iter().map(|frame| frame.number).collect();
        assert_eq!((numbers[0], animation.last()), (first, Some(last)));
        assert!(numbers.len() > MOST_FRAMES / 2 && numbers.is_sorted(), "{numbers:?}");
        let stride = animation.stride;
        assert!(numbers[1..numbers.len() - 1].windows(2).all(|pair| pair[1] - pair[0] == stride), "{numbers:?}");
        assert!(drawn < 400, "{drawn} of 2,000 were drawn");
        let gif = animation.encode(AnimationFormat::Gif).unwrap();
        let frames = shown(&gif, AnimationFormat::Gif);
        assert_eq!((frames.len(), frames[0].1), (numbers.len(), 10 * (LENGTH / numbers.len()) as u32));
    }

    #[test]
    fn a_frame_with_more_lines_makes_all_higher() {
        let mut tall = raster(1);
        tall.panels = vec![tall.panels[0].clone(); 12];
        let animation = animation(&[raster(0), tall.clone(), raster(0)]);
        let (low, high) = (expected(&raster(0)), expected(&tall));
        assert!(low.height() < high.height());
        for format in AnimationFormat::ALL {
            let frames = shown(&animation.encode(format).unwrap(), format);
            assert!(frames.iter().all(|(frame, _)| frame.dimensions() == high.dimensions()));
            // White where there is nothing.
            assert!(frames[2].0.rows().skip(low.height() as usize).flatten().all(|pixel| pixel.0 == [255; 4]));
            assert_eq!(frames[0].0, frames[2].0);
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let empty = Animation::default().encode(AnimationFormat::Gif).unwrap_err().to_string();
        assert!(empty.contains("without frames"), "{empty}");
        let mut wide = animation(&[raster(0)]);
        let image = RasterImage { width: 1, pixels: vec![0.5], caption: String::new() };
        let error = wide.push(1, &Raster { image: Some(image), ..raster(1) }).unwrap_err().to_string();
        assert!(error.contains("965 pixels") && error.contains("800") && wide.len() == 1, "{error}");
        wide.frames[0].height = 70_000;
        let error = wide.encode(AnimationFormat::Gif).unwrap_err().to_string();
        assert!(error.contains("800 × 70000") && error.contains(".png"), "{error}");

        let folder = tempfile::tempdir().unwrap();
        let animation = animation(&[raster(0)]);
        for (name, part) in [("a.svg", ".gif or .png"), ("no/a.gif", "a.gif")] {
            let error = animation.save(folder.path().join(name)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_palette_has_the_colours_of_the_figures() {
        let palette = palette();
        assert!(palette.len() <= 256, "{}", palette.len());
        for RGBColor(r, g, b) in [INK, MUTED, FAINT, FRAME, GRID, WHITE].into_iter().chain(COLOURS) {
            let index = nearest(&palette, [r, g, b]);
            assert!(palette[usize::from(index)] == [r, g, b] && index != SAME);
        }
        assert_eq!(nearest(&palette, [255; 3]), BACKGROUND);
    }

    #[test]
    fn the_smallest_rectangle_is_stored() {
        let before = [1; 12];
        let mut after = before;
        (after[5], after[10]) = (7, 8);
        let patch = difference(&before, &after, 4, 9);
        assert_eq!((patch.left, patch.top, patch.width, patch.height), (1, 1, 2, 2));
        assert_eq!(patch.pixels, [7, SAME, SAME, 8]);
        let none = difference(&before, &before, 4, 9);
        assert_eq!((none.left, none.top, none.width, none.height, none.pixels), (0, 0, 1, 1, vec![SAME]));
    }
}
