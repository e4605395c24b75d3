//! The committed bytes of records: what the code makes now, what it accepts, and what it refuses.
//!
//! `proto/testdata/record/batch.json` holds a sealed batch with everything needed to check and open
//! it; `malformed.json` lists edits of that batch and the name of the error each one meets. ML-DSA
//! signatures are hedged, so signatures are read, not compared; all other bytes are.

#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]

mod support;

use std::path::PathBuf;

use salus_crypto::digest::sha256;
use salus_crypto::{hybrid, label};
use salus_envelope::open::{key_wrap_context, open, record_context, record_key};
use salus_envelope::share::{unwrap_class_key, unwrap_record_key};
use salus_envelope::verify::{decode, verify};
use salus_proto::encode::{from_bytes, to_bytes};
use salus_proto::record::{
    ClassWrapContext, MANIFEST_LIMIT, Manifest, RecordWrapContext, SealedBatch, Statement,
};
use serde_json::{Value, json};
use support::*;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../proto/testdata/record")
        .join(name)
}

/// Reads a vector file; with SALUS_WRITE_VECTORS set it is first written anew, which changes the
/// format for everybody.
fn vectors(name: &str, made: impl FnOnce() -> Value) -> Value {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's switch, not configuration"
    )]
    if std::env::var_os("SALUS_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&made()).unwrap() + "\n";
        std::fs::write(path(name), text).unwrap();
    }
    read(name)
}

fn read(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// Everything about the batch but the two files' signatures.
fn description(made: &Made, batch: &SealedBatch) -> Value {
    let manifest = hybrid::verify(&made.peer, label::MANIFEST, &batch.manifest).unwrap();
    let records: Vec<Value> = (0..batch.anchors.len())
        .map(|index| {
            let (anchor, record) = (&batch.anchors[index], &batch.records[index]);
            let key_wrap = record.key_wrap.as_ref().map(hex::encode);
            let statement = record.statement.as_ref().map(|envelope| {
                hex::encode(hybrid::verify(&made.peer, label::DOCUMENT, envelope).unwrap())
            });
            json!({
                "anchor": hex::encode(to_bytes(anchor)),
                "context": hex::encode(to_bytes(&record_context(ALIAS, CUSTODIAN, anchor))),
                "key_wrap_context": key_wrap.is_some().then(||
                    hex::encode(to_bytes(&key_wrap_context(ALIAS, anchor, anchor.epoch)))),
                "key_wrap": key_wrap,
                "content": hex::encode(to_bytes(&made.items[index].content)),
                "statement": statement,
            })
        })
        .collect();
    let class_wraps: Vec<Value> = batch
        .class_wraps
        .iter()
        .map(|wrap| {
            let context = ClassWrapContext {
                alias: wrap.alias,
                class: wrap.class,
                epoch: wrap.epoch,
                recipient: wrap.recipient,
                access: wrap.access,
            };
            json!({
                "context": hex::encode(to_bytes(&context)),
                "wrap": hex::encode(&wrap.wrap),
                "class_key": hex::encode(made.class_key(wrap.class)),
            })
        })
        .collect();
    let record_wraps: Vec<Value> = batch
        .record_wraps
        .iter()
        .map(|wrap| {
            let context = RecordWrapContext {
                record: wrap.record,
                recipient: wrap.recipient,
                access: wrap.access,
            };
            json!({"context": hex::encode(to_bytes(&context)), "wrap": hex::encode(&wrap.wrap)})
        })
        .collect();
    let payload: Manifest = from_bytes(&manifest, MANIFEST_LIMIT, "a manifest").unwrap();
    json!({
        "hospital_seeds": [hex::encode([1; 32]), hex::encode([2; 32]), hex::encode([3; 32])],
        "doctor_seeds": [hex::encode([4; 32]), hex::encode([5; 32]), hex::encode([6; 32])],
        "hospital_keys": hex::encode(to_bytes(made.hospital.public())),
        "manifest": hex::encode(&manifest),
        "anchors_root": payload.anchors_root,
        "records": records,
        "class_wraps": class_wraps,
        "record_wraps": record_wraps,
    })
}

#[test]
fn the_committed_batch_is_what_the_code_makes_and_accepts() {
    let made = made();
    let file = vectors("batch.json", || {
        json!({
            "about": "docs/formats.md, Records. `batch` is an encoded SealedBatch; seeds are Ed25519, \
                      ML-DSA-65, X-Wing. Class keys stand there so that readers without X-Wing can \
                      open the records.",
            "batch": hex::encode(to_bytes(&made.batch)),
            "made": description(&made, &made.batch),
        })
    });
    let batch = decode(&unhex(&file["batch"])).unwrap();
    verify(&batch, &made.peer).unwrap();
    // The statement is hedged too, and with it its digest, the anchors' root and the manifest.
    let mut now = made.batch.clone();
    now.anchors[1].statement = batch.anchors[1].statement;
    now.records[1].statement = batch.records[1].statement.clone();
    now.manifest = batch.manifest.clone();
    assert_eq!(file["made"], description(&made, &now));
    let statement = hybrid::verify(
        &made.peer,
        label::DOCUMENT,
        batch.records[1].statement.as_ref().unwrap(),
    )
    .unwrap();
    let statement: Statement = from_bytes(&statement, MANIFEST_LIMIT, "a statement").unwrap();
    assert_eq!(statement.record, record(0x22));
}

#[test]
fn the_committed_batch_opens_with_the_committed_keys() {
    let made = made();
    let file = read("batch.json");
    let batch = decode(&unhex(&file["batch"])).unwrap();
    for index in 0..3 {
        let (anchor, record) = (&batch.anchors[index], &batch.records[index]);
        let key = if let Some(key_wrap) = &record.key_wrap {
            let wrap = batch
                .class_wraps
                .iter()
                .find(|w| w.class == anchor.class)
                .unwrap();
            let class_key = unwrap_class_key(wrap, made.hospital.x_wing()).unwrap();
            record_key(&key_wrap_context(ALIAS, anchor, 1), &class_key, key_wrap).unwrap()
        } else {
            unwrap_record_key(&batch.record_wraps[0], made.doctor.x_wing()).unwrap()
        };
        let context = record_context(ALIAS, CUSTODIAN, anchor);
        let content = open(&context, anchor, &key, record.blob.as_ref().unwrap()).unwrap();
        let committed = unhex(&file["made"]["records"][index]["content"]);
        assert_eq!(to_bytes(&content), committed);
    }
}

/// An edit of the committed batch: at `offset`, `remove` bytes go and `insert` comes.
fn edited(batch: &[u8], edit: &Value) -> Vec<u8> {
    let offset = usize::try_from(edit["offset"].as_u64().unwrap()).unwrap();
    let remove = usize::try_from(edit["remove"].as_u64().unwrap()).unwrap();
    let mut bytes = batch.to_vec();
    bytes.splice(offset..offset + remove, unhex(&edit["insert"]));
    bytes
}

/// The edits that `malformed.json` is made of: a name, where in the batch, what goes, what comes.
fn edits(batch: &SealedBatch, bytes: &[u8]) -> Vec<Value> {
    let at = |needle: &[u8]| {
        let found = bytes.windows(needle.len()).position(|w| w == needle);
        found.unwrap()
    };
    let flip = |offset: usize| hex::encode([bytes[offset] ^ 1]);
    let anchor = at(&to_bytes(&batch.anchors[0]));
    let first_blob = at(batch.records[0].blob.as_ref().unwrap());
    let statement = at(batch.records[1].statement.as_ref().unwrap());
    let manifest = at(&batch.manifest);
    let class_wrap = at(&batch.class_wraps[0].wrap);
    let command = at(&batch.command);
    let name = at(b"Ada Example");
    let row = |name: &str, offset: usize, remove: usize, insert: String| json!({"name": name, "offset": offset, "remove": remove, "insert": insert});
    let mut rows = vec![
        row("a byte follows", bytes.len(), 0, "00".into()),
        row("cut short", bytes.len() - 1, 1, String::new()),
        row("a map of indefinite length", 0, 1, "bf".into()),
        row(
            "an overlong map head",
            0,
            1,
            format!("b8{:02x}", bytes[0] & 0x1f),
        ),
        row("an unknown key", 1, 1, "17".into()),
        row(
            "another record id in an anchor",
            anchor + 3,
            1,
            flip(anchor + 3),
        ),
        row("a kind that does not exist", anchor + 26, 1, "18".into()),
        row(
            "a flipped bit in a sealed header",
            first_blob + 30,
            1,
            flip(first_blob + 30),
        ),
        row(
            "a magic of another version",
            first_blob + 7,
            1,
            flip(first_blob + 7),
        ),
        row(
            "a flipped bit in the statement's ML-DSA signature",
            statement + batch.records[1].statement.as_ref().unwrap().len() - 9,
            1,
            flip(statement + batch.records[1].statement.as_ref().unwrap().len() - 9),
        ),
        row(
            "a flipped bit in the manifest's ML-DSA signature",
            manifest + batch.manifest.len() - 9,
            1,
            flip(manifest + batch.manifest.len() - 9),
        ),
        row(
            "a flipped bit in the manifest's payload",
            manifest + 40,
            1,
            flip(manifest + 40),
        ),
        row(
            "a manifest that is no COSE_Sign",
            manifest,
            1,
            flip(manifest),
        ),
        row(
            "a class key for another patient",
            class_wrap - 42,
            1,
            flip(class_wrap - 42),
        ),
        row(
            "a flipped bit in the command",
            command + 60,
            1,
            flip(command + 60),
        ),
        row("a name with a control character", name, 1, "07".into()),
        row("a name that is not UTF-8", name, 1, "ff".into()),
    ];
    let made = made();
    for row in &mut rows {
        let error = decode(&edited(bytes, row))
            .and_then(|batch| verify(&batch, &made.peer))
            .unwrap_err();
        row["error"] = error.name().into();
    }
    rows
}

#[test]
fn committed_malformed_batches_are_refused_for_the_committed_reason() {
    let made = made();
    let good = read("batch.json");
    let good = unhex(&good["batch"]);
    let file = vectors("malformed.json", || {
        let batch = decode(&good).unwrap();
        json!({
            "about": "Edits of the batch in batch.json: at `offset`, `remove` bytes go and `insert` \
                      comes. Every edited batch is refused; `error` is this implementation's name \
                      for the reason.",
            "batch_digest": sha256(&good),
            "edits": edits(&batch, &good),
        })
    });
    assert_eq!(file["batch_digest"], json!(sha256(&good)));
    let edits = file["edits"].as_array().unwrap();
    assert!(edits.len() >= 15);
    for edit in edits {
        let error = decode(&edited(&good, edit))
            .and_then(|batch| verify(&batch, &made.peer))
            .expect_err(edit["name"].as_str().unwrap());
        assert_eq!(error.name(), edit["error"], "{}", edit["name"]);
    }
}
