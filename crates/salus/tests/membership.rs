//! Changes of membership from the command line, with real processes: keys are replaced, an organisation
//! joins and takes records in, another leaves, and proofs go on verifying from the genesis digest.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;
use support::{Consortium, Ended, Member, done, salus, until};

/// Runs a command in a member's name: its configuration goes behind the command's two words.
fn attempt(member: &Member, words: &[&str]) -> Ended {
    let (command, rest) = words.split_at(2);
    let config = ["--config", member.config()];
    salus(&[command, &config, rest].concat())
}

fn act(member: &Member, words: &[&str]) -> Vec<Value> {
    let ended = attempt(member, words);
    assert_eq!(ended.code, 0, "{words:?}: {ended:?}");
    ended.lines
}

/// One proposes with these words, the others approve.
fn decide(proposer: &Member, words: &[&str], others: &[&Member], card: Option<&str>) {
    let proposed = act(proposer, words);
    let proposal = proposed.last().unwrap()["proposal"].as_str().unwrap();
    for other in others {
        let mut approve = vec!["member", "approve", proposal];
        approve.extend(card.iter().flat_map(|card| ["--card", card]));
        act(other, &approve);
    }
}

/// One pixel.
const PICTURE: &str = "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d\
                       4944415478da6364f8cf500f00038601805a347d6b0000000049454e44ae426082";

/// Takes in a form about the only patient, or a file; returns how many records that made.
fn intake(member: &Member, what: &[&str]) -> u64 {
    let about = ["intake", "--config", member.config(), "--patient", "P-1"];
    let summary = done(&[&about, what].concat());
    summary["records"].as_u64().unwrap()
}

/// The alias of a hospital's only patient.
fn patient(member: &Member) -> String {
    let patients = act(member, &["patients", "list"]);
    assert_eq!(patients.len(), 1, "{patients:?}");
    patients[0]["alias"].as_str().unwrap().to_owned()
}

/// Reads every record of the only patient; returns how many there are.
fn read_all(member: &Member) -> u64 {
    let to = tempfile::tempdir().unwrap();
    let (alias, to) = (patient(member), to.path().to_str().unwrap());
    let read = act(
        member,
        &[
            "records",
            "read",
            &alias,
            "--purpose",
            "operations",
            "-o",
            to,
        ],
    );
    read.len() as u64
}

/// Saves the proof of a record of the only patient and checks it, knowing the genesis digest.
fn proves(member: &Member, genesis: &str, handovers: usize) {
    let records = act(member, &["records", "list", &patient(member)]);
    let record = records[0]["record"].as_str().unwrap();
    let file = member.folder().join("record.proof.json");
    let path = file.to_str().unwrap();
    until("a proof over the change of members", || {
        let saved = attempt(member, &["records", "proof", record, "-o", path]);
        saved.code == 0 && saved.lines[0]["verified"] == true && handovers_of(&file) == handovers
    });
    let verified = done(&["audit", "verify", path, "--genesis", genesis]);
    assert_eq!(verified["verified"], true, "{verified:?}");
}

fn handovers_of(file: &Path) -> usize {
    let bundle: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    bundle["handovers"].as_array().unwrap().len()
}

fn status(member: &Member, authority: &Path) -> Value {
    let authority = authority.to_str().unwrap();
    done(&[
        "ledger",
        "status",
        "--node",
        &member.api,
        "--authority",
        authority,
    ])
}

fn seats(status: &Value, organisation: &str) -> bool {
    let members = status["members"].as_array().unwrap();
    members.iter().any(|m| m["organisation"] == organisation)
}

#[test]
fn members_replace_keys_join_and_leave_while_records_open_and_proofs_verify() {
    let consortium = Consortium::found(&[
        "North=hospital",
        "South=hospital",
        "University=data-user",
        "Cloud=cloud",
    ]);
    let [north, south, university, cloud] = consortium.members.as_slice() else {
        panic!("four members")
    };
    let genesis = consortium.genesis();
    let genesis = genesis.to_str().unwrap();
    let mut running: Vec<_> = consortium.members.iter().map(Member::start).collect();

    let authority = consortium.authority();
    until("the members hear each other", || {
        let status = status(north, &authority);
        let mut members = status["members"].as_array().unwrap().iter();
        members.all(|member| member["last_heard"].is_number())
    });
    let form = ["--form", "--name", "Maya Osei", "--pulse", "72"];
    let picture = consortium.path().join("chest.png");
    std::fs::write(&picture, hex::decode(PICTURE).unwrap()).unwrap();
    let picture = [picture.to_str().unwrap()];
    let first = intake(north, &form);
    assert!(first > 0);
    proves(north, genesis, 0);

    // North replaces its keys. Its node takes them by itself and moves the key wraps.
    let secret = |name: &str| north.folder().join("secret").join(name);
    let before = std::fs::read(secret("node.keys")).unwrap();
    decide(north, &["member", "rotate"], &[south, cloud], None);
    until("the node takes its next keys", || {
        let _ = status(south, &authority);
        std::fs::read(secret("node.keys")).unwrap() != before
    });
    until("the key wraps are moved", || {
        let _ = status(south, &authority);
        !secret("node.keys.old").exists()
    });
    assert!(!secret("node.keys.next").exists());
    until("the node serves again", || {
        attempt(north, &["patients", "list"]).code == 0
    });
    assert_eq!(read_all(north), first);
    assert_eq!(intake(north, &form), 0, "nothing is taken in twice");
    assert_eq!(intake(north, &picture), 1);
    assert_eq!(read_all(north), first + 1);
    proves(north, genesis, 1);

    // East joins, knowing the genesis file, the authorities, and what South gave it.
    let given = consortium.path().join("introduction.json");
    let given = given.to_str().unwrap();
    act(south, &["member", "introduce", "--to", given]);
    let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [api, engine] = ports.map(|l| l.local_addr().unwrap().port().to_string());
    let dir = consortium.path().join("east");
    let prepared = done(&[
        "member",
        "prepare",
        "--name",
        "East",
        "--roles",
        "hospital",
        "--host",
        "127.0.0.1",
        "--api-port",
        &api,
        "--engine-port",
        &engine,
        "--genesis",
        genesis,
        "--authority",
        authority.to_str().unwrap(),
        "--introduction",
        given,
        "--dir",
        dir.to_str().unwrap(),
    ]);
    let east = Member {
        organisation: prepared["organisation"].as_str().unwrap().to_owned(),
        name: "East".to_owned(),
        api: format!("https://127.0.0.1:{api}"),
        config: dir.join("node.toml"),
    };
    let card = prepared["card"].as_str().unwrap();
    decide(
        south,
        &["member", "join", card],
        &[north, cloud],
        Some(card),
    );
    running.push(east.start());
    // South's authorities have East's by now.
    let size = status(north, &authority)["size"].as_u64();
    until("East has caught up", || {
        let there = status(&east, &authority);
        seats(&there, &east.organisation) && there["size"].as_u64() >= size
    });
    until("East validates", || {
        let _ = status(&east, &authority);
        east.log().contains("validating epoch=2")
    });
    let taken = intake(&east, &form);
    assert!(taken > 0);
    assert_eq!(read_all(&east), taken);
    proves(&east, genesis, 2);
    proves(north, genesis, 2);
    let registered = done(&[
        "person",
        "register",
        "--node",
        &east.api,
        "--authority",
        authority.to_str().unwrap(),
        "--login",
        "sam",
        "--password-file",
        consortium.secret("sam", "correct horse").to_str().unwrap(),
        "--role",
        "staff",
        "--name",
        "Sam Sato",
    ]);
    let sam = registered["principal"].as_str().unwrap();
    act(&east, &["profiles", "decide", sam, "approve"]);

    // South leaves. Its node says so, and the others go on without it.
    decide(
        north,
        &["member", "leave", &south.organisation],
        &[university, cloud, &east],
        None,
    );
    until("South's node knows", || {
        !seats(&status(south, &authority), &south.organisation)
    });
    until("South's node says it", || {
        let _ = status(south, &authority);
        south.log().contains("is no member")
    });
    let vote = attempt(south, &["member", "leave", &north.organisation]);
    assert_ne!(vote.code, 0, "who has left votes no more: {vote:?}");
    running.remove(1).stop();
    assert_eq!(intake(&east, &picture), 1);
    proves(&east, genesis, 3);
    proves(north, genesis, 3);
}
