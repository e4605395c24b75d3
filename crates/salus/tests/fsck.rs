//! The tamper matrix over a real node's store: whatever is altered, `salus fsck` names it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::Path;

use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition};
use salus_runtime::table::Database;
use salus_runtime::transact;
use serde_json::Value;
use support::{Consortium, Ended, Member, done, files, salus, until};

/// A node that took a patient in, certified it and was stopped.
fn stored() -> Consortium {
    let consortium = Consortium::found(&["North=hospital,cloud"]);
    let north = &consortium.members[0];
    let node = north.start();
    let form = ["--form", "--patient", "P-17", "--name", "Maya Osei"];
    let fields = [
        "--pulse",
        "72",
        "--symptom",
        "386661006|Fever",
        "--address",
        "1 Road",
    ];
    let taken = done(&[&["intake", "--config", north.config()], &form[..], &fields].concat());
    assert_eq!(taken["failed"], 0, "{taken}");
    let authority = consortium.authority();
    let reach = [
        "--node",
        &north.api,
        "--authority",
        authority.to_str().unwrap(),
    ];
    until("everything is certified", || {
        let status = done(&[&["ledger", "status"], &reach[..]].concat());
        status["certified"]["size"] == status["size"]
    });
    node.stop();
    consortium
}

fn fsck(member: &Member) -> Ended {
    salus(&["fsck", "--config", member.config()])
}

/// Checks the store as it is and expects a finding about the thing.
fn names(member: &Member, part: &str, thing: &str, what: &str) {
    let ended = fsck(member);
    assert_eq!(ended.code, 4, "{what}: {ended:?}");
    let (summary, findings) = ended.lines.split_last().unwrap();
    assert_eq!(summary["sound"], false, "{what}");
    assert_eq!(summary["findings"], findings.len(), "{what}");
    let named = findings.iter().any(|found| {
        let says = |key: &str, text: &str| found[key].as_str().unwrap().contains(text);
        says("part", part) && says("thing", thing) && !found["remedy"].as_str().unwrap().is_empty()
    });
    assert!(named, "{what}: {findings:?}");
}

fn clean(member: &Member) -> Value {
    let mut ended = fsck(member);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.lines.len(), 1, "{ended:?}");
    ended.lines.pop().unwrap()
}

/// Alters a file for as long as the check takes.
fn with_file(path: &Path, alter: impl FnOnce(&mut Vec<u8>), check: impl FnOnce()) {
    let before = std::fs::read(path).unwrap();
    let mut bytes = before.clone();
    alter(&mut bytes);
    assert!(bytes != before, "{} was altered", path.display());
    std::fs::write(path, bytes).unwrap();
    check();
    std::fs::write(path, before).unwrap();
}

/// Flips a bit wherever `wanted` stands.
fn flip_all(bytes: &mut [u8], wanted: &[u8]) {
    let places: Vec<usize> = (0..bytes.len() - wanted.len())
        .filter(|at| bytes[*at..].starts_with(wanted))
        .collect();
    for at in places {
        bytes[at + wanted.len() / 2] ^= 1;
    }
}

#[test]
fn a_sound_store_is_clean_and_every_altered_file_is_named() {
    let consortium = stored();
    let north = &consortium.members[0];
    let summary = clean(north);
    for counted in [
        "entries",
        "state_keys",
        "checkpoints",
        "batches",
        "records",
        "objects",
    ] {
        assert!(
            summary[counted].as_u64().unwrap() > 0,
            "{counted}: {summary}"
        );
    }

    let genesis = consortium.genesis();
    with_file(
        &genesis,
        |bytes| bytes[0] ^= 1,
        || {
            names(
                north,
                "genesis",
                "genesis.cbor",
                "a genesis file that does not decode",
            );
        },
    );
    with_file(
        &genesis,
        |bytes| flip_all(bytes, b"North"),
        || {
            names(
                north,
                "genesis",
                "the genesis file",
                "a genesis file with another name in it",
            );
        },
    );
    let keys = north.folder().join("secret/node.keys");
    // A character of the secret seeds, which stays base64.
    let swap = |bytes: &mut Vec<u8>, from_end: usize| {
        let at = bytes.len() - from_end;
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    };
    for from_end in [10, 80] {
        with_file(
            &keys,
            |bytes| swap(bytes, from_end),
            || {
                names(north, "keys", "node.keys", "a key file with other keys");
            },
        );
    }
    with_file(&keys, Vec::clear, || {
        names(north, "keys", "node.keys", "an empty key file");
    });
    let certificate = north.folder().join("tls/node.pem");
    with_file(
        &certificate,
        |bytes| bytes.truncate(200),
        || {
            names(north, "tls", "node.pem", "a truncated certificate");
        },
    );
    with_file(
        &consortium.authority(),
        |bytes| bytes[3] ^= 1,
        || {
            names(north, "tls", "authority.pem", "an altered authority");
        },
    );
    let passwords = north.data().join("passwords.setup");
    with_file(
        &passwords,
        |bytes| bytes[20] = b'!',
        || {
            names(
                north,
                "passwords",
                "passwords.setup",
                "an altered secret of password logins",
            );
        },
    );
    let journal = north.data().join("intake.journal");
    with_file(
        &journal,
        |bytes| bytes[0] ^= 1,
        || {
            names(north, "intake", "intake.journal", "an altered journal");
        },
    );

    // Sealed bytes: every pack, in its index, in its first and in its last blob; cut, and gone.
    let packs = files(&north.data().join("blobs/packs"));
    assert!(!packs.is_empty());
    for pack in &packs {
        let name = pack.file_name().unwrap().to_str().unwrap();
        with_file(
            pack,
            |bytes| *bytes.last_mut().unwrap() ^= 1,
            || {
                names(north, "store", "record ", "the last blob of a pack");
            },
        );
        with_file(
            pack,
            |bytes| bytes[9] ^= 1,
            || {
                names(north, "store", name, "the index of a pack");
            },
        );
        with_file(
            pack,
            |bytes| bytes.truncate(bytes.len() / 2),
            || {
                names(north, "store", "record ", "half a pack");
            },
        );
        let aside = consortium.path().join("aside");
        std::fs::rename(pack, &aside).unwrap();
        names(north, "store", name, "a pack that is gone");
        std::fs::rename(&aside, pack).unwrap();
    }

    // The ledger's database: what stands in a row (its page has a checksum), and its header.
    let ledger = north.data().join("ledger/ledger.redb");
    for (wanted, what) in [
        (&b"riverside"[..], "notes and state"),
        (b"redb", "the header"),
    ] {
        with_file(
            &ledger,
            |bytes| flip_all(bytes, wanted),
            || {
                names(north, "ledger", "the database", what);
            },
        );
    }
    with_file(
        &ledger,
        |bytes| bytes.truncate(bytes.len() / 2),
        || {
            names(north, "ledger", "the database", "half a ledger");
        },
    );
    let tables = north.data().join("tables.sqlite");
    with_file(
        &tables,
        |bytes| bytes[..100].fill(0),
        || {
            names(north, "store", "the tables", "tables without their header");
        },
    );
    let aside = consortium.path().join("aside");
    std::fs::rename(&tables, &aside).unwrap();
    names(north, "store", "tables.sqlite", "tables that are gone");
    std::fs::rename(&aside, &tables).unwrap();
    clean(north);
}

#[test]
fn every_altered_row_is_named_even_where_checksums_were_made_to_fit() {
    let consortium = stored();
    let north = &consortium.members[0];
    clean(north);
    let ledger = north.data().join("ledger/ledger.redb");
    // The last byte of the last value of a table, back and forth.
    let flip = |table: &str| {
        let database = redb::Database::open(&ledger).unwrap();
        let write = database.begin_write().unwrap();
        macro_rules! last {
            ($key:ty, $own:expr) => {{
                let definition = TableDefinition::<$key, &[u8]>::new(table);
                let mut open = write.open_table(definition).unwrap();
                let (key, mut value) = {
                    let (key, value) = open.last().unwrap().unwrap();
                    ($own(key.value()), value.value().to_vec())
                };
                *value.last_mut().unwrap() ^= 1;
                open.insert(&key, value.as_slice()).unwrap();
            }};
        }
        match table {
            "tiles" => last!((u8, u64), |key: (u8, u64)| key),
            "meta" => {
                let definition = TableDefinition::<&str, &[u8]>::new(table);
                let mut open = write.open_table(definition).unwrap();
                let mut value = open.get("tip").unwrap().unwrap().value().to_vec();
                *value.last_mut().unwrap() ^= 1;
                open.insert("tip", value.as_slice()).unwrap();
            }
            _ => last!(u64, |key: u64| key),
        }
        write.commit().unwrap();
    };
    let last_entry = clean(north)["entries"].as_u64().unwrap() - 1;
    for (table, thing) in [
        ("entries", format!("entry {last_entry}").as_str()),
        ("checkpoints", "checkpoint "),
        ("epochs", "epoch 0"),
        ("tiles", "tile 0/0"),
        ("meta", "last checkpoint"),
    ] {
        flip(table);
        names(north, "ledger", thing, table);
        flip(table);
    }
    let values = |definition: TableDefinition<'static, &'static [u8], &'static [u8]>| {
        let database = redb::Database::open(&ledger).unwrap();
        let read = database.begin_read().unwrap();
        let table = read.open_table(definition).unwrap();
        let rows = table
            .iter()
            .unwrap()
            .map(|row| row.unwrap().0.value().to_vec());
        rows.collect::<Vec<_>>()
    };
    let state = TableDefinition::<&[u8], &[u8]>::new("state");
    for key in values(state) {
        let flip = || {
            let database = redb::Database::open(&ledger).unwrap();
            let write = database.begin_write().unwrap();
            {
                let mut open = write.open_table(state).unwrap();
                let mut value = open.get(key.as_slice()).unwrap().unwrap().value().to_vec();
                *value.last_mut().unwrap() ^= 1;
                open.insert(key.as_slice(), value.as_slice()).unwrap();
            }
            write.commit().unwrap();
        };
        flip();
        let name: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        names(
            north,
            "ledger",
            &format!("state key {name}"),
            "a value of the state",
        );
        flip();
    }

    // The tables, by what each says of a batch or a record.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let tables = north.data().join("tables.sqlite");
    let before = std::fs::read(&tables).unwrap();
    for (change, thing) in [
        (
            "UPDATE vault_batch SET manifest = zeroblob(length(manifest))",
            "batch ",
        ),
        (
            "UPDATE vault_batch SET anchors_root = zeroblob(32)",
            "batch ",
        ),
        ("UPDATE vault_batch SET entry = entry + 1", "batch "),
        ("UPDATE vault_batch SET signer = zeroblob(16)", "batch "),
        ("UPDATE vault_batch SET created = created + 1", "batch "),
        ("UPDATE vault_batch SET records = records + 1", "batch "),
        (
            "UPDATE vault_patient SET custodian = zeroblob(16)",
            "batch ",
        ),
        ("DELETE FROM vault_batch", "batch "),
        ("DELETE FROM vault_record WHERE position = 0", "batch "),
        (
            "UPDATE vault_record SET record = zeroblob(16) WHERE position = 0",
            "batch ",
        ),
        (
            "UPDATE vault_record SET kind = kind + 1 WHERE position = 0",
            "batch ",
        ),
        (
            "UPDATE vault_record SET length = length + 1 WHERE position = 0",
            "record ",
        ),
        (
            "UPDATE vault_record SET ciphertext = zeroblob(32) WHERE position = 0",
            "record ",
        ),
        (
            "UPDATE vault_record SET key_wrap = zeroblob(60) WHERE position = 0",
            "record ",
        ),
        (
            "UPDATE vault_record SET key_epoch = 9 WHERE position = 0",
            "record ",
        ),
        (
            "UPDATE vault_class_wrap SET wrap = zeroblob(length(wrap))",
            "record ",
        ),
        ("DELETE FROM vault_class_wrap", "record "),
        ("UPDATE blob SET pack_offset = pack_offset + 1", "record "),
        ("UPDATE blob SET length = length + 1", "record "),
        ("DELETE FROM blob", "record "),
    ] {
        runtime.block_on(async {
            let url = format!("sqlite:{}", tables.display());
            let database = Database::open(&url).await.unwrap();
            let rows = transact!(database, "alter", |tx| tx.execute(change, &[]).await).unwrap();
            assert!(rows > 0, "{change}");
            database.close().await;
        });
        names(north, "store", thing, change);
        std::fs::write(&tables, &before).unwrap();
    }
    clean(north);
}

#[test]
fn a_running_node_is_not_checked() {
    let consortium = Consortium::found(&["North=hospital,cloud"]);
    let north = &consortium.members[0];
    let node = north.start();
    let ended = fsck(north);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.errors.contains("stop it first"), "{ended:?}");
    node.stop();
    clean(north);
}
