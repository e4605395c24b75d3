//! An S3-compatible bucket, through `object_store`.

use core::fmt;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig,
};

use super::driver::cut_short;
use crate::error::{Cause, Error, Result};

/// Where a bucket is and who opens it. `Debug` does not show the secret.
#[derive(Clone)]
pub struct S3Config {
    /// Address of the service, for example `https://s3.eu-central-1.amazonaws.com`. Plain `http`
    /// is accepted for loopback addresses only.
    pub endpoint: String,
    /// Region, for example `eu-central-1`.
    pub region: String,
    /// Bucket, which exists.
    pub bucket: String,
    /// Names of all objects begin with this and a slash; empty for none.
    pub prefix: String,
    /// Access key id.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Longest time for one request, and for one request with its repetitions.
const REQUEST: Duration = Duration::from_secs(60);
const REQUEST_WITH_RETRIES: Duration = Duration::from_secs(120);

/// Most repetitions of a request that failed for a passing reason.
const RETRIES_MAX: usize = 4;

/// Most objects in one folder, 256 of which hold one kind.
const LISTED_MAX: usize = 1_000_000;

/// An open bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    store: AmazonS3,
    prefix: Path,
}

impl Bucket {
    pub(super) fn open(config: S3Config) -> Result<Self> {
        let plain = config.endpoint.starts_with("http://");
        if plain && !is_loopback(&config.endpoint) {
            return Err(Error::Configuration(
                "an S3 endpoint outside this machine is reached over https".into(),
            ));
        }
        let prefix = Path::parse(&config.prefix).map_err(|_| {
            Error::Configuration("the S3 prefix is not a path of plain names".into())
        })?;
        let store = AmazonS3Builder::new()
            .with_endpoint(config.endpoint)
            .with_region(config.region)
            .with_bucket_name(config.bucket)
            .with_access_key_id(config.access_key_id)
            .with_secret_access_key(config.secret_access_key)
            // The service checks what arrives, too.
            .with_checksum_algorithm(Checksum::SHA256)
            .with_client_options(
                ClientOptions::new()
                    .with_allow_http(plain)
                    .with_timeout(REQUEST),
            )
            .with_retry(RetryConfig {
                max_retries: RETRIES_MAX,
                retry_timeout: REQUEST_WITH_RETRIES,
                ..RetryConfig::default()
            })
            .build()
            .map_err(|error| Error::Configuration(format!("the S3 store: {error}")))?;
        Ok(Self { store, prefix })
    }

    /// Makes sure that the service answers and lets us look and list.
    pub(super) async fn check(&self) -> Result<()> {
        // Looking says more clearly than listing why it is refused.
        match self.length("packs").await {
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        self.list("packs/00").await.map(drop)
    }

    pub(super) async fn put(&self, name: &str, content: Vec<Bytes>) -> Result<()> {
        let payload: PutPayload = content.into_iter().collect();
        let put = self.store.put(&self.path(name), payload).await;
        put.map(drop).map_err(|error| failed(name, error))
    }

    pub(super) async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let wanted = range.end.saturating_sub(range.start);
        if wanted == 0 {
            // HTTP has no empty range.
            return self.length(name).await.map(|_| Bytes::new());
        }
        let end = range.end;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let got = match self.store.get_opts(&self.path(name), options).await {
            Ok(got) if got.range.end - got.range.start == wanted => got,
            Ok(_) => return Err(cut_short(name)),
            // A range that begins after the end is an error of its own kind in each service.
            Err(error @ object_store::Error::Generic { .. }) => {
                let is_short = self.length(name).await.is_ok_and(|length| length < end);
                return Err(if is_short {
                    cut_short(name)
                } else {
                    failed(name, error)
                });
            }
            Err(error) => return Err(failed(name, error)),
        };
        got.bytes().await.map_err(|error| failed(name, error))
    }

    pub(super) async fn length(&self, name: &str) -> Result<u64> {
        let head = self.store.head(&self.path(name)).await;
        head.map(|meta| meta.size)
            .map_err(|error| failed(name, error))
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let mut leaves = Vec::new();
        let path = self.path(folder);
        let mut listed = self.store.list(Some(&path));
        while let Some(meta) = listed
            .try_next()
            .await
            .map_err(|error| failed(folder, error))?
        {
            if leaves.len() == LISTED_MAX {
                return Err(Error::TooLarge {
                    what: "objects in one folder",
                    size: LISTED_MAX as u64 + 1,
                    limit: LISTED_MAX as u64,
                });
            }
            leaves.extend(meta.location.filename().map(str::to_owned));
        }
        leaves.sort();
        Ok(leaves)
    }

    pub(super) async fn delete(&self, name: &str) -> Result<()> {
        match self.store.delete(&self.path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(name, error)),
        }
    }

    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let renamed = self.store.rename(&self.path(from), &self.path(to)).await;
        renamed.map_err(|error| failed(from, error))
    }

    fn path(&self, name: &str) -> Path {
        // Names are plain, so that parsing them piece by piece changes nothing.
        Path::from_iter(self.prefix.parts().chain(Path::from(name).parts()))
    }
}

fn is_loopback(endpoint: &str) -> bool {
    let authority = endpoint.trim_start_matches("http://");
    let authority = authority.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn failed(name: &str, error: object_store::Error) -> Error {
    let what = name.to_owned();
    match error {
        object_store::Error::NotFound { .. } => Error::NotFound { what },
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => Error::Configuration(format!(
            "the S3 store denies access to {what}: check the access key and the bucket's policy"
        )),
        other => Error::Unavailable {
            what: format!("the S3 store, for {what},"),
            cause: Cause(other.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_reached_without_tls() {
        for yes in [
            "http://127.0.0.1:9000",
            "http://[::1]:9000/x",
            "http://localhost",
        ] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in [
            "http://127.0.0.1.example.org",
            "http://10.0.0.1:9000",
            "http://localhost.org",
        ] {
            assert!(!is_loopback(no), "{no}");
        }
    }
}
