//! ResNet-18 (He et al. 2016, arXiv 1512.03385) with the tensor names of torchvision.
//!
//! The stem follows the image: up to 32 pixels a 3×3 convolution as for CIFAR, up to 64 pixels the
//! same with stride 2, above that 7×7 with stride 2 and a 2×2 pool.

use salus_proto::federated::Network;

use super::{Layer, convolution, normalisation};

pub(super) fn layers(config: &Network) -> (Vec<Layer>, Vec<Layer>) {
    let (kernel, stride, pooled) = match config.size_px {
        ..=32 => (3, 1, false),
        33..=64 => (3, 2, false),
        _ => (7, 2, true),
    };
    let mut features = vec![
        convolution("conv1", [usize::from(config.channels), 64], kernel, stride),
        normalisation("bn1", 64, 0.0),
    ];
    if pooled {
        features.push(Layer::Pool);
    }
    let mut from = 64;
    for (stage, to) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            features.push(residual(
                &format!("layer{}.{block}", stage + 1),
                [from, to],
                stride,
            ));
            from = to;
        }
    }
    let to = config.classes.len();
    let linear = Layer::Linear {
        name: "fc".into(),
        from: 512,
        to,
        relu: false,
    };
    (features, vec![Layer::GlobalMean, linear])
}

fn residual(name: &str, [from, to]: [usize; 2], stride: usize) -> Layer {
    let shortcut = if from == to && stride == 1 {
        Vec::new()
    } else {
        vec![
            convolution(format!("{name}.downsample.0"), [from, to], 1, stride),
            normalisation(format!("{name}.downsample.1"), to, 1.0),
        ]
    };
    let body = vec![
        convolution(format!("{name}.conv1"), [from, to], 3, stride),
        normalisation(format!("{name}.bn1"), to, 0.0),
        convolution(format!("{name}.conv2"), [to, to], 3, 1),
        normalisation(format!("{name}.bn2"), to, 1.0),
    ];
    Layer::Residual { body, shortcut }
}
