//! Matrix products as dispatches: which variant, how many parts.

use super::adapter::Tier;
use super::params::{GemmParams, SumParams};
use super::recording::{Recorder, Work};
use super::region::Region;
use super::shaders as k;
use super::sparse::groups;

/// Most bytes that the parts of a product may take.
const PARTS_BYTES: u64 = 8 << 20;
/// Least depth of a part; adding up shallower parts costs more than it gains.
const LEAST_DEPTH: u32 = 256;

/// Which operand stands transposed in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// a (rows, depth), b (depth, cols).
    Plain,
    /// a (depth, rows), b (depth, cols).
    LeftTransposed,
    /// a (rows, depth), b (cols, depth).
    RightTransposed,
}

/// A product out [rows, cols] = a [rows, depth] b [depth, cols] of matrices whose rows are whole vec4s.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    pub layout: Layout,
    pub rows: usize,
    pub cols: usize,
    pub depth: usize,
}

/// The buffers of a product.
#[derive(Clone, Copy)]
pub struct Matrices<'a> {
    pub a: &'a Region,
    pub b: &'a Region,
    pub out: &'a Region,
    /// Scratch for the parts, before they are added.
    pub parts: &'a Region,
    /// Whether the product is added to what `out` holds.
    pub accumulate: bool,
}

impl Product {
    /// Parts that the depth is cut into, to occupy the device: only for weight gradients, whose depth is batch times time;
    /// other products have enough rows.
    pub fn parts(&self, tier: Tier) -> u32 {
        if self.layout != Layout::LeftTransposed {
            return 1;
        }
        let tiles = |n: usize| self.rows.div_ceil(n) * self.cols.div_ceil(n);
        let (tiles, wanted) = match tier {
            // Lanes of a few threads.
            Tier::Software => (tiles(16), 256),
            // Workgroups of some hundred cores.
            Tier::Hardware => (tiles(64), 512),
        };
        let fit = PARTS_BYTES / self.out_bytes().max(1);
        let most = (self.depth as u32 / LEAST_DEPTH).min(fit.min(64) as u32).max(1);
        (wanted / tiles.max(1) as u32).clamp(1, most)
    }

    /// Bytes of the parts, 0 if the product is written directly.
    pub fn parts_bytes(&self, tier: Tier) -> u64 {
        match self.parts(tier) {
            1 => 0,
            parts => u64::from(parts) * self.out_bytes(),
        }
    }

    /// Bytes of the parts of a product that accumulates, over this depth or a smaller one.
    pub fn scratch_bytes(&self, tier: Tier) -> u64 {
        self.parts_bytes(tier).max(self.out_bytes())
    }

    fn out_bytes(&self) -> u64 {
        16 * self.rows as u64 * self.cols.div_ceil(4) as u64
    }

    /// Appends the product.
    pub fn record<'a>(&self, r: &mut Recorder<'a>, label: &str, tier: Tier, matrices: Matrices<'a>) {
        let Matrices { a, b, out, parts: parts_buffer, accumulate } = matrices;
        let quads = |n: usize| n.div_ceil(4) as u32;
        let (rows, cols, depth) = (self.rows as u32, self.cols as u32, self.depth as u32);
        let part_depth = depth.div_ceil(self.parts(tier)).next_multiple_of(16);
        let parts = depth.div_ceil(part_depth);
        let (a_quads, b_quads) = match self.layout {
            Layout::Plain => (quads(self.depth), quads(self.cols)),
            Layout::LeftTransposed => (quads(self.rows), quads(self.cols)),
            Layout::RightTransposed => (quads(self.depth), quads(self.depth)),
        };
        let p = GemmParams { rows, cols, depth, a_quads, b_quads, out_quads: quads(self.cols), part_depth };
        let variant: &[&'static str] = match (tier, self.layout) {
            (Tier::Software, Layout::Plain) => &[],
            (Tier::Software, Layout::LeftTransposed) => &["A_TRANSPOSED"],
            (Tier::Software, Layout::RightTransposed) => &["B_TRANSPOSED"],
            (Tier::Hardware, Layout::Plain) => &["COOPERATIVE"],
            (Tier::Hardware, Layout::LeftTransposed) => &["COOPERATIVE", "A_TRANSPOSED"],
            (Tier::Hardware, Layout::RightTransposed) => &["COOPERATIVE", "B_TRANSPOSED"],
        };
        let tiles = |n: usize| self.rows.div_ceil(n) as u64 * self.cols.div_ceil(n) as u64 * u64::from(parts);
        let work = match tier {
            Tier::Software => tiles(16).div_ceil(16),
            Tier::Hardware => tiles(64),
        };
        let at_once = parts == 1 && !accumulate;
        let target = if at_once { out } else { parts_buffer };
        let bindings = [("a", a), ("b", b), ("out", target)];
        r.add(format!("gemm_{label}"), k::GEMM.with(variant), p, &bindings, Work::Groups(work));
        if !at_once {
            let quads = rows * quads(self.cols);
            let p = SumParams { quads, parts, accumulate: u32::from(accumulate) };
            let bindings = [("parts", parts_buffer), ("out", out)];
            r.add(format!("gemm_sum_{label}"), k::GEMM_SUM, p, &bindings, groups(quads as usize));
        }
    }
}
