//! The program as its users run it: a consortium founded, nodes started, commands run and their
//! answers read.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A founded consortium, below one folder.
pub(crate) struct Consortium {
    pub(crate) members: Vec<Member>,
    folder: tempfile::TempDir,
}

/// A member's node.
pub(crate) struct Member {
    pub(crate) organisation: String,
    pub(crate) name: String,
    pub(crate) api: String,
    pub(crate) config: PathBuf,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) lines: Vec<Value>,
    pub(crate) errors: String,
}

/// Runs the program with `--json` until it ends.
pub(crate) fn salus<A: AsRef<std::ffi::OsStr>>(arguments: &[A]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_salus"))
        .arg("--json")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        lines: text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// As [`salus`], for what must succeed; the last line of its answer.
pub(crate) fn done<A: AsRef<std::ffi::OsStr>>(arguments: &[A]) -> Value {
    let mut ended = salus(arguments);
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.lines.pop().unwrap_or(Value::Null)
}

impl Consortium {
    /// Founds a consortium of members that are given as `NAME=ROLE[,ROLE]`.
    pub(crate) fn found(members: &[&str]) -> Self {
        // In memory where there is a place: the engine flushes the whole file system.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        let dir = folder.path().join("consortium");
        let mut arguments = vec!["consortium".into(), "init".into(), "--name".into()];
        arguments.extend([
            "riverside".into(),
            "--dir".into(),
            dir.clone().into_os_string(),
        ]);
        let listeners: Vec<TcpListener> = (0..2 * members.len())
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let port = |index: usize| listeners[index].local_addr().unwrap().port();
        for (index, member) in members.iter().enumerate() {
            let (api, engine) = (port(2 * index), port(2 * index + 1));
            arguments.extend([
                "--member".into(),
                format!("{member}@127.0.0.1:{api}:{engine}").into(),
            ]);
        }
        drop(listeners);
        let founded = done(&arguments);
        let members = founded["members"].as_array().unwrap().iter().map(|member| {
            let text = |key: &str| member[key].as_str().unwrap().to_owned();
            Member {
                organisation: text("organisation"),
                name: text("name"),
                api: text("api"),
                config: text("config").into(),
            }
        });
        Self {
            members: members.collect(),
            folder,
        }
    }

    /// The folder for what a test makes itself.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn genesis(&self) -> PathBuf {
        self.folder.path().join("consortium/genesis.cbor")
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("consortium/authority.pem")
    }

    /// Writes a secret for `--password-file` and the like.
    pub(crate) fn secret(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.path().join(name);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

impl Member {
    /// The member's folder.
    pub(crate) fn folder(&self) -> &Path {
        self.config.parent().unwrap()
    }

    /// What the node writes.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    pub(crate) fn config(&self) -> &str {
        self.config.to_str().unwrap()
    }

    /// Starts the node and waits until its API takes requests.
    pub(crate) fn start(&self) -> Running {
        let log = std::fs::File::create(self.folder().join("node.log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_salus"))
            .args(["node", "-v", "--json", "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut ready).unwrap();
        let running = Running { child };
        assert!(ready.contains("https://"), "{}", self.log());
        running
    }

    /// The node's log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("node.log")).unwrap_or_default()
    }
}

/// Looks again and again until something holds; every look runs the program, which takes its time.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    const LOOKS: usize = 1000;
    assert!((0..LOOKS).any(|_| holds()), "in vain: {what}");
}

/// The files in a folder and below.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// A node's process; dropping it ends it as a power cut would.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Asks the node to end, and waits for it.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(told.success());
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
