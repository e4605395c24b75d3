//! What this crate's tests share: a seeded source of bytes and the golden vector files.

use std::path::PathBuf;

use salus_proto::Entropy;

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

/// Compares `made` with the committed vector file. Run the tests with the variable
/// SALUS_WRITE_VECTORS set to accept new bytes; a changed file is a changed format.
pub(crate) fn golden(name: &str, made: &serde_json::Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../proto/testdata/crypto")
        .join(name);
    let text = serde_json::to_string_pretty(made).unwrap() + "\n";
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's switch, not configuration"
    )]
    if std::env::var_os("SALUS_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(committed == text, "{name} is not what the code makes now");
}

/// Reads a committed vector file.
pub(crate) fn vectors(name: &str) -> serde_json::Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../proto/testdata/crypto")
        .join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Reads a field of hexadecimal digits.
pub(crate) fn unhex(value: &serde_json::Value, field: &str) -> Vec<u8> {
    hex::decode(value.get(field).unwrap().as_str().unwrap()).unwrap()
}
