//! Differentiable operations of the networks: our own kernels on the CPU, burn's everywhere else.
//!
//! Weights travel as flat tensors in PyTorch's layout; shapes come with the call.

use burn::backend::autodiff::{
    Autodiff, NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{Dispatch, Flex, TensorMetadata, backend_extension, tensor::FloatTensor};
use burn::tensor::activation::{leaky_relu, relu};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Bytes, DType, Shape, Tensor, module};

use crate::kernels::convolution::Convolution;
use crate::kernels::normalisation::{EPSILON, Moments, Normalisation};
use crate::kernels::{linear, pooling};

/// The operations as burn dispatches them to a backend.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Kernels: burn::backend::Backend {
    fn convolve(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        has_bias: bool,
        shape: Convolution,
    ) -> FloatTensor<Self>;
    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shape: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    fn pool(x: FloatTensor<Self>) -> FloatTensor<Self>;
    fn project(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        from: usize,
        to: usize,
    ) -> FloatTensor<Self>;
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from(shape.to_vec()));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

fn slice(tensor: &FlexTensor) -> &[f32] {
    #[expect(
        clippy::expect_used,
        reason = "callers pass contiguous f32 tensors made here"
    )]
    tensor.as_slice::<f32>().expect("a contiguous f32 tensor")
}

fn pooled(x: &FlexTensor) -> (FlexTensor, Vec<u8>) {
    let s = x.shape();
    let (height, width) = (s[2] / 2, s[3] / 2);
    let mut y = vec![0.0; s[0] * s[1] * height * width];
    let mut winner = vec![0; y.len()];
    pooling::forward([s[2], s[3]], slice(x), &mut y, &mut winner);
    (tensor(y, &[s[0], s[1], height, width]), winner)
}

impl Kernels for Flex {
    fn convolve(
        x: FlexTensor,
        w: FlexTensor,
        bias: FlexTensor,
        has_bias: bool,
        shape: Convolution,
    ) -> FlexTensor {
        let (x, w, bias) = (contiguous(x), contiguous(w), contiguous(bias));
        let size = [
            shape.images,
            shape.to,
            shape.out_height(),
            shape.out_width(),
        ];
        let mut y = vec![0.0; size.iter().product()];
        shape.forward(slice(&x), slice(&w), has_bias.then(|| slice(&bias)), &mut y);
        tensor(y, &size)
    }

    fn normalise(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        shape: Normalisation,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (x, gamma, beta) = (contiguous(x), contiguous(gamma), contiguous(beta));
        let mut y = vec![0.0; slice(&x).len()];
        let moments = shape.forward(slice(&x), slice(&gamma), slice(&beta), &mut y);
        let sets = moments.means.len();
        (
            tensor(y, &x.shape()),
            tensor(moments.means, &[sets]),
            tensor(moments.variances, &[sets]),
        )
    }

    fn pool(x: FlexTensor) -> FlexTensor {
        pooled(&contiguous(x)).0
    }

    fn project(
        x: FlexTensor,
        w: FlexTensor,
        bias: FlexTensor,
        from: usize,
        to: usize,
    ) -> FlexTensor {
        let (x, w, bias) = (contiguous(x), contiguous(w), contiguous(bias));
        let images = x.shape()[0];
        let mut y = vec![0.0; images * to];
        linear::forward(from, to, slice(&x), slice(&w), slice(&bias), &mut y);
        tensor(y, &[images, to])
    }
}

impl<C: CheckpointStrategy> Kernels for Autodiff<Flex, C> {
    fn convolve(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        has_bias: bool,
        shape: Convolution,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Convolved;
        impl Backward<Flex, 3> for Convolved {
            type State = (NodeId, NodeId, bool, Convolution);
            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                gradients: &mut Gradients,
                checkpoints: &mut Checkpointer,
            ) {
                let [to_x, to_w, to_bias] = ops.parents;
                let dy = contiguous(gradients.consume::<Flex>(&ops.node));
                let (x, w, has_bias, shape) = ops.state;
                let x = contiguous(checkpoints.retrieve_node_output::<FlexTensor>(x));
                let w = contiguous(checkpoints.retrieve_node_output::<FlexTensor>(w));
                if let Some(node) = to_w {
                    let mut dw = vec![0.0; slice(&w).len()];
                    shape.weight_gradient(slice(&x), slice(&dy), &mut dw);
                    gradients.register::<Flex>(node.id, tensor(dw, &w.shape()));
                }
                if let Some(node) = to_x {
                    let mut dx = vec![0.0; slice(&x).len()];
                    shape.input_gradient(slice(&w), slice(&dy), &mut dx);
                    gradients.register::<Flex>(node.id, tensor(dx, &x.shape()));
                }
                if let (Some(node), true) = (to_bias, has_bias) {
                    gradients.register::<Flex>(
                        node.id,
                        tensor(shape.bias_gradient(slice(&dy)), &[shape.to]),
                    );
                }
            }
        }
        let parents = [x.node(), w.node(), bias.node()];
        match Convolved.prepare::<C>(parents).compute_bound().stateful() {
            OpsKind::Tracked(mut prepared) => {
                let state = (
                    prepared.checkpoint(&x),
                    prepared.checkpoint(&w),
                    has_bias,
                    shape,
                );
                let (x, w, bias) = (
                    x.into_primitive(),
                    w.into_primitive(),
                    bias.into_primitive(),
                );
                prepared.finish(state, Flex::convolve(x, w, bias, has_bias, shape))
            }
            OpsKind::UnTracked(prepared) => {
                let (x, w, bias) = (
                    x.into_primitive(),
                    w.into_primitive(),
                    bias.into_primitive(),
                );
                prepared.finish(Flex::convolve(x, w, bias, has_bias, shape))
            }
        }
    }

    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shape: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        #[derive(Debug)]
        struct Normalised;
        impl Backward<Flex, 3> for Normalised {
            type State = (NodeId, [FlexTensor; 4], Normalisation);
            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                gradients: &mut Gradients,
                checkpoints: &mut Checkpointer,
            ) {
                let [to_x, to_gamma, to_beta] = ops.parents;
                let dy = contiguous(gradients.consume::<Flex>(&ops.node));
                let (x, [gamma, beta, means, variances], shape) = ops.state;
                let x = contiguous(checkpoints.retrieve_node_output::<FlexTensor>(x));
                let moments = Moments {
                    means: slice(&means).to_vec(),
                    variances: slice(&variances).to_vec(),
                };
                let mut dx = vec![0.0; slice(&x).len()];
                let (g, b) = (slice(&gamma), slice(&beta));
                let rest = shape.gradient(slice(&x), g, b, &moments, slice(&dy), &mut dx);
                if let Some(node) = to_x {
                    gradients.register::<Flex>(node.id, tensor(dx, &x.shape()));
                }
                if let Some(node) = to_gamma {
                    gradients.register::<Flex>(node.id, tensor(rest.gamma, &[shape.channels]));
                }
                if let Some(node) = to_beta {
                    gradients.register::<Flex>(node.id, tensor(rest.beta, &[shape.channels]));
                }
            }
        }
        let parents = [x.node(), gamma.node(), beta.node()];
        match Normalised.prepare::<C>(parents).compute_bound().stateful() {
            OpsKind::Tracked(mut prepared) => {
                let input = prepared.checkpoint(&x);
                let gamma = contiguous(gamma.into_primitive());
                let beta = contiguous(beta.into_primitive());
                let (y, means, variances) =
                    Flex::normalise(x.into_primitive(), gamma.clone(), beta.clone(), shape);
                let kept = [gamma, beta, means.clone(), variances.clone()];
                let y = prepared.finish((input, kept, shape), y);
                (
                    y,
                    FloatTensor::<Self>::new(means),
                    FloatTensor::<Self>::new(variances),
                )
            }
            OpsKind::UnTracked(prepared) => {
                let (gamma, beta) = (gamma.into_primitive(), beta.into_primitive());
                let (y, means, variances) = Flex::normalise(x.into_primitive(), gamma, beta, shape);
                let y = prepared.finish(y);
                (
                    y,
                    FloatTensor::<Self>::new(means),
                    FloatTensor::<Self>::new(variances),
                )
            }
        }
    }

    fn pool(x: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Pooled;
        impl Backward<Flex, 1> for Pooled {
            type State = (Shape, Vec<u8>);
            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                gradients: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let [to_x] = ops.parents;
                let dy = contiguous(gradients.consume::<Flex>(&ops.node));
                let (shape, winner) = ops.state;
                if let Some(node) = to_x {
                    let mut dx = vec![0.0; shape.num_elements()];
                    pooling::gradient([shape[2], shape[3]], slice(&dy), &winner, &mut dx);
                    gradients.register::<Flex>(node.id, tensor(dx, &shape));
                }
            }
        }
        match Pooled.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let x = contiguous(x.into_primitive());
                let (y, winner) = pooled(&x);
                prepared.finish((x.shape(), winner), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(Flex::pool(x.into_primitive())),
        }
    }

    fn project(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        from: usize,
        to: usize,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Projected;
        impl Backward<Flex, 3> for Projected {
            type State = (NodeId, NodeId, usize, usize);
            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                gradients: &mut Gradients,
                checkpoints: &mut Checkpointer,
            ) {
                let [to_x, to_w, to_bias] = ops.parents;
                let dy = contiguous(gradients.consume::<Flex>(&ops.node));
                let (x, w, from, to) = ops.state;
                let x = contiguous(checkpoints.retrieve_node_output::<FlexTensor>(x));
                let w = contiguous(checkpoints.retrieve_node_output::<FlexTensor>(w));
                if let Some(node) = to_w {
                    let mut dw = vec![0.0; from * to];
                    linear::weight_gradient(from, to, slice(&x), slice(&dy), &mut dw);
                    gradients.register::<Flex>(node.id, tensor(dw, &w.shape()));
                }
                if let Some(node) = to_x {
                    let mut dx = vec![0.0; slice(&x).len()];
                    linear::input_gradient(from, to, slice(&w), slice(&dy), &mut dx);
                    gradients.register::<Flex>(node.id, tensor(dx, &x.shape()));
                }
                if let Some(node) = to_bias {
                    let db = linear::bias_gradient(to, slice(&dy));
                    gradients.register::<Flex>(node.id, tensor(db, &[to]));
                }
            }
        }
        let parents = [x.node(), w.node(), bias.node()];
        match Projected.prepare::<C>(parents).compute_bound().stateful() {
            OpsKind::Tracked(mut prepared) => {
                let state = (prepared.checkpoint(&x), prepared.checkpoint(&w), from, to);
                let (x, w, bias) = (
                    x.into_primitive(),
                    w.into_primitive(),
                    bias.into_primitive(),
                );
                prepared.finish(state, Flex::project(x, w, bias, from, to))
            }
            OpsKind::UnTracked(prepared) => {
                let (x, w, bias) = (
                    x.into_primitive(),
                    w.into_primitive(),
                    bias.into_primitive(),
                );
                prepared.finish(Flex::project(x, w, bias, from, to))
            }
        }
    }
}

/// Convolution with a square kernel; `w` is to × from × kernel × kernel, flat.
pub(crate) fn convolve(
    x: Tensor<4>,
    w: Tensor<1>,
    bias: Option<Tensor<1>>,
    shape: Convolution,
) -> Tensor<4> {
    let Convolution {
        from,
        to,
        kernel,
        stride,
        padding,
        ..
    } = shape;
    if !on_cpu(&x) {
        let w = w.reshape([to, from, kernel, kernel]);
        let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
        return module::conv2d(x, w, bias, options);
    }
    let has_bias = bias.is_some();
    let bias = bias.unwrap_or_else(|| Tensor::zeros([1], &x.device()));
    Tensor::from_dispatch(Dispatch::convolve(
        x.into_dispatch(),
        w.into_dispatch(),
        bias.into_dispatch(),
        has_bias,
        shape,
    ))
}

/// Normalisation by the moments of the input, then the activation; returns output and, for batch
/// normalisation, means and population variances.
pub(crate) fn normalise(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    shape: Normalisation,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    if on_cpu(&x) {
        let (x, gamma, beta) = (
            x.into_dispatch(),
            gamma.into_dispatch(),
            beta.into_dispatch(),
        );
        let (y, means, variances) = Dispatch::normalise(x, gamma, beta, shape);
        return (
            Tensor::from_dispatch(y),
            Tensor::from_dispatch(means),
            Tensor::from_dispatch(variances),
        );
    }
    if shape.groups == 0 {
        let out = module::batch_norm_train(x, gamma, beta, EPSILON);
        return (activate(out.output, shape.leak), out.mean, out.variance);
    }
    let [images, channels, height, width] = x.dims();
    let sets = x.reshape([
        images * shape.groups,
        channels / shape.groups * height * width,
    ]);
    let centred = sets.clone() - sets.mean_dim(1);
    let variance = centred.clone().powi_scalar(2).mean_dim(1);
    let y = centred / (variance + EPSILON).sqrt();
    let y = y.reshape([images, channels, height, width]);
    let y = y * gamma.clone().reshape([1, channels, 1, 1]) + beta.reshape([1, channels, 1, 1]);
    (activate(y, shape.leak), gamma.clone(), gamma)
}

/// Normalisation by running statistics, then the activation.
pub(crate) fn normalise_by(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    mean: Tensor<1>,
    variance: Tensor<1>,
    leak: f32,
) -> Tensor<4> {
    activate(
        module::batch_norm(x, gamma, beta, mean, variance, EPSILON),
        leak,
    )
}

/// Two-by-two maximum pooling.
pub(crate) fn pool(x: Tensor<4>) -> Tensor<4> {
    if on_cpu(&x) {
        return Tensor::from_dispatch(Dispatch::pool(x.into_dispatch()));
    }
    module::max_pool2d(
        x,
        MaxPoolOptions {
            stride: [2, 2],
            ..MaxPoolOptions::new([2, 2])
        },
    )
}

/// A fully connected layer; `w` is to × from, flat.
pub(crate) fn project(
    x: Tensor<2>,
    w: Tensor<1>,
    bias: Tensor<1>,
    [from, to]: [usize; 2],
) -> Tensor<2> {
    if on_cpu(&x) {
        return Tensor::from_dispatch(Dispatch::project(
            x.into_dispatch(),
            w.into_dispatch(),
            bias.into_dispatch(),
            from,
            to,
        ));
    }
    x.matmul(w.reshape([to, from]).transpose()) + bias.reshape([1, to])
}

fn activate(x: Tensor<4>, leak: f32) -> Tensor<4> {
    if leak >= 1.0 {
        x
    } else if leak <= 0.0 {
        relu(x)
    } else {
        leaky_relu(x, f64::from(leak))
    }
}

#[cfg(feature = "cuda")]
fn on_cpu<const D: usize>(x: &Tensor<D>) -> bool {
    x.device().inner() == burn::tensor::Device::flex()
}

#[cfg(not(feature = "cuda"))]
fn on_cpu<const D: usize>(_: &Tensor<D>) -> bool {
    true
}
