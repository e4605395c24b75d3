//! Who validates which heights. An epoch lasts until the members change, and then a little longer.
//!
//! ```text
//!             change of members is executed              last block of epoch 0
//!                         |                                       |
//! heights  1 ...          h         h+1 ...                     h + LAG | h + LAG + 1 ...
//!          epoch 0, old members ---------------------------------------> epoch 1, new members
//! ```
//!
//! Nobody votes for a height before having executed the block [`LAG`](crate::chain::LAG) below it, so that everyone who
//! votes knows where the epoch ends.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use commonware_codec::DecodeExt as _;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::types::{Epoch as EpochNumber, EpochInfo, Epocher, Height};
use commonware_cryptography::Signer as _;
use commonware_cryptography::certificate::{Provider, Scoped};
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_utils::ordered::Set;
use salus_ledger::MemberList;

use crate::Error;
use crate::store::{Epoch, Handover};

/// The last height of an epoch whose end is not decided.
const OPEN_END: u64 = u64::MAX - 1;

/// The epochs so far, shared by everything that needs to know who validates.
#[derive(Clone)]
pub(crate) struct Epochs {
    inner: Arc<RwLock<BTreeMap<u64, Known>>>,
    key: PrivateKey,
    namespace: Arc<[u8]>,
}

#[derive(Clone)]
struct Known {
    epoch: Epoch,
    members: Arc<MemberList>,
    scheme: Arc<Scheme>,
    signs: bool,
}

impl Epochs {
    pub(crate) fn new(key: PrivateKey, namespace: Vec<u8>) -> Self {
        Self {
            inner: Arc::default(),
            key,
            namespace: namespace.into(),
        }
    }

    /// Adds an epoch or updates its end.
    pub(crate) fn put(&self, number: u64, epoch: Epoch) -> Result<(), Error> {
        let members = MemberList::from_bytes(&epoch.members)?;
        let participants = engine_keys(&members)?;
        let signer = Scheme::signer(&self.namespace, participants.clone(), self.key.clone());
        let signs = signer.is_some();
        let scheme = signer.unwrap_or_else(|| Scheme::verifier(&self.namespace, participants));
        let known = Known {
            epoch,
            members: members.into(),
            scheme: scheme.into(),
            signs,
        };
        self.inner
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, known);
        Ok(())
    }

    fn known<T>(&self, number: u64, then: impl FnOnce(&Known) -> T) -> Option<T> {
        self.inner
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&number)
            .map(then)
    }

    /// An epoch's stored record.
    pub(crate) fn get(&self, number: u64) -> Option<Epoch> {
        self.known(number, |known| known.epoch.clone())
    }

    /// An epoch's members.
    pub(crate) fn members(&self, number: u64) -> Option<Arc<MemberList>> {
        self.known(number, |known| known.members.clone())
    }

    /// The members who validate `height` and sign what holds after it.
    pub(crate) fn members_at(&self, height: u64) -> Option<Arc<MemberList>> {
        self.members(self.number_at(height)?)
    }

    /// An epoch's signing or verifying scheme.
    pub(crate) fn scheme(&self, number: u64) -> Option<Scheme> {
        self.known(number, |known| (*known.scheme).clone())
    }

    /// Whether this member is the only one of an epoch.
    pub(crate) fn alone(&self, number: u64) -> bool {
        let alone = |known: &Known| known.signs && known.members.members().len() == 1;
        self.known(number, alone).unwrap_or(false)
    }

    /// Number of the epoch that holds `height`, as far as is known.
    pub(crate) fn number_at(&self, height: u64) -> Option<u64> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let (number, known) = inner
            .iter()
            .rev()
            .find(|(_, known)| known.epoch.first <= height)?;
        (height <= known.epoch.last.unwrap_or(OPEN_END)).then_some(*number)
    }

    /// Log sizes of the checkpoints that hand over from one epoch to the next.
    pub(crate) fn handovers(&self) -> Vec<u64> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner
            .values()
            .filter_map(|known| Some(known.epoch.handover.as_ref()?.size))
            .collect()
    }

    /// What the members of an epoch left behind, once it has ended.
    pub(crate) fn handover(&self, number: u64) -> Option<(Handover, Arc<MemberList>)> {
        self.known(number, |known| {
            Some((known.epoch.handover.clone()?, known.members.clone()))
        })?
    }

    /// The newest known epoch.
    pub(crate) fn latest(&self) -> Option<(u64, Epoch)> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner
            .last_key_value()
            .map(|(number, known)| (*number, known.epoch.clone()))
    }
}

impl std::fmt::Debug for Epochs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epochs").finish_non_exhaustive()
    }
}

/// The engine's keys of the members.
pub(crate) fn engine_keys(members: &MemberList) -> Result<Set<PublicKey>, Error> {
    let mut keys = Vec::new();
    for member in members.members() {
        keys.push(engine_key(&member.engine_key).ok_or_else(|| {
            Error::Configuration(format!(
                "member {} has no valid engine key",
                member.organisation
            ))
        })?);
    }
    let count = keys.len();
    let keys = Set::from_iter_dedup(keys);
    if keys.len() != count {
        return Err(Error::Configuration(
            "two members share an engine key".into(),
        ));
    }
    Ok(keys)
}

/// The engine's form of an Ed25519 public key.
pub(crate) fn engine_key(bytes: &[u8; 32]) -> Option<PublicKey> {
    PublicKey::decode(Bytes::copy_from_slice(bytes)).ok()
}

/// The engine's form of an Ed25519 secret key.
pub(crate) fn engine_secret(seed: &[u8; 32]) -> Result<PrivateKey, Error> {
    PrivateKey::decode(Bytes::copy_from_slice(seed))
        .map_err(|_| Error::Configuration("the engine key is not an Ed25519 seed".into()))
}

/// The public half of an engine key, as a genesis file states it.
///
/// # Errors
/// [`Error::Configuration`] if the seed is unusable.
pub fn engine_public(seed: &[u8; 32]) -> Result<[u8; 32], Error> {
    let public = engine_secret(seed)?.public_key();
    let mut bytes = [0; 32];
    bytes.copy_from_slice(public.as_ref());
    Ok(bytes)
}

impl Epocher for Epochs {
    fn containing(&self, height: Height) -> Option<EpochInfo> {
        let number = self.number_at(height.get())?;
        let (first, last) = (
            self.first(EpochNumber::new(number))?,
            self.last(EpochNumber::new(number))?,
        );
        Some(EpochInfo::new(
            EpochNumber::new(number),
            height,
            first,
            last,
        ))
    }

    fn first(&self, epoch: EpochNumber) -> Option<Height> {
        self.known(epoch.get(), |known| Height::new(known.epoch.first))
    }

    fn last(&self, epoch: EpochNumber) -> Option<Height> {
        self.known(epoch.get(), |known| {
            Height::new(known.epoch.last.unwrap_or(OPEN_END))
        })
    }
}

impl Provider for Epochs {
    type Scope = EpochNumber;
    type Scheme = Scheme;

    fn scoped(&self, epoch: EpochNumber) -> Option<Scoped<Scheme>> {
        self.known(epoch.get(), |known| {
            if known.signs {
                Scoped::scheme(known.scheme.clone())
            } else {
                Scoped::verifier(known.scheme.clone())
            }
        })
    }
}
