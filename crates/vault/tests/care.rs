//! From intake to reading: what is taken in opens for those who may, and for nobody else.

mod support;

use std::sync::Arc;
use std::time::Duration;

use salus_crypto::keys::SecretKeys;
use salus_envelope::share::wrap_record_key;
use salus_proto::command::Action;
use salus_proto::encode::to_bytes;
use salus_proto::ids::{ConsultationId, PatientAlias, RecordId};
use salus_proto::record::{KeyClass, RecordKind};
use salus_proto::role::{Purpose, Reason};
use salus_runtime::BlobStore;
use salus_runtime::entropy::SeededEntropy;
use salus_runtime::fault::FaultyDisk;
use salus_runtime::testing::for_each_database;
use salus_vault::{
    Error, Parts, PatientFilter, RecordFilter, Rekeyed, RevokedAccess, Staged, Vault,
    decide_own_records,
};
use support::*;

fn disk() -> Arc<FaultyDisk> {
    Arc::new(FaultyDisk::new(1))
}

#[tokio::test]
async fn staff_see_what_was_taken_in_once_it_is_anchored() {
    for_each_database(async |database| {
        let mut world = World::new(1);
        let vault = world.vault(&database, &disk()).await;
        let intake = world.intake(ALIAS, 1, 5);
        let bytes = to_bytes(intake.batch());
        let checked = vault.check(&bytes, &world.state).unwrap();
        assert_eq!(checked.entry(), None);
        assert_eq!(vault.stage(checked).await.unwrap(), Staged::Waiting);
        let all = RecordFilter::default();
        assert!(
            vault
                .records(ALIAS, all, None, 100)
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(vault.staged().await.unwrap().len(), 1);

        let entry = world.submit(&intake.batch().command).index;
        vault.anchored(intake.batch_id(), entry).await.unwrap();
        vault.anchored(intake.batch_id(), entry).await.unwrap();
        assert!(vault.staged().await.unwrap().is_empty());
        let again = vault.check(&bytes, &world.state).unwrap();
        assert_eq!(again.entry(), Some(entry));
        assert_eq!(vault.stage(again).await.unwrap(), Staged::Anchored(entry));

        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = vault.records(ALIAS, all, after, 4).await.unwrap();
            assert!(page.len() <= 4);
            let Some(last) = page.last() else { break };
            after = Some(last.cursor.to_string().parse().unwrap());
            seen.extend(page);
        }
        let ids: Vec<RecordId> = seen.iter().map(|item| item.anchor.record).collect();
        assert_eq!(ids, intake.ids(), "in the order of the batch");
        assert!(
            seen.iter()
                .all(|item| item.entry == entry && item.signer == world.staff.id)
        );
        let vitals = RecordFilter {
            kind: Some(RecordKind::Vitals),
        };
        assert_eq!(
            vault.records(ALIAS, vitals, None, 100).await.unwrap().len(),
            4
        );

        for item in &seen {
            let evidence = vault.evidence(item.anchor.record, None).await.unwrap();
            let manifest = salus_envelope::verify::manifest(
                &evidence.manifest,
                &salus_crypto::keys::PeerKeys::parse(world.staff.keys.public()).unwrap(),
            )
            .unwrap();
            let leaf = salus_ledger::tree::leaf_hash(&to_bytes(&evidence.anchor));
            evidence.path.verify(&leaf, &manifest.anchors_root).unwrap();
            assert_eq!(evidence.anchor, item.anchor);
            assert_eq!(
                evidence.statement.is_some(),
                item.anchor.statement.is_some()
            );
        }
        assert!(matches!(
            vault.evidence(RecordId([9; 16]), None).await,
            Err(Error::NotFound { .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn patients_are_found_by_part_of_their_name_page_by_page() {
    for_each_database(async |database| {
        let mut world = World::new(2);
        let vault = world.vault(&database, &disk()).await;
        for (alias, n) in [(ALIAS, 0x0a), (OTHER_ALIAS, 0x0b)] {
            let intake = world.intake(alias, n, 1);
            world.take_in(&vault, intake.batch()).await;
        }
        let filter = |query: &str| PatientFilter {
            query: Some(query.into()),
            custodian: Some(HOSPITAL),
        };
        let found = vault
            .patients(&filter("ATIENT 0B"), None, 10)
            .await
            .unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].alias, found[0].records), (OTHER_ALIAS, 2));
        assert_eq!(found[0].name.as_deref(), Some("Patient 0b"));
        assert!(!format!("{:?}", found[0]).contains("Patient 0b"));
        assert!(
            vault
                .patients(&filter("%"), None, 10)
                .await
                .unwrap()
                .is_empty()
        );
        let first = vault.patients(&filter(""), None, 1).await.unwrap();
        let second = vault
            .patients(&filter(""), Some(first[0].alias), 1)
            .await
            .unwrap();
        assert_eq!((first[0].alias, second[0].alias), (ALIAS, OTHER_ALIAS));
        assert!(
            vault
                .patients(&filter(""), Some(second[0].alias), 1)
                .await
                .unwrap()
                .is_empty()
        );
        let elsewhere = PatientFilter {
            query: None,
            custodian: Some(CLOUD),
        };
        assert!(
            vault
                .patients(&elsewhere, None, 10)
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(vault.patient(ALIAS).await.unwrap().unwrap().records, 2);
    })
    .await;
}

#[tokio::test]
async fn a_patient_reads_own_records_after_the_grant_and_the_receipt() {
    for_each_database(async |database| {
        let mut world = World::new(3);
        let vault = world.vault(&database, &disk()).await;
        let intake = world.intake(ALIAS, 1, 3);
        world.take_in(&vault, intake.batch()).await;

        let access = salus_proto::ids::AccessId([7; 16]);
        let until = world.now().plus_ms(86_400_000);
        world.act(
            |w| &mut w.patient,
            Action::RequestAccess {
                access,
                alias: ALIAS,
                classes: KeyClass::ALL.to_vec(),
                purpose: Purpose::PatientRequest,
                until,
            },
        );
        assert!(world.grant(access).is_none(), "not decided yet");
        assert_eq!(decide_own_records(&world.state, access, CLOUD), None);
        let decision = decide_own_records(&world.state, access, HOSPITAL).unwrap();
        world.act(|w| &mut w.hospital, decision);
        assert_eq!(decide_own_records(&world.state, access, HOSPITAL), None);
        let grant = world.grant(access).unwrap();
        assert_eq!(vault.grant(&grant).await.unwrap(), 3);
        assert_eq!(
            vault.grant(&grant).await.unwrap(),
            0,
            "repeating adds nothing"
        );

        let purpose = Purpose::PatientRequest;
        let receipt = world.receipt(
            |w| &mut w.patient,
            ALIAS,
            Some(access),
            &intake.ids(),
            purpose,
        );
        let order = world.order(&receipt).unwrap();
        let release = vault.release(&order).await.unwrap();
        assert_eq!(release.entry, receipt.index);
        let contents = opened(&vault, &world.patient, &order, &release, ALIAS)
            .await
            .unwrap();
        assert_eq!(contents.len(), 4);
        for (record, content) in &contents {
            assert!(content == intake.content(*record));
        }
        // The very same release is of no use to anybody else.
        let stolen = opened(&vault, &world.doctor, &order, &release, ALIAS).await;
        assert_eq!(stolen.unwrap_err().name(), "unwrap");

        // Ranges, and nothing that the receipt does not name.
        let record = intake.ids()[0];
        let (_, length) = vault.sealed_size(&order, record).await.unwrap();
        let whole = vault.sealed(&order, record, 0..length).await.unwrap();
        assert_eq!(
            vault.sealed(&order, record, 3..9).await.unwrap(),
            whole[3..9]
        );
        assert!(matches!(
            vault.sealed(&order, RecordId([1; 16]), 0..9).await,
            Err(Error::NotAReceipt { .. })
        ));
        // Ten minutes, not longer.
        world.clock.advance(Duration::from_millis(600_001));
        assert!(matches!(
            vault.sealed(&order, record, 0..9).await,
            Err(Error::ReceiptExpired)
        ));
        assert!(matches!(world.order(&receipt), Err(Error::ReceiptExpired)));
    })
    .await;
}

#[tokio::test]
async fn records_that_come_after_the_grant_open_too_and_other_classes_do_not() {
    for_each_database(async |database| {
        let mut world = World::new(4);
        let vault = world.vault(&database, &disk()).await;
        // The grant comes before there is any record, so there is no class key to wrap.
        let purpose = Purpose::Treatment;
        let access = world.approved(|w| &mut w.doctor, 7, vec![KeyClass::Medical], purpose);
        assert_eq!(vault.grant(&world.grant(access).unwrap()).await.unwrap(), 0);
        let intake = world.intake(ALIAS, 1, 2);
        world.take_in(&vault, intake.batch()).await;
        let ids = intake.ids();
        let receipt = world.receipt(|w| &mut w.doctor, ALIAS, Some(access), &ids[1..], purpose);
        let order = world.order(&receipt).unwrap();
        let release = vault.release(&order).await.unwrap();
        let contents = opened(&vault, &world.doctor, &order, &release, ALIAS)
            .await
            .unwrap();
        assert_eq!(contents.len(), 2);
        assert!(
            release
                .class_wraps
                .iter()
                .all(|w| w.class == KeyClass::Medical)
        );

        let receipt = world.receipt(|w| &mut w.doctor, ALIAS, Some(access), &ids, purpose);
        let order = world.order(&receipt).unwrap();
        let error = vault.release(&order).await.unwrap_err();
        assert!(matches!(error, Error::NotForReader { record } if record == ids[0]));
        assert!(
            vault.sealed(&order, ids[0], 0..9).await.is_err(),
            "not even sealed"
        );
    })
    .await;
}

#[tokio::test]
async fn staff_get_class_keys_wrapped_anew_and_doctors_without_a_grant_get_nothing() {
    for_each_database(async |database| {
        let mut world = World::new(5);
        let vault = world.vault(&database, &disk()).await;
        let intake = world.intake(ALIAS, 1, 2);
        world.take_in(&vault, intake.batch()).await;
        let ids = intake.ids();
        let purpose = Purpose::Operations;
        for who in [(|w| &mut w.staff) as fn(&mut World) -> &mut Person, |w| {
            &mut w.hospital
        }] {
            let receipt = world.receipt(who, ALIAS, None, &ids, purpose);
            let order = world.order(&receipt).unwrap();
            let release = vault.release(&order).await.unwrap();
            let reader = who(&mut world);
            let contents = opened(&vault, reader, &order, &release, ALIAS)
                .await
                .unwrap();
            assert_eq!(contents.len(), 3);
        }
        // The ledger cannot know who wrote a record; the node does.
        let receipt = world.receipt(
            |w| &mut w.doctor,
            ALIAS,
            None,
            &ids[..1],
            Purpose::Treatment,
        );
        let order = world.order(&receipt).unwrap();
        let error = vault.release(&order).await.unwrap_err();
        assert!(matches!(error, Error::NotForReader { record } if record == ids[0]));
        // A record of another alias under a receipt for this one.
        let other = world.intake(OTHER_ALIAS, 2, 1);
        world.take_in(&vault, other.batch()).await;
        let receipt = world.receipt(|w| &mut w.staff, ALIAS, None, &other.ids()[..1], purpose);
        let order = world.order(&receipt).unwrap();
        assert!(matches!(
            vault.release(&order).await,
            Err(Error::NotFound { .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn a_consultation_opens_for_the_chosen_doctor_and_the_answer_for_the_patient() {
    for_each_database(async |database| {
        let mut world = World::new(6);
        let vault = world.vault(&database, &disk()).await;
        let intake = world.intake(ALIAS, 1, 2);
        world.take_in(&vault, intake.batch()).await;
        let chosen = intake.ids()[1];

        let access = salus_proto::ids::AccessId([8; 16]);
        let doctor = (
            world.doctor.id,
            Arc::clone(&world.doctor.keys),
            Some(access),
        );
        let patient = (world.patient.id, Arc::clone(&world.patient.keys), None);
        let hospital = (world.hospital.id, Arc::clone(&world.hospital.keys), None);
        let (question, asked) = shared_batch(
            &mut world,
            |w| &mut w.patient,
            0x51,
            RecordKind::Question,
            &[doctor, patient.clone(), hospital.clone()],
            None,
        );
        world.take_in(&vault, &question).await;
        let consultation = ConsultationId([9; 16]);
        let mut records = vec![chosen, asked.record];
        records.sort_unstable();
        let until = world.now().plus_ms(86_400_000);
        let doctor_id = world.doctor.id;
        world.act(
            |w| &mut w.patient,
            Action::OpenConsultation {
                consultation,
                access,
                alias: ALIAS,
                doctor: doctor_id,
                records: records.clone(),
                question: salus_proto::ids::BatchId([0x51; 16]),
                until,
            },
        );
        // The patient holds the record key (from a grant) and wraps it to the doctor.
        let position = intake
            .batch()
            .anchors
            .iter()
            .position(|a| a.record == chosen)
            .unwrap();
        let anchor = &intake.batch().anchors[position];
        let context = salus_envelope::open::key_wrap_context(ALIAS, anchor, 1);
        let key_wrap = intake.batch().records[position].key_wrap.as_ref().unwrap();
        let class_key = &intake.keys[KeyClass::Medical as usize];
        let key = salus_envelope::open::record_key(&context, class_key, key_wrap).unwrap();
        let wrap_for = |world: &mut World, record, recipient, access| {
            let to = salus_envelope::share::RecordKeyOf {
                recipient,
                key: &world.doctor.keys.x_wing().recipient(),
                access,
            };
            wrap_record_key(record, &key, &to, &mut world.entropy).unwrap()
        };
        let good = wrap_for(&mut world, chosen, doctor_id, Some(access));
        let stranger = world.stranger.id;
        for bad in [
            wrap_for(&mut world, intake.ids()[2], doctor_id, Some(access)),
            wrap_for(&mut world, chosen, stranger, Some(access)),
            wrap_for(&mut world, chosen, doctor_id, None),
        ] {
            let error = vault.share_records(&world.state, access, vec![bad]).await;
            assert!(matches!(error, Err(Error::NotAReceipt { .. })));
        }
        vault
            .share_records(&world.state, access, vec![good])
            .await
            .unwrap();

        let purpose = Purpose::Treatment;
        let receipt = world.receipt(|w| &mut w.doctor, ALIAS, Some(access), &records, purpose);
        let order = world.order(&receipt).unwrap();
        let release = vault.release(&order).await.unwrap();
        assert!(
            release.class_wraps.is_empty() && release.records.iter().all(|r| r.key_wrap.is_none())
        );
        let contents = opened(&vault, &world.doctor, &order, &release, ALIAS)
            .await
            .unwrap();
        assert!(contents[&chosen] == *intake.content(chosen));
        assert!(contents[&asked.record] == asked.content);

        let author = (world.doctor.id, Arc::clone(&world.doctor.keys), None);
        let (answer, answered) = shared_batch(
            &mut world,
            |w| &mut w.doctor,
            0x52,
            RecordKind::Answer,
            &[patient, author, hospital],
            Some(consultation),
        );
        world.take_in(&vault, &answer).await;
        for who in [
            (|w| &mut w.patient) as fn(&mut World) -> &mut Person,
            |w| &mut w.doctor,
            |w| &mut w.staff,
            |w| &mut w.hospital,
        ] {
            let receipt = world.receipt(who, ALIAS, None, &[answered.record], Purpose::Treatment);
            let order = world.order(&receipt).unwrap();
            let release = vault.release(&order).await.unwrap();
            let reader = who(&mut world);
            let contents = opened(&vault, reader, &order, &release, ALIAS)
                .await
                .unwrap();
            assert!(contents[&answered.record] == answered.content);
        }
        let receipt = world.receipt(
            |w| &mut w.stranger,
            ALIAS,
            None,
            &[answered.record],
            Purpose::Treatment,
        );
        let order = world.order(&receipt).unwrap();
        assert!(matches!(
            vault.release(&order).await,
            Err(Error::NotForReader { .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn a_revoked_access_ends_at_a_new_class_key_and_others_go_on() {
    for_each_database(async |database| {
        let mut world = World::new(7);
        let vault = world.vault(&database, &disk()).await;
        let mut intake = world.intake(ALIAS, 1, 40);
        world.take_in(&vault, intake.batch()).await;
        let classes = vec![KeyClass::Medical];
        let purpose = Purpose::Treatment;
        let doctor = world.approved(|w| &mut w.doctor, 7, classes.clone(), purpose);
        let stranger = world.approved(|w| &mut w.stranger, 8, classes, purpose);
        for access in [doctor, stranger] {
            vault.grant(&world.grant(access).unwrap()).await.unwrap();
        }
        let ids = intake.ids()[1..].to_vec();
        let receipt = world.receipt(|w| &mut w.doctor, ALIAS, Some(doctor), &ids, purpose);
        let order = world.order(&receipt).unwrap();
        let before = vault.release(&order).await.unwrap();

        assert_eq!(RevokedAccess::of(&world.state, doctor, HOSPITAL), None);
        world.act(
            |w| &mut w.patient,
            Action::RevokeAccess {
                access: doctor,
                reason: Reason::ConsentWithdrawn,
            },
        );
        let revoked = RevokedAccess::of(&world.state, doctor, HOSPITAL).unwrap();
        let rotation = vault.revoke(&revoked, &world.state).await.unwrap();
        assert_eq!(
            (
                rotation.destroyed,
                rotation.classes,
                rotation.records,
                rotation.holders
            ),
            (1, 1, 40, 1)
        );
        let again = vault.revoke(&revoked, &world.state).await.unwrap();
        assert_eq!(
            again,
            salus_vault::Rotation::default(),
            "repeating does nothing"
        );

        assert!(matches!(
            world.order(&receipt),
            Err(Error::NotAReceipt { .. })
        ));
        assert!(world.grant(doctor).is_none());
        // The old class key, which the doctor still has, opens none of the wraps that are here now.
        let receipt = world.receipt(|w| &mut w.stranger, ALIAS, Some(stranger), &ids, purpose);
        let order = world.order(&receipt).unwrap();
        let after = vault.release(&order).await.unwrap();
        let old_wrap = before
            .class_wraps
            .iter()
            .find(|w| w.class == KeyClass::Medical)
            .unwrap();
        let old_key =
            salus_envelope::share::unwrap_class_key(old_wrap, world.doctor.keys.x_wing()).unwrap();
        for released in &after.records {
            assert_eq!(released.key_epoch, 2);
            assert_eq!(released.anchor.epoch, 1, "the anchor stays");
            for epoch in [1, 2] {
                let context =
                    salus_envelope::open::key_wrap_context(ALIAS, &released.anchor, epoch);
                let wrap = released.key_wrap.as_ref().unwrap();
                assert!(salus_envelope::open::record_key(&context, &old_key, wrap).is_err());
            }
        }
        let contents = opened(&vault, &world.stranger, &order, &after, ALIAS)
            .await
            .unwrap();
        assert_eq!(contents.len(), 40);
        assert!(vault.fsck(&world.state).await.unwrap().findings.is_empty());

        // Sealing goes on under the new key only.
        let late = world.more(&mut intake, 2, 1);
        let checked = vault.check(&to_bytes(&late), &world.state).unwrap();
        let error = vault.stage(checked).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::WrongEpoch {
                    class: KeyClass::Medical,
                    epoch: 1
                }
            ),
            "{error}"
        );
        let keys = vault
            .sealing_keys(
                ALIAS,
                world.staff.id,
                &world.staff.keys.x_wing().recipient(),
            )
            .await
            .unwrap();
        let epochs: Vec<_> = keys.iter().map(|w| (w.class, w.epoch)).collect();
        assert_eq!(
            epochs,
            [
                (KeyClass::Identity, 1),
                (KeyClass::Quasi, 1),
                (KeyClass::Medical, 2)
            ]
        );
        for wrap in &keys {
            salus_envelope::share::unwrap_class_key(wrap, world.staff.keys.x_wing()).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_receipt_counts_for_its_reader_while_they_may_act() {
    for_each_database(async |database| {
        let mut world = World::new(8);
        let vault = world.vault(&database, &disk()).await;
        let intake = world.intake(ALIAS, 1, 1);
        let anchor = world.take_in(&vault, intake.batch()).await;
        let entry = &world.entries[usize::try_from(anchor).unwrap()].clone();
        assert!(matches!(world.order(entry), Err(Error::NotAReceipt { .. })));
        let purpose = Purpose::Operations;
        let receipt = world.receipt(|w| &mut w.staff, ALIAS, None, &intake.ids(), purpose);
        let mut refused = receipt.clone();
        refused.outcome =
            salus_proto::command::Outcome::Refused(salus_proto::command::Refusal::NotGranted);
        assert!(matches!(
            world.order(&refused),
            Err(Error::NotAReceipt { .. })
        ));
        assert!(matches!(
            salus_vault::ReadOrder::from_entry(&receipt, &world.state, CLOUD, world.now()),
            Err(Error::NotCustodian { .. })
        ));
        world.order(&receipt).unwrap();
        let staff = world.staff.id;
        world.act(
            |w| &mut w.hospital,
            Action::RevokePrincipal {
                principal: staff,
                reason: Reason::LeftRole,
            },
        );
        assert!(matches!(
            world.order(&receipt),
            Err(Error::NotAReceipt { .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn after_new_keys_everything_opens_with_them_once_it_was_moved_wherever_that_stopped() {
    for_each_database(async |database| {
        let mut world = World::new(20);
        let disk = disk();
        let vault = world.vault(&database, &disk).await;
        // Class keys, and a record key for the hospital alone.
        let mut intakes = Vec::new();
        for n in 1..=3 {
            let alias = PatientAlias([n; 16]);
            world.act(|w| &mut w.hospital, Action::OpenPatient { alias });
            let intake = world.intake(alias, n, 1);
            world.take_in(&vault, intake.batch()).await;
            intakes.push(intake);
        }
        let recipients = [
            (world.patient.id, Arc::clone(&world.patient.keys), None),
            (world.hospital.id, Arc::clone(&world.hospital.keys), None),
        ];
        let kind = RecordKind::Question;
        let who: fn(&mut World) -> &mut Person = |w| &mut w.patient;
        let (question, asked) = shared_batch(&mut world, who, 0x91, kind, &recipients, None);
        world.take_in(&vault, &question).await;
        drop(vault);

        let old = world.hospital.keys.to_keyring_bytes();
        let old = || SecretKeys::from_keyring_bytes(&old).unwrap();
        let new = SecretKeys::from_seeds(&[0x77; 32], &[0x78; 32], &[0x79; 32]);
        let new = Arc::new(new.unwrap());
        let replacing = async |earlier| {
            let parts = Parts {
                database: database.clone(),
                blobs: BlobStore::on_disk(Arc::clone(&disk) as _).await.unwrap(),
                clock: Arc::new(world.clock.clone()),
                entropy: Box::new(SeededEntropy::new(5)),
                organisation: HOSPITAL,
                keys: Arc::clone(&new),
            };
            Vault::replacing(parts, earlier)
        };
        let total = 3 * 3 + 1;
        let alone = replacing(None).await;
        let closed = alone.rekey().await.unwrap();
        assert_eq!((closed.moved, closed.closed), (0, total), "nothing is lost");
        let both = replacing(Some(old())).await;
        // Stopped at any point: what was moved is not moved again.
        let stopped = tokio::time::timeout(Duration::from_millis(40), both.rekey()).await;
        drop(stopped);
        let left = alone.rekey().await.unwrap().closed;
        let rest = both.rekey().await.unwrap();
        assert_eq!((rest.moved, rest.closed), (left, 0));
        assert_eq!(both.rekey().await.unwrap(), Rekeyed::default());
        assert_eq!(alone.rekey().await.unwrap(), Rekeyed::default());
        drop(both);

        let staff: fn(&mut World) -> &mut Person = |w| &mut w.staff;
        let purpose = Purpose::Treatment;
        for intake in &intakes {
            let receipt = world.receipt(staff, intake.alias, None, &intake.ids(), purpose);
            let order = world.order(&receipt).unwrap();
            let release = alone.release(&order).await.unwrap();
            let contents = opened(&alone, &world.staff, &order, &release, intake.alias).await;
            assert_eq!(contents.unwrap().len(), intake.ids().len());
        }
        let receipt = world.receipt(staff, ALIAS, None, &[asked.record], purpose);
        let order = world.order(&receipt).unwrap();
        let release = alone.release(&order).await.unwrap();
        let contents = opened(&alone, &world.staff, &order, &release, ALIAS).await;
        assert!(contents.unwrap()[&asked.record] == asked.content);
    })
    .await;
}

/// Servers run these on threads of their own: every future is `Send`.
#[expect(dead_code, reason = "compiling is the test")]
fn futures_are_send(vault: &Vault, state: &std::collections::BTreeMap<Vec<u8>, Vec<u8>>) {
    fn send<T: Send>(_: T) {}
    let (alias, record) = (ALIAS, RecordId([0; 16]));
    send(vault.settle(state));
    send(vault.rekey());
    send(vault.fsck(state));
    send(vault.scrub(None));
    send(vault.evidence(record, None));
    send(vault.records(alias, RecordFilter::default(), None, 1));
    send(vault.anchored(salus_proto::ids::BatchId([0; 16]), 1));
    send(vault.discard(salus_proto::ids::BatchId([0; 16])));
    send(vault.replica_batch(salus_proto::ids::BatchId([0; 16])));
    send(vault.outgoing(HOSPITAL, 1));
    send(vault.incidents(0, 1));
}
