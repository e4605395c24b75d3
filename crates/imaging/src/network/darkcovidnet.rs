//! A network like DarkCovidNet (Ozturk et al. 2020, doi:10.1016/j.compbiomed.2020.103792): seventeen
//! convolutions, each normalised and followed by a leaky ReLU, and one linear layer.
//!
//! Two things differ from the paper. Smaller images are pooled less often, so that the last map keeps
//! about eight pixels a side; and the last convolution has 32 channels instead of one a class, because
//! group normalisation of two or three channels would wipe out what tells the classes apart.

use salus_proto::federated::Network;

use super::{Layer, convolution, normalisation};

/// Slope for negative values.
const LEAK: f32 = 0.1;
/// Pooling stops where a map would get smaller than this many pixels a side.
const MAP_PX: usize = 7;
/// Channels of the last convolution.
const LAST: usize = 32;

/// From, to, kernel, pooled afterwards.
const BLOCKS: [(usize, usize, usize, bool); 16] = [
    (0, 8, 3, true),
    (8, 16, 3, true),
    (16, 32, 3, false),
    (32, 16, 1, false),
    (16, 32, 3, true),
    (32, 64, 3, false),
    (64, 32, 1, false),
    (32, 64, 3, true),
    (64, 128, 3, false),
    (128, 64, 1, false),
    (64, 128, 3, true),
    (128, 256, 3, false),
    (256, 128, 1, false),
    (128, 256, 3, false),
    (256, 128, 1, false),
    (128, 256, 3, false),
];

pub(super) fn layers(config: &Network) -> (Vec<Layer>, Vec<Layer>) {
    let mut side = usize::from(config.size_px);
    let mut features = Vec::new();
    for (i, (from, to, kernel, pooled)) in BLOCKS.into_iter().enumerate() {
        let from = if i == 0 {
            usize::from(config.channels)
        } else {
            from
        };
        features.push(convolution(format!("conv{}", i + 1), [from, to], kernel, 1));
        features.push(normalisation(format!("bn{}", i + 1), to, LEAK));
        if pooled && side / 2 >= MAP_PX {
            features.push(Layer::Pool);
            side /= 2;
        }
    }
    features.push(convolution("conv17", [256, LAST], 3, 1));
    features.push(normalisation("bn17", LAST, LEAK));
    let from = LAST * side * side;
    let linear = Layer::Linear {
        name: "fc".into(),
        from,
        to: config.classes.len(),
        relu: false,
    };
    (features, vec![Layer::Flatten, linear])
}
