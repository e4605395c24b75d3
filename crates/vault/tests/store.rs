//! The store under bad uploads, crashes, failing disks and tampering: refused, resumed, restored,
//! named.

#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]

mod support;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use salus_contract::StateRead;
use salus_crypto::digest::sha256;
use salus_envelope::seal::{BatchBuilder, ClassKey, Item, detach_blobs};
use salus_envelope::share::fresh_class_keys;
use salus_proto::encode::to_bytes;
use salus_proto::ids::{BatchId, RecordId};
use salus_proto::record::{KeyClass, RecordKind, SealedBatch};
use salus_proto::role::Purpose;
use salus_proto::{Digest, TimestampMs};
use salus_runtime::blob::{PART_BYTES, SMALL_MAX};
use salus_runtime::fault::FaultyDisk;
use salus_runtime::table::Database;
use salus_runtime::testing::{for_each_database, for_each_url};
use salus_runtime::{Clock as _, SeededEntropy, params, transact};
use salus_vault::{Error, Finding, RecordFilter, ReplicaSource, SourceFailed, Staged, Vault};
use support::*;
use tokio::io::AsyncRead;

fn disk(seed: u64) -> Arc<FaultyDisk> {
    Arc::new(FaultyDisk::new(seed))
}

async fn staged(vault: &Vault, world: &World, batch: &SealedBatch) -> Result<Staged, Error> {
    vault
        .stage(vault.check(&to_bytes(batch), &world.state)?)
        .await
}

/// The same batch with some of its content exchanged, signed for anew by the staff.
fn forged(
    world: &mut World,
    intake: &Intake,
    change: impl FnOnce(&mut SealedBatch),
) -> SealedBatch {
    use salus_crypto::{hybrid, label};
    use salus_proto::command::Action;
    use salus_proto::record::Manifest;

    let mut batch = intake.batch().clone();
    change(&mut batch);
    let signed = hybrid::Signed::parse(&batch.manifest).unwrap();
    let manifest: Manifest =
        salus_proto::encode::from_bytes(signed.payload().unwrap(), 1 << 14, "").unwrap();
    let manifest = Manifest {
        anchors_root: salus_envelope::seal::anchors_root(&batch.anchors),
        ..manifest
    };
    let keys = Arc::clone(&world.staff.keys);
    let id = world.staff.id;
    batch.manifest =
        hybrid::sign(&keys, label::MANIFEST, id.as_bytes(), &to_bytes(&manifest)).unwrap();
    world.staff.sequence += 1;
    batch.command = world.staff.author().command(
        world.staff.sequence,
        world.clock.now().plus_ms(60_000),
        Action::AnchorBatch {
            batch: manifest.batch,
            alias: manifest.alias,
            manifest: sha256(&batch.manifest),
            anchors_root: manifest.anchors_root,
            count: manifest.count,
            consultation: None,
        },
    );
    batch
}

/// A wrap for every record of a batch, to the custodian.
fn shared_wraps(batch: &SealedBatch) -> Vec<salus_proto::record::RecordWrap> {
    let wrap = |anchor: &salus_proto::record::RecordAnchor| salus_proto::record::RecordWrap {
        record: anchor.record,
        recipient: salus_proto::ids::PrincipalId(HOSPITAL.0),
        access: None,
        wrap: vec![0; salus_proto::sealed::WRAPPED_KEY_LEN],
    };
    batch.anchors.iter().map(wrap).collect()
}

#[tokio::test]
async fn even_a_signed_batch_is_refused_when_its_records_would_not_open_for_this_patient() {
    for_each_database(async |database| {
        let mut world = World::new(11);
        let vault = world.vault(&database, &disk(1)).await;
        let mine = world.intake(ALIAS, 1, 2);
        let other = world.intake(OTHER_ALIAS, 2, 2);
        let theirs = other.batch().clone();

        // Another patient's sealed record, with its right digest.
        let swapped = forged(&mut world, &mine, |batch| {
            batch.records[2].blob = theirs.records[2].blob.clone();
            batch.anchors[2].ciphertext = theirs.anchors[2].ciphertext;
            batch.anchors[2].length = theirs.anchors[2].length;
        });
        let error = staged(&vault, &world, &swapped).await.unwrap_err();
        assert!(
            matches!(&error, Error::Envelope(e) if e.name() == "wrong-key"),
            "{error}"
        );
        // With its key wrap, too.
        let swapped = forged(&mut world, &mine, |batch| {
            batch.records[2] = theirs.records[2].clone();
            batch.anchors[2] = theirs.anchors[2].clone();
        });
        let error = staged(&vault, &world, &swapped).await.unwrap_err();
        assert!(
            matches!(&error, Error::Envelope(e) if e.name() == "unwrap"),
            "{error}"
        );
        // Class keys wrapped to somebody else than the custodian they name.
        let mut entropy = SeededEntropy::new(5);
        let wrong = fresh_class_keys(
            ALIAS,
            world.hospital.id,
            &world.doctor.keys.x_wing().recipient(),
            &mut entropy,
        );
        let wrong = wrong.unwrap().wraps;
        let mut batch = mine.batch().clone();
        batch.class_wraps = wrong;
        let error = staged(&vault, &world, &batch).await.unwrap_err();
        assert!(
            matches!(&error, Error::Envelope(e) if e.name() == "unwrap"),
            "{error}"
        );
        // Flipped bits in a key wrap and in sealed bytes.
        let mut batch = mine.batch().clone();
        batch.records[0].key_wrap.as_mut().unwrap()[20] ^= 1;
        assert!(staged(&vault, &world, &batch).await.is_err());
        let mut batch = mine.batch().clone();
        batch.records[0].blob.as_mut().unwrap()[70] ^= 1;
        let error = staged(&vault, &world, &batch).await.unwrap_err();
        assert!(
            matches!(&error, Error::Envelope(e) if e.name() == "ciphertext"),
            "{error}"
        );
        // Signed by nobody the ledger lets act, for a patient who is not ours, or on a replica.
        world.staff.id = world.stranger.id;
        let foreign = world.intake(ALIAS, 3, 1);
        assert!(staged(&vault, &world, foreign.batch()).await.is_err());
        let cloud = world.vault_of(&world.cloud, &database, &disk(2)).await;
        let bytes = to_bytes(mine.batch());
        assert!(matches!(
            cloud.check(&bytes, &world.state),
            Err(Error::NotCustodian { .. })
        ));
        assert!(vault.staged().await.unwrap().is_empty(), "nothing was kept");
    })
    .await;
}

#[tokio::test]
async fn ids_and_class_keys_are_taken_once() {
    for_each_database(async |database| {
        let mut world = World::new(12);
        let vault = world.vault(&database, &disk(1)).await;
        let mut intake = world.intake(ALIAS, 1, 2);
        assert_eq!(
            staged(&vault, &world, intake.batch()).await.unwrap(),
            Staged::Waiting
        );
        assert_eq!(
            staged(&vault, &world, intake.batch()).await.unwrap(),
            Staged::Waiting
        );
        // Another content under the same batch id.
        let other = world.intake(ALIAS, 1, 3);
        assert!(matches!(
            staged(&vault, &world, other.batch()).await,
            Err(Error::BatchTaken { .. })
        ));
        // Other class keys for the same patient.
        let other = world.intake(ALIAS, 2, 3);
        assert!(matches!(
            staged(&vault, &world, other.batch()).await,
            Err(Error::ClassKeyTaken { .. })
        ));
        world.take_in(&vault, intake.batch()).await;
        // A record id that exists.
        let record = intake.ids()[1];
        let later = |version, world: &mut World, intake: &Intake| {
            let mut item = Item {
                record,
                version,
                kind: RecordKind::Vitals,
                class: KeyClass::Medical,
                content: content("later", &mut world.entropy),
                signed: false,
            };
            item.content.title = format!("version {version}");
            world.staff.sequence += 1;
            let batch = BatchId([0x40 + u8::try_from(version).unwrap(); 16]);
            let now = world.now();
            let mut builder = BatchBuilder::new(world.staff.author(), HOSPITAL, ALIAS, batch, now);
            let key = ClassKey {
                epoch: 1,
                key: &intake.keys[KeyClass::Medical as usize],
            };
            builder
                .add(&item, key, &mut SeededEntropy::new(u64::from(version)))
                .unwrap();
            builder.finish(world.staff.sequence, None).unwrap()
        };
        for version in [1, 3] {
            let batch = later(version, &mut world, &intake);
            let error = staged(&vault, &world, &batch).await.unwrap_err();
            assert!(matches!(error, Error::RecordTaken { record: taken } if taken == record));
        }
        let second = later(2, &mut world, &intake);
        world.take_in(&vault, &second).await;
        assert_eq!(
            vault.evidence(record, None).await.unwrap().anchor.version,
            2
        );
        assert_eq!(
            vault
                .evidence(record, Some(1))
                .await
                .unwrap()
                .anchor
                .version,
            1
        );
        // More records under the class keys that are there.
        let more = world.more(&mut intake, 5, 3);
        world.take_in(&vault, &more).await;
        assert!(vault.fsck(&world.state).await.unwrap().findings.is_empty());
    })
    .await;
}

#[tokio::test]
async fn batches_that_arrive_together_share_commits_and_none_pays_for_another() {
    for_each_database(async |database| {
        let mut world = World::new(13);
        let vault = world.vault(&database, &disk(1)).await;
        let mut intake = world.intake(ALIAS, 1, 1);
        world.take_in(&vault, intake.batch()).await;
        let good: Vec<SealedBatch> = (0x20..0x30)
            .map(|n| world.more(&mut intake, n, 3))
            .collect();
        // One that cannot be stored among them: a version that follows none.
        let orphan = world.more(&mut intake, 0x31, 1);
        let orphan = Intake {
            batch: Some(orphan),
            ..intake
        };
        let orphan = forged(&mut world, &orphan, |batch| {
            for (anchor, record) in batch.anchors.iter_mut().zip(&mut batch.records) {
                anchor.version = 7;
                anchor.epoch = 0;
                record.key_wrap = None;
            }
            batch.record_wraps = shared_wraps(batch);
        });
        let mut waiting: Vec<_> = good
            .iter()
            .map(|batch| Box::pin(staged(&vault, &world, batch)))
            .collect();
        waiting.push(Box::pin(staged(&vault, &world, &orphan)));
        let answers = futures_util::future::join_all(waiting).await;
        let (last, others) = answers.split_last().unwrap();
        assert!(matches!(last, Err(Error::RecordTaken { .. })));
        assert!(others.iter().all(|a| matches!(a, Ok(Staged::Waiting))));
        assert_eq!(vault.staged().await.unwrap().len(), 16);
    })
    .await;
}

#[tokio::test]
async fn after_a_crash_staged_batches_are_settled_with_the_ledger() {
    for_each_url(async |url| {
        let mut world = World::new(14);
        let disk = disk(3);
        let mut intake = world.intake(ALIAS, 1, 2);
        let lost = {
            let database = Database::open(&url).await.unwrap();
            let vault = world.vault(&database, &disk).await;
            staged(&vault, &world, intake.batch()).await.unwrap();
            let lost = world.more(&mut intake, 2, 2);
            staged(&vault, &world, &lost).await.unwrap();
            database.close().await;
            lost
        };
        // The first became final while the node was down; the power was cut.
        let entry = world.submit(&intake.batch().command).index;
        disk.restart();
        let database = Database::open(&url).await.unwrap();
        let vault = world.vault(&database, &disk).await;
        let open = vault.settle(&world.state).await.unwrap();
        assert_eq!(open.len(), 1);
        assert_eq!(open[0].command, lost.command);
        let listed = vault
            .records(ALIAS, RecordFilter::default(), None, 100)
            .await
            .unwrap();
        assert_eq!(listed.len(), 3);
        assert!(listed.iter().all(|item| item.entry == entry));
        assert!(vault.discard(open[0].batch).await.unwrap());
        assert!(!vault.discard(open[0].batch).await.unwrap());
        assert!(
            !vault.discard(intake.batch_id()).await.unwrap(),
            "anchored ones stay"
        );
        assert!(vault.settle(&world.state).await.unwrap().is_empty());
        assert!(vault.fsck(&world.state).await.unwrap().findings.is_empty());
        // What was given up can come again.
        world.take_in(&vault, &lost).await;
        assert!(vault.fsck(&world.state).await.unwrap().findings.is_empty());
        database.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_full_or_read_only_disk_acknowledges_nothing_and_works_again_afterwards() {
    for_each_database(async |database| {
        let mut world = World::new(15);
        let disk = disk(4);
        let vault = world.vault(&database, &disk).await;
        let intake = world.intake(ALIAS, 1, 5);
        disk.fill_after(500);
        let error = staged(&vault, &world, intake.batch()).await.unwrap_err();
        assert!(
            matches!(
                &error,
                Error::Runtime(salus_runtime::Error::DiskFull { .. })
            ),
            "{error}"
        );
        disk.make_room();
        disk.set_read_only(true);
        let error = staged(&vault, &world, intake.batch()).await.unwrap_err();
        assert!(
            matches!(
                &error,
                Error::Runtime(salus_runtime::Error::ReadOnly { .. })
            ),
            "{error}"
        );
        assert!(vault.staged().await.unwrap().is_empty());
        disk.set_read_only(false);
        world.take_in(&vault, intake.batch()).await;
        assert!(vault.fsck(&world.state).await.unwrap().findings.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_power_cut_at_any_call_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut calls = 0;
    loop {
        let mut world = World::new(16);
        let disk = disk(calls);
        let url = format!(
            "sqlite:{}",
            folder.path().join(format!("{calls}.db")).display()
        );
        let database = Database::open(&url).await.unwrap();
        let vault = world.vault(&database, &disk).await;
        let intake = world.intake(ALIAS, 1, 2);
        disk.cut_power_after(calls);
        let acknowledged = staged(&vault, &world, intake.batch()).await.is_ok();
        disk.restart();
        let vault = world.vault(&database, &disk).await;
        assert_eq!(
            vault.staged().await.unwrap().len(),
            usize::from(acknowledged)
        );
        world.take_in(&vault, intake.batch()).await;
        assert_eq!(
            vault.fsck(&world.state).await.unwrap().findings,
            [],
            "cut after {calls}"
        );
        let purpose = Purpose::Operations;
        let receipt = world.receipt(|w| &mut w.staff, ALIAS, None, &intake.ids(), purpose);
        let order = world.order(&receipt).unwrap();
        let release = vault.release(&order).await.unwrap();
        let contents = opened(&vault, &world.staff, &order, &release, ALIAS)
            .await
            .unwrap();
        assert_eq!(contents.len(), 3);
        database.close().await;
        if acknowledged {
            break;
        }
        calls += 1;
    }
    assert!(calls >= 4, "the pack is written in several calls");
}

/// A replica held in memory, which may lie.
struct Held {
    vault: Vault,
    lies: bool,
}

impl ReplicaSource for Held {
    fn fetch(
        &self,
        digest: Digest,
        length: u64,
    ) -> BoxFuture<'_, Result<Pin<Box<dyn AsyncRead + Send>>, SourceFailed>> {
        Box::pin(async move {
            use futures_util::TryStreamExt as _;

            let failed = |error: &dyn core::fmt::Display| SourceFailed(error.to_string());
            let stream = self
                .vault
                .blob_stream(digest)
                .await
                .map_err(|e| failed(&e))?;
            let pieces: Vec<Bytes> = stream.try_collect().await.map_err(|e| failed(&e))?;
            let mut bytes = pieces.concat();
            assert_eq!(bytes.len() as u64, length);
            if self.lies {
                bytes[0] ^= 1;
            }
            Ok(Box::pin(std::io::Cursor::new(bytes)) as _)
        })
    }
}

/// Replicates everything outstanding to another vault, as two nodes do.
async fn replicate(from: &Vault, to: &Vault, state: &(dyn StateRead + Sync)) -> usize {
    let mut sent = 0;
    loop {
        let outgoing = from.outgoing(CLOUD, 2).await.unwrap();
        let Some(last) = outgoing.last() else {
            return sent;
        };
        for item in &outgoing {
            let (bytes, large) = from.replica_batch(item.batch).await.unwrap();
            for (digest, length) in large {
                upload(from, to, digest, length).await;
            }
            let checked = to.check_replica(&bytes, state).unwrap();
            assert!(matches!(
                to.stage(checked).await.unwrap(),
                Staged::Anchored(_)
            ));
            sent += 1;
        }
        from.replicated(CLOUD, last.place).await.unwrap();
    }
}

async fn upload(from: &Vault, to: &Vault, digest: Digest, length: u64) {
    use futures_util::TryStreamExt as _;

    let owner = salus_proto::ids::PrincipalId(HOSPITAL.0);
    let begun = to.begin_upload(owner, Some(digest), length).await.unwrap();
    let Some(id) = begun.upload else { return };
    let pieces: Vec<Bytes> = from
        .blob_stream(digest)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let whole = pieces.concat();
    for (number, part) in whole.chunks(PART_BYTES).enumerate() {
        let number = u32::try_from(number).unwrap();
        to.put_part(owner, id, number, Bytes::copy_from_slice(part))
            .await
            .unwrap();
    }
    to.complete_upload(owner, id, digest).await.unwrap();
}

#[tokio::test]
async fn what_is_altered_or_lost_comes_back_from_the_replica_and_is_recorded() {
    for_each_url(async |url| {
        let database = Database::open(&url).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cloud_url = format!("sqlite:{}", folder.path().join("cloud.db").display());
        let cloud_database = Database::open(&cloud_url).await.unwrap();
        let mut world = World::new(17);
        let disk_here = disk(5);
        let vault = world.vault(&database, &disk_here).await;
        let cloud = world
            .vault_of(&world.cloud, &cloud_database, &disk(6))
            .await;
        let mut intake = world.intake(ALIAS, 1, 4);
        let bytes = to_bytes(intake.batch());
        world.take_in(&vault, intake.batch()).await;
        for n in 2..5 {
            let more = world.more(&mut intake, n, 2);
            world.take_in(&vault, &more).await;
        }
        assert!(matches!(
            cloud.check_replica(&bytes, &world.state),
            Err(Error::Envelope(_))
        ));
        assert_eq!(replicate(&vault, &cloud, &world.state).await, 4);
        assert_eq!(replicate(&vault, &cloud, &world.state).await, 0);
        assert!(cloud.fsck(&world.state).await.unwrap().findings.is_empty());
        let there = cloud
            .records(ALIAS, RecordFilter::default(), None, 100)
            .await
            .unwrap();
        let here = vault
            .records(ALIAS, RecordFilter::default(), None, 100)
            .await
            .unwrap();
        for limit in 1..here.len() {
            let (mut pages, mut after) = (Vec::new(), None);
            loop {
                let size = u32::try_from(limit).unwrap();
                let filter = RecordFilter::default();
                let page = vault.records(ALIAS, filter, after, size).await.unwrap();
                let Some(last) = page.last() else { break };
                after = Some(last.cursor);
                pages.extend(page);
            }
            assert_eq!(pages, here, "{limit} a page");
        }
        let anchors = |items: &[salus_vault::SealedItem]| -> Vec<_> {
            items.iter().map(|item| item.anchor.clone()).collect()
        };
        assert_eq!(anchors(&there), anchors(&here));
        assert!(
            cloud.outgoing(HOSPITAL, 9).await.unwrap().is_empty(),
            "not theirs to send on"
        );
        assert_eq!(vault.scrub(None).await.unwrap().incidents, []);

        let packs: Vec<(Digest,)> = {
            let mut tx = database.read().await.unwrap();
            tx.all("SELECT DISTINCT pack FROM blob ORDER BY pack", &[])
                .await
                .unwrap()
        };
        let name = |pack: &Digest| format!("packs/{:02x}/{pack}", pack.0[0]);
        // One bit of the last blob of one pack; another pack is gone; a third has its index altered.
        let (victim, offset): (Digest, u64) = {
            let mut tx = database.read().await.unwrap();
            tx.one(
                "blob",
                "SELECT digest, pack_offset FROM blob WHERE pack = $1
                 ORDER BY pack_offset DESC LIMIT 1",
                &params![packs[0].0],
            )
            .await
            .unwrap()
        };
        assert!(disk_here.flip_bit_at(&name(&packs[0].0), offset * 8 + 77));
        salus_runtime::disk::Disk::remove(&*disk_here, &name(&packs[1].0)).unwrap();
        assert!(disk_here.flip_bit_at(&name(&packs[2].0), 8 * 20));

        let record_of = |digest: Digest| {
            here.iter()
                .find(|i| i.anchor.ciphertext == digest)
                .unwrap()
                .anchor
                .record
        };
        let findings = vault.fsck(&world.state).await.unwrap().findings;
        assert!(findings.iter().any(|finding| matches!(
            finding,
            Finding::Sealed { record, .. } if *record == record_of(victim)
        )));
        // Damaged bytes are not given out.
        let record = record_of(victim);
        let purpose = Purpose::Operations;
        let receipt = world.receipt(|w| &mut w.staff, ALIAS, None, &[record], purpose);
        let order = world.order(&receipt).unwrap();
        assert!(vault.sealed(&order, record, 0..u64::MAX).await.is_err());

        // Neither nobody nor a liar helps.
        let alone = vault.scrub(None).await.unwrap();
        assert!(
            alone
                .incidents
                .iter()
                .any(|i| i.digest == victim && !i.restored)
        );
        let liar = Held {
            vault: cloud.clone(),
            lies: true,
        };
        let lied = vault.scrub(Some(&liar)).await.unwrap();
        assert_eq!(lied.incidents, [], "nothing new: it still is not restored");
        let honest = Held {
            vault: cloud.clone(),
            lies: false,
        };
        let healed = vault.scrub(Some(&honest)).await.unwrap();
        assert!(healed.incidents.iter().all(|i| i.restored));
        let incident = healed
            .incidents
            .iter()
            .find(|i| i.digest == victim)
            .unwrap();
        assert_eq!(incident.record, Some(record));
        assert_eq!(incident.bytes.start, offset);
        assert!(incident.object.contains(&packs[0].0.to_string()));
        let listed = vault.incidents(incident.incident - 1, 1).await.unwrap();
        assert_eq!(listed, std::slice::from_ref(incident));
        assert_eq!(listed[0].evidence(), incident.evidence());
        assert_eq!(vault.scrub(None).await.unwrap().incidents, []);
        assert_eq!(vault.fsck(&world.state).await.unwrap().findings, []);
        let sealed = vault.sealed(&order, record, 0..u64::MAX).await.unwrap();
        assert_eq!(sha256(&sealed), victim);
        database.close().await;
        cloud_database.close().await;
    })
    .await;
}

#[tokio::test]
async fn fsck_names_every_altered_row() {
    for_each_database(async |database| {
        let mut world = World::new(18);
        let vault = world.vault(&database, &disk(7)).await;
        let intake = world.intake(ALIAS, 1, 2);
        world.take_in(&vault, intake.batch()).await;
        let batch = intake.batch_id();
        let ids = intake.ids();
        assert_eq!(vault.fsck(&world.state).await.unwrap().findings, []);
        macro_rules! altered {
            ($change:literal, $undo:literal) => {{
                transact!(database, "alter", |tx| tx.execute($change, &[]).await).unwrap();
                let findings = vault.fsck(&world.state).await.unwrap().findings;
                transact!(database, "restore", |tx| tx.execute($undo, &[]).await).unwrap();
                assert_eq!(vault.fsck(&world.state).await.unwrap().findings, []);
                findings
            }};
        }
        let of_batch = |findings: &[Finding]| {
            findings
                .iter()
                .any(|f| matches!(f, Finding::Batch { batch: b, .. } if *b == batch))
        };
        assert!(of_batch(&altered!(
            "UPDATE vault_record SET kind = kind + 1 WHERE position = 2",
            "UPDATE vault_record SET kind = kind - 1 WHERE position = 2"
        )));
        assert!(of_batch(&altered!(
            "UPDATE vault_batch SET entry = entry + 1",
            "UPDATE vault_batch SET entry = entry - 1"
        )));
        assert!(of_batch(&altered!(
            "UPDATE vault_batch SET created = created + 1",
            "UPDATE vault_batch SET created = created - 1"
        )));
        let named = altered!(
            "UPDATE vault_record SET key_epoch = 2 WHERE position = 1",
            "UPDATE vault_record SET key_epoch = 1 WHERE position = 1"
        );
        assert!(matches!(named[..], [Finding::Record { record, .. }] if record == ids[1]));
        assert!(named[0].to_string().contains(&ids[1].to_string()));
        transact!(database, "alter", |tx| tx
            .execute("DELETE FROM vault_statement", &[])
            .await)
        .unwrap();
        let findings = vault.fsck(&world.state).await.unwrap().findings;
        assert!(matches!(findings[..], [Finding::Record { record, .. }] if record == ids[1]));
        // Another signer, another custodian; and rows that are gone are missed, because the ledger
        // still has them.
        for change in [
            "UPDATE vault_batch SET signer = alias",
            "UPDATE vault_patient SET custodian = alias",
            "DELETE FROM vault_batch",
        ] {
            transact!(database, "alter", |tx| tx.execute(change, &[]).await).unwrap();
            assert!(
                of_batch(&vault.fsck(&world.state).await.unwrap().findings),
                "{change}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn large_blobs_come_in_parts_and_resume() {
    for_each_database(async |database| {
        let mut world = World::new(19);
        let vault = world.vault(&database, &disk(8)).await;
        let intake = world.intake(ALIAS, 1, 1);
        world.take_in(&vault, intake.batch()).await;
        let mut image = Item {
            record: RecordId([0x77; 16]),
            version: 1,
            kind: RecordKind::Image,
            class: KeyClass::Medical,
            content: content("", &mut world.entropy),
            signed: false,
        };
        image.content.body = vec![5; SMALL_MAX + 1_000_000];
        world.staff.sequence += 1;
        let (batch, now) = (BatchId([0x78; 16]), world.now());
        let mut builder = BatchBuilder::new(world.staff.author(), HOSPITAL, ALIAS, batch, now);
        let key = ClassKey {
            epoch: 1,
            key: &intake.keys[KeyClass::Medical as usize],
        };
        builder.add(&image, key, &mut world.entropy).unwrap();
        let whole = builder.finish(world.staff.sequence, None).unwrap();
        let mut batch = whole.clone();
        let (digest, blob) = detach_blobs(&mut batch, 1_000).pop().unwrap();
        let error = staged(&vault, &world, &batch).await.unwrap_err();
        assert!(matches!(error, Error::MissingBlob { record } if record == image.record));

        let (owner, other) = (world.staff.id, world.doctor.id);
        let length = blob.len() as u64;
        let begun = vault
            .begin_upload(owner, Some(digest), length)
            .await
            .unwrap();
        let id = begun.upload.unwrap();
        assert_eq!(
            (begun.part_bytes, begun.parts.len()),
            (PART_BYTES as u64, 0)
        );
        let parts: Vec<Bytes> = blob
            .chunks(PART_BYTES)
            .map(Bytes::copy_from_slice)
            .collect();
        assert_eq!(parts.len(), 2);
        let put =
            |owner, number: u32, bytes: &Bytes| vault.put_part(owner, id, number, bytes.clone());
        assert!(matches!(
            put(other, 0, &parts[0]).await,
            Err(Error::NotFound { .. })
        ));
        assert!(matches!(
            put(owner, 0, &parts[1]).await,
            Err(Error::Part { .. })
        ));
        assert!(matches!(
            put(owner, 2, &parts[1]).await,
            Err(Error::Part { .. })
        ));
        put(owner, 1, &parts[1]).await.unwrap();
        assert!(matches!(
            vault.complete_upload(owner, id, digest).await,
            Err(Error::Part { .. })
        ));
        // A wrong part of the right length is found at the end and replaced.
        put(owner, 0, &Bytes::from(vec![0; PART_BYTES]))
            .await
            .unwrap();
        assert!(vault.complete_upload(owner, id, digest).await.is_err());
        let resumed = vault
            .begin_upload(owner, Some(digest), length)
            .await
            .unwrap();
        assert_eq!((resumed.upload, resumed.parts), (Some(id), vec![0, 1]));
        assert!(
            vault
                .begin_upload(owner, Some(digest), length + 1)
                .await
                .is_err()
        );
        assert!(
            vault
                .begin_upload(owner, Some(digest), u64::MAX)
                .await
                .is_err()
        );
        put(owner, 0, &parts[0]).await.unwrap();
        vault.complete_upload(owner, id, digest).await.unwrap();
        assert_eq!(
            vault
                .begin_upload(owner, Some(digest), length)
                .await
                .unwrap()
                .upload,
            None
        );
        world.take_in(&vault, &batch).await;

        let purpose = Purpose::Operations;
        let receipt = world.receipt(|w| &mut w.staff, ALIAS, None, &[image.record], purpose);
        let order = world.order(&receipt).unwrap();
        let release = vault.release(&order).await.unwrap();
        let contents = opened(&vault, &world.staff, &order, &release, ALIAS)
            .await
            .unwrap();
        assert!(contents[&image.record] == image.content);
        assert_eq!(vault.fsck(&world.state).await.unwrap().findings, []);

        // Who seals while sending says the digest at the end.
        let begun = vault.begin_upload(owner, None, 3).await.unwrap();
        let other = vault.begin_upload(owner, None, 3).await.unwrap();
        assert_ne!(begun.upload, other.upload);
        let (id, bytes) = (begun.upload.unwrap(), Bytes::from_static(b"abc"));
        vault.put_part(owner, id, 0, bytes.clone()).await.unwrap();
        let wrong = vault.complete_upload(owner, id, digest).await;
        assert!(matches!(
            wrong,
            Err(Error::Runtime(salus_runtime::Error::WrongDigest { .. }))
        ));
        let digest = sha256(&bytes);
        vault.complete_upload(owner, id, digest).await.unwrap();
        assert_eq!(vault.blob_length(digest).await.unwrap(), 3);
        assert_eq!(vault.drop_uploads(world.now().plus_ms(1)).await.unwrap(), 1);

        // Uploads that nobody completes go.
        vault
            .begin_upload(owner, Some(Digest([1; 32])), 5)
            .await
            .unwrap();
        assert_eq!(vault.drop_uploads(TimestampMs(0)).await.unwrap(), 0);
        assert_eq!(vault.drop_uploads(world.now().plus_ms(1)).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_large_blob_that_comes_within_a_batch_is_stored_in_parts_and_scrubbed() {
    for_each_url(async |url| {
        let database = Database::open(&url).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cloud_url = format!("sqlite:{}", folder.path().join("cloud.db").display());
        let cloud_database = Database::open(&cloud_url).await.unwrap();
        let mut world = World::new(20);
        let disk_here = disk(9);
        let vault = world.vault(&database, &disk_here).await;
        let cloud = world
            .vault_of(&world.cloud, &cloud_database, &disk(10))
            .await;
        let intake = world.intake(ALIAS, 1, 1);
        world.take_in(&vault, intake.batch()).await;
        let mut image = Item {
            record: RecordId([0x77; 16]),
            version: 1,
            kind: RecordKind::Image,
            class: KeyClass::Medical,
            content: content("", &mut world.entropy),
            signed: false,
        };
        image.content.body = vec![5; SMALL_MAX + 10];
        world.staff.sequence += 1;
        let (batch, now) = (BatchId([0x78; 16]), world.now());
        let mut builder = BatchBuilder::new(world.staff.author(), HOSPITAL, ALIAS, batch, now);
        let key = ClassKey {
            epoch: 1,
            key: &intake.keys[KeyClass::Medical as usize],
        };
        builder.add(&image, key, &mut world.entropy).unwrap();
        let batch = builder.finish(world.staff.sequence, None).unwrap();
        world.take_in(&vault, &batch).await;
        assert_eq!(replicate(&vault, &cloud, &world.state).await, 2);
        let digest = batch.anchors[0].ciphertext;
        assert_eq!(
            cloud.blob_length(digest).await.unwrap(),
            batch.anchors[0].length
        );

        let list = format!("large/{:02x}/{digest}", digest.0[0]);
        salus_runtime::disk::Disk::remove(&*disk_here, &list).unwrap();
        let honest = Held {
            vault: cloud.clone(),
            lies: false,
        };
        let healed = vault.scrub(Some(&honest)).await.unwrap();
        let restored: BTreeMap<Digest, bool> = healed
            .incidents
            .iter()
            .map(|i| (i.digest, i.restored))
            .collect();
        assert_eq!(restored, BTreeMap::from([(digest, true)]));
        assert_eq!(vault.fsck(&world.state).await.unwrap().findings, []);
        database.close().await;
        cloud_database.close().await;
    })
    .await;
}
