//! Replays the fuzzing corpora, and seeded mutations of each of their files, without libFuzzer.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use salus_decoders::TARGETS;

/// Mutations of each file.
const MUTATIONS: u64 = 200;
/// The same mutations on every machine and day.
const SEED: u64 = 20_261_122;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound.max(1) as u64).unwrap()
    }
}

/// One to four of: a bit flipped, a byte set to an extreme, a run repeated, removed or cut off.
fn mutated(original: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        let end = (at + 1 + dice.below(16)).min(bytes.len());
        match dice.below(6) {
            _ if bytes.is_empty() => bytes.push(dice.roll().to_le_bytes()[0]),
            0 | 1 => bytes[at] ^= 1 << dice.below(8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.below(5)],
            3 => {
                let run = bytes[at..end].to_vec();
                bytes.splice(at..at, run);
            }
            4 => drop(bytes.drain(at..end)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[test]
fn every_target_has_a_corpus_and_a_fuzzing_program() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz().join("corpus")), targets);
    assert_eq!(names(&fuzz().join("fuzz_targets")), targets);
}

#[test]
fn corpora_and_their_mutations_harm_no_decoder() {
    for (name, target) in TARGETS {
        let mut files: Vec<PathBuf> = fs::read_dir(fuzz().join("corpus").join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has no corpus");
        let mut accepted = 0;
        for file in files {
            let original = fs::read(&file).unwrap();
            accepted += usize::from(target(&original));
            let mut dice = Dice(SEED);
            for number in 0..MUTATIONS {
                let bytes = mutated(&original, &mut dice);
                if let Err(panic) = std::panic::catch_unwind(|| target(&bytes)) {
                    eprintln!("{name}: mutation {number} of {}:", file.display());
                    eprintln!(
                        "{}",
                        bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()
                    );
                    std::panic::resume_unwind(panic);
                }
            }
        }
        assert!(accepted > 0, "no input of {name} is good enough to go deep");
    }
}
