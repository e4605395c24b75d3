//! The golden vectors of `crates/proto/testdata/crypto`: every byte that is signed, sealed or stored
//! here, good and malformed. Rust makes and reads them; TypeScript and Python read the same files.
//!
//! What is deterministic is made anew and compared. What is not (ML-DSA-65 is hedged), and the list of
//! labels, which grows, was made once and is read: to make it again, delete the file and run the tests
//! with SALUS_WRITE_VECTORS set.

use salus_proto::encode::to_bytes;
use salus_proto::sealed::{ChunkSize, StreamHeader, TAG_LEN};
use serde_json::{Value, json};

use crate::digest::{derive, hmac_sha256, salted_commitment, sha256};
use crate::file::{Identity, open_with, recipient_from_text, recipient_to_text, seal_to};
use crate::hybrid::{self, sign, sign_detached};
use crate::keyring::{DoorSecret, RecoveryCode, Vault};
use crate::keys::{PeerKeys, SecretKeys};
use crate::opaque::{
    ClientLogin, ClientRegistration, ServerSetup, finish_login, finish_registration,
};
use crate::seal::{Options, open, open_stream, open_stream_threaded, seal_stream, split_prelude};
use crate::testing::{Seeded, golden, golden_bytes, made_once, text, unhex, vectors};
use crate::wrap::{Recipient, XWingSecret, unwrap_under, wrap_key_under, wrap_under};
use crate::{Error, Label, label};
use zeroize::Zeroizing;

fn h(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}

fn seed(byte: u8) -> [u8; 32] {
    [byte; 32]
}

fn label_of(case: &Value) -> Label {
    let bytes = unhex(case, "label");
    label::find(&bytes).unwrap()
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

#[test]
fn digests_and_derivations_answer_as_committed() {
    let messages: [&[u8]; 3] = [b"", b"abc", b"salus"];
    let digests: Vec<Value> = messages
        .iter()
        .map(|m| {
            json!({
                "message": h(m), "sha256": h(sha256(m).0),
                "hmac_key": h(seed(1)), "hmac_sha256": h(hmac_sha256(&seed(1), &[m])),
                "salt": h(seed(2)), "salted_commitment": h(salted_commitment(&seed(2), m).0),
            })
        })
        .collect();
    let derivations: Vec<Value> = [
        (label::STREAM_KEY, &b"prefix7"[..], &b""[..]),
        (label::STREAM_COMMITMENT, b"prefix7", b""),
        (label::DOOR_PASSWORD, b"", b"account"),
    ]
    .iter()
    .map(|(label, salt, context)| {
        json!({
            "secret": h(seed(3)), "salt": h(salt), "label": h(label.as_bytes()),
            "context": h(context), "key": h(*derive(&seed(3), salt, *label, context)),
        })
    })
    .collect();
    golden(
        "digest.json",
        &json!({"digests": digests, "derivations": derivations}),
    );
}

#[test]
fn committed_labels_keep_their_bytes() {
    made_once("labels.json", || {
        let labels: Vec<Value> = label::all()
            .map(|(label, text)| json!({"name": text, "bytes": h(label.as_bytes())}))
            .collect();
        json!({"labels": labels})
    });
    for case in vectors("labels.json")["labels"].as_array().unwrap() {
        let label = label_of(&json!({"label": case["bytes"]}));
        assert_eq!(
            label.as_bytes(),
            format!("salus/v1/{}\0", text(case, "name")).as_bytes()
        );
    }
}

#[test]
fn keys_come_from_their_seeds_as_committed() {
    let cases: Vec<Value> = [1_u8, 2]
        .iter()
        .map(|n| {
            let seeds = [seed(*n), seed(n + 0x10), seed(n + 0x20)];
            let keys = SecretKeys::from_seeds(&seeds[0], &seeds[1], &seeds[2]).unwrap();
            let public = keys.public();
            json!({
                "ed25519_seed": h(seeds[0]), "ml_dsa_65_seed": h(seeds[1]), "x_wing_seed": h(seeds[2]),
                "ed25519": h(public.ed25519), "ml_dsa_65": h(&public.ml_dsa_65),
                "x_wing": h(&public.x_wing), "public_keys_cbor": h(to_bytes(public)),
                "keyring_cbor": h(&*keys.to_keyring_bytes()),
            })
        })
        .collect();
    golden("keys.json", &json!({"keys": cases}));
}

fn signer() -> SecretKeys {
    SecretKeys::from_seeds(&seed(1), &seed(0x11), &seed(0x21)).unwrap()
}

#[test]
fn signatures_verify_or_fail_as_committed() {
    made_once("signatures.json", || {
        let keys = signer();
        let message = b"message";
        let ed25519 = keys.ed25519().sign(label::COMMAND, message);
        let ml_dsa_65 = keys.ml_dsa_65().sign(label::CHECKPOINT, message).unwrap();
        let attached = sign(&keys, label::MANIFEST, &[7; 16], message).unwrap();
        let detached = sign_detached(&keys, label::MANIFEST, &[7; 16], message).unwrap();
        let single = |name: &str,
                      algorithm: &str,
                      label: Label,
                      message: &[u8],
                      signature: &[u8],
                      valid: bool| {
            json!({"name": name, "algorithm": algorithm, "label": h(label.as_bytes()),
                   "message": h(message), "signature": h(signature), "valid": valid})
        };
        let mut plus_order = ed25519;
        add_group_order(&mut plus_order);
        let envelope = |name: &str,
                        label: Label,
                        envelope: &[u8],
                        payload: Option<&[u8]>,
                        error: Option<&str>| {
            json!({"name": name, "label": h(label.as_bytes()), "envelope": h(envelope),
                   "detached_payload": payload.map(h), "payload": h(message), "error": error})
        };
        json!({
            "ed25519_seed": h(seed(1)), "ml_dsa_65_seed": h(seed(0x11)), "x_wing_seed": h(seed(0x21)),
            "single": [
                single("good", "Ed25519", label::COMMAND, message, &ed25519, true),
                single("another label", "Ed25519", label::SESSION, message, &ed25519, false),
                single("another message", "Ed25519", label::COMMAND, b"massage", &ed25519, false),
                single("flipped", "Ed25519", label::COMMAND, message, &flipped(&ed25519, 5), false),
                single("short", "Ed25519", label::COMMAND, message, &ed25519[..63], false),
                single("S not reduced", "Ed25519", label::COMMAND, message, &plus_order, false),
                single("good", "ML-DSA-65", label::CHECKPOINT, message, &ml_dsa_65, true),
                single("another label", "ML-DSA-65", label::COMMAND, message, &ml_dsa_65, false),
                single("flipped", "ML-DSA-65", label::CHECKPOINT, message, &flipped(&ml_dsa_65, 99), false),
                single("short", "ML-DSA-65", label::CHECKPOINT, message, &ml_dsa_65[..3308], false),
            ],
            "envelopes": [
                envelope("attached", label::MANIFEST, &attached, None, None),
                envelope("detached", label::MANIFEST, &detached, Some(message), None),
                envelope("another label", label::AGREEMENT, &attached, None, Some("signature")),
                envelope("another payload", label::MANIFEST, &detached, Some(b"massage"), Some("signature")),
                envelope("Ed25519 flipped", label::MANIFEST, &flipped(&attached, 60), None, Some("signature")),
                envelope("ML-DSA-65 flipped", label::MANIFEST, &flipped(&attached, 3000), None, Some("signature")),
                envelope("trailing byte", label::MANIFEST, &[&attached[..], &[0]].concat(), None, Some("envelope")),
                envelope("cut", label::MANIFEST, &attached[..attached.len() - 1], None, Some("envelope")),
                envelope("untagged", label::MANIFEST, &attached[2..], None, Some("envelope")),
                envelope("payload missing", label::MANIFEST, &detached, None, Some("envelope")),
                envelope("payload twice", label::MANIFEST, &attached, Some(message), Some("envelope")),
            ],
        })
    });
    let all = vectors("signatures.json");
    let keys = PeerKeys::parse(signer().public()).unwrap();
    for case in all["single"].as_array().unwrap() {
        let (label, message, signature) = (
            label_of(case),
            unhex(case, "message"),
            unhex(case, "signature"),
        );
        let valid = match text(case, "algorithm") {
            "Ed25519" => keys.ed25519.verify(label, &message, &signature),
            _ => keys.ml_dsa_65.verify(label, &message, &signature),
        };
        assert_eq!(valid.is_ok(), case["valid"].as_bool().unwrap(), "{case}");
    }
    for case in all["envelopes"].as_array().unwrap() {
        let (label, envelope) = (label_of(case), unhex(case, "envelope"));
        let verified = match case["detached_payload"].as_str() {
            Some(payload) => {
                let payload = hex::decode(payload).unwrap();
                hybrid::verify_detached(&keys, label, &envelope, &payload).map(|()| payload)
            }
            None => hybrid::verify(&keys, label, &envelope),
        };
        match case["error"].as_str() {
            None => assert_eq!(verified.unwrap(), unhex(case, "payload")),
            Some(error) => assert_eq!(
                verified.unwrap_err().name(),
                error,
                "{}",
                text(case, "name")
            ),
        }
    }
}

/// Adds the order of edwards25519's prime subgroup to S: the same scalar, written as RFC 8032
/// (section 5.1.7) forbids.
fn add_group_order(signature: &mut [u8; 64]) {
    let order =
        hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
}

#[test]
fn wraps_open_or_fail_as_committed() {
    let entropy = &mut Seeded::new(20);
    let recipient = XWingSecret::from_seed(&seed(0x21)).unwrap();
    let key = seed(5);
    let hpke = recipient
        .recipient()
        .wrap_key(label::CLASS_KEY_WRAP, b"context", &key, entropy)
        .unwrap();
    let message = recipient
        .recipient()
        .wrap(label::MESSAGE_WRAP, b"", b"a short message", entropy)
        .unwrap();
    let under = wrap_key_under(&seed(6), label::RECORD_KEY, b"context", &key, entropy).unwrap();
    let empty = wrap_under(&seed(6), label::STORED_KEY, b"", b"", entropy).unwrap();
    let case = |name: &str, label: Label, context: &[u8], wrap: &[u8], payload: Option<&[u8]>| {
        json!({"name": name, "label": h(label.as_bytes()), "context": h(context), "wrap": h(wrap),
               "payload": payload.map(h), "error": payload.is_none().then_some("unwrap")})
    };
    let (c, r) = (label::CLASS_KEY_WRAP, label::RECORD_KEY);
    golden(
        "wraps.json",
        &json!({
            "x_wing_seed": h(seed(0x21)),
            "hpke": [
                case("a key", c, b"context", &hpke, Some(&key)),
                case("a message", label::MESSAGE_WRAP, b"", &message, Some(b"a short message")),
                case("another label", label::RECORD_KEY_WRAP, b"context", &hpke, None),
                case("another context", c, b"contexts", &hpke, None),
                case("encapsulation flipped", c, b"context", &flipped(&hpke, 7), None),
                case("X25519 part flipped", c, b"context", &flipped(&hpke, 1100), None),
                case("ciphertext flipped", c, b"context", &flipped(&hpke, 1120), None),
                case("tag flipped", c, b"context", &flipped(&hpke, 1167), None),
                case("cut", c, b"context", &hpke[..1167], None),
                case("encapsulation only", c, b"context", &hpke[..1120], None),
                case("empty", c, b"context", &[], None),
            ],
            "key": h(seed(6)),
            "symmetric": [
                case("a key", r, b"context", &under, Some(&key)),
                case("nothing", label::STORED_KEY, b"", &empty, Some(b"")),
                case("another label", c, b"context", &under, None),
                case("another context", r, b"", &under, None),
                case("nonce flipped", r, b"context", &flipped(&under, 0), None),
                case("ciphertext flipped", r, b"context", &flipped(&under, 12), None),
                case("tag flipped", r, b"context", &flipped(&under, 59), None),
                case("cut", r, b"context", &under[..59], None),
                case("shorter than a nonce", r, b"context", &under[..11], None),
            ],
        }),
    );
    let all = vectors("wraps.json");
    let check =
        |case: &Value, opened: Result<Zeroizing<Vec<u8>>, Error>| match case["error"].as_str() {
            None => assert_eq!(*opened.unwrap(), unhex(case, "payload")),
            Some(error) => assert_eq!(opened.unwrap_err().name(), error, "{case}"),
        };
    for case in all["hpke"].as_array().unwrap() {
        let (context, wrap) = (unhex(case, "context"), unhex(case, "wrap"));
        check(case, recipient.unwrap(label_of(case), &context, &wrap));
    }
    for case in all["symmetric"].as_array().unwrap() {
        let (context, wrap) = (unhex(case, "context"), unhex(case, "wrap"));
        check(
            case,
            unwrap_under(&seed(6), label_of(case), &context, &wrap),
        );
    }
}

/// Byte i of every vector's content is i mod 251.
fn content(length: usize) -> Vec<u8> {
    (0..251).cycle().take(length).collect()
}

fn sealed_base(content_length: usize, announced: bool, number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let options = Options {
        chunk_size: ChunkSize::MIN,
        content_length: announced.then_some(content_length as u64),
    };
    let content = content(content_length);
    seal_stream(
        &seed(7),
        b"context",
        options,
        &mut Seeded::new(number),
        &*content,
        &mut out,
    )
    .unwrap();
    out
}

#[test]
fn sealed_streams_open_or_fail_as_committed() {
    const FULL: usize = (1 << 16) + TAG_LEN;
    let bases = [
        ("empty", 0, true),
        ("small", 7, true),
        ("small-piped", 7, false),
        ("three-chunks", 2 * 65536 + 100, true),
        ("two-chunks-piped", 65536 + 10, false),
    ];
    let sealed: Vec<Vec<u8>> = (30..)
        .zip(&bases)
        .map(|(number, (_, length, announced))| sealed_base(*length, *announced, number))
        .collect();
    let good: Vec<Value> = bases
        .iter()
        .zip(&sealed)
        .map(|((name, length, announced), sealed)| {
            let file = format!("sealed-stream-{name}.bin");
            golden_bytes(&file, sealed);
            json!({"name": name, "file": file, "content_length": length, "announced": announced,
                   "sealed_sha256": h(sha256(sealed).0)})
        })
        .collect();

    let small = &sealed[1];
    let (prelude, _) = split_prelude(small).unwrap();
    let end = small.len();
    let start = prelude.len();
    let header = StreamHeader::from_bytes(&small[10..start - 32]).unwrap();
    let part = |from: usize, to: usize| json!({"from": from, "to": to});
    let raw = |bytes: &[u8]| json!({"hex": h(bytes)});
    let flip = |base: &[u8], at: usize| {
        json!([part(0, at), raw(&[base[at] ^ 1]), part(at + 1, base.len())])
    };
    let with_header = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        json!([part(0, 8), raw(&length), raw(bytes), part(start - 32, end)])
    };
    let changed = |change: &dyn Fn(&mut StreamHeader)| {
        let mut header = header.clone();
        change(&mut header);
        with_header(&to_bytes(&header))
    };
    // the header map with its count raised by one and an entry appended
    let plus_entry = |base: &StreamHeader, entry: &[u8]| {
        let mut bytes = to_bytes(base);
        bytes[0] += 1;
        bytes.extend(entry);
        with_header(&bytes)
    };
    let wide_integer = {
        // chunk size 65536 in nine bytes instead of five
        let bytes = to_bytes(&header);
        assert_eq!(bytes[1..7], [1, 0x1a, 0, 1, 0, 0]);
        with_header(&[&bytes[..2], &[0x1b, 0, 0, 0, 0, 0, 1, 0, 0], &bytes[7..]].concat())
    };
    let short_prefix = {
        let bytes = to_bytes(&header);
        assert_eq!(bytes[7..9], [2, 0x47]);
        with_header(&[&bytes[..8], &[0x46], &bytes[9..15], &bytes[16..]].concat())
    };
    let unannounced = StreamHeader {
        content_length: None,
        ..header.clone()
    };
    let prefix_at = 10 + 9;
    let commitment_at = prefix_at + 7 + 3;
    let three = &sealed[3];
    let three_at = |chunk: usize| three.len() - (100 + TAG_LEN) - (2 - chunk) * FULL;
    let three_chunk =
        |chunk: usize| part(three_at(chunk), (three_at(chunk) + FULL).min(three.len()));
    let piped = &sealed[4];
    let piped_border = piped.len() - 10 - TAG_LEN;
    let case = |name: &str, base: &str, pieces: Value, error: &str| json!({"name": name, "base": base, "pieces": pieces, "error": error});
    let head = part(0, three_at(0));
    let malformed = [
        case("nothing", "small", json!([]), "truncated"),
        case(
            "cut in the magic",
            "small",
            json!([part(0, 5)]),
            "truncated",
        ),
        case(
            "cut in the header length",
            "small",
            json!([part(0, 9)]),
            "truncated",
        ),
        case(
            "cut in the header",
            "small",
            json!([part(0, 30)]),
            "truncated",
        ),
        case(
            "cut in the binding",
            "small",
            json!([part(0, start - 1)]),
            "truncated",
        ),
        case("no chunk", "small", json!([part(0, start)]), "truncated"),
        case(
            "no chunk, piped",
            "small-piped",
            json!([part(0, sealed[2].len() - 23)]),
            "truncated",
        ),
        case(
            "cut in the tag",
            "small",
            json!([part(0, end - 1)]),
            "truncated",
        ),
        case(
            "another format",
            "small",
            json!([raw(b"age-encryption.org/v1\n")]),
            "not-sealed",
        ),
        case(
            "a later version",
            "small",
            json!([raw(b"salus.s2"), part(8, end)]),
            "unknown-version",
        ),
        case("header of no bytes", "small", with_header(&[]), "malformed"),
        case(
            "header too long",
            "small",
            with_header(&[0; 129]),
            "malformed",
        ),
        case(
            "header is no map",
            "small",
            with_header(&[0x80]),
            "malformed",
        ),
        case(
            "header with an integer not in its shortest form",
            "small",
            wide_integer,
            "malformed",
        ),
        case(
            "header with an unknown key",
            "small",
            plus_entry(&header, &[5, 0]),
            "malformed",
        ),
        case(
            "header with null for absent",
            "small",
            plus_entry(&unannounced, &[4, 0xf6]),
            "malformed",
        ),
        case(
            "nonce prefix of six bytes",
            "small",
            short_prefix,
            "malformed",
        ),
        case(
            "chunk size of 32 KiB",
            "small",
            changed(&|h| h.chunk_size = 1 << 15),
            "chunk-size",
        ),
        case(
            "chunk size of 32 MiB",
            "small",
            changed(&|h| h.chunk_size = 1 << 25),
            "chunk-size",
        ),
        case(
            "chunk size no power of two",
            "small",
            changed(&|h| h.chunk_size = 65537),
            "chunk-size",
        ),
        case(
            "nonce prefix flipped",
            "small",
            flip(small, prefix_at),
            "wrong-key",
        ),
        case(
            "commitment flipped",
            "small",
            flip(small, commitment_at),
            "wrong-key",
        ),
        case(
            "chunk size changed",
            "small",
            changed(&|h| h.chunk_size = 1 << 17),
            "wrong-context",
        ),
        case(
            "content length changed",
            "small",
            changed(&|h| h.content_length = Some(8)),
            "wrong-context",
        ),
        case(
            "content length removed",
            "small",
            changed(&|h| h.content_length = None),
            "wrong-context",
        ),
        case(
            "binding flipped",
            "small",
            flip(small, start - 1),
            "wrong-context",
        ),
        case("ciphertext flipped", "small", flip(small, start), "chunk"),
        case("tag flipped", "small", flip(small, end - 1), "chunk"),
        case(
            "a byte added",
            "small",
            json!([part(0, end), raw(&[0])]),
            "overlong",
        ),
        case(
            "first chunk gone",
            "three-chunks",
            json!([head, three_chunk(1), three_chunk(2)]),
            "truncated",
        ),
        case(
            "last chunk gone",
            "three-chunks",
            json!([head, three_chunk(0), three_chunk(1)]),
            "truncated",
        ),
        case(
            "chunks exchanged",
            "three-chunks",
            json!([head, three_chunk(1), three_chunk(0), three_chunk(2)]),
            "chunk",
        ),
        case(
            "a chunk twice",
            "three-chunks",
            json!([head, three_chunk(0), three_chunk(0), three_chunk(2)]),
            "chunk",
        ),
        case(
            "flipped in the second chunk",
            "three-chunks",
            flip(three, three_at(1) + 5),
            "chunk",
        ),
        case(
            "last chunk gone, piped",
            "two-chunks-piped",
            json!([part(0, piped_border)]),
            "truncated",
        ),
        case(
            "cut in the last chunk, piped",
            "two-chunks-piped",
            json!([part(0, piped.len() - 3)]),
            "chunk",
        ),
        case(
            "cut in the last tag, piped",
            "two-chunks-piped",
            json!([part(0, piped_border + 15)]),
            "truncated",
        ),
    ];
    let mut malformed = malformed.to_vec();
    // Two faults at once: the whole is too short, and its first chunk stands where another belongs.
    // Who reads from the start meets the second before knowing of the first.
    for case in &mut malformed {
        if case["name"] == "first chunk gone" {
            case["streaming_error"] = json!("chunk");
        }
    }
    for (name, key, context, error) in [
        ("another key", seed(8), &b"context"[..], "wrong-key"),
        ("another context", seed(7), b"contexts", "wrong-context"),
        ("no context", seed(7), b"", "wrong-context"),
    ] {
        let mut wrong = case(name, "small", json!([part(0, end)]), error);
        wrong["record_key"] = json!(h(key));
        wrong["context"] = json!(h(context));
        malformed.push(wrong);
    }
    assert!(malformed.len() >= 20);
    golden(
        "sealed-stream.json",
        &json!({
            "record_key": h(seed(7)), "context": h(b"context"), "good": good, "malformed": malformed,
        }),
    );

    let all = vectors("sealed-stream.json");
    let base = |name: &str| {
        let index = bases.iter().position(|base| base.0 == name).unwrap();
        sealed[index].clone()
    };
    for case in all["good"].as_array().unwrap() {
        let length = usize::try_from(case["content_length"].as_u64().unwrap()).unwrap();
        assert!(open(&seed(7), b"context", &base(text(case, "name"))).unwrap() == content(length));
    }
    for case in all["malformed"].as_array().unwrap() {
        let base = base(text(case, "base"));
        let mut sealed = Vec::new();
        for piece in case["pieces"].as_array().unwrap() {
            match piece["hex"].as_str() {
                Some(bytes) => sealed.extend(hex::decode(bytes).unwrap()),
                None => {
                    let at = |side: &str| usize::try_from(piece[side].as_u64().unwrap()).unwrap();
                    sealed.extend_from_slice(&base[at("from")..at("to")]);
                }
            }
        }
        let key = case
            .get("record_key")
            .map_or(seed(7), |_| unhex(case, "record_key").try_into().unwrap());
        let context = case
            .get("context")
            .map_or(b"context".to_vec(), |_| unhex(case, "context"));
        let whole = text(case, "error");
        let streaming = case["streaming_error"].as_str().unwrap_or(whole);
        let sink = std::io::sink;
        for (error, expected) in [
            (open(&key, &context, &sealed).unwrap_err(), whole),
            (
                open_stream(&key, &context, &*sealed, sink()).unwrap_err(),
                streaming,
            ),
            (
                open_stream_threaded(&key, &context, &*sealed, sink()).unwrap_err(),
                streaming,
            ),
        ] {
            assert_eq!(error.name(), expected, "{}", text(case, "name"));
        }
    }
}

#[test]
fn sealed_files_open_or_fail_as_committed() {
    let identities = [1, 2, 3].map(|n| Identity::from_seed(&seed(n)).unwrap());
    let recipients: Vec<Recipient> = identities[..2].iter().map(Identity::recipient).collect();
    let mut file = Vec::new();
    let options = Options {
        chunk_size: ChunkSize::MIN,
        content_length: Some(7),
    };
    seal_to(
        &recipients,
        options,
        &mut Seeded::new(40),
        &content(7)[..],
        &mut file,
    )
    .unwrap();
    let case = |name: &str, identity: usize, file: &[u8], error: Option<&str>| {
        json!({"name": name, "identity": identities[identity].to_text().as_str(),
               "recipient": recipient_to_text(&identities[identity].recipient()),
               "file": h(file), "content": h(content(7)), "error": error})
    };
    golden(
        "sealed-file.json",
        &json!({"files": [
            case("first recipient", 0, &file, None),
            case("second recipient", 1, &file, None),
            case("no recipient", 2, &file, Some("not-a-recipient")),
            case("another recipient's wrap flipped", 0, &flipped(&file, 12 + 1200), Some("wrong-context")),
            case("own wrap flipped", 0, &flipped(&file, 12 + 20), Some("not-a-recipient")),
            case("list length beyond the bound", 0, &[&file[..8], &[0xff; 4]].concat(), Some("recipients")),
            case("a later version", 0, &[&b"salus.f2"[..], &file[8..]].concat(), Some("unknown-version")),
            case("a stream, not a file", 0, &sealed_base(7, true, 31), Some("not-sealed")),
            case("last byte flipped", 0, &flipped(&file, file.len() - 1), Some("chunk")),
            case("cut", 0, &file[..file.len() - 1], Some("truncated")),
        ]}),
    );
    for case in vectors("sealed-file.json")["files"].as_array().unwrap() {
        let identity = Identity::parse(text(case, "identity")).unwrap();
        assert!(recipient_from_text(text(case, "recipient")).unwrap() == identity.recipient());
        let mut out = Vec::new();
        let opened = open_with(&[identity], &*unhex(case, "file"), &mut out);
        match case["error"].as_str() {
            None => assert_eq!((opened.unwrap(), out), (7, unhex(case, "content"))),
            Some(error) => assert_eq!(opened.unwrap_err().name(), error, "{}", text(case, "name")),
        }
    }
}

#[test]
fn a_committed_account_still_logs_in() {
    made_once("opaque.json", || {
        let entropy = &mut Seeded::new(50);
        let setup = ServerSetup::generate(entropy);
        let (client, request) = ClientRegistration::start("correct horse", entropy).unwrap();
        let response = setup.start_registration(b"amara", &request).unwrap();
        let registered = client.finish("correct horse", &response, entropy).unwrap();
        json!({
            "password": "correct horse", "account": h(b"amara"), "server_setup": h(&*setup.to_bytes()),
            "server_public_key": h(setup.public_key()), "registration_request": h(request),
            "registration_response": h(response), "registration_upload": h(&registered.upload),
            "password_record": h(finish_registration(&registered.upload).unwrap()),
            "export_key": h(*registered.export_key),
        })
    });
    let case = vectors("opaque.json");
    let entropy = &mut Seeded::new(51);
    let setup = ServerSetup::from_bytes(&unhex(&case, "server_setup")).unwrap();
    let account = unhex(&case, "account");
    let record = unhex(&case, "password_record");
    assert_eq!(setup.public_key(), unhex(&case, "server_public_key"));
    assert_eq!(
        setup
            .start_registration(&account, &unhex(&case, "registration_request"))
            .unwrap(),
        unhex(&case, "registration_response"),
    );
    let password = text(&case, "password");
    let (client, request) = ClientLogin::start(password, entropy).unwrap();
    let started = setup
        .start_login(&account, Some(&record), &request, entropy)
        .unwrap();
    let finished = client.finish(password, &started.response, entropy).unwrap();
    finish_login(&started.state, &finished.finalization).unwrap();
    assert_eq!(finished.export_key.to_vec(), unhex(&case, "export_key"));
}

#[test]
fn keyrings_open_or_fail_as_committed() {
    let entropy = &mut Seeded::new(60);
    let account = [9; 16];
    let export_key = Zeroizing::new([1; 64]);
    let prf_output = Zeroizing::new(seed(2));
    let code = RecoveryCode::generate(entropy);
    let password = DoorSecret::Password(&export_key);
    let mut vault = Vault::create(&account, signer(), password, entropy).unwrap();
    vault
        .set_door(DoorSecret::RecoveryCode(&code), entropy)
        .unwrap();
    let passkey = DoorSecret::Passkey {
        credential: b"credential",
        prf_output: &prf_output,
    };
    vault.set_door(passkey, entropy).unwrap();
    let sealed = vault.to_sealed_bytes();
    let case = |name: &str, account: &[u8], sealed: &[u8], error: Option<&str>| json!({"name": name, "account": h(account), "sealed_keyring": h(sealed), "error": error});
    golden(
        "keyring.json",
        &json!({
            "export_key": h(*export_key), "prf_output": h(*prf_output), "credential": h(b"credential"),
            "recovery_code": code.to_text().as_str(), "ed25519_seed": h(seed(1)),
            "ml_dsa_65_seed": h(seed(0x11)), "x_wing_seed": h(seed(0x21)),
            "about_errors": "what opening by password gives; good ones open by all three doors",
            "keyrings": [
                case("good", &account, &sealed, None),
                case("another account", &[8; 16], &sealed, Some("vault-closed")),
                case("keyring flipped", &account, &flipped(&sealed, sealed.len() - 1), Some("unwrap")),
                case("cut", &account, &sealed[..sealed.len() - 1], Some("malformed")),
                case("trailing byte", &account, &[&sealed[..], &[0]].concat(), Some("malformed")),
                // the map's first value, after its header and key
                case("a later version", &account, &[&sealed[..2], &[2], &sealed[3..]].concat(), Some("unknown-version")),
            ],
        }),
    );
    let all = vectors("keyring.json");
    let code = RecoveryCode::parse(text(&all, "recovery_code")).unwrap();
    for case in all["keyrings"].as_array().unwrap() {
        let (account, sealed) = (unhex(case, "account"), unhex(case, "sealed_keyring"));
        match case["error"].as_str() {
            None => {
                for door in [password, DoorSecret::RecoveryCode(&code), passkey] {
                    let opened = Vault::open(&account, &sealed, door).unwrap();
                    assert_eq!(opened.keys().public(), signer().public());
                }
            }
            Some(error) => {
                let refused = Vault::open(&account, &sealed, password).unwrap_err();
                assert_eq!(refused.name(), error, "{}", text(case, "name"));
            }
        }
    }
}
