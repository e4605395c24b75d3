//! Why a server does not start.

use std::io;
use std::net::SocketAddr;

use salus_proto::encode::Malformed;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program listens there, or the address is not this machine's.
    #[error("cannot listen on {address}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// The genesis file cannot be read.
    #[error("the genesis file is malformed")]
    Genesis(#[source] Malformed),
    /// The tables cannot be used.
    #[error(transparent)]
    Tables(#[from] salus_runtime::Error),
}
