//! What this crate's tests share: a seeded source of bytes and the golden vector files.

use std::path::PathBuf;

use salus_proto::Entropy;
use serde_json::Value;

use crate::digest::sha256_of;

/// Reproducible bytes: the concatenation of SHA-256(seed as 8 bytes big-endian || n as 8 bytes
/// big-endian) for n = 0, 1, 2, ...
pub(crate) struct Seeded {
    seed: u64,
    block: u64,
    rest: Vec<u8>,
}

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            block: 0,
            rest: Vec::new(),
        }
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        self.fill(&mut out);
        out
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.rest.is_empty() {
                let block = sha256_of(&[&self.seed.to_be_bytes(), &self.block.to_be_bytes()]);
                self.rest = block.0.iter().rev().copied().collect();
                self.block += 1;
            }
            *byte = self.rest.pop().unwrap();
        }
    }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../proto/testdata/crypto")
        .join(name)
}

fn writing() -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's switch, not configuration"
    )]
    std::env::var_os("SALUS_WRITE_VECTORS").is_some()
}

/// Compares `made` with the committed vector file. Run the tests with the variable
/// SALUS_WRITE_VECTORS set to accept new bytes; a changed file is a changed format.
pub(crate) fn golden(name: &str, made: &Value) {
    golden_bytes(
        name,
        (serde_json::to_string_pretty(made).unwrap() + "\n").as_bytes(),
    );
}

/// As [`golden`], for a binary file.
pub(crate) fn golden_bytes(name: &str, made: &[u8]) {
    if writing() {
        std::fs::write(path(name), made).unwrap();
    }
    assert!(
        std::fs::read(path(name)).unwrap() == made,
        "{name} is not what the code makes now"
    );
}

/// Makes a vector file that cannot be made twice alike, where it is missing and writing is allowed.
pub(crate) fn made_once(name: &str, make: impl FnOnce() -> Value) {
    if writing() && !path(name).exists() {
        golden(name, &make());
    }
}

/// Reads a committed vector file.
pub(crate) fn vectors(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
}

/// Reads a field of text.
pub(crate) fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap()
}

/// Reads a field of hexadecimal digits.
pub(crate) fn unhex(value: &Value, field: &str) -> Vec<u8> {
    hex::decode(text(value, field)).unwrap()
}
