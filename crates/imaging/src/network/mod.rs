//! Networks as lists of layers, built from a serialisable configuration, and the walk through them.
//!
//! A network is *features* (image to map) followed by a *head* (map to one score a class); heat maps
//! look at what passes between the two. Tensor names are those of a PyTorch state dict.

mod darkcovidnet;
mod resnet;
mod small;

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use salus_federated::job::check_network;
use salus_proto::federated::{Architecture, Network, Normalisation};

use crate::kernels::convolution::Convolution;
use crate::kernels::normalisation::Normalisation as Shape;
use crate::{Error, ops};

/// Share of a batch's statistics in the running ones, PyTorch's default.
pub(crate) const MOMENTUM: f32 = 0.1;

/// One step on the way from an image to scores.
#[derive(Debug, Clone, PartialEq)]
enum Layer {
    Convolution {
        name: String,
        from: usize,
        to: usize,
        kernel: usize,
        stride: usize,
        bias: bool,
    },
    /// With the activation behind it: a leak of 1 is none, 0 is ReLU.
    Normalisation {
        name: String,
        channels: usize,
        leak: f32,
    },
    /// Two by two, maximum.
    Pool,
    /// The mean of each channel.
    GlobalMean,
    Flatten,
    Linear {
        name: String,
        from: usize,
        to: usize,
        relu: bool,
    },
    /// ReLU of the sum of two paths; an empty shortcut passes its input on.
    Residual {
        body: Vec<Self>,
        shortcut: Vec<Self>,
    },
}

/// What a tensor is for, which decides how it starts and whether it is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Of a convolution or linear layer, with the number of inputs to one output.
    Weight {
        /// Inputs to one output.
        inputs: usize,
        /// Whether it belongs to a linear layer.
        linear: bool,
    },
    /// Of a convolution or linear layer.
    Bias {
        /// Inputs to one output.
        inputs: usize,
    },
    /// γ of a normalisation; starts at one.
    Scale,
    /// β of a normalisation; starts at zero.
    Shift,
    /// Running mean; measured, not trained.
    Mean,
    /// Running variance; measured, not trained.
    Variance,
}

impl Role {
    /// Whether gradients change it.
    pub fn is_trained(self) -> bool {
        !matches!(self, Self::Mean | Self::Variance)
    }

    /// Whether it belongs to a normalisation.
    pub fn normalises(self) -> bool {
        matches!(
            self,
            Self::Scale | Self::Shift | Self::Mean | Self::Variance
        )
    }
}

/// A tensor that a network needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// PyTorch state-dict name.
    pub name: String,
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

/// A network ready to be walked.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint {
    config: Network,
    features: Vec<Layer>,
    head: Vec<Layer>,
}

/// Tensors by name, flat, on a device.
pub(crate) type Parameters = BTreeMap<String, Tensor<1>>;

/// Statistics of one batch that a normalisation saw: its name, means, population variances and how
/// many values stand behind each.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) mean: Tensor<1>,
    pub(crate) variance: Tensor<1>,
    pub(crate) count: usize,
}

enum Flow {
    Map(Tensor<4>),
    Row(Tensor<2>),
}

impl Blueprint {
    /// Builds the network that a configuration describes.
    pub fn new(config: &Network) -> Result<Self, Error> {
        check_network(config)?;
        let (features, head) = match config.architecture {
            Architecture::Small => small::layers(config),
            Architecture::DarkCovidNet => darkcovidnet::layers(config),
            Architecture::ResNet18 => resnet::layers(config),
        };
        Ok(Self {
            config: config.clone(),
            features,
            head,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Network {
        &self.config
    }

    /// Every tensor in the order of the layers.
    pub fn tensors(&self) -> Vec<TensorInfo> {
        let mut out = Vec::new();
        let batch = self.config.normalisation == Normalisation::Batch;
        for layer in self.features.iter().chain(&self.head) {
            layer.tensors(batch, &mut out);
        }
        out
    }

    /// Image batch to feature map.
    pub(crate) fn features(
        &self,
        x: Tensor<4>,
        p: &Parameters,
        seen: Option<&mut Vec<Seen>>,
    ) -> Result<Tensor<4>, Error> {
        match self.walk(&self.features, Flow::Map(x), p, seen)? {
            Flow::Map(map) => Ok(map),
            Flow::Row(_) => Err(Error::Model("the features end in a row".into())),
        }
    }

    /// Feature map to scores, one a class before softmax.
    pub(crate) fn head(&self, map: Tensor<4>, p: &Parameters) -> Result<Tensor<2>, Error> {
        match self.walk(&self.head, Flow::Map(map), p, None)? {
            Flow::Row(row) => Ok(row),
            Flow::Map(_) => Err(Error::Model("the head ends in a map".into())),
        }
    }

    fn walk(
        &self,
        layers: &[Layer],
        mut flow: Flow,
        p: &Parameters,
        mut seen: Option<&mut Vec<Seen>>,
    ) -> Result<Flow, Error> {
        for layer in layers {
            flow = match (layer, flow) {
                (
                    Layer::Convolution {
                        name,
                        from,
                        to,
                        kernel,
                        stride,
                        bias,
                    },
                    Flow::Map(x),
                ) => {
                    let [images, _, height, width] = x.dims();
                    let (from, to, kernel, stride) = (*from, *to, *kernel, *stride);
                    let padding = (kernel - 1) / 2;
                    let shape = Convolution {
                        images,
                        from,
                        height,
                        width,
                        to,
                        kernel,
                        stride,
                        padding,
                    };
                    let bias = if *bias {
                        Some(tensor(p, name, "bias")?)
                    } else {
                        None
                    };
                    Flow::Map(ops::convolve(x, tensor(p, name, "weight")?, bias, shape))
                }
                (
                    Layer::Normalisation {
                        name,
                        channels,
                        leak,
                    },
                    Flow::Map(x),
                ) => {
                    Flow::Map(self.normalise(name, *channels, *leak, x, p, seen.as_deref_mut())?)
                }
                (Layer::Pool, Flow::Map(x)) => Flow::Map(ops::pool(x)),
                (Layer::GlobalMean, Flow::Map(x)) => {
                    let [images, channels, height, width] = x.dims();
                    let x = x.reshape([images, channels, height * width]);
                    Flow::Row(x.mean_dim(2).reshape([images, channels]))
                }
                (Layer::Flatten, Flow::Map(x)) => Flow::Row(x.flatten::<2>(1, 3)),
                (
                    Layer::Linear {
                        name,
                        from,
                        to,
                        relu: active,
                    },
                    Flow::Row(x),
                ) => {
                    let (w, bias) = (tensor(p, name, "weight")?, tensor(p, name, "bias")?);
                    let y = ops::project(x, w, bias, [*from, *to]);
                    Flow::Row(if *active { relu(y) } else { y })
                }
                (Layer::Residual { body, shortcut }, Flow::Map(x)) => {
                    let y = self.walk(body, Flow::Map(x.clone()), p, seen.as_deref_mut())?;
                    let x = self.walk(shortcut, Flow::Map(x), p, seen.as_deref_mut())?;
                    match (y, x) {
                        (Flow::Map(y), Flow::Map(x)) => Flow::Map(relu(y + x)),
                        _ => return Err(Error::Model("a residual path ends in a row".into())),
                    }
                }
                _ => {
                    return Err(Error::Model(
                        "a layer follows one that it cannot follow".into(),
                    ));
                }
            };
        }
        Ok(flow)
    }

    fn normalise(
        &self,
        name: &str,
        channels: usize,
        leak: f32,
        x: Tensor<4>,
        p: &Parameters,
        seen: Option<&mut Vec<Seen>>,
    ) -> Result<Tensor<4>, Error> {
        let [images, _, height, width] = x.dims();
        let (gamma, beta) = (tensor(p, name, "weight")?, tensor(p, name, "bias")?);
        let groups = match self.config.normalisation {
            Normalisation::Group => groups(channels),
            Normalisation::Batch => 0,
        };
        if groups == 0 && seen.is_none() {
            let (mean, variance) = (
                tensor(p, name, "running_mean")?,
                tensor(p, name, "running_var")?,
            );
            return Ok(ops::normalise_by(x, gamma, beta, mean, variance, leak));
        }
        let shape = Shape {
            channels,
            pixels: height * width,
            groups,
            leak,
        };
        let (y, mean, variance) = ops::normalise(x, gamma, beta, shape);
        if let (0, Some(seen)) = (groups, seen) {
            let count = images * height * width;
            seen.push(Seen {
                name: name.to_owned(),
                mean,
                variance,
                count,
            });
        }
        Ok(y)
    }
}

impl Layer {
    fn tensors(&self, batch: bool, out: &mut Vec<TensorInfo>) {
        let mut push = |name: &str, part: &str, shape: &[usize], role| {
            out.push(TensorInfo {
                name: format!("{name}.{part}"),
                shape: shape.to_vec(),
                role,
            });
        };
        match self {
            Self::Convolution {
                name,
                from,
                to,
                kernel,
                bias,
                ..
            } => {
                let inputs = from * kernel * kernel;
                push(
                    name,
                    "weight",
                    &[*to, *from, *kernel, *kernel],
                    Role::Weight {
                        inputs,
                        linear: false,
                    },
                );
                if *bias {
                    push(name, "bias", &[*to], Role::Bias { inputs });
                }
            }
            Self::Normalisation { name, channels, .. } => {
                push(name, "weight", &[*channels], Role::Scale);
                push(name, "bias", &[*channels], Role::Shift);
                if batch {
                    push(name, "running_mean", &[*channels], Role::Mean);
                    push(name, "running_var", &[*channels], Role::Variance);
                }
            }
            Self::Linear { name, from, to, .. } => {
                push(
                    name,
                    "weight",
                    &[*to, *from],
                    Role::Weight {
                        inputs: *from,
                        linear: true,
                    },
                );
                push(name, "bias", &[*to], Role::Bias { inputs: *from });
            }
            Self::Residual { body, shortcut } => {
                for layer in body.iter().chain(shortcut) {
                    layer.tensors(batch, out);
                }
            }
            Self::Pool | Self::GlobalMean | Self::Flatten => {}
        }
    }
}

/// Eight channels a group, at least one group, at most the 32 of Wu and He 2018.
fn groups(channels: usize) -> usize {
    (channels / 8).clamp(1, 32)
}

fn tensor(p: &Parameters, name: &str, part: &str) -> Result<Tensor<1>, Error> {
    let name = format!("{name}.{part}");
    p.get(&name)
        .cloned()
        .ok_or_else(|| Error::Model(format!("tensor {name} is missing")))
}

fn convolution(
    name: impl Into<String>,
    [from, to]: [usize; 2],
    kernel: usize,
    stride: usize,
) -> Layer {
    Layer::Convolution {
        name: name.into(),
        from,
        to,
        kernel,
        stride,
        bias: false,
    }
}

fn normalisation(name: impl Into<String>, channels: usize, leak: f32) -> Layer {
    Layer::Normalisation {
        name: name.into(),
        channels,
        leak,
    }
}
