//! What the vault's tests share: a small consortium whose contract really runs, a hospital's vault,
//! and people who seal, read and open.

#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]
#![allow(dead_code, reason = "every test file uses its own part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use salus_contract::{BlockContext, Overlay, apply, genesis, prepare};
use salus_crypto::Secret;
use salus_crypto::keys::SecretKeys;
use salus_envelope::open;
use salus_envelope::seal::{Author, BatchBuilder, ClassKey, Item};
use salus_envelope::share::{RecordKeyOf, fresh_class_keys, unwrap_class_key, unwrap_record_key};
use salus_proto::command::{Action, Entry, Outcome};
use salus_proto::encode::to_bytes;
use salus_proto::ids::{
    AccessId, BatchId, ConsortiumId, OrganisationId, PatientAlias, PrincipalId, RecordId,
};
use salus_proto::member::{Founder, Genesis, Member};
use salus_proto::record::{Content, KeyClass, RecordKind, SealedBatch};
use salus_proto::role::{Basis, Decision, NodeRole, Purpose, Reason, Role};
use salus_proto::{Entropy as _, TimestampMs};
use salus_runtime::fault::FaultyDisk;
use salus_runtime::table::Database;
use salus_runtime::{BlobStore, ManualClock, SeededEntropy};
use salus_vault::{Grant, Parts, ReadOrder, Release, Vault};

pub(crate) const CONSORTIUM: ConsortiumId = ConsortiumId([0xc0; 16]);
pub(crate) const HOSPITAL: OrganisationId = OrganisationId([0x10; 16]);
pub(crate) const CLOUD: OrganisationId = OrganisationId([0x20; 16]);
pub(crate) const ALIAS: PatientAlias = PatientAlias([0xa1; 16]);
pub(crate) const OTHER_ALIAS: PatientAlias = PatientAlias([0xa2; 16]);
pub(crate) const START: TimestampMs = TimestampMs(1_795_341_600_000);

/// Somebody who signs.
pub(crate) struct Person {
    pub(crate) id: PrincipalId,
    pub(crate) keys: Arc<SecretKeys>,
    pub(crate) sequence: u64,
}

impl Person {
    fn new(n: u8) -> Self {
        let keys = SecretKeys::from_seeds(&[n; 32], &[n + 1; 32], &[n + 2; 32]).unwrap();
        Self {
            id: PrincipalId([n; 16]),
            keys: Arc::new(keys),
            sequence: 0,
        }
    }

    pub(crate) fn author(&self) -> Author<'_> {
        Author {
            consortium: CONSORTIUM,
            principal: self.id,
            keys: &self.keys,
        }
    }
}

/// The ledger: the real contract over a map.
pub(crate) struct World {
    pub(crate) state: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) clock: ManualClock,
    pub(crate) entropy: SeededEntropy,
    pub(crate) hospital: Person,
    pub(crate) cloud: Person,
    pub(crate) staff: Person,
    pub(crate) patient: Person,
    pub(crate) doctor: Person,
    pub(crate) stranger: Person,
}

impl World {
    /// A hospital and a cloud, their people authorised, one alias linked to the patient, another not.
    pub(crate) fn new(seed: u64) -> Self {
        let hospital = Person::new(0x10);
        let cloud = Person::new(0x20);
        let people = [0x30, 0x40, 0x50, 0x60].map(Person::new);
        let member = |person: &Person, role, name: &str| Member {
            organisation: OrganisationId(person.id.0),
            name: name.into(),
            roles: vec![role],
            keys: person.keys.public().clone(),
            engine_key: person.id.0.repeat(2).try_into().unwrap(),
            engine_address: "127.0.0.1:1".into(),
            api: "https://127.0.0.1:2".into(),
        };
        let roles = [Role::Staff, Role::Patient, Role::Doctor, Role::Doctor];
        let founders = people.iter().zip(roles).map(|(person, role)| Founder {
            principal: person.id,
            role,
            organisation: HOSPITAL,
            keys: person.keys.public().clone(),
        });
        let state = genesis(&Genesis {
            version: 1,
            consortium: CONSORTIUM,
            name: "test".into(),
            created: START,
            members: vec![
                member(&hospital, NodeRole::Hospital, "North"),
                member(&cloud, NodeRole::Cloud, "Cloud"),
            ],
            founders: founders.collect(),
        })
        .unwrap();
        let [staff, patient, doctor, stranger] = people;
        let mut world = Self {
            state,
            entries: Vec::new(),
            clock: ManualClock::new(START),
            entropy: SeededEntropy::with_stream(seed, 1),
            hospital,
            cloud,
            staff,
            patient,
            doctor,
            stranger,
        };
        for alias in [ALIAS, OTHER_ALIAS] {
            world.act(|w| &mut w.hospital, Action::OpenPatient { alias });
        }
        let patient = world.patient.id;
        let link = Action::LinkPatient {
            alias: ALIAS,
            patient,
        };
        world.act(|w| &mut w.hospital, link);
        world
    }

    pub(crate) fn now(&self) -> TimestampMs {
        salus_runtime::Clock::now(&self.clock)
    }

    /// Signs and applies a command, which must be accepted.
    pub(crate) fn act(&mut self, who: fn(&mut Self) -> &mut Person, action: Action) -> Entry {
        let expires = self.now().plus_ms(60_000);
        let person = who(self);
        person.sequence += 1;
        let sequence = person.sequence;
        let command = person.author().command(sequence, expires, action);
        let entry = self.submit(&command);
        assert_eq!(entry.outcome, Outcome::Accepted);
        entry
    }

    /// Applies a signed command.
    pub(crate) fn submit(&mut self, command: &[u8]) -> Entry {
        let context = BlockContext {
            height: self.entries.len() as u64 + 1,
            time: self.now(),
            index: self.entries.len() as u64,
        };
        let prepared = prepare(&self.state, command).unwrap();
        let mut overlay = Overlay::new(&self.state);
        let entry = apply(&mut overlay, &prepared, context).unwrap();
        for (key, value) in overlay.into_writes() {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        self.entries.push(entry.clone());
        entry
    }

    /// The vault of the hospital over this database and disk.
    pub(crate) async fn vault(&self, database: &Database, disk: &Arc<FaultyDisk>) -> Vault {
        self.vault_of(&self.hospital, database, disk).await
    }

    pub(crate) async fn vault_of(
        &self,
        member: &Person,
        database: &Database,
        disk: &Arc<FaultyDisk>,
    ) -> Vault {
        Vault::new(Parts {
            database: database.clone(),
            blobs: BlobStore::on_disk(Arc::clone(disk) as _).await.unwrap(),
            clock: Arc::new(self.clock.clone()),
            entropy: Box::new(SeededEntropy::with_stream(7, u64::from(member.id.0[0]))),
            organisation: OrganisationId(member.id.0),
            keys: Arc::clone(&member.keys),
        })
    }

    /// An intake by the hospital's staff: `count` clinical records and one of identity, under fresh
    /// class keys.
    pub(crate) fn intake(&mut self, alias: PatientAlias, n: u8, count: usize) -> Intake {
        let keys = fresh_class_keys(
            alias,
            self.hospital.id,
            &self.hospital.keys.x_wing().recipient(),
            &mut self.entropy,
        )
        .unwrap();
        let mut intake = Intake {
            alias,
            keys: keys.keys,
            records: Vec::new(),
            batch: None,
        };
        intake.batch = Some(self.sealed(&mut intake, n, count, keys.wraps));
        intake
    }

    /// Another batch for the same patient, under the same class keys.
    pub(crate) fn more(&mut self, intake: &mut Intake, n: u8, count: usize) -> SealedBatch {
        self.sealed(intake, n, count, Vec::new())
    }

    fn sealed(
        &mut self,
        intake: &mut Intake,
        n: u8,
        count: usize,
        wraps: Vec<salus_proto::record::ClassWrap>,
    ) -> SealedBatch {
        self.staff.sequence += 1;
        let now = self.now();
        let mut builder = BatchBuilder::new(
            self.staff.author(),
            HOSPITAL,
            intake.alias,
            BatchId([n; 16]),
            now,
        );
        builder.name(format!("Patient {n:02x}"));
        builder.class_wraps(wraps);
        for index in 0..=count {
            let (kind, class) = match index {
                0 => (RecordKind::Demographics, KeyClass::Identity),
                1 => (RecordKind::Document, KeyClass::Medical),
                _ => (RecordKind::Vitals, KeyClass::Medical),
            };
            let item = Item {
                record: RecordId::random(&mut self.entropy),
                version: 1,
                kind,
                class,
                content: content(&format!("{n}/{index}"), &mut self.entropy),
                signed: kind == RecordKind::Document,
            };
            let key = ClassKey {
                epoch: 1,
                key: &intake.keys[class as usize],
            };
            builder.add(&item, key, &mut self.entropy).unwrap();
            intake.records.push(item);
        }
        let sequence = self.staff.sequence;
        builder.finish(sequence, None).unwrap()
    }

    /// Stages a batch, anchors it on the ledger and tells the vault.
    pub(crate) async fn take_in(&mut self, vault: &Vault, batch: &SealedBatch) -> u64 {
        let checked = vault.check(&to_bytes(batch), &self.state).unwrap();
        let id = checked.manifest().batch;
        vault.stage(checked).await.unwrap();
        let entry = self.submit(&batch.command);
        assert_eq!(entry.outcome, Outcome::Accepted);
        vault.anchored(id, entry.index).await.unwrap();
        entry.index
    }

    /// A request for access, approved by the hospital.
    pub(crate) fn approved(
        &mut self,
        who: fn(&mut Self) -> &mut Person,
        n: u8,
        classes: Vec<KeyClass>,
        purpose: Purpose,
    ) -> AccessId {
        let access = AccessId([n; 16]);
        let until = self.now().plus_ms(86_400_000);
        let request = Action::RequestAccess {
            access,
            alias: ALIAS,
            classes,
            purpose,
            until,
        };
        self.act(who, request);
        let decide = Action::DecideAccess {
            access,
            decision: Decision::Approve,
            reason: Reason::IdentityVerified,
            basis: Basis::Person,
        };
        self.act(|w| &mut w.hospital, decide);
        access
    }

    /// A final receipt for these records.
    pub(crate) fn receipt(
        &mut self,
        who: fn(&mut Self) -> &mut Person,
        alias: PatientAlias,
        access: Option<AccessId>,
        records: &[RecordId],
        purpose: Purpose,
    ) -> Entry {
        let mut records = records.to_vec();
        records.sort_unstable();
        let read = Action::ReadRecords {
            alias,
            access,
            records,
            purpose,
        };
        self.act(who, read)
    }

    pub(crate) fn order(&self, entry: &Entry) -> Result<ReadOrder, salus_vault::Error> {
        ReadOrder::from_entry(entry, &self.state, HOSPITAL, self.now())
    }

    pub(crate) fn grant(&self, access: AccessId) -> Option<Grant> {
        Grant::of(&self.state, access, HOSPITAL, self.now()).unwrap()
    }
}

/// What was taken in, with what opens it.
pub(crate) struct Intake {
    pub(crate) alias: PatientAlias,
    pub(crate) keys: [Secret; 3],
    pub(crate) records: Vec<Item>,
    pub(crate) batch: Option<SealedBatch>,
}

impl Intake {
    pub(crate) fn batch(&self) -> &SealedBatch {
        self.batch.as_ref().unwrap()
    }

    pub(crate) fn batch_id(&self) -> BatchId {
        let signed = salus_crypto::hybrid::Signed::parse(&self.batch().manifest).unwrap();
        let manifest: salus_proto::record::Manifest =
            salus_proto::encode::from_bytes(signed.payload().unwrap(), 1 << 14, "").unwrap();
        manifest.batch
    }

    pub(crate) fn ids(&self) -> Vec<RecordId> {
        self.records.iter().map(|item| item.record).collect()
    }

    pub(crate) fn content(&self, record: RecordId) -> &Content {
        &self
            .records
            .iter()
            .find(|i| i.record == record)
            .unwrap()
            .content
    }
}

pub(crate) fn content(body: &str, entropy: &mut SeededEntropy) -> Content {
    Content {
        media_type: "text/plain".into(),
        title: String::new(),
        salt: entropy.array(),
        body: body.as_bytes().to_vec(),
    }
}

/// Opens everything released, as the reader's own client does.
pub(crate) async fn opened(
    vault: &Vault,
    reader: &Person,
    order: &ReadOrder,
    release: &Release,
    alias: PatientAlias,
) -> Result<BTreeMap<RecordId, Content>, salus_envelope::Error> {
    let mut contents = BTreeMap::new();
    for released in &release.records {
        let anchor = &released.anchor;
        let blob = vault
            .sealed(order, anchor.record, 0..u64::MAX)
            .await
            .unwrap();
        let key = if let Some(wrap) = &released.record_wrap {
            unwrap_record_key(wrap, reader.keys.x_wing())?
        } else {
            let wrap = release
                .class_wraps
                .iter()
                .find(|w| (w.class, w.epoch) == (anchor.class, released.key_epoch))
                .ok_or(salus_envelope::Error::NoKey {
                    record: anchor.record,
                })?;
            let class_key = unwrap_class_key(wrap, reader.keys.x_wing())?;
            let context = open::key_wrap_context(alias, anchor, released.key_epoch);
            open::record_key(&context, &class_key, released.key_wrap.as_ref().unwrap())?
        };
        let context = open::record_context(alias, released.signer, anchor);
        contents.insert(anchor.record, open::open(&context, anchor, &key, &blob)?);
    }
    Ok(contents)
}

/// A batch by `author` with one record shared with these people only.
pub(crate) fn shared_batch(
    world: &mut World,
    who: fn(&mut World) -> &mut Person,
    n: u8,
    kind: RecordKind,
    recipients: &[(PrincipalId, Arc<SecretKeys>, Option<AccessId>)],
    consultation: Option<salus_proto::ids::ConsultationId>,
) -> (SealedBatch, Item) {
    let item = Item {
        record: RecordId::random(&mut world.entropy),
        version: 1,
        kind,
        class: KeyClass::Medical,
        content: content(&format!("shared {n}"), &mut world.entropy),
        signed: true,
    };
    let mut entropy = SeededEntropy::with_stream(u64::from(n), 3);
    let now = world.now();
    let person = who(world);
    person.sequence += 1;
    let sequence = person.sequence;
    let mut builder = BatchBuilder::new(person.author(), HOSPITAL, ALIAS, BatchId([n; 16]), now);
    let keys: Vec<_> = recipients
        .iter()
        .map(|(_, keys, _)| keys.x_wing().recipient())
        .collect();
    let to: Vec<_> = recipients
        .iter()
        .zip(&keys)
        .map(|((recipient, _, access), key)| RecordKeyOf {
            recipient: *recipient,
            key,
            access: *access,
        })
        .collect();
    builder.add_for(&item, &to, &mut entropy).unwrap();
    (builder.finish(sequence, consultation).unwrap(), item)
}
