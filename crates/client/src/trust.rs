//! Public keys on the members' word, not on a node's: a node that names keys of its own for a doctor
//! would read what is sealed for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use salus_crypto::keys::PeerKeys;
use salus_ledger::bundle::{Bundle, Claim, Proven, Report, Verdict, keys_state_key};
use salus_proto::Digest;
use salus_proto::api::record::ReleasedRecord;
use salus_proto::encode::from_bytes;
use salus_proto::ids::{PrincipalId, RecordId};
use salus_proto::keys::PublicKeys;

use crate::error::{Error, Result};
use crate::node::Node;
use crate::records::signed;

/// Longest encoding of public keys.
const KEYS_LIMIT: usize = 8 << 10;
/// How often a node may show an older state than the caller has seen before it is not believed: the
/// members sign a checkpoint some hundred milliseconds after an entry.
const OLDER_ANSWERS: usize = 50;
/// Time between two such questions.
const PAUSE: Duration = Duration::from_millis(100);

/// The consortium that a client was told of by somebody it trusts, and how far its log was when it
/// was seen last. Clones share what was seen.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    genesis: Digest,
    seen: Arc<AtomicU64>,
}

impl Trust {
    pub(crate) fn new(genesis: Digest) -> Self {
        Self {
            genesis,
            seen: Arc::default(),
        }
    }

    /// Notes that the log has at least `size` entries.
    pub(crate) fn saw(&self, size: u64) {
        self.seen.fetch_max(size, Ordering::Relaxed);
    }

    /// What verifying a record's bundle showed.
    pub(crate) fn record(&self, record: RecordId, bundle: &[u8]) -> Result<Report> {
        let wrong = |what: String| Error::NotVerified { record, what };
        let bundle = Bundle::from_json(bundle).map_err(|error| wrong(error.to_string()))?;
        let report = bundle.verify(&self.genesis);
        match &report.proven {
            Some(Proven::Record { anchor, .. }) if anchor.record == record => Ok(report),
            _ => Err(wrong(first_failure(&report))),
        }
    }

    /// The keys that a bundle proves, or `None` under an older checkpoint than one seen before.
    fn keys(&self, principal: PrincipalId, bundle: &[u8]) -> Result<Option<PublicKeys>> {
        let wrong = |what: String| Error::NotProven { principal, what };
        let bundle = Bundle::from_json(bundle).map_err(|error| wrong(error.to_string()))?;
        let report = bundle.verify(&self.genesis);
        let (Some(Proven::State { key, value }), Some(checkpoint)) =
            (&report.proven, &report.checkpoint)
        else {
            return Err(wrong(first_failure(&report)));
        };
        if *key != keys_state_key(principal) {
            return Err(wrong("the proof is of something else".into()));
        }
        if checkpoint.size < self.seen.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.saw(checkpoint.size);
        let value = value.as_ref();
        let value = value.ok_or_else(|| wrong("the ledger has no keys of theirs".into()))?;
        let keys: PublicKeys = from_bytes(value, KEYS_LIMIT, "public keys")?;
        if keys.well_formed() {
            Ok(Some(keys))
        } else {
            Err(wrong("malformed public keys".into()))
        }
    }
}

fn first_failure(report: &Report) -> String {
    let failed = report.checks.iter();
    let mut failed = failed.filter(|check| check.verdict == Verdict::Failed);
    failed.next().map_or_else(
        || "the proof is of something else".into(),
        |check| format!("{}: {}", check.name, check.words),
    )
}

impl Node {
    /// A principal's public keys, proven under a checkpoint that a quorum of the members signed, from
    /// nothing but the genesis digest that the caller brought along.
    ///
    /// # Errors
    /// [`Error::NoGenesis`] without that digest; [`Error::NotProven`] if the proof does not hold, or
    /// if the node keeps to an older state than it showed before.
    pub async fn public_keys(&self, principal: PrincipalId) -> Result<PublicKeys> {
        let trust = self.trust().ok_or(Error::NoGenesis)?;
        let key = keys_state_key(principal);
        let hexadecimal: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = format!("/ledger/proofs/state/{hexadecimal}");
        for _ in 0..OLDER_ANSWERS {
            let bundle = self.bytes(&path, None).await?;
            if let Some(keys) = trust.keys(principal, &bundle)? {
                return Ok(keys);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Error::NotProven {
            principal,
            what: "the node shows an older state than it has shown before".into(),
        })
    }

    /// The keys that a record's manifest was signed with, of a signer who has others now. The node
    /// names them; that this manifest is its signer's is proven.
    pub(crate) async fn keys_behind(&self, record: &ReleasedRecord) -> Result<PeerKeys> {
        let trust = self.trust().ok_or(Error::NoGenesis)?;
        let principal = record.signer;
        let wrong = |what: String| Error::NotProven { principal, what };
        let path = format!("/ledger/proofs/records/{}", record.record);
        let bundle = self.bytes(&path, None).await?;
        let bundle = Bundle::from_json(&bundle).map_err(|error| wrong(error.to_string()))?;
        let report = bundle.verify(&trust.genesis);
        match (&report.proven, &bundle.claim) {
            (Some(Proven::Record { .. }), Claim::Record(claim))
                if claim.manifest == record.manifest.0 => {}
            _ => return Err(wrong(first_failure(&report))),
        }
        let keys = self.principal_as_of(principal, record.entry).await?.keys;
        let ed25519: Option<Digest> = keys.ed25519.parse().ok();
        let keys = PublicKeys {
            ed25519: ed25519
                .ok_or_else(|| wrong("malformed public keys".into()))?
                .0,
            ml_dsa_65: keys.ml_dsa_65.0,
            x_wing: keys.x_wing.0,
        };
        let keys = PeerKeys::parse(&keys)?;
        if signed(&keys, record) {
            Ok(keys)
        } else {
            Err(wrong("the record is signed with other keys".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const VECTORS: &str = include_str!("../../proto/testdata/ledger/bundle.json");

    /// Whose keys the vectors' bundle of a record proves in the state.
    const SIGNER: PrincipalId = PrincipalId([0x55; 16]);

    /// The trust in the vectors' consortium, and a bundle of the signer's keys in its state.
    fn vectors() -> (Trust, Value) {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let genesis = vectors["genesis_digest"].as_str().unwrap().parse().unwrap();
        let mut bundle = vectors["bundles"]["record"].clone();
        let signer = bundle["claim"]["record"]["signer"]["state"].clone();
        let key = salus_proto::encode::to_base64url(&keys_state_key(SIGNER));
        bundle["claim"] = json!({ "state": {
            "key": key, "value": signer["keys"], "proof": signer["proof"],
        } });
        (Trust::new(genesis), bundle)
    }

    fn keys(trust: &Trust, of: PrincipalId, bundle: &Value) -> Result<Option<PublicKeys>> {
        trust.keys(of, &serde_json::to_vec(bundle).unwrap())
    }

    #[test]
    fn keys_are_believed_with_a_proof_from_the_genesis_on() {
        let (trust, bundle) = vectors();
        let proven = keys(&trust, SIGNER, &bundle).unwrap().unwrap();
        assert!(proven.well_formed());
        assert!(trust.seen.load(Ordering::Relaxed) > 0);
    }

    #[test]
    fn another_ones_keys_altered_keys_and_another_consortium_are_refused() {
        let (trust, bundle) = vectors();
        let refused = |trust: &Trust, of, bundle: &Value| {
            matches!(keys(trust, of, bundle), Err(Error::NotProven { .. }))
        };
        assert!(refused(&trust, PrincipalId([0x34; 16]), &bundle));
        assert!(refused(&Trust::new(Digest([7; 32])), SIGNER, &bundle));
        let mut altered = bundle;
        let value = altered["claim"]["state"]["value"].as_str().unwrap();
        let mut value = value.to_owned();
        let flipped = if value.pop() == Some('A') { 'E' } else { 'A' };
        value.push(flipped);
        altered["claim"]["state"]["value"] = value.into();
        assert!(refused(&trust, SIGNER, &altered));
    }

    #[test]
    fn yesterdays_state_is_not_believed() {
        let (trust, bundle) = vectors();
        trust.saw(1_000_000);
        assert!(keys(&trust, SIGNER, &bundle).unwrap().is_none());
    }
}
