//! What can go wrong with images, models and training.

use std::path::PathBuf;

/// A failure of this crate. Messages name files and shapes, never pixels or patients.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A data set that cannot be used as it is.
    #[error("data set: {0}")]
    DataSet(String),
    /// Bytes that are not an image we read.
    #[error("image: {0}")]
    Image(String),
    /// A model directory whose parts do not fit each other.
    #[error("model: {0}")]
    Model(String),
    /// A plan or update that is refused.
    #[error("federated round")]
    Refused(#[from] salus_federated::Refusal),
    /// Training has produced values that are not numbers.
    #[error("training diverged: the loss is not finite")]
    Diverged,
    /// A tensor could not be read back from the device.
    #[error("device: {0}")]
    Device(String),
    /// A setting outside its range.
    #[error("{0}")]
    Setting(String),
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
