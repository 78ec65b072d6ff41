//! Steps that together use all kernels in all variants.
#![allow(dead_code)]

use crate::common::{biased, input_conv, network, other_cells, recurrent, stacked_convs, with_other_cells};
use spikegrad::engine::{LayerMethod, Method};
use spikegrad::gpu::{GpuOptions, Tier, VARIANTS};
use spikegrad::network::Network;

/// A way to record steps.
pub struct Case {
    pub name: &'static str,
    pub network: Network,
    pub method: Method,
    pub layers: Option<Vec<LayerMethod>>,
    pub options: GpuOptions,
}

/// Every kernel in every variant has a case that records it.
pub fn cases() -> Vec<Case> {
    use LayerMethod::{Dense as D, Sparse as S};
    let plain = network(30, &[40, 20], 5, 40);
    let roomy = GpuOptions {
        limits: Some("webgpu".parse().unwrap()),
        tier: Some(Tier::Software),
        // Lists that never overflow, on a device that computes as on one that does not.
        density_guess: Some(1.0),
        ..GpuOptions::default()
    };
    let case = |name, network: &Network, method, options: &GpuOptions| Case {
        name,
        network: network.clone(),
        method,
        layers: None,
        options: options.clone(),
    };
    let mut cases = Vec::new();
    for variant in VARIANTS {
        let options = GpuOptions { variant: Some(variant), ..roomy.clone() };
        let chunked = GpuOptions { delta_bytes: Some(41 * 40 * 4 * 2), ..options.clone() };
        let one_a_chunk = GpuOptions { delta_bytes: Some(1), ..options.clone() };
        let pieces = GpuOptions { max_binding: Some(64 * 40 * 10 * 2), ..options.clone() };
        let strips = GpuOptions { max_binding: Some(64 * 5 * 38), ..options.clone() };
        let narrow = GpuOptions { limits: Some("downlevel,lanes=64".parse().unwrap()), ..options.clone() };
        cases.push(case("whole", &plain, Method::Sparse, &options));
        cases.push(case("without hidden layers", &network(30, &[], 5, 40), Method::Sparse, &options));
        cases.push(case("in chunks", &plain, Method::Sparse, &chunked));
        cases.push(case("in pieces", &plain, Method::Sparse, &pieces));
        cases.push(case("in strips", &network(130, &[150, 120], 130, 5), Method::Sparse, &strips));
        cases.push(case("in small workgroups", &plain, Method::Sparse, &narrow));
        cases.push(case("other cells", &other_cells(40), Method::Sparse, &options));
        cases.push(case("other cells, one sample a chunk", &other_cells(40), Method::Sparse, &one_a_chunk));
        cases.push(case("other cells in small workgroups", &other_cells(40), Method::Sparse, &narrow));
        cases.push(case("biases", &biased(40), Method::Sparse, &options));
        cases.push(case("biases in chunks", &biased(40), Method::Sparse, &chunked));
        cases.push(case("convolutions of other cells", &with_other_cells(stacked_convs(30)), Method::Sparse, &options));
        cases.push(case("convolutions", &stacked_convs(30), Method::Sparse, &options));
        cases.push(case("a convolution of the input", &input_conv(30), Method::Sparse, &options));
        cases.push(case("convolutions in small workgroups", &stacked_convs(30), Method::Sparse, &narrow));
        cases.push(case("convolutions, one sample a chunk", &stacked_convs(30), Method::Sparse, &one_a_chunk));
    }
    for (name, network) in [("recurrent layers", biased(40)), ("recurrent spike counts", other_cells(40))] {
        let network = recurrent(network);
        let narrow = GpuOptions { limits: Some("downlevel,lanes=64".parse().unwrap()), ..roomy.clone() };
        let one_a_chunk = GpuOptions { delta_bytes: Some(1), ..roomy.clone() };
        for options in [&roomy, &narrow, &one_a_chunk] {
            cases.push(case(name, &network, Method::Sparse, options));
        }
    }
    for tier in [Tier::Software, Tier::Hardware] {
        let options = GpuOptions { tier: Some(tier), ..roomy.clone() };
        let chunked = GpuOptions { delta_bytes: Some(1), ..options.clone() };
        for (options, layers) in [(&options, [D, S, D]), (&chunked, [D, D, D]), (&options, [S, D, S])] {
            cases.push(Case {
                layers: Some(layers.to_vec()),
                ..case("layers of either method", &plain, Method::Auto, options)
            });
        }
        // Deep enough that products are cut into parts.
        let long = network(20, &[9], 3, 400);
        cases.push(case("dense", &plain, Method::Dense, &options));
        cases.push(case("dense, long", &long, Method::Dense, &options));
        cases.push(case("reference", &plain, Method::Reference, &options));
        let narrow = GpuOptions { limits: Some("downlevel,lanes=64".parse().unwrap()), ..options };
        cases.push(case("dense in small workgroups", &plain, Method::Dense, &narrow));
    }
    cases
}
