//! Which values travel, in which order; and a model as those values.

use salus_crypto::digest::Sha256;
use salus_proto::Digest;
use salus_proto::federated::{Plan, Strategy, TensorPolicy};

use crate::Refusal;

/// Most values a model may have: 2^28 (1 GiB as `f32`).
pub const VALUES_LIMIT: usize = 1 << 28;
/// Values that are written at a time.
const PIECE_VALUES: usize = 1 << 14;
/// Most tensors a model may have.
pub const TENSORS_LIMIT: usize = 4096;

/// The shared tensors of a plan laid end to end in the plan's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    tensors: Vec<Slot>,
    values: usize,
    controls: bool,
}

/// Where one shared tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// PyTorch state-dict name.
    pub name: String,
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
    /// First value.
    pub start: usize,
    /// Number of values.
    pub length: usize,
}

impl Layout {
    /// The layout that a plan prescribes. Refuses empty, repeated or oversized tensors.
    pub fn of(plan: &Plan) -> Result<Self, Refusal> {
        if plan.tensors.len() > TENSORS_LIMIT {
            return Err(Refusal::Plan("too many tensors"));
        }
        let mut names = std::collections::BTreeSet::new();
        let (mut tensors, mut values) = (Vec::new(), 0usize);
        for spec in &plan.tensors {
            if !names.insert(spec.name.as_str()) {
                return Err(Refusal::Plan("two tensors have one name"));
            }
            let mut length = 1usize;
            for side in &spec.shape {
                length = usize::try_from(*side)
                    .ok()
                    .and_then(|side| length.checked_mul(side))
                    .filter(|length| *length <= VALUES_LIMIT)
                    .ok_or(Refusal::Plan("a tensor is too large"))?;
            }
            if length == 0 {
                return Err(Refusal::Plan("a tensor is empty"));
            }
            if spec.policy == TensorPolicy::Shared {
                let shape = spec.shape.iter().map(|s| *s as usize).collect();
                tensors.push(Slot {
                    name: spec.name.clone(),
                    shape,
                    start: values,
                    length,
                });
                values += length;
                if values > VALUES_LIMIT {
                    return Err(Refusal::Plan("the model is too large"));
                }
            }
        }
        if tensors.is_empty() {
            return Err(Refusal::Plan("no tensor is shared"));
        }
        let controls = matches!(plan.strategy, Strategy::Scaffold { .. });
        Ok(Self {
            tensors,
            values,
            controls,
        })
    }

    /// The shared tensors in order.
    pub fn tensors(&self) -> &[Slot] {
        &self.tensors
    }

    /// Values of the shared tensors together.
    pub fn values(&self) -> usize {
        self.values
    }

    /// Whether control variates travel beside the model (SCAFFOLD).
    pub fn controls(&self) -> bool {
        self.controls
    }

    /// Values in a payload or a broadcast: the model's, twice where controls travel with it.
    pub fn payload_values(&self) -> usize {
        if self.controls {
            2 * self.values
        } else {
            self.values
        }
    }

    /// Bytes of a payload or a broadcast, four for each value.
    pub fn payload_bytes(&self) -> u64 {
        self.payload_values() as u64 * 4
    }

    /// The tensor that value `index` of a payload belongs to, and the position within it.
    pub fn locate(&self, index: usize) -> (&str, usize) {
        let index = index % self.values;
        let slot = self
            .tensors
            .partition_point(|slot| slot.start + slot.length <= index);
        let slot = &self.tensors[slot];
        (&slot.name, index - slot.start)
    }
}

/// The shared values of a model and, for SCAFFOLD, the server's control variate.
///
/// Its bytes are what sites download and what [`Model::digest`] covers: all values as
/// little-endian `f32`, then all controls.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The shared tensors end to end, [`Layout::values`] many.
    pub values: Vec<f32>,
    /// As many again where [`Layout::controls`], else none.
    pub controls: Vec<f32>,
}

impl Model {
    /// A model with these values and no control yet.
    pub fn new(layout: &Layout, values: Vec<f32>) -> Result<Self, Refusal> {
        if values.len() != layout.values() {
            return Err(Refusal::WrongLength {
                expected: layout.values() as u64 * 4,
                found: values.len() as u64 * 4,
            });
        }
        if let Some(at) = strange(&values) {
            let (tensor, index) = layout.locate(at);
            return Err(Refusal::NotFinite {
                tensor: tensor.to_owned(),
                index,
            });
        }
        let controls = if layout.controls() {
            vec![0.0; values.len()]
        } else {
            Vec::new()
        };
        Ok(Self { values, controls })
    }

    /// The bytes that sites download.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity((self.values.len() + self.controls.len()) * 4);
        self.pieces(|piece| bytes.extend_from_slice(piece));
        bytes
    }

    /// [`Self::to_bytes`] in pieces, so that nobody needs room for all of it.
    pub fn pieces(&self, mut take: impl FnMut(&[u8])) {
        let mut piece = vec![0; PIECE_VALUES * 4];
        for values in [&self.values, &self.controls] {
            for values in values.chunks(PIECE_VALUES) {
                let bytes = &mut piece[..values.len() * 4];
                let (words, _) = bytes.as_chunks_mut::<4>();
                for (word, value) in words.iter_mut().zip(values) {
                    *word = value.to_le_bytes();
                }
                take(bytes);
            }
        }
    }

    /// Reads what [`Self::to_bytes`] wrote; refuses another length and values that are not finite.
    pub fn from_bytes(layout: &Layout, bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() as u64 != layout.payload_bytes() {
            return Err(Refusal::WrongLength {
                expected: layout.payload_bytes(),
                found: bytes.len() as u64,
            });
        }
        let (words, _) = bytes.as_chunks::<4>();
        let mut values: Vec<f32> = words.iter().map(|w| f32::from_le_bytes(*w)).collect();
        let controls = values.split_off(layout.values());
        if let Some(at) = strange(&controls) {
            let (tensor, index) = layout.locate(at);
            return Err(Refusal::NotFinite {
                tensor: tensor.to_owned(),
                index,
            });
        }
        Ok(Self {
            controls,
            ..Self::new(layout, values)?
        })
    }

    /// Digest of [`Self::to_bytes`].
    pub fn digest(&self) -> Digest {
        let mut hasher = Sha256::new();
        self.pieces(|piece| hasher.update(piece));
        hasher.finish()
    }
}

/// The first value that is not finite.
pub(crate) fn strange(values: &[f32]) -> Option<usize> {
    // All of them first: without a way out of the loop it is done many at a time.
    let all = values
        .iter()
        .fold(true, |all, value| all & value.is_finite());
    if all {
        return None;
    }
    values.iter().position(|value| !value.is_finite())
}
