//! Sealed batches, streams and files, keyrings and signed envelopes.

use std::io::{self, Write};

use salus_crypto::file::{Identity, open_with};
use salus_crypto::hybrid::Signed;
use salus_crypto::keyring::{DoorSecret, Vault};
use salus_crypto::opaque::Secret64;
use salus_crypto::{label, seal};
use salus_envelope::verify;
use salus_proto::encode::to_bytes;

use crate::keys::{HOSPITAL, SIGNER};

/// An upload, verified with the hospital's keys of the golden batch.
pub fn batch(data: &[u8]) -> bool {
    let Ok(batch) = verify::decode(data) else {
        return false;
    };
    assert!(to_bytes(&batch) == data, "two encodings of one batch");
    let claimed = verify::claimed_signer(&batch).is_ok() && verify::claimed_batch(&batch).is_ok();
    let Some(hospital) = &*HOSPITAL else {
        return false;
    };
    let verified = verify::verify(&batch, hospital);
    if let Ok(manifest) = &verified {
        assert!(
            manifest.count as usize == batch.anchors.len(),
            "a batch of another length"
        );
        assert!(claimed, "a verified batch that claims nothing");
    }
    verified.is_ok()
}

/// A COSE_Sign envelope, attached and detached.
pub fn envelope(data: &[u8]) -> bool {
    let Some(signer) = &*SIGNER else {
        return false;
    };
    let parse = || Signed::parse(data).ok();
    if let Some(signed) = parse() {
        assert!(
            (1..=64).contains(&signed.key_id().len()),
            "a key id out of range"
        );
    }
    let attached = parse().is_some_and(|signed| signed.verify(signer, label::MANIFEST).is_ok());
    let detached = parse().is_some_and(|signed| {
        signed
            .verify_detached(signer, label::MANIFEST, b"message")
            .is_ok()
    });
    assert!(!(attached && detached), "one payload, twice there");
    attached || detached
}

/// A sealed stream under the key of the golden streams, at once and streaming.
pub fn stream(data: &[u8]) -> bool {
    let whole = seal::open(&[7; 32], b"context", data);
    let mut content = Vec::new();
    let streamed = seal::open_stream(&[7; 32], b"context", data, &mut content);
    assert!(
        whole.is_ok() == streamed.is_ok(),
        "opened at once and streaming do not agree"
    );
    if let Ok(whole) = &whole {
        assert!(*whole == content, "two contents");
    }
    whole.is_ok()
}

/// The start of a sealed file and what follows, for the first identity of the golden files; also a
/// file of identities.
pub fn file(data: &[u8]) -> bool {
    let Ok(identity) = Identity::from_seed(&[1; 32]) else {
        return false;
    };
    let mut written = Count(0);
    let opened = open_with(&[identity], data, &mut written);
    if let Ok(length) = &opened {
        assert!(*length == written.0, "another length than was written");
    }
    let text = core::str::from_utf8(data);
    opened.is_ok() || text.is_ok_and(|text| Identity::parse_file(text).is_ok())
}

struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stored keyring, opened by the password of the golden one.
pub fn keyring(data: &[u8]) -> bool {
    Vault::open(
        &[9; 16],
        data,
        DoorSecret::Password(&Secret64::new([1; 64])),
    )
    .is_ok()
}
