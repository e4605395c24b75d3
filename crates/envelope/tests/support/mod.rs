//! What the envelope's tests share: reproducible randomness, a hospital, and a small batch.

#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]

use salus_crypto::digest::sha256_of;
use salus_crypto::keys::{PeerKeys, SecretKeys};
use salus_envelope::seal::{Author, BatchBuilder, ClassKey, Item};
use salus_envelope::share::{FreshClassKeys, RecordKeyOf, fresh_class_keys};
use salus_proto::ids::{
    AccessId, BatchId, ConsortiumId, OrganisationId, PatientAlias, PrincipalId, RecordId,
};
use salus_proto::record::{Content, KeyClass, RecordKind, SealedBatch};
use salus_proto::{Entropy, TimestampMs};

/// Reproducible bytes: SHA-256(seed as 8 bytes big-endian || n as 8 bytes big-endian), n = 0, 1, ..
pub(crate) struct Seeded(u64, u64, Vec<u8>);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed, 0, Vec::new())
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.2.is_empty() {
                let block = sha256_of(&[&self.0.to_be_bytes(), &self.1.to_be_bytes()]);
                self.2 = block.0.iter().rev().copied().collect();
                self.1 += 1;
            }
            *byte = self.2.pop().unwrap();
        }
    }
}

pub(crate) const CONSORTIUM: ConsortiumId = ConsortiumId([0xc0; 16]);
pub(crate) const HOSPITAL: OrganisationId = OrganisationId([0x10; 16]);
pub(crate) const CUSTODIAN: PrincipalId = PrincipalId([0x10; 16]);
pub(crate) const DOCTOR: PrincipalId = PrincipalId([0xd0; 16]);
pub(crate) const ALIAS: PatientAlias = PatientAlias([0xa0; 16]);
pub(crate) const BATCH: BatchId = BatchId([0xb0; 16]);
pub(crate) const ACCESS: AccessId = AccessId([0xac; 16]);
pub(crate) const CREATED: TimestampMs = TimestampMs(1_795_341_600_000);

/// Keys of seeds 32 times `n`, `n + 1` and `n + 2`.
pub(crate) fn keys(n: u8) -> SecretKeys {
    SecretKeys::from_seeds(&[n; 32], &[n + 1; 32], &[n + 2; 32]).unwrap()
}

pub(crate) fn record(n: u8) -> RecordId {
    RecordId([n; 16])
}

pub(crate) fn item(n: u8, kind: RecordKind, class: KeyClass, body: &[u8]) -> Item {
    Item {
        record: record(n),
        version: 1,
        kind,
        class,
        content: Content {
            media_type: "application/fhir+json".into(),
            title: String::new(),
            salt: [n; 16],
            body: body.to_vec(),
        },
        signed: kind == RecordKind::Document,
    }
}

/// A batch, with the keys to open it.
pub(crate) struct Made {
    pub(crate) hospital: SecretKeys,
    pub(crate) peer: PeerKeys,
    pub(crate) doctor: SecretKeys,
    pub(crate) class_keys: FreshClassKeys,
    pub(crate) items: Vec<Item>,
    pub(crate) batch: SealedBatch,
}

impl Made {
    pub(crate) fn class_key(&self, class: KeyClass) -> &salus_crypto::Secret {
        &self.class_keys.keys[class as usize]
    }
}

/// Three records: clinical, identity with a signed statement, and one shared with a doctor only.
pub(crate) fn made() -> Made {
    let (hospital, doctor) = (keys(1), keys(4));
    let mut entropy = Seeded::new(7);
    let class_keys = fresh_class_keys(
        ALIAS,
        CUSTODIAN,
        &hospital.x_wing().recipient(),
        &mut entropy,
    )
    .unwrap();
    let author = Author {
        consortium: CONSORTIUM,
        principal: CUSTODIAN,
        keys: &hospital,
    };
    let mut builder = BatchBuilder::new(author, HOSPITAL, ALIAS, BATCH, CREATED);
    builder.name("Ada Example".into());
    builder.class_wraps(class_keys.wraps.clone());
    let items = vec![
        item(
            0x21,
            RecordKind::Vitals,
            KeyClass::Medical,
            b"{\"pulse\":72}",
        ),
        item(0x22, RecordKind::Document, KeyClass::Identity, b"%PDF-1.7"),
        item(
            0x23,
            RecordKind::Question,
            KeyClass::Medical,
            b"Is this bad?",
        ),
    ];
    for item in items.iter().take(2) {
        let key = ClassKey {
            epoch: 1,
            key: &class_keys.keys[item.class as usize],
        };
        builder.add(item, key, &mut entropy).unwrap();
    }
    let to = RecordKeyOf {
        recipient: DOCTOR,
        key: &doctor.x_wing().recipient(),
        access: Some(ACCESS),
    };
    builder.add_for(&items[2], &[to], &mut entropy).unwrap();
    let batch = builder.finish(1, None).unwrap();
    let peer = PeerKeys::parse(hospital.public()).unwrap();
    Made {
        hospital,
        peer,
        doctor,
        class_keys,
        items,
        batch,
    }
}
