//! A sealed batch is accepted as made, opens for its recipients only, and every change is refused.

#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]

mod support;

use proptest::prelude::*;
use salus_crypto::digest::sha256;
use salus_crypto::keys::PeerKeys;
use salus_envelope::open::{
    check_binding, check_statement, key_wrap_context, open, record_context, record_key,
};
use salus_envelope::seal::{BatchBuilder, ClassKey, anchors_root, anchors_tree, detach_blobs};
use salus_envelope::share::{unwrap_class_key, unwrap_record_key, wrap_record_key_under};
use salus_envelope::verify::{
    claimed_signer, decode, manifest, verify, verify_replica, without_keys,
};
use salus_proto::encode::to_bytes;
use salus_proto::ids::{PatientAlias, PrincipalId};
use salus_proto::record::{KeyClass, RecordKind, SealedBatch};
use support::*;

/// Why a changed batch is refused.
fn refused(made: &Made, change: impl FnOnce(&mut SealedBatch)) -> String {
    let mut batch = made.batch.clone();
    change(&mut batch);
    verify(&batch, &made.peer).unwrap_err().to_string()
}

#[test]
fn a_batch_is_accepted_as_made_and_says_who_signed_what() {
    let made = made();
    let bytes = to_bytes(&made.batch);
    let batch = decode(&bytes).unwrap();
    assert!(batch == made.batch);
    assert_eq!(claimed_signer(&batch).unwrap(), CUSTODIAN);
    let manifest = verify(&batch, &made.peer).unwrap();
    assert_eq!((manifest.alias, manifest.count), (ALIAS, 3));
    let tree = anchors_tree(&batch.anchors);
    for (index, anchor) in batch.anchors.iter().enumerate() {
        let proof = tree.inclusion(index as u64).unwrap();
        let leaf = salus_ledger::tree::leaf_hash(&to_bytes(anchor));
        proof.verify(&leaf, &manifest.anchors_root).unwrap();
    }
}

#[test]
fn records_open_for_the_class_key_and_for_the_one_they_are_shared_with() {
    let made = made();
    let batch = &made.batch;
    for index in 0..2 {
        let anchor = &batch.anchors[index];
        let wrap = batch
            .class_wraps
            .iter()
            .find(|w| w.class == anchor.class)
            .unwrap();
        let class_key = unwrap_class_key(wrap, made.hospital.x_wing()).unwrap();
        assert_eq!(class_key, *made.class_key(anchor.class));
        assert!(unwrap_class_key(wrap, made.doctor.x_wing()).is_err());
        let context = key_wrap_context(ALIAS, anchor, 1);
        let key_wrap = batch.records[index].key_wrap.as_ref().unwrap();
        let key = record_key(&context, &class_key, key_wrap).unwrap();
        let blob = batch.records[index].blob.as_ref().unwrap();
        let context = record_context(ALIAS, CUSTODIAN, anchor);
        let content = open(&context, anchor, &key, blob).unwrap();
        assert!(content == made.items[index].content);
    }
    let wrap = &batch.record_wraps[0];
    let key = unwrap_record_key(wrap, made.doctor.x_wing()).unwrap();
    assert!(unwrap_record_key(wrap, made.hospital.x_wing()).is_err());
    let context = record_context(ALIAS, CUSTODIAN, &batch.anchors[2]);
    let blob = batch.records[2].blob.as_ref().unwrap();
    assert!(open(&context, &batch.anchors[2], &key, blob).unwrap() == made.items[2].content);
}

#[test]
fn a_record_key_moves_to_a_new_epoch_and_the_sealed_bytes_stay() {
    let made = made();
    let anchor = &made.batch.anchors[0];
    let old = key_wrap_context(ALIAS, anchor, 1);
    let old_wrap = made.batch.records[0].key_wrap.as_ref().unwrap();
    let key = record_key(&old, made.class_key(KeyClass::Medical), old_wrap).unwrap();
    let next_key = salus_crypto::keys::random_secret(&mut Seeded::new(99));
    let next = key_wrap_context(ALIAS, anchor, 2);
    let wrap = wrap_record_key_under(&next, &next_key, &key, &mut Seeded::new(100)).unwrap();
    assert_eq!(wrap.len(), 60);
    assert!(
        record_key(&old, &next_key, &wrap).is_err(),
        "the epoch is bound"
    );
    let moved = record_key(&next, &next_key, &wrap).unwrap();
    let blob = made.batch.records[0].blob.as_ref().unwrap();
    open(
        &record_context(ALIAS, CUSTODIAN, anchor),
        anchor,
        &moved,
        blob,
    )
    .unwrap();
}

#[test]
fn a_binding_is_checked_without_decrypting_and_names_another_patient() {
    let made = made();
    let (anchor, record) = (&made.batch.anchors[0], &made.batch.records[0]);
    let key_wrap = record.key_wrap.as_ref().unwrap();
    let class_key = made.class_key(KeyClass::Medical);
    let key = record_key(&key_wrap_context(ALIAS, anchor, 1), class_key, key_wrap).unwrap();
    let blob = record.blob.as_ref().unwrap();
    check_binding(&record_context(ALIAS, CUSTODIAN, anchor), &key, blob).unwrap();
    let other = record_context(PatientAlias([9; 16]), CUSTODIAN, anchor);
    let error = check_binding(&other, &key, blob).unwrap_err();
    assert_eq!(error.name(), "wrong-context");
    let error = open(&other, anchor, &key, blob).unwrap_err();
    assert_eq!(error.name(), "wrong-context");
    let stranger = salus_crypto::keys::random_secret(&mut Seeded::new(5));
    let error = check_binding(&record_context(ALIAS, CUSTODIAN, anchor), &stranger, blob);
    assert_eq!(error.unwrap_err().name(), "wrong-key");
}

#[test]
fn a_statement_is_about_one_record_and_one_plaintext() {
    let made = made();
    let anchor = &made.batch.anchors[1];
    let envelope = made.batch.records[1].statement.as_ref().unwrap();
    let content = &made.items[1].content;
    let statement = check_statement(anchor, envelope, &made.peer, Some(content)).unwrap();
    assert_eq!((statement.signer, statement.signed), (CUSTODIAN, CREATED));
    let mut altered = content.clone();
    altered.body.push(b' ');
    let other_type = salus_proto::record::Content {
        media_type: "text/plain".into(),
        ..content.clone()
    };
    for wrong in [&altered, &other_type] {
        let error = check_statement(anchor, envelope, &made.peer, Some(wrong)).unwrap_err();
        assert_eq!(error.name(), "statement");
    }
    let mut renamed = anchor.clone();
    renamed.record = record(0x99);
    let error = check_statement(&renamed, envelope, &made.peer, None).unwrap_err();
    assert_eq!(error.name(), "statement");
}

#[test]
fn every_part_of_an_upload_is_bound_to_the_signature() {
    let made = made();
    let upload = |change: &dyn Fn(&mut SealedBatch)| refused(&made, change);
    assert!(upload(&|b| b.anchors[0].kind = RecordKind::Ecg).contains("signed over"));
    assert!(upload(&|b| b.anchors.swap(0, 1)).contains("signed over"));
    assert!(
        upload(&|b| {
            b.anchors.pop();
            b.records.pop();
        })
        .contains("number of anchors")
    );
    assert!(
        upload(&|b| {
            b.records.pop();
        })
        .contains("different number")
    );
    assert!(
        upload(&|b| {
            let swapped = b.records[0].blob.clone();
            b.records[0].blob = b.records[1].blob.clone();
            b.records[1].blob = swapped;
        })
        .contains("do not match their anchor")
    );
    assert!(
        upload(&|b| b.records[0].blob.as_mut().unwrap()[40] ^= 1)
            .contains(&record(0x21).to_string())
    );
    assert!(upload(&|b| b.records[1].statement = None).contains("statement"));
    assert!(
        upload(&|b| b.records[0].statement = b.records[1].statement.clone()).contains("statement")
    );
    assert!(upload(&|b| b.records[0].key_wrap = None).contains("way to its key"));
    assert!(upload(&|b| b.record_wraps.clear()).contains("way to its key"));
    assert!(
        upload(&|b| b.records[2].key_wrap = b.records[0].key_wrap.clone())
            .contains("way to its key")
    );
    assert!(upload(&|b| b.record_wraps[0].record = record(0x66)).contains("way to its key"));
    assert!(
        upload(&|b| {
            let mut wrap = b.record_wraps[0].clone();
            wrap.record = record(0x66);
            b.record_wraps.push(wrap);
        })
        .contains("does not hold")
    );
    assert!(
        upload(&|b| {
            b.record_wraps[0].wrap.pop();
        })
        .contains("wrong length")
    );
    assert!(upload(&|b| b.records[0].key_wrap.as_mut().unwrap().push(0)).contains("wrong length"));
    assert!(upload(&|b| b.class_wraps[0].wrap.push(0)).contains("wrong length"));
    assert!(
        upload(&|b| b.class_wraps[0].alias = PatientAlias([1; 16])).contains("another patient")
    );
    assert!(upload(&|b| b.class_wraps[0].recipient = DOCTOR).contains("another holder"));
    assert!(upload(&|b| b.class_wraps[0].access = Some(ACCESS)).contains("another holder"));
    assert!(
        upload(&|b| {
            let wrap = b.class_wraps[0].clone();
            b.class_wraps.push(wrap);
        })
        .contains("too many key wraps")
    );
    assert!(
        upload(&|b| {
            let wrap = b.record_wraps[0].clone();
            b.record_wraps = vec![wrap; 25];
        })
        .contains("too many key wraps")
    );
    assert!(upload(&|b| b.name = Some("a\u{7}".into())).contains("control characters"));
    assert!(upload(&|b| b.name = Some("x".repeat(401))).contains("too long"));
    assert!(upload(&|b| b.manifest = vec![0; 20_000]).contains("oversized"));
    assert!(upload(&|b| b.manifest.truncate(100)).contains("not a hybrid signature"));
    assert!(upload(&|b| b.command.truncate(10)).contains("not valid CBOR"));
    let other = BatchBuilder::new(
        salus_envelope::seal::Author {
            consortium: CONSORTIUM,
            principal: CUSTODIAN,
            keys: &made.hospital,
        },
        HOSPITAL,
        ALIAS,
        salus_proto::ids::BatchId([1; 16]),
        CREATED,
    );
    let mut other = other;
    let key = ClassKey {
        epoch: 1,
        key: made.class_key(KeyClass::Medical),
    };
    other.add(&made.items[0], key, &mut Seeded::new(3)).unwrap();
    let other = other.finish(2, None).unwrap();
    assert!(upload(&|b| b.command = other.command.clone()).contains("anchors something else"));
    assert!(upload(&|b| b.manifest = other.manifest.clone()).contains("number of anchors"));
}

#[test]
fn a_record_stands_in_a_batch_once_and_versions_start_at_one() {
    let made = made();
    let signed = |items: &[&salus_envelope::seal::Item]| {
        let author = salus_envelope::seal::Author {
            consortium: CONSORTIUM,
            principal: CUSTODIAN,
            keys: &made.hospital,
        };
        let mut builder = BatchBuilder::new(author, HOSPITAL, ALIAS, BATCH, CREATED);
        for item in items {
            let key = ClassKey {
                epoch: 1,
                key: made.class_key(item.class),
            };
            builder.add(item, key, &mut Seeded::new(3)).unwrap();
        }
        verify(&builder.finish(2, None).unwrap(), &made.peer)
            .unwrap_err()
            .to_string()
    };
    assert!(signed(&[&made.items[0], &made.items[0]]).contains("stands in it twice"));
    let mut zero = item(1, RecordKind::Vitals, KeyClass::Medical, b"");
    zero.version = 0;
    assert!(signed(&[&zero]).contains("version 0"));
}

#[test]
fn a_builder_refuses_what_nobody_could_open_or_store() {
    let made = made();
    let author = salus_envelope::seal::Author {
        consortium: CONSORTIUM,
        principal: CUSTODIAN,
        keys: &made.hospital,
    };
    let mut builder = BatchBuilder::new(author, HOSPITAL, ALIAS, BATCH, CREATED);
    assert!(builder.is_empty());
    assert!(
        builder
            .add_for(&made.items[2], &[], &mut Seeded::new(1))
            .is_err()
    );
    let epoch_zero = ClassKey {
        epoch: 0,
        key: made.class_key(KeyClass::Medical),
    };
    assert!(
        builder
            .add(&made.items[0], epoch_zero, &mut Seeded::new(1))
            .is_err()
    );
    assert_eq!(builder.len(), 0);
    assert!(builder.finish(1, None).is_err());
}

#[test]
fn a_manifest_in_anothers_name_or_by_another_key_is_refused() {
    let made = made();
    let stranger = PeerKeys::parse(keys(40).public()).unwrap();
    let error = verify(&made.batch, &stranger).unwrap_err();
    assert_eq!(error.name(), "signature");
    // The doctor signs a manifest that names the hospital as its signer.
    let author = salus_envelope::seal::Author {
        consortium: CONSORTIUM,
        principal: CUSTODIAN,
        keys: &made.doctor,
    };
    let mut forged = BatchBuilder::new(author, HOSPITAL, ALIAS, BATCH, CREATED);
    let key = ClassKey {
        epoch: 1,
        key: made.class_key(KeyClass::Medical),
    };
    forged
        .add(&made.items[0], key, &mut Seeded::new(1))
        .unwrap();
    let forged = forged.finish(1, None).unwrap();
    assert_eq!(verify(&forged, &made.peer).unwrap_err().name(), "signature");
    let payload = salus_crypto::hybrid::verify(
        &made.peer,
        salus_crypto::label::MANIFEST,
        &made.batch.manifest,
    )
    .unwrap();
    let in_anothers_name = salus_crypto::hybrid::sign(
        &made.hospital,
        salus_crypto::label::MANIFEST,
        PrincipalId([0x55; 16]).as_bytes(),
        &payload,
    )
    .unwrap();
    let error = manifest(&in_anothers_name, &made.peer).unwrap_err();
    assert!(error.to_string().contains("another's name"));
}

#[test]
fn a_replica_gets_everything_but_keys() {
    let made = made();
    let mut replica = made.batch.clone();
    without_keys(&mut replica);
    let anchored = sha256(&replica.manifest);
    let manifest = verify_replica(&replica, anchored).unwrap();
    assert_eq!(manifest.anchors_root, anchors_root(&replica.anchors));
    assert!(verify(&replica, &made.peer).is_err());
    let refused = |batch: &SealedBatch, change: &dyn Fn(&mut SealedBatch)| {
        let mut batch = batch.clone();
        change(&mut batch);
        verify_replica(&batch, anchored).unwrap_err().to_string()
    };
    for leak in [
        |b: &mut SealedBatch| b.record_wraps.clear(),
        |b: &mut SealedBatch| b.class_wraps.clear(),
        |b: &mut SealedBatch| b.records[0].key_wrap = None,
    ] {
        assert!(refused(&made.batch, &leak).contains("replica must not get"));
    }
    assert!(refused(&replica, &|b| b.manifest[20] ^= 1).contains("ledger anchored"));
    assert!(refused(&replica, &|b| b.anchors.swap(0, 1)).contains("signed over"));
    assert!(refused(&replica, &|b| b.records[1].statement = None).contains("statement"));
    assert!(refused(&replica, &|b| b.records[1].blob.as_mut().unwrap()[9] ^= 1).contains("anchor"));
}

#[test]
fn long_blobs_travel_apart() {
    let made = made();
    let mut batch = made.batch.clone();
    let longest = batch
        .records
        .iter()
        .map(|r| r.blob.as_ref().unwrap().len())
        .max()
        .unwrap();
    let detached = detach_blobs(&mut batch, longest - 1);
    assert!(!detached.is_empty() && detached.len() < 3);
    for (digest, blob) in &detached {
        assert_eq!(sha256(blob), *digest);
    }
    verify(&batch, &made.peer).unwrap();
}

#[test]
fn debug_shows_no_key() {
    let made = made();
    let key = ClassKey {
        epoch: 1,
        key: made.class_key(KeyClass::Medical),
    };
    let shown = format!(
        "{key:?} {:?} {:?} {:?}",
        made.class_keys, made.batch, made.items[0]
    );
    let secret = format!("{:?}", &made.class_key(KeyClass::Medical)[..4]);
    assert!(!shown.contains(secret.trim_matches(['[', ']'])), "{shown}");
    assert!(!shown.contains("Ada"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_flipped_bit_of_an_upload_goes_through(at: prop::sample::Index, bit in 0_u8..8) {
        thread_local! {
            static MADE: Made = made();
        }
        MADE.with(|made| {
            let good = to_bytes(&made.batch);
            let mut bytes = good.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let accepted = decode(&bytes)
                .and_then(|batch| verify(&batch, &made.peer).map(|_| batch));
            // Key wraps and the name are not signed: wraps fail when they are opened, the name is
            // the node's own directory. Everything else is bound to the signatures.
            if let Ok(batch) = accepted {
                prop_assert!(batch.manifest == made.batch.manifest);
                prop_assert!(batch.anchors == made.batch.anchors);
                let same = |f: fn(&salus_proto::record::SealedRecord) -> &Option<Vec<u8>>| {
                    batch.records.iter().zip(&made.batch.records).all(|(a, b)| f(a) == f(b))
                };
                prop_assert!(same(|r| &r.blob) && same(|r| &r.statement));
            }
            Ok(())
        })?;
    }
}
