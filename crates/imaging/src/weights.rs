//! The numbers of a network: initial values, safetensors in and out, the way to a device and back.

use std::borrow::Cow;
use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, View};

use crate::Error;
use crate::network::{Blueprint, Parameters, Role, TensorInfo};
use crate::random::Seeded;

/// Largest weights file that is read: 1 GiB.
pub const FILE_LIMIT_BYTES: u64 = 1 << 30;

/// A network's tensors in the order of its layers, values row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    infos: Vec<TensorInfo>,
    values: Vec<Vec<f32>>,
}

impl Weights {
    /// Random initial weights: He et al. 2015 for convolutions, PyTorch's uniform for linear layers.
    pub fn initial(blueprint: &Blueprint, seed: u64) -> Self {
        let infos = blueprint.tensors();
        let values = infos
            .iter()
            .zip(0u64..)
            .map(|(info, index)| initial_values(info, Seeded::new(seed, &[INITIAL, index])))
            .collect();
        Self { infos, values }
    }

    /// What each tensor is.
    pub fn infos(&self) -> &[TensorInfo] {
        &self.infos
    }

    /// The values of each tensor.
    pub fn values(&self) -> &[Vec<f32>] {
        &self.values
    }

    /// The values of each tensor, to change them.
    pub fn values_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.values
    }

    /// Number of values together.
    pub fn count(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }

    pub(crate) fn find(&mut self, name: &str) -> Option<&mut Vec<f32>> {
        let at = self.infos.iter().position(|info| info.name == name)?;
        self.values.get_mut(at)
    }

    /// Tensors on a device; those that are trained ask for gradients where the device gives them.
    pub(crate) fn to_device(&self, device: &Device) -> Parameters {
        let tensors = self.infos.iter().zip(&self.values).map(|(info, values)| {
            let data = TensorData::new(values.clone(), [values.len()]);
            let tensor = Tensor::<1>::from_data(data, device);
            let trained = device.is_autodiff() && info.role.is_trained();
            (
                info.name.clone(),
                if trained {
                    tensor.require_grad()
                } else {
                    tensor
                },
            )
        });
        tensors.collect()
    }

    /// A safetensors file with the names of a PyTorch state dict.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        let views = self.infos.iter().zip(&self.values);
        let views = views.map(|(info, values)| (info.name.as_str(), F32View { info, values }));
        safetensors::serialize(views, None).map_err(|e| Error::Model(e.to_string()))
    }

    /// Reads a safetensors file for a network. Every tensor of the network must be there with its
    /// shape, as `F32`, `F16` or `BF16`; `num_batches_tracked` and tensors of other names are left.
    pub fn from_safetensors(blueprint: &Blueprint, bytes: &[u8]) -> Result<Self, Error> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| Error::Model(e.to_string()))?;
        let infos = blueprint.tensors();
        let values = infos
            .iter()
            .map(|info| {
                let view = file
                    .tensor(&info.name)
                    .map_err(|_| Error::Model(format!("tensor {} is missing", info.name)))?;
                if view.shape() != info.shape {
                    let (name, found) = (&info.name, view.shape());
                    return Err(Error::Model(format!(
                        "tensor {name} has shape {found:?}, not {:?}",
                        info.shape
                    )));
                }
                let values = floats(view.dtype(), view.data()).ok_or_else(|| {
                    Error::Model(format!("tensor {} has another type", info.name))
                })?;
                if values.iter().all(|v| v.is_finite()) {
                    Ok(values)
                } else {
                    Err(Error::Model(format!("tensor {} is not finite", info.name)))
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { infos, values })
    }
}

/// Stream number of initial weights.
const INITIAL: u64 = 0x57;

fn initial_values(info: &TensorInfo, mut random: Seeded) -> Vec<f32> {
    let count = info.shape.iter().product();
    match info.role {
        Role::Weight {
            inputs,
            linear: false,
        } => {
            let deviation = (2.0 / inputs as f64).sqrt();
            (0..count)
                .map(|_| (random.normal() * deviation) as f32)
                .collect()
        }
        Role::Weight { inputs, .. } | Role::Bias { inputs } => {
            let bound = 1.0 / (inputs as f64).sqrt();
            (0..count)
                .map(|_| (random.symmetric() * bound) as f32)
                .collect()
        }
        Role::Scale | Role::Variance => vec![1.0; count],
        Role::Shift | Role::Mean => vec![0.0; count],
    }
}

fn floats(kind: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let halves = || {
        bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| u16::from_le_bytes(*b))
    };
    match kind {
        Dtype::F32 => Some(
            bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect(),
        ),
        Dtype::BF16 => Some(
            halves()
                .map(|b| f32::from_bits(u32::from(b) << 16))
                .collect(),
        ),
        Dtype::F16 => Some(halves().map(half).collect()),
        _ => None,
    }
}

/// IEEE 754 binary16 to binary32.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1F), f32::from(bits & 0x3FF));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if bits & 0x3FF == 0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

struct F32View<'a> {
    info: &'a TensorInfo,
    values: &'a [f32],
}

impl View for F32View<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.info.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<u8>>()
            .into()
    }

    fn data_len(&self) -> usize {
        self.values.len() * 4
    }
}

/// Values of a tensor on a device.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Error> {
    let data = tensor
        .try_into_data()
        .map_err(|e| Error::Device(format!("{e:?}")))?;
    data.try_into_vec::<f32>()
        .map_err(|e| Error::Device(format!("{e:?}")))
}

/// Gradients by tensor name; a tensor that took no part has none.
pub(crate) type GradientMap = BTreeMap<String, Vec<f32>>;

#[cfg(test)]
mod tests {
    use salus_proto::federated::{Architecture, Micro, Network, Normalisation};

    use super::*;

    pub(crate) fn config(
        architecture: Architecture,
        normalisation: Normalisation,
        size_px: u16,
    ) -> Network {
        Network {
            architecture,
            normalisation,
            classes: vec!["a".into(), "b".into(), "c".into()],
            channels: 1,
            size_px,
            input_mean: Micro(500_000),
            input_deviation: Micro(250_000),
        }
    }

    #[test]
    fn resnet_has_the_names_and_values_of_torchvision() {
        let blueprint =
            Blueprint::new(&config(Architecture::ResNet18, Normalisation::Batch, 224)).unwrap();
        let weights = Weights::initial(&blueprint, 1);
        let names: Vec<_> = weights.infos().iter().map(|i| i.name.as_str()).collect();
        for name in [
            "conv1.weight",
            "bn1.running_var",
            "layer2.0.downsample.0.weight",
            "layer4.1.bn2.bias",
            "fc.weight",
        ] {
            assert!(names.contains(&name), "{name}");
        }
        // torchvision's 11,689,512 parameters for 1000 classes and 3 channels, less what differs here,
        // plus 9,600 running statistics.
        let fewer = 997 * 513 + 2 * 64 * 49;
        assert_eq!(weights.count(), 11_689_512 - fewer + 9_600);
    }

    #[test]
    fn weights_survive_a_safetensors_file_and_refuse_another_network() {
        let blueprint =
            Blueprint::new(&config(Architecture::Small, Normalisation::Group, 28)).unwrap();
        let weights = Weights::initial(&blueprint, 1);
        let bytes = weights.to_safetensors().unwrap();
        assert_eq!(
            Weights::from_safetensors(&blueprint, &bytes).unwrap(),
            weights
        );
        let other = Blueprint::new(&config(Architecture::Small, Normalisation::Batch, 28)).unwrap();
        assert!(Weights::from_safetensors(&other, &bytes).is_err());
        for length in [0, 7, 8, 100, bytes.len() - 1] {
            assert!(Weights::from_safetensors(&blueprint, &bytes[..length]).is_err());
        }
    }

    #[test]
    fn half_precision_reads_as_ieee_says() {
        let cases = [
            (0x3C00, 1.0f32),
            (0xC000, -2.0),
            (0x3555, 0.333_251_95),
            (0x0001, 5.960_464_5e-8),
            (0x7C00, f32::INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(half(bits).to_bits(), value.to_bits(), "{bits:x}");
        }
    }
}
