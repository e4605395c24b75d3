//! The ledger's golden vectors, made by an independent reading of the formats
//! (`generate.py` beside them): what must verify does, what must not does not.

use crate::bundle::{Bundle, Verdict};
use crate::proof::{ConsistencyProof, InclusionProof, MemoryTree};
use crate::state::{StateChange, StateLeaf, StateTree, path_of, value_digest};
use crate::{CertifiedCheckpoint, MemberList, StateProof};
use salus_proto::Digest;
use salus_proto::checkpoint::SignedNote;
use salus_proto::encode::base64url;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Because<T> {
    why: String,
    #[serde(flatten)]
    it: T,
}

#[derive(Deserialize)]
struct LogVectors {
    #[serde(with = "hexes")]
    entries: Vec<Vec<u8>>,
    roots: Vec<Digest>,
    inclusion: Vec<InclusionProof>,
    consistency: Vec<ConsistencyProof>,
    malformed_inclusion: Vec<Value>,
    malformed_consistency: Vec<Value>,
}

mod hexes {
    use serde::{Deserialize, Deserializer, de::Error};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let texts: Vec<String> = Vec::deserialize(d)?;
        texts
            .iter()
            .map(|text| hex::decode(text).map_err(D::Error::custom))
            .collect()
    }
}

/// Takes `why` out of a vector and reads the rest.
fn reason<T: for<'de> Deserialize<'de>>(vector: &Value) -> (String, T) {
    let mut rest = vector.clone();
    let why = rest.as_object_mut().unwrap().remove("why").unwrap();
    (
        why.as_str().unwrap().to_owned(),
        serde_json::from_value(rest).unwrap(),
    )
}

#[test]
fn log_roots_and_proofs() {
    let vectors: LogVectors =
        serde_json::from_str(include_str!("../../proto/testdata/ledger/log.json")).unwrap();
    let tree =
        |size: usize| MemoryTree::from_entries(vectors.entries[..size].iter().map(Vec::as_slice));
    // Roots published with RFC 6962's reference implementation.
    let published = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328";
    assert_eq!(tree(8).root().to_string(), published);
    for (size, root) in vectors.roots.iter().enumerate() {
        assert_eq!(tree(size).root(), *root, "{size} entries");
    }
    let leaf = |index: u64| {
        let entry = vectors.entries.get(usize::try_from(index).unwrap());
        crate::tree::leaf_hash(entry.map_or(b"", Vec::as_slice))
    };
    let root = |size: u64| vectors.roots[usize::try_from(size).unwrap()];
    assert_eq!(vectors.inclusion.len(), 36);
    for proof in &vectors.inclusion {
        proof.verify(&leaf(proof.index), &root(proof.size)).unwrap();
        assert_eq!(
            InclusionProof::new(&tree(8), proof.index, proof.size).unwrap(),
            *proof
        );
    }
    assert_eq!(vectors.consistency.len(), 45);
    for proof in &vectors.consistency {
        proof
            .verify(&root(proof.first), &root(proof.second))
            .unwrap();
        assert_eq!(
            ConsistencyProof::new(&tree(8), proof.first, proof.second).unwrap(),
            *proof
        );
    }
    for vector in &vectors.malformed_inclusion {
        let (why, proof): (_, InclusionProof) = reason(vector);
        assert!(proof.verify(&leaf(5), &root(proof.size)).is_err(), "{why}");
    }
    for vector in &vectors.malformed_consistency {
        let (why, proof): (_, ConsistencyProof) = reason(vector);
        assert!(
            proof
                .verify(&root(proof.first), &root(proof.second))
                .is_err(),
            "{why}"
        );
    }
}

#[derive(Deserialize)]
struct StateVectors {
    cases: Vec<StateCase>,
    malformed_root: Digest,
    malformed: Vec<Because<Probe>>,
}

#[derive(Deserialize)]
struct StateCase {
    entries: Vec<Pair>,
    root: Digest,
    proofs: Vec<Probe>,
}

#[derive(Deserialize)]
struct Pair {
    #[serde(with = "base64url")]
    key: Vec<u8>,
    #[serde(with = "base64url")]
    value: Vec<u8>,
}

#[derive(Deserialize)]
struct Probe {
    #[serde(with = "base64url")]
    key: Vec<u8>,
    value: Option<String>,
    proof: StateProof,
}

#[test]
fn state_roots_and_proofs() {
    let vectors: StateVectors =
        serde_json::from_str(include_str!("../../proto/testdata/ledger/state.json")).unwrap();
    for StateCase {
        entries,
        root,
        proofs,
    } in &vectors.cases
    {
        let mut tree = StateTree::new();
        let changes = entries
            .iter()
            .map(|pair| StateChange::new(&pair.key, Some(&pair.value)));
        tree.apply(changes.collect()).unwrap();
        assert_eq!(tree.root(), *root, "{} keys", entries.len());
        let leaf = |pair: &Pair| StateLeaf {
            path: path_of(&pair.key),
            value: value_digest(&pair.value),
        };
        let built = StateTree::from_leaves(entries.iter().map(leaf).collect()).unwrap();
        assert_eq!(built.root(), *root);
        for Probe { key, value, proof } in proofs {
            let value = value
                .as_ref()
                .map(|text| value_digest(&salus_proto::encode::from_base64url(text).unwrap()));
            assert_eq!(proof.verify(root, key).unwrap(), value);
            assert_eq!(tree.prove(key), *proof);
        }
    }
    for Because {
        why,
        it: Probe { key, proof, .. },
    } in &vectors.malformed
    {
        assert!(proof.verify(&vectors.malformed_root, key).is_err(), "{why}");
    }
}

#[derive(Deserialize)]
struct CheckpointVectors {
    origin: String,
    #[serde(with = "base64url")]
    members: Vec<u8>,
    members_digest: Digest,
    certified: Vec<Because<Certified>>,
    refused: Vec<Because<Refused>>,
}

#[derive(Deserialize)]
struct Certified {
    note: String,
    signers: usize,
}

#[derive(Deserialize)]
struct Refused {
    note: String,
}

#[test]
fn checkpoint_notes() {
    let vectors: CheckpointVectors =
        serde_json::from_str(include_str!("../../proto/testdata/ledger/checkpoint.json")).unwrap();
    let members = MemberList::from_bytes(&vectors.members).unwrap();
    assert_eq!(members.digest(), vectors.members_digest);
    let verify = |note: &str| {
        let note = SignedNote::parse(note)?;
        CertifiedCheckpoint::verify(&note, &members, &vectors.origin)
    };
    for Because {
        why,
        it: Certified { note, signers },
    } in &vectors.certified
    {
        let certified = verify(note).unwrap_or_else(|error| panic!("{why}: {error}"));
        assert_eq!(certified.signers().len(), *signers, "{why}");
        assert_eq!(SignedNote::parse(note).unwrap().to_string(), *note, "{why}");
    }
    for Because {
        why,
        it: Refused { note },
    } in &vectors.refused
    {
        assert!(verify(note).is_err(), "{why}");
    }
}

fn bundle_vectors() -> Value {
    serde_json::from_str(include_str!("../../proto/testdata/ledger/bundle.json")).unwrap()
}

/// The bundle that a malformed vector starts from, changed.
fn changed(vectors: &Value, vector: &Value) -> Vec<u8> {
    let mut bundle = vectors["bundles"][vector["bundle"].as_str().unwrap()].clone();
    let at = vector["at"].as_str().unwrap();
    let (parent, field) = at.rsplit_once('/').unwrap();
    let parent = bundle.pointer_mut(parent).unwrap();
    match parent {
        Value::Object(fields) => drop(fields.insert(field.into(), vector["value"].clone())),
        other => panic!("{at} is in {other:?}"),
    }
    serde_json::to_vec(&bundle).unwrap()
}

#[test]
fn bundles_that_prove_what_they_claim() {
    let vectors = bundle_vectors();
    let pinned = vectors["genesis_digest"].as_str().unwrap().parse().unwrap();
    for (name, json) in vectors["bundles"].as_object().unwrap() {
        let bundle = Bundle::from_json(json.to_string().as_bytes()).unwrap();
        let report = bundle.verify(&pinned);
        assert!(report.verified(), "{name}:\n{report}");
        assert!(
            report
                .checks
                .iter()
                .all(|check| check.verdict == Verdict::Passed),
            "{name}"
        );
        assert_eq!(
            Bundle::from_json(&bundle.to_json().unwrap()).unwrap(),
            bundle,
            "{name}"
        );
    }
}

#[test]
fn bundles_that_do_not_fail_at_the_check_that_is_wrong() {
    let vectors = bundle_vectors();
    let pinned = vectors["genesis_digest"].as_str().unwrap().parse().unwrap();
    for vector in vectors["malformed"].as_array().unwrap() {
        let why = vector["why"].as_str().unwrap();
        let bundle = Bundle::from_json(&changed(&vectors, vector)).unwrap();
        let report = bundle.verify(&pinned);
        assert!(!report.verified(), "{why}");
        let failed: Vec<_> = report
            .checks
            .iter()
            .filter(|check| check.verdict == Verdict::Failed)
            .collect();
        assert_eq!(failed.len(), 1, "{why}:\n{report}");
        assert_eq!(
            failed[0].name,
            vector["failed"].as_str().unwrap(),
            "{why}:\n{report}"
        );
        let after = report
            .checks
            .iter()
            .skip_while(|check| check.verdict == Verdict::Passed);
        assert!(
            after
                .skip(1)
                .all(|check| check.verdict == Verdict::NotChecked),
            "{why}"
        );
    }
    for vector in vectors["unreadable"].as_array().unwrap() {
        let why = vector["why"].as_str().unwrap();
        assert!(
            Bundle::from_json(&changed(&vectors, vector)).is_err(),
            "{why}"
        );
    }
}

#[test]
fn a_character_changed_anywhere_in_a_bundle_proves_nothing() {
    let vectors = bundle_vectors();
    let pinned = vectors["genesis_digest"].as_str().unwrap().parse().unwrap();
    // Notes in this bundle have exactly the signatures that are needed, so no line can be spared.
    let good = vectors["bundles"]["record"].to_string().into_bytes();
    assert!(Bundle::from_json(&good).unwrap().verify(&pinned).verified());
    let mut readable = 0;
    // 101 is prime to everything in the layout, so that all kinds of places are hit.
    for at in (0..good.len()).step_by(101) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        if let Ok(bundle) = Bundle::from_json(&bad) {
            readable += 1;
            let report = bundle.verify(&pinned);
            assert!(!report.verified(), "byte {at} of {}:\n{report}", good.len());
        }
    }
    assert!(
        readable > 100,
        "the verification itself was hardly tested: {readable}"
    );
}
