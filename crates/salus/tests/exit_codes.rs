//! What the program's exit codes tell whoever runs it from a script.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Consortium, Ended, Member, done, salus};

/// A command as a person with an account at this node.
fn as_person(at: &Member, consortium: &Consortium, login: &str, command: &[&str]) -> Ended {
    let authority = consortium.authority();
    let password = consortium.path().join(format!("{login}.password"));
    let who = [
        "--node",
        &at.api,
        "--authority",
        authority.to_str().unwrap(),
        "--login",
        login,
        "--password-file",
        password.to_str().unwrap(),
    ];
    salus(&[command, &who].concat())
}

/// Registers a person; the principal's id.
fn register(at: &Member, consortium: &Consortium, login: &str, role: &str) -> String {
    consortium.secret(&format!("{login}.password"), "correct horse");
    let command = ["person", "register", "--name", "Somebody", "--role", role];
    let ended = as_person(at, consortium, login, &command);
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.lines[0]["principal"].as_str().unwrap().to_owned()
}

#[test]
fn a_refusal_a_wait_and_a_mistake_end_with_codes_of_their_own() {
    // Two members tolerate none that is down.
    let consortium = Consortium::found(&["North=hospital", "Cloud=cloud"]);
    let [north, cloud] = &consortium.members[..] else {
        panic!("two members")
    };
    let running = north.start();
    let other = cloud.start();
    let patient = register(cloud, &consortium, "maya", "patient");

    // Waits for a decision, so may do nothing yet.
    let directory = ["profiles", "list"];
    assert_eq!(as_person(cloud, &consortium, "maya", &directory).code, 3);
    // A password that is not hers.
    let right = std::fs::read(consortium.path().join("maya.password")).unwrap();
    consortium.secret("maya.password", "battery staple");
    let refused = as_person(cloud, &consortium, "maya", &["person", "show"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    std::fs::write(consortium.path().join("maya.password"), right).unwrap();
    // Refused by the contract, with an entry: only an operator or her organisation decides, once.
    let decide = ["profiles", "decide", &patient, "approve", "--config"];
    let by_hospital = salus(&[&decide[..], &[north.config()]].concat());
    assert_eq!(by_hospital.code, 3, "{by_hospital:?}");
    // A principal that there is not.
    let nobody = "00".repeat(16);
    let decide_nobody = [
        "profiles",
        "decide",
        &nobody,
        "approve",
        "--config",
        cloud.config(),
    ];
    assert_eq!(salus(&decide_nobody).code, 3);
    // Wrong usage, and a file that is not there.
    assert_eq!(salus(&["person", "show"]).code, 2);
    assert_eq!(salus(&["fsck", "--config", "nowhere.toml"]).code, 1);
    // A bundle that is none.
    let rubbish = consortium.path().join("rubbish.json");
    std::fs::write(&rubbish, "{}").unwrap();
    let genesis = consortium.genesis();
    let verify = ["audit", "verify", rubbish.to_str().unwrap(), "--genesis"];
    let verified = salus(&[&verify[..], &[genesis.to_str().unwrap()]].concat());
    assert_eq!(verified.code, 4, "{verified:?}");
    let pending = done(&["profiles", "list", "--config", cloud.config()]);
    assert_eq!(pending["principal"], patient.as_str());

    // One is down: nothing becomes final, and trying again later is what helps.
    running.stop();
    let staff = register_pending(cloud, &consortium);
    assert_eq!(staff.code, 5, "{staff:?}");
    other.stop();
    // Nobody answers at all.
    assert_eq!(as_person(cloud, &consortium, "maya", &directory).code, 1);
}

fn register_pending(at: &Member, consortium: &Consortium) -> Ended {
    consortium.secret("dana.password", "correct horse");
    let command = ["person", "register", "--name", "Dana", "--role", "doctor"];
    as_person(at, consortium, "dana", &command)
}
