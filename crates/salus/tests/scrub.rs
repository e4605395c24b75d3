//! Two real nodes: bytes that one of them lost come back from the other, and the ledger says so.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::PathBuf;

use support::{Consortium, Member, done, files, salus, until};

fn packs(member: &Member) -> Vec<PathBuf> {
    let folder = member.data().join("blobs/packs");
    if folder.is_dir() {
        files(&folder)
    } else {
        Vec::new()
    }
}

/// How many incidents of a kind this member reported, as its own node lists the ledger.
fn reported(member: &Member, kind: &str) -> usize {
    let ended = salus(&["ledger", "entries", "--config", member.config()]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let reports = ended.lines.iter().filter(|entry| {
        let action = &entry["action"];
        action["type"] == "report-incident"
            && action["kind"] == kind
            && entry["principal"] == member.organisation.as_str()
            && entry["outcome"] == "accepted"
    });
    reports.count()
}

#[test]
fn what_one_node_lost_comes_back_from_the_other_and_is_reported() {
    let consortium = Consortium::found(&["North=hospital", "Cloud=cloud"]);
    let [north, cloud] = &consortium.members[..] else {
        panic!("two members")
    };
    let (hospital, replica) = (north.start(), cloud.start());
    let form = [
        "--form",
        "--patient",
        "P-17",
        "--name",
        "Maya Osei",
        "--pulse",
        "72",
    ];
    done(&[&["intake", "--config", north.config()], &form[..]].concat());
    until("the replica arrives", || {
        reported(cloud, "recovered") == 0 && !packs(cloud).is_empty()
    });
    let [ours] = &packs(north)[..] else {
        panic!("one pack at the hospital")
    };
    let [theirs] = &packs(cloud)[..] else {
        panic!("one pack at the cloud")
    };

    // The hospital: one bit of the last blob.
    hospital.stop();
    let sound = std::fs::read(ours).unwrap();
    let mut damaged = sound.clone();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(ours, damaged).unwrap();
    let fsck = ["fsck", "--config", north.config()];
    assert_eq!(salus(&fsck).code, 4);
    let hospital = north.start();
    until("the hospital reports", || reported(north, "recovered") > 0);
    assert_eq!(std::fs::read(ours).unwrap(), sound);
    let quarantine = files(&north.data().join("blobs/quarantine"));
    assert_eq!(quarantine.len(), 1, "the damaged bytes are kept");

    // The cloud: all of it.
    replica.stop();
    let lost = std::fs::read(theirs).unwrap();
    std::fs::remove_file(theirs).unwrap();
    let replica = cloud.start();
    until("the cloud reports", || reported(cloud, "recovered") > 1);
    assert_eq!(std::fs::read(theirs).unwrap(), lost);

    hospital.stop();
    replica.stop();
    for member in [north, cloud] {
        let fsck = salus(&["fsck", "--config", member.config()]);
        assert_eq!(fsck.code, 0, "{fsck:?}");
    }
}

#[test]
fn what_nobody_gives_back_is_reported_as_tampering_once() {
    let consortium = Consortium::found(&["North=hospital,cloud"]);
    let north = &consortium.members[0];
    let node = north.start();
    let form = ["--form", "--patient", "P-17", "--name", "Maya Osei"];
    done(&[&["intake", "--config", north.config()], &form[..]].concat());
    node.stop();
    let [pack] = &packs(north)[..] else {
        panic!("one pack")
    };
    let mut bytes = std::fs::read(pack).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(pack, &bytes).unwrap();
    for _ in 0..2 {
        let node = north.start();
        until("the damage is reported", || {
            reported(north, "tampering") > 0
        });
        node.stop();
    }
    assert_eq!(std::fs::read(pack).unwrap(), bytes, "left as it is");
    let node = north.start();
    assert_eq!(reported(north, "tampering"), 1);
    node.stop();
}
