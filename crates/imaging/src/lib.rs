//! Images to predictions: data sets, networks, training, federated simulation, heat maps.
//! Nothing here knows what a lung is: classes, channels and sizes come from manifests.
//!
//! ```text
//!  dataset ──► augment ──► network (kernels, ops) ──► train ──► model ──► predict, heatmap
//!     │                                                 ▲
//!     └── partition ──► simulate ──► site ── federated ─┘
//! ```

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "pixels, weights and statistics move between integers, f32 and f64 on purpose"
)]

mod augment;
pub mod calibration;
mod checkpoint;
pub mod dataset;
mod error;
mod kernels;
pub mod metrics;
pub mod model;
pub mod network;
mod ops;
pub mod optimiser;
pub mod partition;
pub mod picture;
pub mod predict;
pub mod random;
pub mod simulate;
pub mod site;
pub mod train;
pub mod weights;

pub use error::Error;
