//! The scrubber: reads every stored blob again, and brings back from a replica what is not what was
//! stored.

use core::fmt;
use core::pin::Pin;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use salus_crypto::digest::sha256;
use salus_proto::Digest;
use salus_proto::ids::RecordId;
use salus_runtime::blob::{self, Location, ObjectName, Place, SMALL_MAX, UploadId};
use salus_runtime::{params, transact};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::incident;
use crate::{Error, Incident, Vault};

/// Where lost bytes come back from: another member that holds a replica.
pub trait ReplicaSource: Send + Sync {
    /// The blob with this digest and length. What it gives is checked, never believed.
    fn fetch(
        &self,
        digest: Digest,
        length: u64,
    ) -> BoxFuture<'_, Result<Pin<Box<dyn AsyncRead + Send>>, SourceFailed>>;
}

/// A replica does not have a blob or does not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the replica did not give the blob: {0}")]
pub struct SourceFailed(pub String);

/// What a scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Blobs that were read and are whole.
    pub whole: u64,
    /// Bytes of the blobs that were read.
    pub bytes: u64,
    /// What was not, each recorded.
    pub incidents: Vec<Incident>,
}

impl fmt::Debug for dyn ReplicaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplicaSource")
    }
}

impl Vault {
    /// Reads every stored blob and checks it against its digest. What is altered or missing is
    /// fetched from `source`, checked, and stored in its place; the damaged object goes to
    /// quarantine. Every finding is recorded as an incident, restored or not; what was found before
    /// and still is not restored is not recorded again.
    ///
    /// # Errors
    /// Failures of disk and database other than damage.
    pub async fn scrub(&self, source: Option<&dyn ReplicaSource>) -> Result<Scrubbed, Error> {
        let mut scrubbed = Scrubbed::default();
        let mut after = None;
        while let Some((object, step)) = self.scrub_next(after, source).await? {
            scrubbed.whole += step.whole;
            scrubbed.bytes += step.bytes;
            scrubbed.incidents.extend(step.incidents);
            after = Some(object);
        }
        Ok(scrubbed)
    }

    /// One step of [`Vault::scrub`]: the stored object after this one; `None` after the last.
    ///
    /// # Errors
    /// As [`Vault::scrub`].
    pub async fn scrub_next(
        &self,
        after: Option<ObjectName>,
        source: Option<&dyn ReplicaSource>,
    ) -> Result<Option<(ObjectName, Scrubbed)>, Error> {
        let Some(object) = self.next_object(after).await? else {
            return Ok(None);
        };
        let mut scrubbed = Scrubbed::default();
        match object {
            ObjectName::Pack(pack) => self.scrub_pack(pack, source, &mut scrubbed).await?,
            ObjectName::Large(digest) => {
                let location = read!(self.database(), |tx| {
                    blob::index::locate(tx, &digest).await
                })?;
                // It may have been erased a moment ago.
                if let Some(location) = location {
                    self.scrub_large(location, source, &mut scrubbed).await?;
                }
            }
            ObjectName::Part(..) => {}
        }
        Ok(Some((object, scrubbed)))
    }

    /// The stored object after this one, as the tables know them: packs, then large blobs.
    pub(crate) async fn next_object(
        &self,
        after: Option<ObjectName>,
    ) -> Result<Option<ObjectName>, Error> {
        let (pack, large) = match after {
            None => (Some(Vec::new()), Vec::new()),
            Some(ObjectName::Pack(pack)) => (Some(pack.0.to_vec()), Vec::new()),
            Some(ObjectName::Large(digest)) => (None, digest.0.to_vec()),
            Some(ObjectName::Part(..)) => return Ok(None),
        };
        read!(self.database(), |tx| {
            if let Some(pack) = pack {
                let next: Option<(Digest,)> = tx
                    .optional(
                        "SELECT pack FROM blob WHERE pack IS NOT NULL AND pack > $1
                         ORDER BY pack LIMIT 1",
                        &params![pack],
                    )
                    .await?;
                if let Some((pack,)) = next {
                    return Ok(Some(ObjectName::Pack(pack)));
                }
            }
            let next: Option<(Digest,)> = tx
                .optional(
                    "SELECT digest FROM blob WHERE pack IS NULL AND digest > $1
                     ORDER BY digest LIMIT 1",
                    &params![large],
                )
                .await?;
            Ok(next.map(|(digest,)| ObjectName::Large(digest)))
        })
    }

    async fn scrub_pack(
        &self,
        pack: Digest,
        source: Option<&dyn ReplicaSource>,
        scrubbed: &mut Scrubbed,
    ) -> Result<(), Error> {
        let object = ObjectName::Pack(pack);
        let locations = read!(self.database(), |tx| {
            blob::index::in_pack(tx, &pack).await
        })?;
        scrubbed.bytes += locations
            .iter()
            .map(|location| location.length)
            .sum::<u64>();
        let verified = match self.blobs().verify(object).await {
            Ok(verified) => Some(verified),
            Err(error) if is_damage(&error) => None,
            Err(error) => return Err(error.into()),
        };
        let sound = verified.is_some_and(|verified| {
            verified.damaged.is_empty() && locations.iter().all(|l| verified.whole.contains(l))
        });
        if sound {
            scrubbed.whole += locations.len() as u64;
            return Ok(());
        }
        let mut kept: Vec<(Digest, Bytes)> = Vec::new();
        let mut restored: Vec<(Digest, Bytes)> = Vec::new();
        let mut wrong: Vec<(Location, bool)> = Vec::new();
        for location in &locations {
            match self.blobs().get(location).await {
                Ok(bytes) => {
                    scrubbed.whole += 1;
                    kept.push((location.digest, bytes));
                }
                Err(error) if is_damage(&error) => {
                    let bytes = fetch_small(source, location).await;
                    wrong.push((*location, bytes.is_some()));
                    restored.extend(bytes.map(|bytes| (location.digest, bytes)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let complete = wrong.iter().all(|(_, back)| *back);
        if wrong.is_empty() {
            // Every blob is whole; what was altered is the pack's own index, or bytes after its end.
            wrong.push((
                Location {
                    digest: pack,
                    length: 0,
                    place: Place::Pack { pack, offset: 0 },
                },
                true,
            ));
        }
        let together = if complete {
            self.quarantine(object).await?;
            // In the order of the pack, so that it gets its own name again.
            let mut all = Vec::with_capacity(locations.len());
            for location in &locations {
                let of = |list: &[(Digest, Bytes)]| {
                    let found = list.iter().find(|(digest, _)| *digest == location.digest);
                    found.cloned()
                };
                all.extend(of(&kept).or_else(|| of(&restored)));
            }
            all
        } else {
            restored
        };
        let places = self.blobs().put_pack(together).await?;
        self.record_findings(object, &places, wrong, scrubbed).await
    }

    async fn scrub_large(
        &self,
        location: Location,
        source: Option<&dyn ReplicaSource>,
        scrubbed: &mut Scrubbed,
    ) -> Result<(), Error> {
        let object = location.object();
        scrubbed.bytes += location.length;
        match self.blobs().verify(object).await {
            Ok(verified) if verified.whole.contains(&location) => {
                scrubbed.whole += 1;
                return Ok(());
            }
            Ok(_) => {}
            Err(error) if is_damage(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let mut places = Vec::new();
        if let Some(source) = source
            && let Ok(stream) = source.fetch(location.digest, location.length).await
        {
            let upload = self.shared.with_entropy(UploadId::random);
            let bounded = stream.take(location.length.saturating_add(1));
            match self
                .blobs()
                .put_large(upload, location.digest, bounded)
                .await
            {
                Ok(place) => places.push(place),
                Err(error) => {
                    tracing::warn!(%error, digest = %location.digest, "a replica's blob does not serve");
                    self.blobs().abort(upload).await?;
                }
            }
        }
        let back = !places.is_empty();
        self.record_findings(object, &places, vec![(location, back)], scrubbed)
            .await
    }

    async fn record_findings(
        &self,
        object: ObjectName,
        places: &[Location],
        wrong: Vec<(Location, bool)>,
        scrubbed: &mut Scrubbed,
    ) -> Result<(), Error> {
        let found = self.shared.clock.now();
        let incidents = transact!(self.database(), "record incidents", |tx| {
            blob::index::record(tx, places).await?;
            let mut incidents = Vec::with_capacity(wrong.len());
            for (location, restored) in &wrong {
                let record: Option<(RecordId,)> = tx
                    .optional(
                        "SELECT record FROM vault_record WHERE ciphertext = $1 LIMIT 1",
                        &params![location.digest],
                    )
                    .await?;
                let start = match location.place {
                    Place::Pack { offset, .. } => offset,
                    Place::Large => 0,
                };
                let mut incident = Incident {
                    incident: 0,
                    found,
                    digest: location.digest,
                    record: record.map(|(record,)| record),
                    object: object.to_string(),
                    bytes: start..start.saturating_add(location.length),
                    restored: *restored,
                };
                if incident::is_news(tx, &incident).await? {
                    incident::record(tx, &mut incident).await?;
                    incidents.push(incident);
                }
            }
            Ok::<_, Error>(incidents)
        })?;
        scrubbed.incidents.extend(incidents);
        Ok(())
    }

    async fn quarantine(&self, object: ObjectName) -> Result<(), Error> {
        match self.blobs().quarantine(object).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn is_damage(error: &salus_runtime::Error) -> bool {
    use salus_runtime::Error as E;
    matches!(error, E::Corrupt { .. } | E::NotFound { .. })
}

/// A small blob from a replica, if it is the right one.
async fn fetch_small(source: Option<&dyn ReplicaSource>, location: &Location) -> Option<Bytes> {
    if location.length > SMALL_MAX as u64 {
        return None;
    }
    let stream = source?.fetch(location.digest, location.length).await.ok()?;
    let mut bytes = Vec::new();
    let mut bounded = stream.take(location.length.saturating_add(1));
    bounded.read_to_end(&mut bytes).await.ok()?;
    (sha256(&bytes) == location.digest).then(|| Bytes::from(bytes))
}
