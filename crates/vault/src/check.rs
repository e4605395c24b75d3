//! From uploaded bytes to a batch that may be stored: signatures, ledger, keys and bindings.

use std::collections::BTreeMap;

use salus_contract::state::StateRead;
use salus_contract::table::{Batches, Keys, Members, Patients, Principals, Standing, get};
use salus_crypto::Secret;
use salus_crypto::digest::{Sha256, sha256};
use salus_crypto::keys::PeerKeys;
use salus_envelope::open::{check_binding, key_wrap_context, record_context, record_key};
use salus_envelope::share::unwrap_class_key;
use salus_envelope::verify;
use salus_proto::Digest;
use salus_proto::encode::to_bytes;
use salus_proto::ids::{OrganisationId, PrincipalId};
use salus_proto::record::{ClassWrap, KeyClass, Manifest, RecordAnchor, SealedBatch};

use crate::{Error, Shared, Vault};

/// A batch whose signatures, digests and place on the ledger were checked.
#[derive(Debug)]
pub struct Checked {
    pub(crate) batch: SealedBatch,
    pub(crate) manifest: Manifest,
    pub(crate) custodian: OrganisationId,
    /// Names the content of the upload, whatever command comes with it.
    pub(crate) fingerprint: Digest,
    /// The entry that anchored it, if the ledger has it already.
    pub(crate) entry: Option<u64>,
}

impl Checked {
    /// What its signer vouches for.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The signed command that anchors it.
    pub fn command(&self) -> &[u8] {
        &self.batch.command
    }

    /// The entry that anchored it, if the ledger has it already.
    pub fn entry(&self) -> Option<u64> {
        self.entry
    }
}

impl Vault {
    /// Checks an upload against the ledger: both signatures with the keys of an authorised signer,
    /// every digest and statement, that this organisation keeps the patient's records. Takes long:
    /// call it on a thread that may block.
    ///
    /// # Errors
    /// [`Error::Envelope`], [`Error::UnknownSigner`], [`Error::NotCustodian`],
    /// [`Error::BatchTaken`] if the ledger has another batch under this id.
    pub fn check(&self, bytes: &[u8], state: &dyn StateRead) -> Result<Checked, Error> {
        let checked = check_upload(bytes, state)?;
        if checked.custodian == self.organisation() {
            Ok(checked)
        } else {
            Err(Error::NotCustodian {
                alias: checked.manifest.alias,
            })
        }
    }

    /// Checks what a custodian replicates: a batch of another organisation that is on the ledger
    /// already and comes without keys.
    ///
    /// # Errors
    /// [`Error::Envelope`], [`Error::NotCustodian`]; [`Error::NotAnchored`] when the ledger does not
    /// have the batch yet.
    pub fn check_replica(&self, bytes: &[u8], state: &dyn StateRead) -> Result<Checked, Error> {
        let batch = verify::decode(bytes)?;
        let claimed = verify::claimed_batch(&batch)?;
        let anchored =
            get::<Batches>(state, &claimed).ok_or(Error::NotAnchored { batch: claimed })?;
        let manifest = verify::verify_replica(&batch, anchored.manifest)?;
        let checked = Checked::new(batch, manifest, state, Some(anchored.entry))?;
        if checked.custodian == self.organisation() {
            return Err(Error::NotCustodian {
                alias: checked.manifest.alias,
            });
        }
        Ok(checked)
    }
}

fn check_upload(bytes: &[u8], state: &dyn StateRead) -> Result<Checked, Error> {
    let batch = verify::decode(bytes)?;
    let signer = verify::claimed_signer(&batch)?;
    let keys = acting(state, signer)
        .then(|| get::<Keys>(state, &signer))
        .flatten()
        .ok_or(Error::UnknownSigner { signer })?;
    let manifest = verify::verify(&batch, &PeerKeys::parse(&keys)?)?;
    let anchored = get::<Batches>(state, &manifest.batch);
    if let Some(anchored) = &anchored
        && anchored.manifest != sha256(&batch.manifest)
    {
        return Err(Error::BatchTaken {
            batch: manifest.batch,
        });
    }
    let entry = anchored.map(|batch| batch.entry);
    Checked::new(batch, manifest, state, entry)
}

impl Checked {
    fn new(
        batch: SealedBatch,
        manifest: Manifest,
        state: &dyn StateRead,
        entry: Option<u64>,
    ) -> Result<Self, Error> {
        let alias = manifest.alias;
        let custodian = get::<Patients>(state, &alias)
            .map(|patient| patient.custodian)
            .filter(|custodian| *custodian == manifest.organisation)
            .ok_or(Error::NotCustodian { alias })?;
        Ok(Self {
            fingerprint: fingerprint(&batch),
            batch,
            manifest,
            custodian,
            entry,
        })
    }
}

/// Whether a principal may act: authorised, and its organisation still a member.
pub(crate) fn acting(state: &dyn StateRead, id: PrincipalId) -> bool {
    let members = Members::of(state);
    get::<Principals>(state, &id).is_some_and(|principal| {
        let seated = |members: Members| members.find(principal.organisation).is_some();
        matches!(principal.standing, Standing::Authorised { .. }) && members.is_some_and(seated)
    })
}

/// SHA-256 over everything in a batch but its command, which is signed anew when it has expired.
fn fingerprint(batch: &SealedBatch) -> Digest {
    let mut hash = Sha256::new();
    hash.update(&to_bytes(&batch.manifest.len()));
    hash.update(&batch.manifest);
    hash.update(&to_bytes(&batch.class_wraps));
    hash.update(&to_bytes(&batch.record_wraps));
    hash.update(&to_bytes(&batch.name));
    for record in &batch.records {
        hash.update(&to_bytes(&record.key_wrap));
    }
    hash.finish()
}

impl Shared {
    /// Opens class keys that are wrapped to this organisation.
    pub(crate) fn class_keys<'w>(
        &self,
        wraps: impl IntoIterator<Item = &'w ClassWrap>,
    ) -> Result<BTreeMap<(KeyClass, u32), Secret>, Error> {
        wraps
            .into_iter()
            .map(|wrap| {
                let key = self.open(|secret| unwrap_class_key(wrap, secret))?;
                Ok(((wrap.class, wrap.epoch), key))
            })
            .collect()
    }
}

/// Checks that every record under a class key opens: its key wrap under that class key, and its
/// sealed bytes under that record key for this patient. So nothing is taken in that nobody can read,
/// and no blob of one patient goes in under another.
pub(crate) fn check_keys(
    checked: &Checked,
    class_keys: &BTreeMap<(KeyClass, u32), Secret>,
) -> Result<(), Error> {
    let manifest = &checked.manifest;
    for (anchor, record) in checked.batch.anchors.iter().zip(&checked.batch.records) {
        let Some(key_wrap) = &record.key_wrap else {
            continue;
        };
        let class_key = class_keys
            .get(&(anchor.class, anchor.epoch))
            .ok_or(Error::WrongEpoch {
                class: anchor.class,
                epoch: anchor.epoch,
            })?;
        let context = key_wrap_context(manifest.alias, anchor, anchor.epoch);
        let key = record_key(&context, class_key, key_wrap)?;
        if let Some(blob) = &record.blob {
            check_binding(
                &record_context(manifest.alias, manifest.signer, anchor),
                &key,
                blob,
            )?;
        }
    }
    Ok(())
}

/// The class keys that a batch's records need, ascending.
pub(crate) fn needed_keys(anchors: &[RecordAnchor]) -> Vec<(KeyClass, u32)> {
    let mut needed: Vec<_> = anchors
        .iter()
        .filter(|anchor| anchor.epoch > 0)
        .map(|anchor| (anchor.class, anchor.epoch))
        .collect();
    needed.sort_unstable();
    needed.dedup();
    needed
}
