//! Sealed blobs: stored under their digests, whole or not at all, and checked whenever read.
//!
//! ```text
//!  put_pack([(digest, bytes), …])   one durable object, packs/AB/ID, for many small blobs
//!  put_large(stream)                parts/AB/UPLOAD-DIGEST …, then large/AB/DIGEST lists them
//!     │
//!     └─> Location { digest, length, place }     kept in SQL by the caller (`index`)
//!
//!  get, read, stream (location)     every byte checked by SHA-256 before it is given out
//!  objects, verify, quarantine      the scrubber's and fsck's view: objects, not blobs
//!  object, put_object               the replica's: whole objects, checked where they arrive
//! ```
//!
//! A large blob is never copied together: its parts stay objects of their own and a small list
//! makes them one. So an upload resumes by part after any crash, one part at a time is in memory,
//! ranges are checked by the digests of the parts they touch, and a folder and a bucket work alike.
//!
//! **Invariant:** when a `put` or `complete` has returned, a power cut does not undo it.

mod driver;
pub mod index;
mod large;
mod name;
mod pack;
mod s3;

use std::ops::Range;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use salus_proto::Digest;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use self::driver::{Driver, blocking};
use self::large::Parts;
pub use self::large::{PART_BYTES, PART_MAX, PARTS_MAX};
pub use self::name::{NotAnObject, ObjectName, UploadId};
pub use self::pack::{PACK_BLOBS_MAX, PACK_BYTES_MAX, SMALL_MAX};
pub use self::s3::S3Config;
use crate::disk::{Disk, SystemDisk};
use crate::error::{self, Error, Result};

/// Where one blob lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// SHA-256 of the blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub length: u64,
    /// The object that holds it.
    pub place: Place,
}

/// The object that holds a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A pack.
    Pack {
        /// The pack's id.
        pack: Digest,
        /// Where the blob begins in it, in bytes.
        offset: u64,
    },
    /// Parts of its own.
    Large,
}

impl Location {
    /// The object that holds the blob.
    pub fn object(&self) -> ObjectName {
        match self.place {
            Place::Pack { pack, .. } => ObjectName::Pack(pack),
            Place::Large => ObjectName::Large(self.digest),
        }
    }
}

/// What re-reading one object found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The blobs that are whole, with their places: enough to write the SQL index anew.
    pub whole: Vec<Location>,
    /// The blobs that are not.
    pub damaged: Vec<Digest>,
}

/// Most bytes that one [`BlobStore::get`] or [`BlobStore::read`] returns.
pub const GET_MAX: u64 = 64 << 20;

/// Parts of a large blob that are read before the one that is hashed is done.
const READ_AHEAD: usize = 2;

/// Most bytes of one stored object: a full pack with its index.
pub const OBJECT_MAX: u64 = (pack::PREFIX + pack::INDEX_MAX + PACK_BYTES_MAX) as u64;

/// Blobs on a local disk or in an S3 bucket. Clones share it.
#[derive(Debug, Clone)]
pub struct BlobStore {
    driver: Driver,
}

impl BlobStore {
    /// Opens a local folder, which is made when absent. One process at a time writes to it.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::ReadOnly`] and other failures of the disk.
    pub async fn local(folder: &Path) -> Result<Self> {
        let root = folder.to_owned();
        let disk = blocking(move || SystemDisk::open(root)).await?;
        let disk = disk.map_err(|error| error::from_io("the blob folder", &error))?;
        Self::on_disk(Arc::new(disk)).await
    }

    /// Opens a disk of any kind, such as [`FaultyDisk`](crate::fault::FaultyDisk).
    ///
    /// # Errors
    /// As [`BlobStore::local`].
    pub async fn on_disk(disk: Arc<dyn Disk>) -> Result<Self> {
        let driver = Driver::local(disk).await?;
        Ok(Self { driver })
    }

    /// Opens an S3 bucket and makes sure that it answers.
    ///
    /// # Errors
    /// [`Error::Configuration`] for settings that do not fit; [`Error::Unavailable`].
    pub async fn s3(config: S3Config) -> Result<Self> {
        let bucket = s3::Bucket::open(config)?;
        bucket.check().await?;
        let driver = Driver::S3(Arc::new(bucket));
        Ok(Self { driver })
    }

    /// Stores small blobs as one durable object and says where each lies. Storing the same blobs
    /// again gives the same object.
    ///
    /// # Errors
    /// [`Error::WrongDigest`] and [`Error::TooLarge`] before anything is written; failures of the
    /// disk or service, after which nothing of the pack is visible.
    pub async fn put_pack(&self, blobs: Vec<(Digest, Bytes)>) -> Result<Vec<Location>> {
        if blobs.is_empty() {
            return Ok(Vec::new());
        }
        let built = self.work(move || pack::build(blobs)).await??;
        let place = ObjectName::Pack(built.id).place();
        self.driver.put(place, built.content).await?;
        Ok(built.locations)
    }

    /// Stores a blob of any length in parts of [`PART_BYTES`], one in memory at a time.
    ///
    /// # Errors
    /// [`Error::WrongDigest`] when the stream does not have digest `expected`; failures of the
    /// source, disk or service. The parts stay until [`BlobStore::abort`].
    pub async fn put_large(
        &self,
        upload: UploadId,
        expected: Digest,
        mut source: impl AsyncRead + Unpin,
    ) -> Result<Location> {
        let mut parts = Parts::new(upload);
        loop {
            let mut part = BytesMut::with_capacity(PART_BYTES);
            while part.len() < PART_BYTES {
                let limit = (PART_BYTES - part.len()) as u64;
                let read = (&mut source).take(limit).read_buf(&mut part).await;
                if read.map_err(|error| error::from_io("the blob's source", &error))? == 0 {
                    break;
                }
            }
            let part = part.freeze();
            let last = part.len() < PART_BYTES;
            if !(part.is_empty() && last) {
                let bytes = part.clone();
                let (hashed, digest) = self
                    .work(move || {
                        parts.hash(&bytes);
                        (parts, pack::sha256(&bytes))
                    })
                    .await?;
                parts = hashed;
                parts.push(digest, part.len())?;
                let place = ObjectName::Part(upload, digest).place();
                self.driver.put(place, vec![part]).await?;
            }
            if last {
                return self.finish(parts, expected).await;
            }
        }
    }

    /// Stores one part of an upload as [`BlobStore::put_part`] does, and says its digest.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; failures of the disk or service.
    pub async fn add_part(&self, upload: UploadId, bytes: Bytes) -> Result<Digest> {
        bounded(&bytes)?;
        let hashed = bytes.clone();
        let digest = self.work(move || pack::sha256(&hashed)).await?;
        let place = ObjectName::Part(upload, digest).place();
        self.driver.put(place, vec![bytes]).await?;
        Ok(digest)
    }

    /// Stores one part of an upload durably: at most [`PART_MAX`] bytes, in any order, any number
    /// of times.
    ///
    /// # Errors
    /// [`Error::WrongDigest`] and [`Error::TooLarge`]; failures of the disk or service.
    pub async fn put_part(&self, upload: UploadId, digest: Digest, bytes: Bytes) -> Result<()> {
        bounded(&bytes)?;
        let checked = bytes.clone();
        if self.work(move || pack::sha256(&checked)).await? != digest {
            return Err(Error::WrongDigest { expected: digest });
        }
        let place = ObjectName::Part(upload, digest).place();
        self.driver.put(place, vec![bytes]).await
    }

    /// The parts of an upload that are stored already, in no particular order.
    ///
    /// # Errors
    /// Failures of the disk or service.
    pub async fn parts(&self, upload: UploadId) -> Result<Vec<Digest>> {
        let objects = self.list(name::FOLDERS[2], upload.0[0]).await?;
        let parts = objects.into_iter().filter_map(|object| match object {
            ObjectName::Part(of, digest) if of == upload => Some(digest),
            ObjectName::Part(..) | ObjectName::Pack(_) | ObjectName::Large(_) => None,
        });
        Ok(parts.collect())
    }

    /// Makes stored parts, in this order, the blob with digest `expected`, after reading them all.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a part that is not stored; [`Error::WrongDigest`] when the parts
    /// are not that blob; [`Error::Corrupt`]; failures of the disk or service.
    pub async fn complete(
        &self,
        upload: UploadId,
        expected: Digest,
        order: &[Digest],
    ) -> Result<Location> {
        let mut parts = Parts::new(upload);
        // The next part is read while the one before is hashed.
        let mut read = pin!(
            stream::iter(order.to_vec())
                .map(|digest| async move {
                    let place = ObjectName::Part(upload, digest).place();
                    let length = self.driver.length(place).await?;
                    let bytes = self.part(upload, digest, length).await?;
                    Ok::<_, Error>((digest, bytes))
                })
                .buffered(READ_AHEAD)
        );
        while let Some((digest, bytes)) = read.try_next().await? {
            parts.push(digest, bytes.len())?;
            parts = self
                .work(move || {
                    parts.hash(&bytes);
                    parts
                })
                .await?;
        }
        self.finish(parts, expected).await
    }

    /// Removes every part of an upload that will not be completed.
    ///
    /// # Errors
    /// Failures of the disk or service.
    pub async fn abort(&self, upload: UploadId) -> Result<()> {
        for digest in self.parts(upload).await? {
            self.driver
                .delete(ObjectName::Part(upload, digest).place())
                .await?;
        }
        Ok(())
    }

    async fn finish(&self, parts: Parts, expected: Digest) -> Result<Location> {
        let (digest, length, index) = parts.finish();
        if digest != expected {
            return Err(Error::WrongDigest { expected });
        }
        let place = ObjectName::Large(digest).place();
        self.driver.put(place, vec![index.into()]).await?;
        Ok(Location {
            digest,
            length,
            place: Place::Large,
        })
    }

    /// A whole blob of at most [`GET_MAX`] bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Corrupt`], [`Error::TooLarge`]; failures of the disk or
    /// service.
    pub async fn get(&self, location: &Location) -> Result<Bytes> {
        self.read(location, 0..location.length).await
    }

    /// Bytes `range` of a blob, at most [`GET_MAX`] and cut at its end. Everything they depend on
    /// is checked: the whole small blob, or the parts that the range touches.
    ///
    /// # Errors
    /// As [`BlobStore::get`].
    pub async fn read(&self, location: &Location, range: Range<u64>) -> Result<Bytes> {
        let end = range.end.min(location.length);
        let range = range.start.min(end)..end;
        let size = range.end - range.start;
        if size > GET_MAX {
            return Err(Error::TooLarge {
                what: "bytes read at once",
                size,
                limit: GET_MAX,
            });
        }
        match location.place {
            Place::Pack { pack, offset } => {
                let blob = self.small(pack, offset, location).await?;
                // Both ends lie within a blob in memory.
                let (start, end) = (to_usize(range.start)?, to_usize(range.end)?);
                Ok(blob.slice(start..end))
            }
            Place::Large => {
                let mut bytes = BytesMut::new();
                let mut pieces = Box::pin(self.stream_range(location, range).await?);
                while let Some(piece) = pieces.try_next().await? {
                    bytes.extend_from_slice(&piece);
                }
                Ok(bytes.freeze())
            }
        }
    }

    /// A blob of any length, checked piece by piece; a damaged piece ends the stream.
    ///
    /// # Errors
    /// As [`BlobStore::get`], here or in the stream.
    pub async fn stream(
        &self,
        location: &Location,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
        match location.place {
            Place::Pack { .. } => {
                let blob = self.get(location).await?;
                Ok(stream::once(async { Ok(blob) }).left_stream())
            }
            Place::Large => {
                let pieces = self.stream_range(location, 0..location.length).await?;
                Ok(pieces.right_stream())
            }
        }
    }

    async fn stream_range(
        &self,
        location: &Location,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
        let index = self.large_index(location.digest).await?;
        if index.length() != location.length {
            return Err(corrupt(location.object(), "its length is another one"));
        }
        let (store, upload) = (self.clone(), index.upload());
        Ok(stream::iter(index.touched(range)).then(move |touched| {
            let store = store.clone();
            async move {
                let bytes = store.part(upload, touched.digest, touched.length).await?;
                Ok(bytes.slice(touched.within))
            }
        }))
    }

    /// Whether a blob is where it should be and long enough; its content is not read.
    ///
    /// # Errors
    /// Failures of the disk or service.
    pub async fn exists(&self, location: &Location) -> Result<bool> {
        let wanted = match location.place {
            Place::Pack { offset, .. } => offset.saturating_add(location.length),
            Place::Large => 0,
        };
        match self.driver.length(location.object().place()).await {
            Ok(length) => Ok(length >= wanted),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The objects of every kind whose names begin with this byte: 256 calls walk the store.
    ///
    /// # Errors
    /// Failures of the disk or service.
    pub async fn objects(&self, first: u8) -> Result<Vec<ObjectName>> {
        let mut objects = Vec::new();
        for folder in name::FOLDERS {
            objects.extend(self.list(folder, first).await?);
        }
        Ok(objects)
    }

    async fn list(&self, folder: &str, first: u8) -> Result<Vec<ObjectName>> {
        let folder = name::shard_folder(folder, first);
        let leaves = self.driver.list(folder.clone()).await?;
        let ours = leaves
            .iter()
            .filter_map(|leaf| ObjectName::parse(&folder, leaf));
        Ok(ours.collect())
    }

    /// Reads one object again and checks every blob in it. A part is checked by itself.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the object does not even say what it holds; [`Error::NotFound`];
    /// failures of the disk or service.
    pub async fn verify(&self, object: ObjectName) -> Result<Verified> {
        let mut verified = Verified {
            whole: Vec::new(),
            damaged: Vec::new(),
        };
        match object {
            ObjectName::Pack(pack) => {
                let locations = self.pack_index(pack).await?;
                let end = locations.last().map_or(0, |last| match last.place {
                    Place::Pack { offset, .. } => offset + last.length,
                    Place::Large => 0,
                });
                let longer = self.driver.length(object.place()).await? > end;
                if longer {
                    return Err(corrupt(object, "it goes on after its last blob"));
                }
                for location in locations {
                    sort(location, self.get(&location).await.map(drop), &mut verified)?;
                }
            }
            ObjectName::Large(digest) => {
                let index = self.large_index(digest).await?;
                let mut whole = Parts::new(index.upload());
                let location = Location {
                    digest,
                    length: index.length(),
                    place: Place::Large,
                };
                let mut pieces = Box::pin(self.stream(&location).await?);
                let mut read = Ok(());
                while let Some(piece) = pieces.next().await {
                    match piece {
                        Ok(bytes) => {
                            whole = self
                                .work(move || {
                                    whole.hash(&bytes);
                                    whole
                                })
                                .await?;
                        }
                        Err(error) => {
                            read = Err(error);
                            break;
                        }
                    }
                }
                if read.is_ok() && whole.finish().0 != digest {
                    read = Err(corrupt(object, "its parts are not the blob"));
                }
                sort(location, read, &mut verified)?;
            }
            ObjectName::Part(upload, digest) => {
                let length = self.driver.length(object.place()).await?;
                self.part(upload, digest, length).await?;
            }
        }
        Ok(verified)
    }

    /// The bytes of one object, for a replica. They are not checked here, because the replica's
    /// [`BlobStore::put_object`] checks them all.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Corrupt`] when it is longer than any object; failures of the
    /// disk or service.
    pub async fn object(&self, object: ObjectName) -> Result<Bytes> {
        let length = self.driver.length(object.place()).await?;
        if length > OBJECT_MAX {
            return Err(corrupt(object, "it is longer than any object"));
        }
        self.driver.read(object.place(), 0..length).await
    }

    /// Stores an object that another store gave, after checking every byte of it, and says which
    /// blobs are here now. The parts of a large blob come before the blob.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is not the object that its name says; [`Error::NotFound`] when a
    /// part is not here yet; failures of the disk or service.
    pub async fn put_object(&self, object: ObjectName, bytes: Bytes) -> Result<Vec<Location>> {
        match object {
            ObjectName::Pack(pack) => {
                let content = bytes.clone();
                let checked = self.work(move || pack::check(pack, &content)).await?;
                let locations = checked.map_err(|detail| corrupt(object, &detail))?;
                self.driver.put(object.place(), vec![bytes]).await?;
                Ok(locations)
            }
            ObjectName::Large(digest) => {
                let index = large::Index::from_bytes(&bytes);
                let index = index.map_err(|detail| corrupt(object, &detail))?;
                let order: Vec<Digest> = index.order().collect();
                let completed = self.complete(index.upload(), digest, &order).await;
                Ok(vec![completed.map_err(|error| match error {
                    Error::WrongDigest { .. } => corrupt(object, "its parts are not the blob"),
                    other => other,
                })?])
            }
            ObjectName::Part(upload, digest) => {
                let stored = self.put_part(upload, digest, bytes).await;
                stored.map_err(|error| match error {
                    Error::WrongDigest { .. } => corrupt(object, "it has another digest"),
                    other => other,
                })?;
                Ok(Vec::new())
            }
        }
    }

    /// Moves a damaged object out of the way, to `quarantine/`, so that it can be restored under
    /// its name and the damaged bytes be examined.
    ///
    /// # Errors
    /// [`Error::NotFound`]; failures of the disk or service.
    pub async fn quarantine(&self, object: ObjectName) -> Result<()> {
        self.driver.quarantine(object.place()).await
    }

    /// Destroys an object for good; it need not exist. Of a large blob, the parts go too.
    ///
    /// # Errors
    /// Failures of the disk or service.
    pub async fn delete(&self, object: ObjectName) -> Result<()> {
        let parts_of = match object {
            ObjectName::Large(digest) => match self.large_index(digest).await {
                Ok(index) => Some(index.upload()),
                // Its parts cannot be told from those of an unfinished upload: `unfinished` finds
                // them.
                Err(Error::NotFound { .. } | Error::Corrupt { .. }) => None,
                Err(error) => return Err(error),
            },
            ObjectName::Pack(_) | ObjectName::Part(..) => None,
        };
        self.driver.delete(object.place()).await?;
        match parts_of {
            Some(upload) => self.abort(upload).await,
            None => Ok(()),
        }
    }

    /// Writes a pack anew without some of its blobs, and says where the others lie now. Erasure is
    /// complete once the caller has recorded that and deleted the old pack. Without any blob left
    /// there is no new pack.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a blob to keep is damaged; as [`BlobStore::put_pack`].
    pub async fn repack(
        &self,
        pack: Digest,
        keep: impl Fn(&Digest) -> bool,
    ) -> Result<Vec<Location>> {
        let mut kept = Vec::new();
        for location in self.pack_index(pack).await? {
            if keep(&location.digest) {
                kept.push((location.digest, self.get(&location).await?));
            }
        }
        self.put_pack(kept).await
    }

    /// The uploads that have parts here and belong to no complete blob, by the first byte of their
    /// ids. Which of them are still in progress, the caller knows.
    ///
    /// # Errors
    /// Failures of the disk or service.
    pub async fn unfinished(&self) -> Result<Vec<UploadId>> {
        let mut uploads = std::collections::BTreeSet::new();
        for first in 0..=u8::MAX {
            for object in self.list(name::FOLDERS[2], first).await? {
                if let ObjectName::Part(upload, _) = object {
                    uploads.insert(upload);
                }
            }
        }
        if uploads.is_empty() {
            return Ok(Vec::new());
        }
        for first in 0..=u8::MAX {
            for object in self.list(name::FOLDERS[1], first).await? {
                if let ObjectName::Large(digest) = object {
                    uploads.remove(&self.large_index(digest).await?.upload());
                }
            }
        }
        Ok(uploads.into_iter().collect())
    }

    async fn small(&self, pack: Digest, offset: u64, location: &Location) -> Result<Bytes> {
        if location.length > SMALL_MAX as u64 {
            return Err(Error::TooLarge {
                what: "bytes of a small blob",
                size: location.length,
                limit: SMALL_MAX as u64,
            });
        }
        let object = ObjectName::Pack(pack);
        let range = offset..offset.saturating_add(location.length);
        let bytes = self.driver.read(object.place(), range).await?;
        self.check(object, location.digest, bytes).await
    }

    async fn part(&self, upload: UploadId, digest: Digest, length: u64) -> Result<Bytes> {
        let object = ObjectName::Part(upload, digest);
        if length > PART_MAX as u64 {
            return Err(corrupt(object, "it is longer than any part"));
        }
        let bytes = self.driver.read(object.place(), 0..length).await?;
        self.check(object, digest, bytes).await
    }

    async fn check(&self, object: ObjectName, expected: Digest, bytes: Bytes) -> Result<Bytes> {
        let hashed = bytes.clone();
        if self.work(move || pack::sha256(&hashed)).await? == expected {
            Ok(bytes)
        } else {
            Err(corrupt(
                object,
                &format!("blob {expected} has another digest"),
            ))
        }
    }

    async fn pack_index(&self, pack: Digest) -> Result<Vec<Location>> {
        let object = ObjectName::Pack(pack);
        let prefix = self
            .driver
            .read(object.place(), 0..pack::PREFIX as u64)
            .await?;
        let length = pack::index_length(&prefix).map_err(|detail| corrupt(object, &detail))?;
        let header = 0..(pack::PREFIX + length) as u64;
        let header = self.driver.read(object.place(), header).await?;
        pack::read_header(pack, &header).map_err(|detail| corrupt(object, &detail))
    }

    async fn large_index(&self, digest: Digest) -> Result<large::Index> {
        let object = ObjectName::Large(digest);
        let length = self.driver.length(object.place()).await?;
        if length > large::INDEX_MAX as u64 {
            return Err(corrupt(object, "it is longer than any list of parts"));
        }
        let bytes = self.driver.read(object.place(), 0..length).await?;
        large::Index::from_bytes(&bytes).map_err(|detail| corrupt(object, &detail))
    }

    /// Hashing megabytes would hold up the other tasks of a thread.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        match &self.driver {
            Driver::Local(local) if !local.blocks() => Ok(work()),
            Driver::Local(_) | Driver::S3(_) => blocking(work).await,
        }
    }
}

/// Refuses a part of more than [`PART_MAX`] bytes.
fn bounded(part: &Bytes) -> Result<()> {
    if part.len() > PART_MAX {
        return Err(Error::TooLarge {
            what: "bytes of a part",
            size: part.len() as u64,
            limit: PART_MAX as u64,
        });
    }
    Ok(())
}

/// Counts a blob that was read as whole or damaged; a store that fails ends the count.
fn sort(location: Location, read: Result<()>, into: &mut Verified) -> Result<()> {
    match read {
        Ok(()) => into.whole.push(location),
        Err(Error::Corrupt { .. } | Error::NotFound { .. }) => into.damaged.push(location.digest),
        Err(error) => return Err(error),
    }
    Ok(())
}

fn corrupt(object: ObjectName, detail: &str) -> Error {
    Error::Corrupt {
        what: object.to_string(),
        detail: detail.to_owned(),
    }
}

fn to_usize(bytes: u64) -> Result<usize> {
    usize::try_from(bytes).map_err(|_| Error::TooLarge {
        what: "bytes read at once",
        size: bytes,
        limit: GET_MAX,
    })
}
