//! Variants of the sparse kernels: the same sums in the same order, divided among lanes in different ways.

use super::adapter::Tier;
pub use crate::engine::{VARIANTS, Variant};

impl Variant {
    /// The default of a tier.
    pub fn usual(tier: Tier) -> Variant {
        match tier {
            Tier::Software => Variant::Plain,
            Tier::Hardware => Variant::Cooperative,
        }
    }

    /// Fewest counts per lane of a scan: barriers are expensive on software adapters, so these use fewer workgroups.
    pub(super) fn scan_per_lane(self) -> u64 {
        match self {
            Variant::Plain => 16,
            _ => 1,
        }
    }

    /// Names that `lif_forward` is compiled with, and quads per lane: two need more workgroup memory than a `narrow` device
    /// has.
    pub(super) fn lif_forward(self, recording: bool, narrow: bool) -> (&'static [&'static str], usize) {
        match (self, recording, narrow) {
            (Variant::Plain, false, false) => (&["WIDE"], 2),
            (Variant::Plain, true, false) => (&["WIDE", "RECORD"], 2),
            (Variant::Plain, false, true) => (&[], 1),
            (Variant::Plain, true, true) => (&["RECORD"], 1),
            (_, false, _) => (&["AHEAD"], 1),
            (_, true, _) => (&["AHEAD", "RECORD"], 1),
        }
    }

    /// The same for a convolution.
    pub(super) fn lif_forward_conv(self, recording: bool, narrow: bool) -> (&'static [&'static str], usize) {
        match (self, recording, narrow) {
            (Variant::Plain, false, false) => (&["WIDE", "CONV"], 2),
            (Variant::Plain, true, false) => (&["WIDE", "CONV", "RECORD"], 2),
            (Variant::Plain, false, true) => (&["CONV"], 1),
            (Variant::Plain, true, true) => (&["CONV", "RECORD"], 1),
            (_, false, _) => (&["AHEAD", "CONV"], 1),
            (_, true, _) => (&["AHEAD", "CONV", "RECORD"], 1),
        }
    }

    /// Whether `compact` writes the lists as well, instead of one kernel per list.
    pub(super) fn places_while_scanning(self) -> bool {
        self != Variant::Plain
    }

    /// Names that `readout` is compiled with.
    pub(super) fn readout(self, recording: bool) -> &'static [&'static str] {
        match (self, recording) {
            (Variant::Plain, false) => &[],
            (Variant::Plain, true) => &["RECORD"],
            (_, false) => &["AHEAD"],
            (_, true) => &["AHEAD", "RECORD"],
        }
    }

    /// Names that `weight_gradient` is compiled with, and quads per lane.
    pub(super) fn weight_gradient(self, adam: bool) -> (&'static [&'static str], usize) {
        match (self, adam) {
            (Variant::Plain, false) => (&["WIDE"], 2),
            (Variant::Plain, true) => (&["WIDE", "ADAM"], 2),
            (_, false) => (&["AHEAD"], 1),
            (_, true) => (&["AHEAD", "ADAM"], 1),
        }
    }

    /// Names that `spike_gradient` is compiled with, and about how many entries a workgroup takes at once.
    pub(super) fn spike_gradient(self) -> (&'static [&'static str], u64) {
        match self {
            Variant::Plain => (&[], 64),
            Variant::Cooperative | Variant::Lockstep => (&["COOPERATIVE"], 8),
        }
    }
}
