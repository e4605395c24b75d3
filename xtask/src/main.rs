//! Checks of the house itself: layers, file headings, licences, leftovers. No dependencies.
//!
//! `cargo xtask check` runs them all and writes nothing.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a command-line program"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What each crate may depend on: the drawing in `ARCHITECTURE.md` as a table.
const LAYERS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("crypto", &["proto"]),
    ("policy", &["proto"]),
    ("ledger", &["proto", "crypto"]),
    ("federated", &["proto", "crypto"]),
    ("contract", &["proto", "crypto", "policy", "federated"]),
    ("clinical", &["proto"]),
    ("envelope", &["proto", "crypto", "ledger"]),
    ("runtime", &["proto"]),
    (
        "replica",
        &["proto", "crypto", "ledger", "contract", "runtime"],
    ),
    (
        "vault",
        &[
            "proto", "crypto", "policy", "ledger", "contract", "clinical", "envelope", "runtime",
        ],
    ),
    (
        "imaging",
        &["proto", "crypto", "federated", "clinical", "runtime"],
    ),
    (
        "client",
        &[
            "proto",
            "crypto",
            "ledger",
            "contract",
            "clinical",
            "envelope",
            "federated",
            "runtime",
        ],
    ),
    (
        "server",
        &[
            "proto",
            "crypto",
            "policy",
            "ledger",
            "contract",
            "federated",
            "clinical",
            "envelope",
            "runtime",
            "replica",
            "vault",
            "imaging",
            "client",
        ],
    ),
];

/// Crates that wire everything and may depend on all of the above.
const PROGRAMS: &[&str] = &["salus", "sim", "decoders"];

/// Crates below the line do no I/O: they may not even name crates that could.
const PURE: &[&str] = &[
    "proto",
    "crypto",
    "policy",
    "ledger",
    "contract",
    "federated",
    "clinical",
    "envelope",
];
const NOT_PURE: &[&str] = &[
    "tokio",
    "axum",
    "hyper",
    "reqwest",
    "sqlx",
    "redb",
    "object_store",
    "getrandom",
    "rand",
];

/// Licences that Salus may contain (`deny.toml` has the same list).
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "BlueOak-1.0.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
];

/// Crates under another licence, each with its reason in `deny.toml`.
const EXCEPTIONS: &[(&str, &str)] = &[("colored", "MPL-2.0")];

fn main() -> ExitCode {
    let wish = std::env::args().nth(1);
    let outcome = match wish.as_deref() {
        Some("layers") => layers(),
        Some("tidy") => tidy(),
        Some("licences") => licences(),
        Some("check") => layers().and_then(|()| tidy()).and_then(|()| licences()),
        _ => Err(vec![
            "usage: cargo xtask check | layers | tidy | licences".into(),
        ]),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(faults) => {
            for fault in faults {
                eprintln!("{fault}");
            }
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Vec<String>>;

fn outcome(what: &str, faults: Vec<String>) -> Outcome {
    if faults.is_empty() {
        println!("{what}: in order");
        Ok(())
    } else {
        Err(faults)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

fn cargo(arguments: &[&str]) -> Result<String, Vec<String>> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(root())
        .output()
        .map_err(|e| vec![format!("cannot run cargo: {e}")])?;
    if !output.status.success() {
        return Err(vec![String::from_utf8_lossy(&output.stderr).into_owned()]);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Every crate depends only on what [`LAYERS`] allows, and pure crates on nothing that does I/O.
fn layers() -> Outcome {
    let mut faults = Vec::new();
    for entry in std::fs::read_dir(root().join("crates")).map_err(|e| vec![e.to_string()])? {
        let name = entry.map_err(|e| vec![e.to_string()])?.file_name();
        let name = name.to_string_lossy().into_owned();
        let package = if name == "salus" {
            name.clone()
        } else {
            format!("salus-{name}")
        };
        // Without --no-dedupe the tree omits repeated crates and the check would pass in silence.
        let tree = cargo(&[
            "tree",
            "--offline",
            "--package",
            &package,
            "--depth",
            "1",
            "--no-dedupe",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])?;
        let dependencies: BTreeSet<&str> = tree
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        faults.extend(judge(&name, &dependencies));
    }
    outcome("layers", faults)
}

/// The faults of one crate's dependencies.
fn judge(name: &str, dependencies: &BTreeSet<&str>) -> Vec<String> {
    let mut faults = Vec::new();
    let allowed = LAYERS
        .iter()
        .find(|(krate, _)| *krate == name)
        .map(|(_, allowed)| *allowed);
    if allowed.is_none() && !PROGRAMS.contains(&name) {
        faults.push(format!(
            "crates/{name} has no place in the layers (xtask, LAYERS)"
        ));
    }
    for dependency in dependencies {
        if let Some(ours) = dependency.strip_prefix("salus-") {
            let fits = match allowed {
                Some(allowed) => allowed.contains(&ours),
                None => !PROGRAMS.contains(&ours) || name == "salus",
            };
            if !fits {
                faults.push(format!("crates/{name} may not depend on crates/{ours}"));
            }
        } else if PURE.contains(&name) && NOT_PURE.contains(dependency) {
            faults.push(format!(
                "crates/{name} is pure and may not depend on {dependency}"
            ));
        }
    }
    faults
}

/// Every source file opens with a sentence, and nothing unfinished or local stands in the tree.
fn tidy() -> Outcome {
    let mut faults = Vec::new();
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output();
    let listed = listed.map_err(|e| vec![format!("cannot run git: {e}")])?;
    for file in String::from_utf8_lossy(&listed.stdout)
        .split('\0')
        .filter(|f| !f.is_empty())
    {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else {
            continue; // binary, or deleted and not yet committed
        };
        faults.extend(untidy(file, &text));
    }
    outcome("tidy", faults)
}

fn untidy(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let rust = Path::new(file).extension().is_some_and(|e| e == "rs");
    if rust && !text.starts_with("//!") {
        faults.push(format!("{file}: does not open with a `//!` sentence"));
    }
    if file.starts_with("xtask/") {
        return faults; // names what it looks for
    }
    let leftovers: &[&str] = if rust {
        &["todo!(", "unimplemented!(", "dbg!(", "#[ignore"]
    } else {
        &[]
    };
    for leftover in leftovers {
        if text.contains(leftover) {
            faults.push(format!("{file}: contains `{leftover}`"));
        }
    }
    faults
}

/// Every dependency's licence is one of ours; an expression with OR needs one side.
fn licences() -> Outcome {
    let tree = cargo(&[
        "tree",
        "--offline",
        "--workspace",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}|{l}",
    ])?;
    let pairs: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| line.trim_end_matches(" (*)").rsplit_once('|'))
        .collect();
    let faults = pairs
        .into_iter()
        .filter(|(package, licence)| {
            let name = package.split(' ').next().unwrap_or_default();
            !acceptable(licence) && !EXCEPTIONS.contains(&(name, licence))
        })
        .map(|(package, licence)| format!("{package}: licence `{licence}` is not on the list"))
        .collect();
    outcome("licences", faults)
}

fn acceptable(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    plain.split(" OR ").any(|side| {
        side.split(" AND ")
            .all(|licence| LICENCES.contains(&licence.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_edge_is_refused_by_name() {
        let up = BTreeSet::from(["salus-proto", "salus-runtime"]);
        assert_eq!(
            judge("policy", &up),
            ["crates/policy may not depend on crates/runtime"]
        );
        let impure = BTreeSet::from(["salus-proto", "getrandom"]);
        assert_eq!(
            judge("ledger", &impure),
            ["crates/ledger is pure and may not depend on getrandom"]
        );
        assert!(judge("ledger", &BTreeSet::from(["salus-proto", "salus-crypto"])).is_empty());
        assert_eq!(judge("mystery", &BTreeSet::new()).len(), 1);
    }

    #[test]
    fn a_licence_expression_needs_one_acceptable_side() {
        for good in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
        ] {
            assert!(acceptable(good), "{good}");
        }
        for bad in ["GPL-3.0-only", "MIT AND GPL-2.0-only", ""] {
            assert!(!acceptable(bad), "{bad}");
        }
    }

    #[test]
    fn leftovers_and_missing_headings_are_found() {
        assert_eq!(untidy("a.rs", "fn main() {}").len(), 1);
        assert_eq!(untidy("a.rs", "//! A.\nfn f() { todo!() }").len(), 1);
        assert!(untidy("a.rs", "//! A.\n").is_empty());
    }
}
