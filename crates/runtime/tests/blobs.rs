//! The blob suite: a folder, a disk in memory and an S3 service behave alike, and every fault is
//! answered with what it is.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests end the test, with the reason"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use salus_proto::{Digest, Entropy as _};
use salus_runtime::blob::{
    GET_MAX, Location, ObjectName, PART_BYTES, PART_MAX, Place, S3Config, UploadId, index,
};
use salus_runtime::error::Class;
use salus_runtime::fault::FaultyDisk;
use salus_runtime::testing::for_each_database;
use salus_runtime::{BlobStore, Error, Result, SeededEntropy, transact};

/// A store and the place where its bytes lie, to damage them.
struct Harness {
    store: BlobStore,
    bytes_at: BytesAt,
    entropy: SeededEntropy,
}

enum BytesAt {
    Folder(PathBuf),
    Memory(Arc<FaultyDisk>),
}

impl Harness {
    fn blob(&mut self, length: usize) -> (Digest, Bytes) {
        let mut bytes = vec![0; length];
        self.entropy.fill(&mut bytes);
        (sha256(&bytes), bytes.into())
    }

    fn blobs(&mut self, lengths: &[usize]) -> Vec<(Digest, Bytes)> {
        lengths.iter().map(|&length| self.blob(length)).collect()
    }

    /// Flips the lowest bit of the byte at `position` of a stored object.
    fn flip(&self, object: ObjectName, position: u64) {
        match &self.bytes_at {
            BytesAt::Folder(folder) => {
                let path = folder.join(object.to_string());
                let mut bytes = std::fs::read(&path).expect("the object is a file");
                bytes[usize::try_from(position).expect("small")] ^= 1;
                std::fs::write(&path, bytes).expect("damaged");
            }
            BytesAt::Memory(disk) => {
                assert!(disk.flip_bit_at(&object.to_string(), position * 8));
            }
        }
    }

    fn cut(&self, object: ObjectName, length: u64) {
        match &self.bytes_at {
            BytesAt::Folder(folder) => {
                let file = std::fs::OpenOptions::new()
                    .write(true)
                    .open(folder.join(object.to_string()))
                    .expect("the object is a file");
                file.set_len(length).expect("cut");
            }
            BytesAt::Memory(disk) => {
                let length = usize::try_from(length).expect("small");
                assert!(disk.truncate(&object.to_string(), length));
            }
        }
    }

    /// The objects whose bytes lie there, whatever the store says.
    fn objects(&self) -> Vec<ObjectName> {
        let names = match &self.bytes_at {
            BytesAt::Folder(folder) => files_below(folder, ""),
            BytesAt::Memory(disk) => disk.files(),
        };
        names.iter().filter_map(|name| name.parse().ok()).collect()
    }
}

fn files_below(folder: &Path, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            names.extend(files_below(&entry.path(), &format!("{name}/")));
        } else {
            names.push(name);
        }
    }
    names
}

async fn listed(store: &BlobStore) -> BTreeSet<ObjectName> {
    let mut objects = BTreeSet::new();
    for first in 0..=u8::MAX {
        objects.extend(store.objects(first).await.expect("listed"));
    }
    objects
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest(
        digest(&SHA256, bytes)
            .as_ref()
            .try_into()
            .expect("32 bytes"),
    )
}

/// Runs `test` on a store of each kind.
async fn for_each_store(test: impl AsyncFn(Harness)) {
    let folder = tempfile::tempdir().expect("a folder");
    test(Harness {
        store: BlobStore::local(folder.path()).await.expect("opens"),
        bytes_at: BytesAt::Folder(folder.path().to_owned()),
        entropy: SeededEntropy::new(1),
    })
    .await;

    let disk = Arc::new(FaultyDisk::new(2));
    test(Harness {
        store: BlobStore::on_disk(disk.clone()).await.expect("opens"),
        bytes_at: BytesAt::Memory(disk),
        entropy: SeededEntropy::new(2),
    })
    .await;

    let folder = tempfile::tempdir().expect("a folder");
    let service = S3Service::start(folder.path()).await;
    test(Harness {
        store: BlobStore::s3(service.config()).await.expect("opens"),
        bytes_at: BytesAt::Folder(folder.path().join("records/node-1")),
        entropy: SeededEntropy::new(3),
    })
    .await;
}

/// An S3 service (s3s-fs) on a loopback port, with signatures checked, until it is dropped.
struct S3Service {
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl S3Service {
    async fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join("records")).expect("the bucket");
        let files = s3s_fs::FileSystem::new(folder).expect("the service's folder");
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single("node-1", "a secret"));
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                connections.spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { port, task }
    }

    fn config(&self) -> S3Config {
        S3Config {
            endpoint: format!("http://127.0.0.1:{}", self.port),
            region: "eu-central-1".into(),
            bucket: "records".into(),
            prefix: "node-1".into(),
            access_key_id: "node-1".into(),
            secret_access_key: "a secret".into(),
        }
    }
}

impl Drop for S3Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn small_blobs_come_back_from_one_object_and_so_do_their_ranges() {
    for_each_store(async |mut h| {
        let blobs = h.blobs(&[1_000, 0, 1, 300_000]);
        let locations = h.store.put_pack(blobs.clone()).await.expect("stored");
        assert_eq!(h.objects().len(), 1);
        for ((digest, bytes), location) in blobs.iter().zip(&locations) {
            assert_eq!(
                (location.digest, location.length),
                (*digest, bytes.len() as u64)
            );
            assert_eq!(h.store.get(location).await.expect("read"), bytes);
            assert!(h.store.exists(location).await.expect("looked up"));
        }
        let range = h.store.read(&locations[3], 299_990..u64::MAX).await;
        assert_eq!(range.expect("read"), blobs[3].1.slice(299_990..));
        let streamed: Vec<Bytes> = h
            .store
            .stream(&locations[0])
            .await
            .expect("found")
            .try_collect()
            .await
            .expect("read");
        assert_eq!(streamed.concat(), blobs[0].1);
        // The same blobs again are the same object.
        let again = h.store.put_pack(blobs).await.expect("stored");
        assert_eq!(again, locations);
        assert_eq!(h.objects().len(), 1);
        assert_eq!(
            h.store.put_pack(Vec::new()).await.expect("nothing to do"),
            []
        );
    })
    .await;
}

#[tokio::test]
async fn bytes_that_are_not_what_their_digest_names_are_refused() {
    for_each_store(async |mut h| {
        let mut blobs = h.blobs(&[10, 10]);
        blobs[1].1 = Bytes::from_static(b"another");
        let refused = h.store.put_pack(blobs.clone()).await.expect_err("refused");
        assert!(matches!(refused, Error::WrongDigest { expected } if expected == blobs[1].0));
        assert_eq!(refused.class(), Class::Refusal);
        let upload = UploadId::random(&mut h.entropy);
        let part = h
            .store
            .put_part(upload, blobs[1].0, blobs[1].1.clone())
            .await;
        assert!(matches!(part, Err(Error::WrongDigest { .. })));
        let large = h.store.put_large(upload, blobs[1].0, &b"another"[..]).await;
        assert!(matches!(large, Err(Error::WrongDigest { .. })));
        h.store.abort(upload).await.expect("aborted");
        assert_eq!(h.objects(), []);
    })
    .await;
}

#[tokio::test]
async fn a_large_blob_streams_in_and_out_and_ranges_cross_its_parts() {
    for_each_store(async |mut h| {
        let (digest, bytes) = h.blob(2 * PART_BYTES + 12_345);
        let upload = UploadId::random(&mut h.entropy);
        let location = h.store.put_large(upload, digest, &bytes[..]).await;
        let location = location.expect("stored");
        assert_eq!(location.place, Place::Large);
        assert_eq!(h.store.get(&location).await.expect("read"), bytes);
        let cut = PART_BYTES as u64;
        let range = h
            .store
            .read(&location, cut - 5..cut + 5)
            .await
            .expect("read");
        assert_eq!(range, bytes.slice(PART_BYTES - 5..PART_BYTES + 5));
        let pieces: Vec<Bytes> = h
            .store
            .stream(&location)
            .await
            .expect("found")
            .try_collect()
            .await
            .expect("read");
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces.concat(), bytes);
        assert_eq!(h.store.unfinished().await.expect("listed"), []);
        let verified = h.store.verify(location.object()).await.expect("read");
        assert_eq!((verified.whole, verified.damaged), (vec![location], vec![]));
        h.store.delete(location.object()).await.expect("deleted");
        assert_eq!(h.objects(), []);
        assert!(!h.store.exists(&location).await.expect("looked up"));
    })
    .await;
}

#[tokio::test]
async fn blobs_as_long_as_whole_parts_and_empty_ones_are_stored_too() {
    for_each_store(async |mut h| {
        for length in [0, PART_BYTES] {
            let (digest, bytes) = h.blob(length);
            let upload = UploadId::random(&mut h.entropy);
            let location = h.store.put_large(upload, digest, &bytes[..]).await;
            let location = location.expect("stored");
            assert_eq!(h.store.get(&location).await.expect("read"), bytes);
            assert_eq!(
                h.store.parts(upload).await.expect("listed").len(),
                length.min(1)
            );
        }
    })
    .await;
}

#[tokio::test]
async fn an_upload_resumes_by_part_and_completes_in_the_order_given() {
    for_each_store(async |mut h| {
        let parts = h.blobs(&[100_000, 70_000, 5]);
        let whole = parts
            .iter()
            .map(|(_, bytes)| &bytes[..])
            .collect::<Vec<_>>()
            .concat();
        let (order, expected): (Vec<_>, _) = (parts.iter().map(|p| p.0).collect(), sha256(&whole));
        let upload = UploadId::random(&mut h.entropy);
        for (digest, bytes) in [&parts[2], &parts[0]] {
            h.store
                .put_part(upload, *digest, bytes.clone())
                .await
                .expect("stored");
        }
        // Another process looks at what is there.
        let stored: BTreeSet<_> = h
            .store
            .parts(upload)
            .await
            .expect("listed")
            .into_iter()
            .collect();
        assert_eq!(stored, BTreeSet::from([order[0], order[2]]));
        assert_eq!(h.store.unfinished().await.expect("listed"), [upload]);
        let early = h.store.complete(upload, expected, &order).await;
        assert!(early.expect_err("a part is missing").is_not_found());

        h.store
            .put_part(upload, order[1], parts[1].1.clone())
            .await
            .expect("stored");
        let swapped = [order[1], order[0], order[2]];
        let wrong = h.store.complete(upload, expected, &swapped).await;
        assert!(matches!(wrong, Err(Error::WrongDigest { .. })));
        let location = h
            .store
            .complete(upload, expected, &order)
            .await
            .expect("complete");
        assert_eq!(h.store.get(&location).await.expect("read"), whole);
        assert_eq!(h.store.unfinished().await.expect("listed"), []);
    })
    .await;
}

#[tokio::test]
async fn what_exceeds_a_limit_is_refused_before_anything_is_stored() {
    for_each_store(async |mut h| {
        let upload = UploadId::random(&mut h.entropy);
        let part = Bytes::from(vec![0; PART_MAX + 1]);
        let refused = h.store.put_part(upload, sha256(&part), part).await;
        assert!(matches!(refused, Err(Error::TooLarge { .. })));
        let huge = Location {
            digest: Digest([1; 32]),
            length: GET_MAX + 1,
            place: Place::Large,
        };
        assert!(matches!(
            h.store.get(&huge).await,
            Err(Error::TooLarge { .. })
        ));
        assert_eq!(h.objects(), []);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_deleting_it_is_no_error() {
    for_each_store(async |h| {
        for place in [
            Place::Large,
            Place::Pack {
                pack: Digest([9; 32]),
                offset: 12,
            },
        ] {
            let location = Location {
                digest: Digest([8; 32]),
                length: 10,
                place,
            };
            assert!(
                h.store
                    .get(&location)
                    .await
                    .expect_err("absent")
                    .is_not_found()
            );
            assert!(!h.store.exists(&location).await.expect("looked up"));
            let verified = h.store.verify(location.object()).await;
            assert!(verified.expect_err("absent").is_not_found());
            h.store
                .delete(location.object())
                .await
                .expect("nothing to do");
        }
    })
    .await;
}

#[tokio::test]
async fn every_damaged_byte_of_a_pack_is_found_and_the_blob_named() {
    for_each_store(async |mut h| {
        let blobs = h.blobs(&[20, 3, 9]);
        let locations = h.store.put_pack(blobs).await.expect("stored");
        let pack = locations[0].object();
        let last = locations[2];
        let Place::Pack { offset: begin, .. } = locations[0].place else {
            panic!("small blobs are in packs");
        };
        let end = match last.place {
            Place::Pack { offset, .. } => offset + last.length,
            Place::Large => 0,
        };
        for position in 0..end {
            h.flip(pack, position);
            let verified = h.store.verify(pack).await;
            if position < begin {
                assert!(matches!(verified, Err(Error::Corrupt { .. })), "{position}");
            } else {
                let hit = locations
                    .iter()
                    .rfind(|l| matches!(l.place, Place::Pack { offset, .. } if offset <= position))
                    .expect("some blob");
                let verified = verified.expect("the header is whole");
                assert_eq!(verified.damaged, [hit.digest], "{position}");
                assert_eq!(verified.whole.len(), 2);
                let read = h.store.get(hit).await;
                assert!(matches!(read, Err(Error::Corrupt { .. })), "{position}");
            }
            h.flip(pack, position);
        }
        assert_eq!(h.store.verify(pack).await.expect("whole").whole, locations);
        for length in [end - 1, begin, 11, 0] {
            h.cut(pack, length);
            let read = h.store.get(&last).await;
            assert!(
                matches!(read, Err(Error::Corrupt { .. })),
                "{length}: {read:?}"
            );
            match h.store.verify(pack).await {
                Ok(verified) => assert!(verified.damaged.contains(&last.digest)),
                Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error:?}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn every_damaged_byte_of_a_large_blob_is_found() {
    for_each_store(async |mut h| {
        let parts = h.blobs(&[20, 5]);
        let upload = UploadId::random(&mut h.entropy);
        for (digest, bytes) in &parts {
            h.store
                .put_part(upload, *digest, bytes.clone())
                .await
                .expect("stored");
        }
        let expected = sha256(&[&parts[0].1[..], &parts[1].1[..]].concat());
        let order = [parts[0].0, parts[1].0];
        let location = h
            .store
            .complete(upload, expected, &order)
            .await
            .expect("complete");
        let is_damaged = async || match h.store.verify(location.object()).await {
            Ok(verified) => verified.damaged == [expected],
            Err(Error::Corrupt { .. } | Error::NotFound { .. }) => true,
            Err(error) => panic!("{error:?}"),
        };
        assert!(!is_damaged().await);
        // 1 + 1 + 17 bytes of the upload's id, 2 of the list's head, 36 for each part.
        for position in 0..93 {
            h.flip(location.object(), position);
            assert!(is_damaged().await, "list, {position}");
            h.flip(location.object(), position);
        }
        for (digest, bytes) in &parts {
            let part = ObjectName::Part(upload, *digest);
            for position in 0..bytes.len() as u64 {
                h.flip(part, position);
                assert!(is_damaged().await, "part, {position}");
                assert!(h.store.verify(part).await.is_err());
                h.flip(part, position);
            }
        }
        h.cut(ObjectName::Part(upload, parts[1].0), 4);
        assert!(is_damaged().await);
        assert!(matches!(
            h.store.get(&location).await,
            Err(Error::Corrupt { .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn a_replica_takes_whole_objects_and_refuses_altered_ones() {
    for_each_store(async |mut h| {
        let replica = BlobStore::on_disk(Arc::new(FaultyDisk::new(9)))
            .await
            .expect("opens");
        let small = h.blobs(&[30, 0, 12]);
        let mut expected = h.store.put_pack(small).await.expect("stored");
        let (digest, bytes) = h.blob(PART_BYTES + 7);
        let upload = UploadId::random(&mut h.entropy);
        let large = h
            .store
            .put_large(upload, digest, &bytes[..])
            .await
            .expect("stored");
        let objects = listed(&h.store).await;
        assert_eq!(objects, h.objects().into_iter().collect());
        assert_eq!(objects.len(), 4);

        let list = h.store.object(large.object()).await.expect("read");
        let early = replica.put_object(large.object(), list).await;
        assert!(early.expect_err("its parts come first").is_not_found());
        let mut arrived = Vec::new();
        // Large blobs sort between packs and parts.
        let parts_first = objects
            .iter()
            .rev()
            .filter(|o| !matches!(o, ObjectName::Large(_)));
        for &object in parts_first.chain([&large.object()]) {
            let bytes = h.store.object(object).await.expect("read");
            let mut altered = bytes.to_vec();
            let middle = altered.len() / 2;
            altered[middle] ^= 1;
            let longer = [&bytes[..], b"x"].concat();
            for wrong in [altered, longer, bytes[..bytes.len() - 1].to_vec()] {
                let refused = replica.put_object(object, wrong.into()).await;
                let refused = refused.expect_err("not the object");
                assert!(
                    refused.is_not_found() || matches!(refused, Error::Corrupt { .. }),
                    "{refused:?}"
                );
            }
            arrived.extend(replica.put_object(object, bytes).await.expect("whole"));
        }
        expected.push(large);
        assert_eq!(arrived, expected);
        assert_eq!(listed(&replica).await, objects);
        assert_eq!(replica.get(&large).await.expect("read"), bytes);
    })
    .await;
}

#[tokio::test]
async fn a_damaged_object_goes_to_quarantine_and_is_restored_under_its_name() {
    for_each_store(async |mut h| {
        let blobs = h.blobs(&[50]);
        let locations = h.store.put_pack(blobs.clone()).await.expect("stored");
        h.flip(locations[0].object(), 60);
        h.store
            .quarantine(locations[0].object())
            .await
            .expect("moved");
        assert_eq!(h.objects(), []);
        assert!(
            h.store
                .get(&locations[0])
                .await
                .expect_err("gone")
                .is_not_found()
        );
        h.store.put_pack(blobs.clone()).await.expect("restored");
        assert_eq!(h.store.get(&locations[0]).await.expect("read"), blobs[0].1);
    })
    .await;
}

#[tokio::test]
async fn erasing_one_blob_of_a_pack_leaves_the_others_and_no_byte_of_it() {
    for_each_store(async |mut h| {
        let blobs = h.blobs(&[40, 41, 42]);
        let locations = h.store.put_pack(blobs.clone()).await.expect("stored");
        let Place::Pack { pack, .. } = locations[0].place else {
            panic!("small blobs are in packs");
        };
        let erased = blobs[1].0;
        let kept = h
            .store
            .repack(pack, |digest| *digest != erased)
            .await
            .expect("repacked");
        h.store
            .delete(ObjectName::Pack(pack))
            .await
            .expect("deleted");
        assert_eq!(kept.len(), 2);
        assert_eq!(h.store.get(&kept[1]).await.expect("read"), blobs[2].1);
        assert!(
            h.store
                .get(&locations[1])
                .await
                .expect_err("erased")
                .is_not_found()
        );
        assert_eq!(h.objects(), [kept[0].object()]);
        let none = h
            .store
            .repack(kept_pack(&kept), |_| false)
            .await
            .expect("repacked");
        assert_eq!(none, []);
    })
    .await;
}

fn kept_pack(locations: &[Location]) -> Digest {
    match locations[0].place {
        Place::Pack { pack, .. } => pack,
        Place::Large => panic!("small blobs are in packs"),
    }
}

#[tokio::test]
async fn places_are_kept_in_sql_on_both_engines() {
    for_each_database(async |db| {
        let disk = Arc::new(FaultyDisk::new(4));
        let store = BlobStore::on_disk(disk).await.expect("opens");
        let blobs: Vec<_> = (0..600_u32)
            .map(|n| {
                (
                    sha256(&n.to_be_bytes()),
                    Bytes::copy_from_slice(&n.to_be_bytes()),
                )
            })
            .collect();
        let mut locations = store.put_pack(blobs.clone()).await.expect("stored");
        let large = store
            .put_large(UploadId([1; 16]), sha256(b"large"), &b"large"[..])
            .await;
        locations.push(large.expect("stored"));
        locations.push(locations[0]);
        let recorded: Result<()> =
            transact!(db, "record", |tx| index::record(tx, &locations).await);
        recorded.expect("recorded");
        let mut tx = db.read().await.expect("reading begins");
        for location in &locations {
            let found = index::locate(&mut tx, &location.digest)
                .await
                .expect("looked up");
            assert_eq!(found.as_ref(), Some(location));
        }
        let in_pack = index::in_pack(&mut tx, &kept_pack(&locations))
            .await
            .expect("listed");
        assert_eq!(in_pack, locations[..600]);
        drop(tx);
        let forgotten: Result<bool> =
            transact!(db, "forget", |tx| index::forget(tx, &locations[3].digest)
                .await);
        assert!(forgotten.expect("forgotten"));
        let mut tx = db.read().await.expect("reading begins");
        let found = index::locate(&mut tx, &locations[3].digest).await;
        assert_eq!(found.expect("looked up"), None);
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_says_so_keeps_what_it_has_and_goes_on_when_there_is_room() {
    // Full at every byte of what is written.
    let sizes = [300, 200];
    for space in 0..=700 {
        let disk = Arc::new(FaultyDisk::new(space));
        let store = BlobStore::on_disk(disk.clone()).await.expect("opens");
        let mut entropy = SeededEntropy::new(space);
        let mut blob = |length| {
            let mut bytes = vec![0; length];
            entropy.fill(&mut bytes);
            (sha256(&bytes), Bytes::from(bytes))
        };
        let before = store.put_pack(vec![blob(100)]).await.expect("stored");
        disk.fill_after(space);
        let blobs: Vec<_> = sizes.into_iter().map(&mut blob).collect();
        match store.put_pack(blobs.clone()).await {
            Ok(_) => assert!(space >= 500),
            Err(error) => {
                assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
                assert!(error.to_string().contains("free space"));
                // Nothing half-visible, and the half that was written is given back.
                assert_eq!(disk.files().len(), 1);
                disk.make_room();
                store.put_pack(blobs).await.expect("there is room now");
            }
        }
        store.get(&before[0]).await.expect("untouched");
    }
}

#[tokio::test]
async fn a_read_only_disk_says_so_and_reading_goes_on() {
    let disk = Arc::new(FaultyDisk::new(1));
    let store = BlobStore::on_disk(disk.clone()).await.expect("opens");
    let blob = (sha256(b"kept"), Bytes::from_static(b"kept"));
    let kept = store.put_pack(vec![blob.clone()]).await.expect("stored");
    disk.set_read_only(true);
    let more = (sha256(b"more"), Bytes::from_static(b"more"));
    let refused = store.put_pack(vec![more]).await.expect_err("refused");
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused:?}");
    assert_eq!(refused.class(), Class::Failure);
    let deleted = store.delete(kept[0].object()).await;
    assert!(matches!(deleted, Err(Error::ReadOnly { .. })));
    assert_eq!(store.get(&kept[0]).await.expect("read"), blob.1);
}

#[tokio::test]
async fn a_power_cut_at_any_call_loses_nothing_that_was_acknowledged() {
    for seed in 0..8 {
        let mut cut_at = 0;
        loop {
            let disk = Arc::new(FaultyDisk::new(seed));
            let store = BlobStore::on_disk(disk.clone()).await.expect("opens");
            disk.cut_power_after(cut_at);
            let acknowledged = write_until_it_fails(&store).await;
            let finished = acknowledged.len() == 5;
            disk.restart();
            let store = BlobStore::on_disk(disk.clone()).await.expect("opens again");
            for (bytes, location) in &acknowledged {
                let read = store.get(location).await;
                assert_eq!(
                    read.expect("kept"),
                    bytes,
                    "seed {seed}, cut at call {cut_at}"
                );
            }
            // What is visible is whole, acknowledged or not.
            for first in 0..=u8::MAX {
                for object in store.objects(first).await.expect("listed") {
                    let verified = store.verify(object).await.expect("whole");
                    assert_eq!(verified.damaged, [], "seed {seed}, cut at call {cut_at}");
                }
            }
            if finished {
                break;
            }
            cut_at += 1;
        }
        assert!(cut_at > 20);
    }
}

/// Three packs, a large blob in two parts and a replaced pack: what was acknowledged.
async fn write_until_it_fails(store: &BlobStore) -> Vec<(Bytes, Location)> {
    let mut acknowledged = Vec::new();
    let blob = |text: &'static str| (sha256(text.as_bytes()), Bytes::from_static(text.as_bytes()));
    for text in [
        "first record",
        "second record",
        "third record",
        "first record",
    ] {
        match store.put_pack(vec![blob(text)]).await {
            Ok(locations) => acknowledged.push((Bytes::from_static(text.as_bytes()), locations[0])),
            Err(_) => return acknowledged,
        }
    }
    let (upload, parts) = (UploadId([3; 16]), [blob("large "), blob("record")]);
    let large = async {
        for (digest, bytes) in &parts {
            store.put_part(upload, *digest, bytes.clone()).await?;
        }
        let order = [parts[0].0, parts[1].0];
        store
            .complete(upload, sha256(b"large record"), &order)
            .await
    };
    if let Ok(location) = large.await {
        acknowledged.push((Bytes::from_static(b"large record"), location));
    }
    acknowledged
}

#[tokio::test]
async fn files_that_are_not_ours_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = BlobStore::local(folder.path()).await.expect("opens");
    let foreign = folder.path().join("packs/00/README");
    std::fs::write(&foreign, "not ours").expect("written");
    std::fs::write(folder.path().join("incoming/0"), "from a crash").expect("written");
    assert_eq!(store.objects(0).await.expect("listed"), []);
    BlobStore::local(folder.path()).await.expect("opens again");
    assert!(foreign.exists());
    assert!(!folder.path().join("incoming/0").exists());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_folder_that_cannot_be_made_is_a_failure_with_its_reason() {
    let failed = BlobStore::local(Path::new("/proc/salus"))
        .await
        .expect_err("no such place");
    assert!(
        matches!(failed, Error::NotFound { .. } | Error::ReadOnly { .. }),
        "{failed:?}"
    );
}

#[tokio::test]
async fn an_s3_service_that_refuses_or_is_gone_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = S3Service::start(folder.path()).await;
    let wrong = S3Config {
        secret_access_key: "a guess".into(),
        ..service.config()
    };
    assert!(!format!("{wrong:?}").contains("guess"));
    let refused = BlobStore::s3(wrong).await.expect_err("refused");
    assert!(
        matches!(&refused, Error::Configuration(text) if text.contains("access key")),
        "{refused:?}"
    );
    let plain = S3Config {
        endpoint: "http://192.0.2.1".into(),
        ..service.config()
    };
    let refused = BlobStore::s3(plain).await;
    assert!(matches!(refused, Err(Error::Configuration(_))));

    let store = BlobStore::s3(service.config()).await.expect("opens");
    drop(service);
    let blob = (sha256(b"x"), Bytes::from_static(b"x"));
    let gone = store
        .put_pack(vec![blob])
        .await
        .expect_err("nobody answers");
    assert!(matches!(gone, Error::Unavailable { .. }), "{gone:?}");
}

/// What a server awaits in its tasks moves between threads.
#[tokio::test]
async fn everything_can_be_awaited_in_a_spawned_task() {
    for_each_database(async |db| {
        let done = tokio::spawn(async move {
            let disk = Arc::new(FaultyDisk::new(6));
            let store = BlobStore::on_disk(disk).await?;
            let digest = sha256(b"large");
            let large = store
                .put_large(UploadId([6; 16]), digest, &b"large"[..])
                .await?;
            let mut all = store
                .put_pack(vec![(sha256(b"x"), Bytes::from_static(b"x"))])
                .await?;
            all.push(large);
            transact!(db, "record", |tx| index::record(tx, &all).await)?;
            let mut tx = db.read().await?;
            let found = index::locate(&mut tx, &digest).await?;
            let mut rows = 0;
            let sql = "SELECT digest, length, pack, pack_offset FROM blob";
            let visited = tx.each(sql, &[], |_: Location| {
                rows += 1;
                Ok(())
            });
            visited.await?;
            let mut streamed = Vec::new();
            if let Some(location) = found {
                let mut pieces = std::pin::pin!(store.stream(&location).await?);
                while let Some(piece) = pieces.try_next().await? {
                    streamed.extend_from_slice(&piece);
                }
            }
            store.verify(large.object()).await?;
            store
                .repack(kept_pack(&all), |digest| *digest != large.digest)
                .await?;
            Ok::<_, Error>((rows, streamed))
        });
        let done = done.await.expect("the task ends").expect("stored and read");
        assert_eq!(done, (2, b"large".to_vec()));
    })
    .await;
}
