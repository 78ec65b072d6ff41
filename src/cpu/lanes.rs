//! Operations on [`LANES`] numbers at a time, written once per instruction set: what the compiler does not vectorise well
//! by itself.
//!
//! All instruction sets give the same bits: none uses fused multiply-adds, and sums have a fixed order. A function that is
//! compiled for several instruction sets chooses among the modules with `match_target!`.

use super::tiles::LANES;
use crate::network::CellConstants;

/// Rows of weights that are multiplied with one δ at a time: their sums do not wait for each other.
pub const ROWS: usize = 4;

/// The state of [`LANES`] neurons after a time step, before the drive of the next one is added.
#[derive(Debug, Clone, Copy)]
pub struct Advanced {
    /// Membrane potentials.
    pub v: [f32; LANES],
    /// A bit per neuron: it spikes.
    pub spiking: u16,
    /// A bit per neuron: it is active.
    pub active: u16,
}

/// Decay and reset of a time step: a spike subtracts `reset` after the decay, or with `TO_VALUE` sets V to `reset` before it.
#[derive(Debug, Clone, Copy)]
pub struct Decay<'a> {
    /// The constants of the cell.
    pub constants: &'a CellConstants,
    /// What a spike subtracts, or sets the potential to.
    pub reset: f32,
}

/// For processors with AVX-512.
#[cfg(target_arch = "x86_64")]
pub mod avx512 {
    use super::{Advanced, Decay, LANES, ROWS};
    use std::arch::x86_64::*;

    /// Decides which neurons spike and which are active, then applies reset and decay.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn advance<const TO_VALUE: bool>(v: &[f32; LANES], decay: Decay) -> Advanced {
        let (c, reset) = (decay.constants, decay.reset);
        let v: __m512 = bytemuck::cast(*v);
        let spiking = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(v, _mm512_set1_ps(c.v_th));
        let distance = _mm512_abs_ps(_mm512_sub_ps(v, _mm512_set1_ps(c.v_th)));
        let active = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(distance, _mm512_set1_ps(c.band));
        let v = if TO_VALUE { _mm512_mask_mov_ps(v, spiking, _mm512_set1_ps(reset)) } else { v };
        let mut next = _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(c.alpha), v), _mm512_set1_ps(c.leak));
        if !TO_VALUE {
            next = _mm512_mask_sub_ps(next, spiking, next, _mm512_set1_ps(reset));
        }
        Advanced { v: bytemuck::cast(next), spiking, active }
    }

    /// Adds the products of `W` weights and δ to the partial sum of each lane.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn add_products<const W: usize>(w: &[f32], delta: &[f32], sum: [f32; LANES]) -> [f32; LANES] {
        let mut sum: __m512 = bytemuck::cast(sum);
        for (&w, &delta) in w[..W].as_chunks::<LANES>().0.iter().zip(delta[..W].as_chunks::<LANES>().0) {
            sum = _mm512_add_ps(sum, _mm512_mul_ps(bytemuck::cast(w), bytemuck::cast(delta)));
        }
        bytemuck::cast(sum)
    }

    /// [`add_products`] for several rows of weights with one δ.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn add_products_of_rows<const W: usize>(
        w: [&[f32]; ROWS],
        delta: &[f32],
        sums: [[f32; LANES]; ROWS],
    ) -> [[f32; LANES]; ROWS] {
        let mut sums: [__m512; ROWS] = bytemuck::cast(sums);
        let w = [&w[0][..W], &w[1][..W], &w[2][..W], &w[3][..W]];
        for (k, &delta) in delta[..W].as_chunks::<LANES>().0.iter().enumerate() {
            for (sum, w) in sums.iter_mut().zip(&w) {
                let w = w.as_chunks::<LANES>().0[k];
                *sum = _mm512_add_ps(*sum, _mm512_mul_ps(bytemuck::cast(w), bytemuck::cast(delta)));
            }
        }
        bytemuck::cast(sums)
    }

    pub use super::avx2::total;
}

/// For processors with AVX2.
#[cfg(target_arch = "x86_64")]
pub mod avx2 {
    use super::{Advanced, Decay, LANES, ROWS};
    use std::arch::x86_64::*;

    /// Decides which neurons spike and which are active, then applies reset and decay.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn advance<const TO_VALUE: bool>(v: &[f32; LANES], decay: Decay) -> Advanced {
        let (c, reset) = (decay.constants, decay.reset);
        let halves: [__m256; 2] = bytemuck::cast(*v);
        let (mut spiking, mut active) = (0, 0);
        let mut next = [_mm256_setzero_ps(); 2];
        for (k, v) in halves.into_iter().enumerate() {
            let spikes = _mm256_cmp_ps::<_CMP_GT_OQ>(v, _mm256_set1_ps(c.v_th));
            let away = _mm256_sub_ps(v, _mm256_set1_ps(c.v_th));
            let distance = _mm256_andnot_ps(_mm256_set1_ps(-0.0), away);
            let near = _mm256_cmp_ps::<_CMP_LT_OQ>(distance, _mm256_set1_ps(c.band));
            let v = if TO_VALUE { _mm256_blendv_ps(v, _mm256_set1_ps(reset), spikes) } else { v };
            next[k] = _mm256_add_ps(_mm256_mul_ps(_mm256_set1_ps(c.alpha), v), _mm256_set1_ps(c.leak));
            if !TO_VALUE {
                next[k] = _mm256_sub_ps(next[k], _mm256_and_ps(spikes, _mm256_set1_ps(reset)));
            }
            spiking |= (_mm256_movemask_ps(spikes) as u16) << (8 * k);
            active |= (_mm256_movemask_ps(near) as u16) << (8 * k);
        }
        Advanced { v: bytemuck::cast(next), spiking, active }
    }

    /// Adds the products of `W` weights and δ to the partial sum of each lane.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn add_products<const W: usize>(w: &[f32], delta: &[f32], sum: [f32; LANES]) -> [f32; LANES] {
        let [mut low, mut high]: [__m256; 2] = bytemuck::cast(sum);
        for (&w, &delta) in w[..W].as_chunks::<LANES>().0.iter().zip(delta[..W].as_chunks::<LANES>().0) {
            let (w, delta): ([__m256; 2], [__m256; 2]) = (bytemuck::cast(w), bytemuck::cast(delta));
            low = _mm256_add_ps(low, _mm256_mul_ps(w[0], delta[0]));
            high = _mm256_add_ps(high, _mm256_mul_ps(w[1], delta[1]));
        }
        bytemuck::cast([low, high])
    }

    /// [`add_products`] for several rows of weights with one δ.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn add_products_of_rows<const W: usize>(
        w: [&[f32]; ROWS],
        delta: &[f32],
        sums: [[f32; LANES]; ROWS],
    ) -> [[f32; LANES]; ROWS] {
        let mut sums: [[__m256; 2]; ROWS] = bytemuck::cast(sums);
        let w = [&w[0][..W], &w[1][..W], &w[2][..W], &w[3][..W]];
        for (k, &delta) in delta[..W].as_chunks::<LANES>().0.iter().enumerate() {
            let delta: [__m256; 2] = bytemuck::cast(delta);
            for (sum, w) in sums.iter_mut().zip(&w) {
                let w: [__m256; 2] = bytemuck::cast(w.as_chunks::<LANES>().0[k]);
                sum[0] = _mm256_add_ps(sum[0], _mm256_mul_ps(w[0], delta[0]));
                sum[1] = _mm256_add_ps(sum[1], _mm256_mul_ps(w[1], delta[1]));
            }
        }
        bytemuck::cast(sums)
    }

    /// The sum over lanes: one half is added to the other until one lane is left.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn total(sum: [f32; LANES]) -> f32 {
        let halves: [__m256; 2] = bytemuck::cast(sum);
        let eight = _mm256_add_ps(halves[0], halves[1]);
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

/// For all other processors.
pub mod portable {
    use super::{Advanced, Decay, LANES, ROWS};

    /// Decides which neurons spike and which are active, then applies reset and decay.
    #[inline(always)]
    pub fn advance<const TO_VALUE: bool>(v: &[f32; LANES], decay: Decay) -> Advanced {
        let (c, reset) = (decay.constants, decay.reset);
        let mut next = Advanced { v: [0.0; LANES], spiking: 0, active: 0 };
        for l in 0..LANES {
            let spikes = v[l] > c.v_th;
            next.spiking |= u16::from(spikes) << l;
            next.active |= u16::from((v[l] - c.v_th).abs() < c.band) << l;
            let v = if TO_VALUE && spikes { reset } else { v[l] };
            next.v[l] = c.alpha * v + c.leak - if !TO_VALUE && spikes { reset } else { 0.0 };
        }
        next
    }

    /// Adds the products of `W` weights and δ to the partial sum of each lane.
    #[inline(always)]
    pub fn add_products<const W: usize>(w: &[f32], delta: &[f32], mut sum: [f32; LANES]) -> [f32; LANES] {
        for (w, delta) in w[..W].as_chunks::<LANES>().0.iter().zip(delta[..W].as_chunks::<LANES>().0) {
            for k in 0..LANES {
                sum[k] += w[k] * delta[k];
            }
        }
        sum
    }

    /// [`add_products`] for several rows of weights with one δ.
    #[inline(always)]
    pub fn add_products_of_rows<const W: usize>(
        w: [&[f32]; ROWS],
        delta: &[f32],
        sums: [[f32; LANES]; ROWS],
    ) -> [[f32; LANES]; ROWS] {
        std::array::from_fn(|n| add_products::<W>(w[n], delta, sums[n]))
    }

    /// The sum over lanes: one half is added to the other until one lane is left.
    #[inline(always)]
    pub fn total(mut sum: [f32; LANES]) -> f32 {
        let mut width = LANES;
        while width > 1 {
            width /= 2;
            for k in 0..width {
                sum[k] += sum[k + width];
            }
        }
        sum[0]
    }
}
