//! What a sealed stream promises, and how each fault is named.

use std::io::Cursor;

use proptest::prelude::*;
use salus_proto::sealed::MAX_PRELUDE_LEN;

use super::*;
use crate::testing::Seeded;

const KEY: [u8; 32] = [7; 32];
const CONTEXT: &[u8] = b"alias, record, version, signer";
const SMALL: ChunkSize = ChunkSize::MIN;
const CHUNK: usize = 1 << 16;

fn options(content_length: Option<usize>) -> Options {
    Options {
        chunk_size: SMALL,
        content_length: content_length.map(|n| n as u64),
    }
}

fn content(length: usize) -> Vec<u8> {
    Seeded::new(9).bytes(length)
}

fn sealed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    seal_into(&KEY, CONTEXT, content, SMALL, &mut Seeded::new(1), &mut out).unwrap();
    out
}

/// As a pipe would be sealed: without the content's length.
fn sealed_from_pipe(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    seal_stream(
        &KEY,
        CONTEXT,
        options(None),
        &mut Seeded::new(1),
        content,
        &mut out,
    )
    .unwrap();
    out
}

/// Opens in memory, as a stream, and as a stream on threads; all three must agree.
fn open_every_way(context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, &'static str> {
    let in_memory = open(&KEY, context, sealed).map_err(|e| e.name());
    let mut out = Vec::new();
    let streamed = open_stream(&KEY, context, sealed, &mut out).map(|n| (n, out));
    let mut out = Vec::new();
    let threaded = open_stream_threaded(&KEY, context, sealed, &mut out).map(|n| (n, out));
    for other in [streamed, threaded] {
        let other = other
            .map(|(length, out)| {
                assert_eq!(length, out.len() as u64);
                out
            })
            .map_err(|e| e.name());
        assert!(
            other == in_memory,
            "{:?} {:?}",
            other.map(|o| o.len()),
            in_memory.map(|o| o.len())
        );
    }
    in_memory
}

#[test]
fn contents_of_every_awkward_length_come_back_however_they_were_sealed() {
    for length in [
        0,
        1,
        15,
        16,
        17,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK,
        2 * CHUNK + 5,
    ] {
        let content = content(length);
        let known = sealed(&content);
        assert!(
            open_every_way(CONTEXT, &known).unwrap() == content,
            "{length}"
        );
        let mut streamed = Vec::new();
        let entropy = &mut Seeded::new(1);
        let written = seal_stream(
            &KEY,
            CONTEXT,
            options(Some(length)),
            entropy,
            &*content,
            &mut streamed,
        );
        assert_eq!(written.unwrap(), streamed.len() as u64);
        assert!(streamed == known);
        let mut threaded = Vec::new();
        let entropy = &mut Seeded::new(1);
        let written = seal_stream_threaded(
            &KEY,
            CONTEXT,
            options(Some(length)),
            entropy,
            &*content,
            &mut threaded,
        );
        assert_eq!(written.unwrap(), threaded.len() as u64);
        assert!(threaded == known);
        let piped = sealed_from_pipe(&content);
        assert!(
            open_every_way(CONTEXT, &piped).unwrap() == content,
            "{length}, piped"
        );
    }
}

#[test]
fn the_stream_is_rustcrypto_stream_be32_under_the_derived_key() {
    use aead_stream::EncryptorBE32;
    use aes_gcm::aead::Payload;
    use aes_gcm::{Aes256Gcm, KeyInit};

    let content = content(2 * CHUNK + 100);
    let sealed = sealed(&content);
    let (prelude, body) = split_prelude(&sealed).unwrap();
    let header = StreamHeader::from_bytes(&prelude[10..prelude.len() - 32]).unwrap();
    let aad = &prelude[prelude.len() - 32..];
    let key = derive(&KEY, &header.nonce_prefix, label::STREAM_KEY, &[]);
    let cipher = Aes256Gcm::new(&(*key).into());
    let mut stream = EncryptorBE32::from_aead(cipher, &header.nonce_prefix.into());
    let mut expected = Vec::new();
    for chunk in [&content[..CHUNK], &content[CHUNK..2 * CHUNK]] {
        expected.extend(stream.encrypt_next(Payload { msg: chunk, aad }).unwrap());
    }
    let last = Payload {
        msg: &content[2 * CHUNK..],
        aad,
    };
    expected.extend(stream.encrypt_last(last).unwrap());
    assert!(body == expected);
}

#[test]
fn wrong_key_and_wrong_context_are_told_apart() {
    let sealed = sealed(b"content");
    assert!(matches!(
        open(&[8; 32], CONTEXT, &sealed),
        Err(Error::WrongKey)
    ));
    assert!(matches!(
        open(&KEY, b"another record", &sealed),
        Err(Error::WrongContext)
    ));
    assert!(matches!(open(&KEY, b"", &sealed), Err(Error::WrongContext)));
}

#[test]
fn every_altered_byte_of_a_small_stream_is_found() {
    for sealed in [sealed(b"content"), sealed_from_pipe(b"content")] {
        for byte in 0..sealed.len() {
            for bit in [0x01, 0x80] {
                let mut altered = sealed.clone();
                altered[byte] ^= bit;
                assert!(open_every_way(CONTEXT, &altered).is_err(), "byte {byte}");
            }
        }
    }
}

#[test]
fn every_cut_of_a_small_stream_is_truncation() {
    for sealed in [sealed(b"content"), sealed_from_pipe(b"")] {
        for length in 0..sealed.len() {
            let error = open_every_way(CONTEXT, &sealed[..length]).unwrap_err();
            assert_eq!(error, "truncated", "{length}");
        }
    }
}

#[test]
fn cuts_at_and_around_chunk_borders_are_truncation() {
    let content = content(3 * CHUNK);
    let full = CHUNK + TAG_LEN;
    let known = sealed(&content);
    let start = known.len() - 3 * full;
    for cut in [
        start,
        start + 15,
        start + full,
        start + 2 * full,
        start + 2 * full + 15,
    ] {
        assert_eq!(
            open_every_way(CONTEXT, &known[..cut]).unwrap_err(),
            "truncated",
            "{cut}"
        );
    }
    let piped = sealed_from_pipe(&content);
    let start = piped.len() - 3 * full;
    // At a border the cut stream looks whole, and the last flag gives it away.
    for cut in [
        start + full,
        start + 2 * full,
        start + full + 15,
        start + full + 16,
    ] {
        assert_eq!(
            open_every_way(CONTEXT, &piped[..cut]).unwrap_err(),
            "truncated",
            "{cut}"
        );
    }
}

#[test]
fn added_bytes_are_refused() {
    let content = content(2 * CHUNK);
    for mut sealed in [sealed(&content), sealed_from_pipe(&content)] {
        sealed.extend([0; 40]);
        assert_eq!(open_every_way(CONTEXT, &sealed).unwrap_err(), "overlong");
    }
}

#[test]
fn moved_repeated_and_foreign_chunks_are_refused() {
    let content = content(3 * CHUNK);
    let full = CHUNK + TAG_LEN;
    let good = sealed(&content);
    let start = good.len() - 3 * full;
    let mut other = Vec::new();
    seal_into(
        &KEY,
        CONTEXT,
        &content,
        SMALL,
        &mut Seeded::new(2),
        &mut other,
    )
    .unwrap();
    let chunk = |from: &[u8], i: usize| from[start + i * full..start + (i + 1) * full].to_vec();
    let check = |at: usize, order: [Vec<u8>; 3]| {
        let stream = [good[..start].to_vec(), order.concat()].concat();
        let error = open(&KEY, CONTEXT, &stream).unwrap_err();
        assert!(
            matches!(error, Error::Chunk { index } if index as usize == at),
            "{error:?}"
        );
        open_every_way(CONTEXT, &stream).unwrap_err();
    };
    check(0, [chunk(&good, 1), chunk(&good, 0), chunk(&good, 2)]);
    check(1, [chunk(&good, 0), chunk(&good, 2), chunk(&good, 1)]);
    check(1, [chunk(&good, 0), chunk(&good, 0), chunk(&good, 2)]);
    check(1, [chunk(&good, 0), chunk(&other, 1), chunk(&good, 2)]);
    check(2, [chunk(&good, 0), chunk(&good, 1), chunk(&other, 2)]);
}

#[test]
fn a_failed_opening_hands_out_nothing() {
    let mut altered = sealed(&content(2 * CHUNK));
    let last = altered.len() - 1;
    altered[last] ^= 1;
    let mut out = b"old".to_vec();
    assert!(open_into(&KEY, CONTEXT, &altered, &mut out).is_err());
    assert!(out.is_empty());
}

#[test]
fn ranges_read_only_their_chunks() {
    let content = content(3 * CHUNK + 10);
    for sealed in [sealed(&content), sealed_from_pipe(&content)] {
        let total = content.len() as u64;
        let edge = CHUNK as u64;
        for range in [
            0..1,
            0..total,
            edge - 1..edge + 1,
            edge..2 * edge,
            total - 1..total,
            5..3 * edge + 2,
        ] {
            let mut out = Vec::new();
            let n =
                open_range(&KEY, CONTEXT, Cursor::new(&sealed), range.clone(), &mut out).unwrap();
            assert_eq!(n, range.end - range.start);
            let expected = &content
                [usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
            assert!(out == expected, "{range:?}");
        }
        for range in [0..0, 7..7, total..total + 1, 0..total + 1] {
            let refused = open_range(&KEY, CONTEXT, Cursor::new(&sealed), range, Vec::new());
            assert!(matches!(refused, Err(Error::Range)));
        }
        // A fault elsewhere does not hinder; a fault inside does.
        let mut altered = sealed.clone();
        let byte = altered.len() - 1;
        altered[byte] ^= 1;
        assert!(open_range(&KEY, CONTEXT, Cursor::new(&altered), 0..edge, Vec::new()).is_ok());
        assert!(open_range(&KEY, CONTEXT, Cursor::new(&altered), 0..total, Vec::new()).is_err());
    }
}

#[test]
fn an_interrupted_sealing_continues_to_the_same_bytes() {
    let content = content(2 * CHUNK + 10);
    let whole = sealed(&content);
    let (prelude, body) = split_prelude(&whole).unwrap();
    let sealer = Sealer::resume(&KEY, CONTEXT, prelude).unwrap();
    let mut chunk = vec![0; CHUNK + TAG_LEN];
    sealer
        .seal_chunk(1, false, &content[CHUNK..2 * CHUNK], &mut chunk)
        .unwrap();
    assert!(chunk == body[CHUNK + TAG_LEN..2 * (CHUNK + TAG_LEN)]);
    let mut last = content[2 * CHUNK..].to_vec();
    last.extend([0; TAG_LEN]);
    sealer.seal_chunk_in_place(2, true, &mut last).unwrap();
    assert!(last == body[2 * (CHUNK + TAG_LEN)..]);
    assert!(matches!(
        Sealer::resume(&[8; 32], CONTEXT, prelude),
        Err(Error::WrongKey)
    ));
}

#[test]
fn a_sealer_refuses_chunks_that_are_not_where_and_as_long_as_they_should_be() {
    let entropy = &mut Seeded::new(1);
    let sealer = Sealer::new(&KEY, CONTEXT, options(Some(CHUNK + 10)), entropy).unwrap();
    let full = vec![0; CHUNK];
    let refused = |index, last, length: usize, room: usize| {
        let error = sealer.seal_chunk(index, last, &full[..length], &mut vec![0; room]);
        matches!(error, Err(Error::Buffer))
    };
    assert!(refused(0, false, 10, 26)); // short, not last
    assert!(refused(0, true, CHUNK, CHUNK + 16)); // last too early
    assert!(refused(1, true, 11, 27)); // longer than announced
    assert!(refused(1, false, CHUNK, CHUNK + 16)); // beyond the announced end
    assert!(refused(1, true, 10, 25)); // no room for the tag
    assert!(!refused(1, true, 10, 26));
}

#[test]
fn content_shorter_or_longer_than_announced_is_refused() {
    for announced in [0, 9, 11, CHUNK] {
        let mut out = Vec::new();
        let entropy = &mut Seeded::new(1);
        let refused = seal_stream(
            &KEY,
            CONTEXT,
            options(Some(announced)),
            entropy,
            &[0; 10][..],
            &mut out,
        );
        assert!(matches!(refused, Err(Error::ContentLength)), "{announced}");
    }
}

#[test]
fn failing_readers_and_writers_end_the_threads_and_are_reported() {
    struct Fails;
    impl std::io::Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("disk gone"))
        }
    }
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let big = content(40 * CHUNK);
    let good = sealed(&big);
    let entropy = &mut Seeded::new(1);
    let reading = std::io::Read::chain(&big[..3 * CHUNK], Fails);
    let error = seal_stream_threaded(&KEY, CONTEXT, options(None), entropy, reading, Vec::new());
    assert!(matches!(error, Err(Error::Io(e)) if e.to_string() == "disk gone"));
    let entropy = &mut Seeded::new(1);
    let error = seal_stream_threaded(
        &KEY,
        CONTEXT,
        options(None),
        entropy,
        &*big,
        Full(5 * CHUNK),
    );
    assert!(matches!(error, Err(Error::Io(_))));
    let error = open_stream_threaded(&KEY, CONTEXT, &*good, Full(5 * CHUNK));
    assert!(matches!(error, Err(Error::Io(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sealed_contents_come_back(length in 0usize..300_000, seed: u64, chunk in 16u32..20,
                                 context in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut entropy = Seeded::new(seed);
        let content = entropy.bytes(length);
        let key: [u8; 32] = entropy.bytes(32).try_into().unwrap();
        let size = ChunkSize::new(1 << chunk).unwrap();
        let mut sealed = vec![1; 1000];
        seal_into(&key, &context, &content, size, &mut entropy, &mut sealed).unwrap();
        let mut opened = vec![2; 500_000];
        open_into(&key, &context, &sealed, &mut opened).unwrap();
        prop_assert!(opened == content);
    }

    #[test]
    fn no_bytes_make_the_opener_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300),
                                      keep in 0usize..MAX_PRELUDE_LEN) {
        let _ = open(&KEY, CONTEXT, &bytes);
        let mut sealed = sealed(b"content");
        sealed.truncate(keep);
        sealed.extend(bytes);
        prop_assert!(open(&KEY, CONTEXT, &sealed).is_err());
    }
}
