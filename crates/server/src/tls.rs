//! TLS 1.3 and 1.2 by rustls over AWS-LC, hybrid post-quantum key exchange preferred, HTTP/2 and
//! HTTP/1.1.

use std::path::Path;
use std::sync::Arc;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Error;

/// Where certificate and key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file with the certificate chain, the node's own first.
    pub certificates: std::path::PathBuf,
    /// PEM file with the private key.
    pub key: std::path::PathBuf,
}

impl TlsFiles {
    /// Reads the files and checks that the key is the certificate's.
    ///
    /// # Errors
    /// [`Error::Tls`] names what is wrong.
    pub fn check(&self) -> Result<(), Error> {
        load(self).map(drop)
    }
}

/// Reads the files and builds the server's side.
pub(crate) fn load(files: &TlsFiles) -> Result<RustlsConfig, Error> {
    let chain = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| tls_error(&files.certificates, &error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| tls_error(&files.key, &e))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Tls(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| Error::Tls(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

fn tls_error(path: &Path, error: &dyn core::fmt::Display) -> Error {
    Error::Tls(format!("{}: {error}", path.display()))
}
