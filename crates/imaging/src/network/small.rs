//! Two convolutions and two linear layers.

use salus_proto::federated::Network;

use super::{Layer, convolution, normalisation};

/// The feature map is pooled to at most this many pixels a side.
const MAP_PX: usize = 8;

pub(super) fn layers(config: &Network) -> (Vec<Layer>, Vec<Layer>) {
    let channels = usize::from(config.channels);
    let mut features = vec![
        convolution("conv1", [channels, 32], 5, 1),
        normalisation("bn1", 32, 0.0),
        Layer::Pool,
        convolution("conv2", [32, 64], 5, 1),
        normalisation("bn2", 64, 0.0),
        Layer::Pool,
    ];
    let mut side = usize::from(config.size_px) / 4;
    while side > MAP_PX {
        features.push(Layer::Pool);
        side /= 2;
    }
    let linear = |name: &str, from, to, relu| Layer::Linear {
        name: name.into(),
        from,
        to,
        relu,
    };
    let head = vec![
        Layer::Flatten,
        linear("fc1", 64 * side * side, 512, true),
        linear("fc2", 512, config.classes.len(), false),
    ];
    (features, head)
}
