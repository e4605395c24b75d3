//! How many small records a vault takes in per second, and where the time goes.
//!
//! `cargo run --release -p salus-vault --example stage -- FOLDER [BATCHES] [AT ONCE]`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a measurement for people, not product code"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use salus_contract::genesis;
use salus_crypto::keys::SecretKeys;
use salus_envelope::seal::{Author, BatchBuilder, ClassKey, Item};
use salus_envelope::share::fresh_class_keys;
use salus_proto::encode::to_bytes;
use salus_proto::ids::{
    BatchId, ConsortiumId, OrganisationId, PatientAlias, PrincipalId, RecordId,
};
use salus_proto::member::{Genesis, Member};
use salus_proto::record::{Content, KeyClass, RecordKind};
use salus_proto::role::NodeRole;
use salus_runtime::table::Database;
use salus_runtime::{BlobStore, Clock as _, SystemClock, SystemEntropy};
use salus_vault::{Parts, Vault};

const RECORDS: usize = 300;
/// About the median of the Synthea resources: 1.2 kB of FHIR.
const BODY_BYTES: usize = 1_200;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap());
    let batches: u8 = arguments.next().map_or(60, |n| n.parse().unwrap());
    let at_once: usize = arguments.next().map_or(8, |n| n.parse().unwrap());
    let (keys, state) = consortium();
    let keys = Arc::new(keys);
    let id = OrganisationId([1; 16]);
    let clock = SystemClock::new();

    let mut sealing = Duration::ZERO;
    let uploads: Vec<Vec<u8>> = (0..batches)
        .map(|n| {
            let begun = Instant::now();
            let bytes = sealed(&keys, n, clock.now());
            sealing += begun.elapsed();
            bytes
        })
        .collect();

    let vault = Vault::new(Parts {
        database: Database::open(&format!("sqlite:{}", folder.join("stage.db").display()))
            .await
            .unwrap(),
        blobs: BlobStore::local(&folder.join("blobs")).await.unwrap(),
        clock: Arc::new(clock),
        entropy: Box::new(SystemEntropy),
        organisation: id,
        keys,
    });
    // Signatures, digests and the ledger, on one thread.
    let begun = Instant::now();
    for bytes in &uploads {
        drop(vault.check(bytes, &state).unwrap());
    }
    let checking = begun.elapsed();

    let begun = Instant::now();
    let state = &state;
    let vault = &vault;
    futures_util::stream::iter(uploads.iter().enumerate())
        .for_each_concurrent(at_once, async |(n, bytes)| {
            let checked = vault.check(bytes, state).unwrap();
            let batch = checked.manifest().batch;
            vault.stage(checked).await.unwrap();
            vault.anchored(batch, n as u64).await.unwrap();
        })
        .await;
    let whole = begun.elapsed();

    let records = usize::from(batches) * RECORDS;
    let rate = |time: Duration| records as f64 / time.as_secs_f64();
    println!("{records} records of {BODY_BYTES} bytes, {at_once} batches of {RECORDS} at once");
    println!(
        "  sealed by the client      {:>9.0} records/s, one thread",
        rate(sealing)
    );
    println!(
        "  checked                   {:>9.0} records/s, one thread",
        rate(checking)
    );
    println!(
        "  checked, staged, anchored {:>9.0} records/s, durable",
        rate(whole)
    );
    println!(
        "  of {:.2} s: checking {:.2} s, keys, packs, rows and commits {:.2} s",
        whole.as_secs_f64(),
        checking.as_secs_f64(),
        whole.saturating_sub(checking).as_secs_f64()
    );
}

/// A hospital with an alias for every batch.
fn consortium() -> (SecretKeys, BTreeMap<Vec<u8>, Vec<u8>>) {
    use salus_contract::table::{Patient, Patients, Table};

    let keys = SecretKeys::from_seeds(&[1; 32], &[2; 32], &[3; 32]).unwrap();
    let organisation = OrganisationId([1; 16]);
    let created = SystemClock::new().now();
    let mut state = genesis(&Genesis {
        version: 1,
        consortium: ConsortiumId([9; 16]),
        name: "stage".into(),
        created,
        members: vec![Member {
            organisation,
            name: "North".into(),
            roles: vec![NodeRole::Hospital],
            keys: keys.public().clone(),
            engine_key: [1; 32],
            engine_address: "127.0.0.1:1".into(),
            api: "https://127.0.0.1:2".into(),
        }],
        founders: Vec::new(),
    })
    .unwrap();
    for n in 0..=u8::MAX {
        let row = Patient {
            custodian: organisation,
            patient: None,
            opened: created,
        };
        state.insert(Patients::key(&PatientAlias([n; 16])), to_bytes(&row));
    }
    (keys, state)
}

fn sealed(keys: &SecretKeys, n: u8, now: salus_proto::TimestampMs) -> Vec<u8> {
    let entropy = &mut SystemEntropy;
    let (alias, id) = (PatientAlias([n; 16]), PrincipalId([1; 16]));
    let recipient = keys.x_wing().recipient();
    let class_keys = fresh_class_keys(alias, id, &recipient, entropy).unwrap();
    let author = Author {
        consortium: ConsortiumId([9; 16]),
        principal: id,
        keys,
    };
    let batch = BatchId([n; 16]);
    let mut builder = BatchBuilder::new(author, OrganisationId([1; 16]), alias, batch, now);
    builder.class_wraps(class_keys.wraps);
    for _ in 0..RECORDS {
        let item = Item {
            record: RecordId::random(entropy),
            version: 1,
            kind: RecordKind::Observation,
            class: KeyClass::Medical,
            content: Content {
                media_type: "application/fhir+json".into(),
                title: String::new(),
                salt: [0; 16],
                body: vec![b'x'; BODY_BYTES],
            },
            signed: false,
        };
        let key = ClassKey {
            epoch: 1,
            key: &class_keys.keys[KeyClass::Medical as usize],
        };
        builder.add(&item, key, entropy).unwrap();
    }
    to_bytes(&builder.finish(u64::from(n) + 1, None).unwrap())
}
