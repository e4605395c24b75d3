//! A person's account from the command line: the ways back in, and new keys that lose nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Consortium, Ended, Member, done, files, salus};

/// Somebody with an account at the only node.
struct Person<'a> {
    consortium: &'a Consortium,
    login: &'a str,
    principal: String,
    code: String,
}

fn node(consortium: &Consortium) -> &Member {
    &consortium.members[0]
}

impl<'a> Person<'a> {
    fn register(consortium: &'a Consortium, login: &'a str, role: &str) -> Self {
        let password = consortium.secret(&format!("{login}.password"), "first password");
        let password = password.to_str().unwrap();
        let mut person = Self {
            consortium,
            login,
            principal: String::new(),
            code: String::new(),
        };
        let wish = ["person", "register", "--role", role, "--name", "Somebody"];
        let registered = person.run(&wish, &["--password-file", password]);
        assert_eq!(registered.code, 0, "{registered:?}");
        let text = |key: &str| registered.lines[0][key].as_str().unwrap().to_owned();
        (person.principal, person.code) = (text("principal"), text("recovery_code"));
        person
    }

    /// Runs a command at the account's node under its login.
    fn run(&self, command: &[&str], more: &[&str]) -> Ended {
        let authority = self.consortium.authority();
        let who = [
            "--node",
            &node(self.consortium).api,
            "--login",
            self.login,
            "--authority",
        ];
        salus(&[command, &who, &[authority.to_str().unwrap()], more].concat())
    }

    /// The same with this password.
    fn with(&self, password: &str, command: &[&str], more: &[&str]) -> Ended {
        let file = self.consortium.secret("typed.password", password);
        let file = ["--password-file", file.to_str().unwrap()];
        self.run(command, &[&file[..], more].concat())
    }
}

/// Reads everything of an alias; the sealed contents, opened.
fn read(person: &Person<'_>, password: &str, alias: &str, access: &str, out: &Path) -> Vec<String> {
    let purpose = [
        "--purpose",
        "patient-request",
        "--access",
        access,
        "--output",
    ];
    let command = ["records", "read", alias];
    let ended = person.with(
        password,
        &command,
        &[&purpose[..], &[out.to_str().unwrap()]].concat(),
    );
    assert_eq!(ended.code, 0, "{ended:?}");
    let mut contents: Vec<String> = files(out)
        .iter()
        .map(|path| String::from_utf8(std::fs::read(path).unwrap()).unwrap())
        .collect();
    contents.sort();
    contents
}

#[test]
fn new_keys_password_and_code_let_their_owner_in_and_open_what_came_before() {
    let consortium = Consortium::found(&["North=hospital,cloud"]);
    let north = node(&consortium);
    let running = north.start();
    let olive = Person::register(&consortium, "olive", "operator");
    let maya = Person::register(&consortium, "maya", "patient");
    let decide = [
        "profiles",
        "decide",
        &olive.principal,
        "approve",
        "--config",
    ];
    done(&[&decide[..], &[north.config()]].concat());
    let decide = ["profiles", "decide", &maya.principal, "approve"];
    assert_eq!(olive.with("first password", &decide, &[]).code, 0);
    let form = [
        "--form",
        "--patient",
        "P-1",
        "--name",
        "Maya Osei",
        "--pulse",
        "72",
    ];
    done(&[&["intake", "--config", north.config()], &form[..]].concat());
    let listed = done(&["patients", "list", "--config", north.config()]);
    let alias = listed["alias"].as_str().unwrap();
    done(&[
        "patients",
        "link",
        alias,
        &maya.principal,
        "--config",
        north.config(),
    ]);
    let asked = maya.with("first password", &["access", "request", alias], &[]);
    assert_eq!(asked.code, 0, "{asked:?}");
    let access = asked.lines[0]["access"].as_str().unwrap().to_owned();
    let folder = |name: &str| consortium.path().join(name);
    let before = read(&maya, "first password", alias, &access, &folder("before"));
    assert!(
        before.iter().any(|content| content.contains("72")),
        "{before:?}"
    );

    // New keys, twice: the grant was wrapped to the first ones.
    for _ in 0..2 {
        let rotated = maya.with("first password", &["person", "rotate-keys"], &[]);
        assert_eq!(rotated.code, 0, "{rotated:?}");
        let entry = rotated.lines[0]["entry"].as_u64().unwrap().to_string();
        let after = (entry.parse::<u64>().unwrap() - 1).to_string();
        let entries = [
            "ledger",
            "entries",
            "--after",
            &after,
            "--config",
            north.config(),
        ];
        assert_eq!(done(&entries)["action"]["type"], "rotate-keys");
    }
    assert_eq!(
        read(&maya, "first password", alias, &access, &folder("rotated")),
        before
    );

    // A new password: the old one opens nothing.
    let new = consortium.secret("new.password", "second password");
    let new = ["--new-password-file", new.to_str().unwrap()];
    let changed = maya.with("first password", &["person", "password"], &new);
    assert_eq!(changed.code, 0, "{changed:?}");
    assert_eq!(
        maya.with("first password", &["person", "show"], &[]).code,
        3
    );
    assert_eq!(
        read(&maya, "second password", alias, &access, &folder("changed")),
        before
    );

    // The printed code brings back who has forgotten it, once.
    let recover = |code: &str, password: &str| {
        let code = consortium.secret("typed.code", code);
        let new = consortium.secret("new.password", password);
        let code = ["--code-file", code.to_str().unwrap()];
        let new = ["--new-password-file", new.to_str().unwrap()];
        maya.run(&["person", "recover"], &[code, new].concat())
    };
    let strangers = recover(&olive.code, "stolen");
    assert_eq!(strangers.code, 3, "{strangers:?}");
    // As people type it.
    let typed = maya.code.to_lowercase().replace('-', " ");
    let recovered = recover(&typed, "third password");
    assert_eq!(recovered.code, 0, "{recovered:?}");
    assert_eq!(recovered.lines[0]["principal"], maya.principal.as_str());
    assert_eq!(
        maya.with("second password", &["person", "show"], &[]).code,
        3
    );
    assert_eq!(
        read(
            &maya,
            "third password",
            alias,
            &access,
            &folder("recovered")
        ),
        before
    );
    assert_eq!(
        recover(&typed, "fourth password").code,
        3,
        "the code is used up"
    );
    let next = recovered.lines[0]["recovery_code"].as_str().unwrap();
    assert_eq!(recover(next, "fourth password").code, 0);

    // A printed code that was lost is replaced by a new one.
    let renewed = maya.with("fourth password", &["person", "recovery-code"], &[]);
    assert_eq!(renewed.code, 0, "{renewed:?}");
    let shown: &Value = &renewed.lines[0]["recovery_code"];
    assert_eq!(recover(shown.as_str().unwrap(), "fifth password").code, 0);

    typed_on_a_terminal(&maya, "fifth password");
    running.stop();
}

/// Without a file the password is asked for on the terminal and does not show there.
fn typed_on_a_terminal(person: &Person<'_>, password: &str) {
    let authority = person.consortium.authority();
    let command = format!(
        "{} person show --node {} --authority {} --login {}",
        env!("CARGO_BIN_EXE_salus"),
        node(person.consortium).api,
        authority.display(),
        person.login
    );
    // `script` (util-linux) gives the program a terminal of its own.
    let mut terminal = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keyboard = terminal.stdin.take().unwrap();
    let mut screen = terminal.stdout.take().unwrap();
    let mut shown = Vec::new();
    let mut byte = [0];
    while !shown.ends_with(b"Password: ") {
        assert_eq!(
            screen.read(&mut byte).unwrap(),
            1,
            "{}",
            String::from_utf8_lossy(&shown)
        );
        shown.push(byte[0]);
    }
    writeln!(keyboard, "{password}").unwrap();
    screen.read_to_end(&mut shown).unwrap();
    let shown = String::from_utf8_lossy(&shown);
    assert!(terminal.wait().unwrap().success(), "{shown}");
    assert!(shown.contains(&person.principal), "{shown}");
    assert!(!shown.contains(password), "{shown}");
}
