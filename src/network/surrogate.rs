//! Surrogate gradients, which replace the derivative of a spike with respect to the membrane potential.
//!
//! All are symmetric around the threshold, and masked: exactly 0 unless |V - V_th| < B_th. The mask makes the backward
//! pass sparse. `shaders/shared/surrogate.wgsl` implements the same functions.

use serde::{Deserialize, Serialize};
use std::f32::consts::{FRAC_PI_2, TAU};

/// Shape of the surrogate gradient as a function of x = V - V_th and the slope β.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surrogate {
    /// 1 / (β |x| + 1)²: the derivative of the fast sigmoid, as in the paper.
    #[default]
    FastSigmoid,
    /// β σ(βx) (1 - σ(βx)).
    Sigmoid,
    /// β / (2 (1 + (π β x / 2)²)).
    Arctan,
    /// β max(0, 1 - β |x|).
    Triangular,
    /// β / 2 where |x| < 1/β, else 0.
    Rectangular,
    /// β / √(2π) exp(-(β x)² / 2).
    Gaussian,
}

impl Surrogate {
    /// All shapes, ordered by their numbers in shaders.
    pub const ALL: [Surrogate; 6] = [
        Surrogate::FastSigmoid,
        Surrogate::Sigmoid,
        Surrogate::Arctan,
        Surrogate::Triangular,
        Surrogate::Rectangular,
        Surrogate::Gaussian,
    ];

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Surrogate::FastSigmoid => "fast_sigmoid",
            Surrogate::Sigmoid => "sigmoid",
            Surrogate::Arctan => "arctan",
            Surrogate::Triangular => "triangular",
            Surrogate::Rectangular => "rectangular",
            Surrogate::Gaussian => "gaussian",
        }
    }

    /// The surrogate gradient at `distance` = |V - V_th|, which must be below [`reach`](Self::reach).
    #[inline(always)]
    pub fn gradient(self, beta: f32, distance: f32) -> f32 {
        let x = beta * distance;
        match self {
            Surrogate::FastSigmoid => 1.0 / ((x + 1.0) * (x + 1.0)),
            // σ (1 - σ) without subtracting nearly equal numbers.
            Surrogate::Sigmoid => {
                let z = (-x).exp();
                beta * z / ((1.0 + z) * (1.0 + z))
            }
            Surrogate::Arctan => {
                let y = FRAC_PI_2 * x;
                0.5 * beta / (1.0 + y * y)
            }
            Surrogate::Triangular => beta * (1.0 - x).max(0.0),
            Surrogate::Rectangular => 0.5 * beta,
            Surrogate::Gaussian => beta / TAU.sqrt() * (-0.5 * x * x).exp(),
        }
    }

    /// The distance from the threshold at and beyond which the shape is 0; infinite for most shapes.
    pub fn reach(self, beta: f64) -> f64 {
        match self {
            Surrogate::Triangular | Surrogate::Rectangular => 1.0 / beta,
            _ => f64::INFINITY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_its_formula() {
        let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
        for beta in [0.5, 4.0, 100.0f64] {
            for x in [0.0, 1e-3, 0.005, 0.09, 0.4f64] {
                let expected = [
                    (beta * x + 1.0).powi(-2),
                    beta * sigma(beta * x) * (1.0 - sigma(beta * x)),
                    beta / (2.0 * (1.0 + (std::f64::consts::PI * beta * x / 2.0).powi(2))),
                    beta * (1.0 - beta * x).max(0.0),
                    beta / 2.0,
                    beta / std::f64::consts::TAU.sqrt() * (-(beta * x).powi(2) / 2.0).exp(),
                ];
                for (surrogate, expected) in Surrogate::ALL.into_iter().zip(expected) {
                    let got = f64::from(surrogate.gradient(beta as f32, x as f32));
                    assert!(
                        (got - expected).abs() <= 1e-5 * expected + 1e-12,
                        "{surrogate:?} {beta} {x}: {got}, {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn names_are_those_of_files() {
        for surrogate in Surrogate::ALL {
            assert_eq!(serde_json::to_value(surrogate).unwrap(), surrogate.name());
        }
    }

    #[test]
    fn shapes_that_end_have_a_reach() {
        assert_eq!(Surrogate::ALL.map(|surrogate| surrogate.reach(4.0)).iter().filter(|r| r.is_finite()).count(), 2);
        assert_eq!(Surrogate::Triangular.reach(4.0), 0.25);
    }
}
