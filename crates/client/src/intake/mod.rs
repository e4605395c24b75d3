//! Intake: what a hospital collected, cut into pieces, sealed here, uploaded, anchored.
//!
//! ```text
//!  file --pieces::*--> Piece (plain) --Intake::store--> SealedBatch --> node --> ledger
//!                        kind, class                      |
//!                                      only the patient's name stays readable
//! ```
//!
//! Batch and record ids are keyed digests of the alias and the source, so a piece that is taken in
//! twice has the same id both times: what the ledger has already is left out, whatever file it comes
//! in this time.

pub mod pieces;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use salus_crypto::digest::{Secret, derive, hmac_sha256};
use salus_crypto::keys::SecretKeys;
use salus_crypto::label;
use salus_envelope::seal::{BatchBuilder, ClassKey, Item};
use salus_envelope::share::{fresh_class_keys, unwrap_class_key};
use salus_proto::api::patient::SealingKeys;
use salus_proto::command::Action;
use salus_proto::ids::{BatchId, OrganisationId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::{ClassWrap, Content, KeyClass, SealedBatch};
use salus_proto::{Digest, Entropy};

use self::pieces::Piece;
use crate::error::{Error, Result};
use crate::person::Person;

/// Most records of one batch; keeps the memory of a node and of an import bounded.
const RECORDS_PER_BATCH: usize = 1024;
/// Most plain bytes of one batch, a single larger piece aside.
const BYTES_PER_BATCH: usize = 16 << 20;

/// A hospital's intake, in a session of the organisation itself at its own node.
pub struct Intake {
    person: Person,
    custodian: OrganisationId,
    secret: Secret,
    profile: Profile,
    patients: Mutex<BTreeMap<PatientAlias, Arc<tokio::sync::Mutex<Option<Known>>>>>,
}

/// Whether patients' names stay readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Everything but the name is sealed.
    Default,
    /// The name too.
    Strict,
}

/// What an import knows of a patient whose records it adds to.
struct Known {
    /// The current class keys and their epochs, which differ once an access was revoked.
    keys: BTreeMap<KeyClass, (u32, Secret)>,
    /// Records that are on the ledger.
    records: BTreeSet<RecordId>,
}

/// A patient as an import knows them.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The alias under which the ledger knows them.
    pub alias: PatientAlias,
    /// Whether this import has just made the alias up, so that it must be opened first.
    pub fresh: bool,
}

/// What became of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Records that are on the ledger now because of this call.
    pub records: usize,
    /// Records that had been taken in before.
    pub known: usize,
}

impl core::fmt::Debug for Intake {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Intake")
            .field("custodian", &self.custodian)
            .finish_non_exhaustive()
    }
}

/// The secret behind an organisation's tokens, if it was made from these keys.
pub fn token_secret(keys: &SecretKeys) -> Secret {
    derive(&keys.to_keyring_bytes(), &[], label::INTAKE_TOKEN, &[])
}

impl Intake {
    /// Intake for the organisation whose session `person` is.
    pub fn new(person: Person, profile: Profile) -> Self {
        let secret = token_secret(person.keys());
        Self::with_secret(person, profile, secret)
    }

    /// The same under the token secret of keys that the organisation has replaced, so that what was
    /// taken in under them is recognised.
    pub fn with_secret(person: Person, profile: Profile, secret: Secret) -> Self {
        let custodian = person.organisation();
        Self {
            person,
            custodian,
            secret,
            profile,
            patients: Mutex::default(),
        }
    }

    /// The session.
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// A keyed name of something that was taken in: the same text gives the same token, and the
    /// token tells nobody the text.
    pub fn token(&self, kind: &str, text: &[&[u8]]) -> Digest {
        let mut pieces = vec![kind.as_bytes(), &[0]];
        let lengths: Vec<[u8; 8]> = text
            .iter()
            .map(|t| (t.len() as u64).to_be_bytes())
            .collect();
        for (length, piece) in lengths.iter().zip(text) {
            pieces.push(length);
            pieces.push(piece);
        }
        Digest(hmac_sha256(&*self.secret, &pieces))
    }

    /// Opens the alias on the ledger; an alias that is open already is left as it is.
    pub async fn open_patient(&self, alias: PatientAlias) -> Result<()> {
        match self.person.act(Action::OpenPatient { alias }).await {
            Err(error) if error.code() == Some("already-exists") => Ok(()),
            other => other.map(drop),
        }
    }

    /// Seals pieces of one source and stores them under an alias. `source` tells this source from
    /// every other (for example its digest).
    pub async fn store(
        &self,
        subject: &Subject,
        source: &Digest,
        name: Option<&str>,
        pieces: Vec<Piece>,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<Stored> {
        let alias = subject.alias;
        let place = {
            let mut patients = self.patients.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(patients.entry(alias).or_default())
        };
        // One batch of a patient at a time: the first one brings the class keys along.
        let mut known = place.lock().await;
        if subject.fresh && known.is_none() {
            self.open_patient(alias).await?;
        }
        let mut stored = Stored::default();
        for (part, mut pieces) in (0_u32..).zip(portions(pieces)) {
            let batch = BatchId(self.id(b"batch", alias, source, &part.to_be_bytes()));
            let (mut patient, wraps) = match known.take() {
                Some(patient) => (patient, Vec::new()),
                None => self.patient(alias, entropy).await?,
            };
            let all = pieces.len();
            let mut records = BTreeSet::new();
            pieces.retain(|piece| {
                let record = self.record(alias, piece);
                !patient.records.contains(&record) && records.insert(record)
            });
            stored.known += all - pieces.len();
            if pieces.is_empty() {
                if wraps.is_empty() {
                    *known = Some(patient);
                }
                continue;
            }
            let sealed = self.seal(alias, batch, name, pieces, &patient.keys, wraps, entropy)?;
            // After a failure the keys at hand may be fresh ones that the node never got, so they
            // are fetched again.
            self.person.upload(sealed).await?;
            stored.records += records.len();
            patient.records.extend(records);
            *known = Some(patient);
        }
        Ok(stored)
    }

    fn record(&self, alias: PatientAlias, piece: &Piece) -> RecordId {
        RecordId(self.id(b"record", alias, &piece.source, &[]))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "everything that one batch is made of"
    )]
    fn seal(
        &self,
        alias: PatientAlias,
        batch: BatchId,
        name: Option<&str>,
        pieces: Vec<Piece>,
        keys: &BTreeMap<KeyClass, (u32, Secret)>,
        wraps: Vec<ClassWrap>,
        entropy: &mut dyn Entropy,
    ) -> Result<SealedBatch> {
        let author = self.person.author();
        let now = self.person.now();
        let mut builder = BatchBuilder::new(author, self.custodian, alias, batch, now);
        builder.class_wraps(wraps);
        if let (Some(name), Profile::Default) = (name, self.profile) {
            builder.name(name.to_owned());
        }
        for piece in pieces {
            let record = self.record(alias, &piece);
            let mut salt = [0; 16];
            if piece.signed {
                entropy.fill(&mut salt);
            }
            let item = Item {
                record,
                version: 1,
                kind: piece.kind,
                class: piece.class,
                content: Content {
                    media_type: piece.media_type,
                    title: piece.title,
                    salt,
                    body: piece.body,
                },
                signed: piece.signed,
            };
            let (epoch, key) = keys.get(&piece.class).ok_or(salus_envelope::Error::NoKey {
                record: item.record,
            })?;
            let key = ClassKey { epoch: *epoch, key };
            builder.add(&item, key, entropy)?;
        }
        Ok(builder.finish(self.person.next_sequence(), None)?)
    }

    fn id(&self, kind: &[u8], alias: PatientAlias, source: &Digest, part: &[u8]) -> [u8; 16] {
        let Digest(token) = self.token("id", &[kind, alias.as_bytes(), source.as_bytes(), part]);
        let mut id = [0; 16];
        id.iter_mut().zip(token).for_each(|(to, from)| *to = from);
        id
    }

    /// What is known of a patient: for one without class keys fresh ones, with wraps to go along;
    /// otherwise the custodian's own keys and the records.
    async fn patient(
        &self,
        alias: PatientAlias,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<(Known, Vec<ClassWrap>)> {
        let recipient = PrincipalId(self.custodian.0);
        let path = format!("/patients/{alias}/sealing-keys");
        let held: SealingKeys = self.person.node().get(&path).await?;
        if held.class_wraps.is_empty() {
            let own = self.person.keys().x_wing().recipient();
            let fresh = fresh_class_keys(alias, recipient, &own, entropy)?;
            let keys = fresh.keys.into_iter().map(|key| (1, key));
            let known = Known {
                keys: KeyClass::ALL.into_iter().zip(keys).collect(),
                records: BTreeSet::new(),
            };
            return Ok((known, fresh.wraps));
        }
        let mut keys = BTreeMap::new();
        for wrap in held.class_wraps {
            let (class, epoch) = (wrap.class, wrap.epoch);
            let wrap = ClassWrap {
                alias,
                class,
                epoch,
                recipient,
                access: None,
                wrap: wrap.wrap.0,
            };
            let key = unwrap_class_key(&wrap, self.person.keys().x_wing())?;
            keys.insert(class, (epoch, key));
        }
        let records = self.person.sealed_records(alias).await?;
        let records = records.into_iter().map(|record| record.record).collect();
        Ok((Known { keys, records }, Vec::new()))
    }
}

/// Cuts pieces into batches of bounded size.
fn portions(pieces: Vec<Piece>) -> Vec<Vec<Piece>> {
    let mut portions: Vec<Vec<Piece>> = Vec::new();
    let mut bytes = 0;
    for piece in pieces {
        let size = piece.body.len();
        match portions.last_mut() {
            Some(last) if last.len() < RECORDS_PER_BATCH && bytes + size <= BYTES_PER_BATCH => {
                bytes += size;
                last.push(piece);
            }
            _ => {
                bytes = size;
                portions.push(vec![piece]);
            }
        }
    }
    portions
}

impl From<salus_clinical::Error> for Error {
    fn from(error: salus_clinical::Error) -> Self {
        Self::Source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use salus_proto::record::RecordKind;

    #[test]
    fn portions_keep_order_and_bounds() {
        let piece = |n: usize| Piece {
            source: Digest([0; 32]),
            kind: RecordKind::Other,
            class: KeyClass::Medical,
            media_type: String::new(),
            title: n.to_string(),
            body: vec![0; if n == 5 { BYTES_PER_BATCH + 1 } else { 10 }],
            signed: false,
        };
        let portions = portions((0..2 * RECORDS_PER_BATCH).map(piece).collect());
        let titles: Vec<String> = portions.iter().flatten().map(|p| p.title.clone()).collect();
        let expected: Vec<String> = (0..2 * RECORDS_PER_BATCH).map(|n| n.to_string()).collect();
        assert_eq!(titles, expected);
        let lengths: Vec<usize> = portions.iter().map(Vec::len).collect();
        assert_eq!(lengths, [5, 1, RECORDS_PER_BATCH, RECORDS_PER_BATCH - 6]);
    }
}
