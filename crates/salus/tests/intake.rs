//! Taking the same things in again, as hospitals do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Consortium, Ended, Member, done, files, salus, until};

fn intake(member: &Member, arguments: &[&str]) -> Ended {
    salus(&[&["intake", "--config", member.config()], arguments].concat())
}

/// The import's summary: records, known, failed.
fn counts(ended: &Ended) -> (u64, u64, u64) {
    let summary = ended.lines.last().unwrap();
    let count = |name: &str| summary[name].as_u64().unwrap();
    (count("records"), count("known"), count("failed"))
}

fn observation(id: &str, value: u32) -> Value {
    json!({ "resource": {
        "resourceType": "Observation", "id": id, "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "8867-4" }] },
        "subject": { "reference": "Patient/p-1" },
        "valueQuantity": { "value": value, "unit": "/min" },
    } })
}

fn bundle(path: &Path, observations: &[Value]) {
    let patient = json!({ "resource": {
        "resourceType": "Patient", "id": "p-1", "name": [{ "text": "Maya Osei" }],
    } });
    let entries = [&[patient], observations].concat();
    let bundle = json!({ "resourceType": "Bundle", "type": "collection", "entry": entries });
    std::fs::write(path, bundle.to_string()).unwrap();
}

/// The aliases of the patients that this node lists.
fn aliases(member: &Member) -> Vec<String> {
    let ended = salus(&["patients", "list", "--config", member.config()]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let aliases = ended
        .lines
        .iter()
        .map(|p| p["alias"].as_str().unwrap().to_owned());
    aliases.collect()
}

#[test]
fn a_bundle_says_whose_it_is_and_is_taken_in_once_whoever_is_named() {
    let consortium = Consortium::found(&["North=hospital,cloud"]);
    let north = &consortium.members[0];
    let node = north.start();
    let path = consortium.path().join("bundle.json");
    let file = path.to_str().unwrap();
    bundle(&path, &[observation("a", 70), observation("b", 71)]);
    let first = intake(north, &[file]);
    let (records, known, failed) = counts(&first);
    assert_eq!((known, failed), (0, 0), "{first:?}");
    for again in [
        &[file][..],
        &["--patient", "somebody-else", file],
        &["--patient", "p-1", file],
    ] {
        let ended = intake(north, again);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(counts(&ended), (0, records, 0), "{again:?}");
    }
    assert_eq!(aliases(north).len(), 1);

    // The same patient's next export: one observation amended, one new, the rest known.
    bundle(
        &path,
        &[
            observation("a", 70),
            observation("b", 72),
            observation("c", 73),
        ],
    );
    let next = intake(north, &[file]);
    assert_eq!(next.code, 0, "{next:?}");
    assert_eq!(counts(&next), (2, records - 1, 0));
    // Also where the hospital's own notes of what it took in are lost up to the patient's alias.
    let journal = north.data().join("intake.journal");
    let kept: String = std::fs::read_to_string(&journal)
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("patient"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&journal, kept).unwrap();
    let forgotten = intake(north, &[file]);
    assert_eq!(counts(&forgotten), (0, records + 1, 0), "{forgotten:?}");
    node.stop();
}

#[test]
fn a_file_of_one_patient_is_not_taken_in_for_another() {
    let consortium = Consortium::found(&["North=hospital,cloud"]);
    let north = &consortium.members[0];
    let node = north.start();
    let samples = consortium.path().join("samples");
    let out = samples.to_str().unwrap();
    done(&[
        "samples",
        "synth",
        "--patients",
        "2",
        "--seed",
        "7",
        "--out",
        out,
    ]);
    let of_kind = |ending: &str| -> Vec<PathBuf> {
        let mut found = files(&samples);
        found.retain(|path| path.to_str().unwrap().ends_with(ending));
        found.sort();
        found
    };
    let picture = &of_kind(".png")[0];
    let picture = picture.to_str().unwrap();

    let first = intake(north, &["--patient", "A", picture]);
    assert_eq!(counts(&first), (1, 0, 0), "{first:?}");
    let [alias] = &aliases(north)[..] else {
        panic!("one patient")
    };
    let other = intake(north, &["--patient", "B", picture]);
    assert_eq!(other.code, 1, "{other:?}");
    assert_eq!(counts(&other), (0, 0, 1));
    assert_eq!(other.lines[0]["belongs_to"], alias.as_str());
    assert!(other.lines[0]["error"].as_str().unwrap().contains(alias));
    assert_eq!(aliases(north), [alias.as_str()], "nobody new");
    let again = intake(north, &["--patient", "A", picture]);
    assert_eq!(counts(&again), (0, 1, 0), "{again:?}");

    // What comes later for a patient may be of a kind that there was none of.
    let form = [
        "--form",
        "--patient",
        "A",
        "--name",
        "Maya Osei",
        "--phone",
        "1234",
    ];
    let later = intake(north, &form);
    assert_eq!(later.code, 0, "{later:?}");
    assert_eq!(aliases(north), [alias.as_str()]);
    node.stop();
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_salus"))
}

/// Bytes of the files in a folder and below.
fn size(folder: &Path) -> u64 {
    let found = files(folder).into_iter();
    found.map(|f| f.metadata().map_or(0, |f| f.len())).sum()
}

#[test]
fn an_import_that_is_killed_is_taken_up_again_while_the_node_runs() {
    const KILLS: u32 = 5;
    let consortium = Consortium::found(&["North=hospital,cloud"]);
    let north = &consortium.members[0];
    let node = north.start();
    let path = consortium.path().join("bundle.json");
    let file = path.to_str().unwrap();
    let blobs = north.data().join("blobs");
    let mut observations = Vec::new();
    for kill in 0..KILLS {
        observations.extend((0..40).map(|n| observation(&format!("o-{kill}-{n}"), n)));
        bundle(&path, &observations);
        let before = size(&blobs);
        let mut import = program()
            .args(["intake", "--config", north.config(), file])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The node has sealed bytes by now, and the ledger may not know of them.
        until("bytes are at the node", || {
            program().arg("--version").output().unwrap();
            size(&blobs) > before || import.try_wait().unwrap().is_some()
        });
        import.kill().unwrap();
        import.wait().unwrap();
        let again = intake(north, &[file]);
        assert_eq!(again.code, 0, "{again:?}");
    }
    let all = intake(north, &[file]);
    let (records, known, failed) = counts(&all);
    assert_eq!((records, failed), (0, 0), "{all:?}");
    assert!(known >= observations.len() as u64, "{all:?}");
    node.stop();
}
