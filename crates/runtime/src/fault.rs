//! A disk in memory that fails as real ones do, from a seed, for the tests of every crate.
//!
//! ```text
//!  create, write ──> content in the cache ──sync_file────> content on the platter
//!  name, rename  ──> names in the cache   ──sync_folder──> names on the platter
//!                          │
//!                      cut_power: each folder keeps the changes of its names up to a random one,
//!                      each unsynced file a random part of its content, or zeros in its place
//! ```
//!
//! That is what POSIX lets a file system do; ext4 and XFS usually do less harm.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::disk::Disk;
use crate::entropy::SeededEntropy;

/// A disk in memory, with faults. Share it with an `Arc`; it outlives the stores opened on it, as
/// a real disk does.
#[derive(Debug)]
pub struct FaultyDisk {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    entropy: SeededEntropy,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    folders: BTreeMap<String, Folder>,
    /// Bytes that still fit; `None` for no limit.
    space: Option<u64>,
    read_only: bool,
    /// Calls until the power goes.
    calls_left: Option<u64>,
    powered: bool,
    calls: u64,
}

#[derive(Debug, Default)]
struct Content {
    cached: Vec<u8>,
    synced: Option<Vec<u8>>,
}

/// Names in the cache, the last that are on the platter, and what happened in between.
#[derive(Debug, Default)]
struct Folder {
    cached: BTreeMap<String, u64>,
    synced: BTreeMap<String, u64>,
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Add(String, u64),
    Remove(String),
}

impl Change {
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Add(name, file) => {
                names.insert(name, file);
            }
            Self::Remove(name) => {
                names.remove(&name);
            }
        }
    }
}

impl Folder {
    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.cached);
        self.changes.push(change);
    }
}

impl FaultyDisk {
    /// An empty disk without faults; whatever is random about later ones comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(State {
                entropy: SeededEntropy::new(seed),
                files: BTreeMap::new(),
                next_file: 0,
                folders: BTreeMap::from([(String::new(), Folder::default())]),
                space: None,
                read_only: false,
                calls_left: None,
                powered: true,
                calls: 0,
            }),
        }
    }

    /// Lets `bytes` more be written; then writes stop in the middle with `StorageFull`.
    pub fn fill_after(&self, bytes: u64) {
        self.state().space = Some(bytes);
    }

    /// Gives the disk unlimited space again.
    pub fn make_room(&self) {
        self.state().space = None;
    }

    /// Makes every change fail with `ReadOnlyFilesystem`, or work again.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Cuts the power after `calls` more calls: the call after that and every later one fail.
    pub fn cut_power_after(&self, calls: u64) {
        self.state().calls_left = Some(calls);
    }

    /// Calls made so far, which a test walks to cut the power at each.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Loses what was not synced, unless the power is on still, in which case it goes first; and
    /// turns the power on again.
    pub fn restart(&self) {
        let mut state = self.state();
        state.lose_unsynced();
        state.powered = true;
        state.calls_left = None;
    }

    /// Flips one random bit of a file where it lies, as a failing disk does. False when there is
    /// no such file or it is empty.
    pub fn flip_bit(&self, name: &str) -> bool {
        let mut state = self.state();
        let Ok(file) = state.find(name) else {
            return false;
        };
        let length = state.files.get(&file).map_or(0, |f| f.cached.len());
        let bit = state.entropy.below(length as u64 * 8);
        state.flip(file, bit)
    }

    /// Flips bit `bit`, counted from the first byte's lowest, of a file where it lies. False when
    /// there is no such bit.
    pub fn flip_bit_at(&self, name: &str, bit: u64) -> bool {
        let mut state = self.state();
        state.find(name).is_ok_and(|file| state.flip(file, bit))
    }

    /// Cuts a file to `length` bytes where it lies. False when there is no such file.
    pub fn truncate(&self, name: &str, length: usize) -> bool {
        let mut state = self.state();
        let Ok(file) = state.find(name) else {
            return false;
        };
        if let Some(content) = state.files.get_mut(&file) {
            content.cached.truncate(length);
            if let Some(synced) = &mut content.synced {
                synced.truncate(length);
            }
        }
        true
    }

    /// The names of all files, for tests that walk them.
    pub fn files(&self) -> Vec<String> {
        let state = self.state();
        let names = state.folders.iter().flat_map(|(folder, names)| {
            names.cached.keys().map(move |leaf| match folder.as_str() {
                "" => leaf.clone(),
                folder => format!("{folder}/{leaf}"),
            })
        });
        names.collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state for one call, unless the power is off.
    fn call(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.calls_left == Some(0) {
            state.powered = false;
        }
        if !state.powered {
            return Err(io::Error::other("the power is off"));
        }
        state.calls_left = state.calls_left.map(|left| left - 1);
        state.calls += 1;
        Ok(state)
    }

    /// The state for one call that changes something.
    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.call()?;
        if state.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(state)
    }
}

impl State {
    fn folder(&mut self, name: &str) -> io::Result<&mut Folder> {
        self.folders
            .get_mut(name)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn find(&self, name: &str) -> io::Result<u64> {
        let (folder, leaf) = split(name);
        let folder = self.folders.get(folder);
        let file = folder.and_then(|folder| folder.cached.get(leaf));
        file.copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn content(&mut self, name: &str) -> io::Result<&mut Content> {
        let file = self.find(name)?;
        self.files
            .get_mut(&file)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn flip(&mut self, file: u64, bit: u64) -> bool {
        let Some(content) = self.files.get_mut(&file) else {
            return false;
        };
        let Ok(position) = usize::try_from(bit / 8) else {
            return false;
        };
        let mask = 1 << (bit % 8);
        let Some(byte) = content.cached.get_mut(position) else {
            return false;
        };
        *byte ^= mask;
        if let Some(byte) = content.synced.as_mut().and_then(|s| s.get_mut(position)) {
            *byte ^= mask;
        }
        true
    }

    fn lose_unsynced(&mut self) {
        for folder in self.folders.values_mut() {
            let changes = core::mem::take(&mut folder.changes);
            let kept = draw(&mut self.entropy, changes.len());
            let mut names = core::mem::take(&mut folder.synced);
            for change in changes.into_iter().take(kept) {
                change.apply(&mut names);
            }
            folder.cached.clone_from(&names);
            folder.synced = names;
        }
        for content in self.files.values_mut() {
            content.cached = match content.synced.take() {
                Some(synced) => synced,
                None => torn(&mut self.entropy, &content.cached),
            };
            content.synced = Some(content.cached.clone());
        }
        let named: std::collections::BTreeSet<u64> = self
            .folders
            .values()
            .flat_map(|folder| folder.cached.values().copied())
            .collect();
        self.files.retain(|file, _| named.contains(file));
    }
}

/// A number in `0..=most`.
fn draw(entropy: &mut SeededEntropy, most: usize) -> usize {
    usize::try_from(entropy.below(most as u64 + 1)).unwrap_or(most)
}

/// What a file that was never synced may hold after a power cut: a part of it, nothing, or its
/// length with zeros in place of blocks that were not written.
fn torn(entropy: &mut SeededEntropy, content: &[u8]) -> Vec<u8> {
    let kept = draw(entropy, content.len());
    let mut torn = content.to_vec();
    if entropy.below(2) == 0 {
        torn.truncate(kept);
    } else if let Some(lost) = torn.get_mut(kept..) {
        lost.fill(0);
    }
    torn
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

impl Disk for FaultyDisk {
    fn create_folder(&self, name: &str) -> io::Result<()> {
        // Folders are made when a store is opened, before anything is acknowledged: they are
        // durable at once here.
        let mut state = self.change()?;
        let ends = name.match_indices('/').map(|(end, _)| end);
        for end in ends.chain([name.len()]) {
            let folder = name.get(..end).unwrap_or(name);
            state.folders.entry(folder.to_owned()).or_default();
        }
        Ok(())
    }

    fn create_file(&self, name: &str, content: &[Bytes]) -> io::Result<()> {
        let mut state = self.change()?;
        let (folder, leaf) = split(name);
        if state.find(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.next_file;
        state.next_file += 1;
        state
            .folder(folder)?
            .change(Change::Add(leaf.to_owned(), file));
        let mut cached: Vec<u8> = content.concat();
        let mut full = false;
        if let Some(space) = state.space {
            full = cached.len() as u64 > space;
            cached.truncate(usize::try_from(space).unwrap_or(usize::MAX));
            state.space = Some(space - cached.len() as u64);
        }
        let synced = None;
        state.files.insert(file, Content { cached, synced });
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync_file(&self, name: &str) -> io::Result<()> {
        let mut state = self.change()?;
        let content = state.content(name)?;
        content.synced = Some(content.cached.clone());
        Ok(())
    }

    fn sync_folder(&self, name: &str) -> io::Result<()> {
        let mut state = self.change()?;
        let folder = state.folder(name)?;
        folder.synced = folder.cached.clone();
        folder.changes.clear();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.change()?;
        let file = state.find(from)?;
        let ((from_folder, from_leaf), (to_folder, to_leaf)) = (split(from), split(to));
        state
            .folder(to_folder)?
            .change(Change::Add(to_leaf.to_owned(), file));
        state
            .folder(from_folder)?
            .change(Change::Remove(from_leaf.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.change()?;
        let file = state.find(name)?;
        let freed = state.files.get(&file).map_or(0, |f| f.cached.len() as u64);
        state.space = state.space.map(|space| space + freed);
        let (folder, leaf) = split(name);
        state
            .folder(folder)?
            .change(Change::Remove(leaf.to_owned()));
        Ok(())
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        Ok(self.call()?.content(name)?.cached.len() as u64)
    }

    fn read(&self, name: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
        let mut state = self.call()?;
        let content = state.content(name)?;
        let bounds = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok());
        let bytes = bounds.and_then(|(start, end)| content.cached.get(start..end));
        bytes
            .map(<[u8]>::to_vec)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        Ok(self
            .call()?
            .folder(folder)?
            .cached
            .keys()
            .cloned()
            .collect())
    }

    fn blocks(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> [Bytes; 1] {
        [Bytes::from_static(text.as_bytes())]
    }

    #[test]
    fn a_power_cut_loses_what_was_not_synced_and_nothing_else() {
        let (mut lost, mut torn, mut kept) = (0, 0, 0);
        for seed in 0..64 {
            let disk = FaultyDisk::new(seed);
            disk.create_file("a", &bytes("synced")).expect("created");
            disk.sync_file("a").expect("synced");
            disk.sync_folder("").expect("synced");
            disk.create_file("b", &bytes("cached")).expect("created");
            disk.restart();
            assert_eq!(disk.read("a", 0..6).expect("safe"), b"synced");
            match disk.read("b", 0..6) {
                Ok(whole) if whole == b"cached" => kept += 1,
                Ok(_) => torn += 1,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => torn += 1,
                Err(_) => lost += 1,
            }
        }
        assert!(lost > 0 && torn > 0 && kept > 0, "{lost} {torn} {kept}");
    }

    #[test]
    fn a_rename_that_was_not_synced_may_be_undone() {
        let outcomes: std::collections::BTreeSet<bool> = (0..64)
            .map(|seed| {
                let disk = FaultyDisk::new(seed);
                disk.create_file("a", &bytes("new")).expect("created");
                disk.sync_file("a").expect("synced");
                disk.sync_folder("").expect("synced");
                disk.rename("a", "b").expect("renamed");
                disk.restart();
                disk.read("b", 0..3).is_ok()
            })
            .collect();
        assert_eq!(outcomes.len(), 2);
    }

    #[test]
    fn faults_are_the_ones_asked_for_and_repeat_from_the_seed() {
        let disk = FaultyDisk::new(1);
        disk.fill_after(4);
        let full = disk.create_file("a", &bytes("12345")).expect_err("full");
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.length("a").expect("half written"), 4);
        disk.remove("a").expect("removed");
        disk.create_file("a", &bytes("1234"))
            .expect("there is room again");
        disk.set_read_only(true);
        let refused = disk.remove("a").expect_err("read-only");
        assert_eq!(refused.kind(), io::ErrorKind::ReadOnlyFilesystem);
        disk.set_read_only(false);
        assert!(disk.flip_bit_at("a", 1));
        assert_eq!(disk.read("a", 0..4).expect("read"), b"3234");
        assert!(!disk.flip_bit("b"));
        disk.cut_power_after(1);
        assert!(disk.length("a").is_ok());
        assert!(disk.length("a").is_err());

        let flipped = |seed| {
            let disk = FaultyDisk::new(seed);
            disk.create_file("a", &bytes("0123456789"))
                .expect("created");
            assert!(disk.flip_bit("a"));
            disk.read("a", 0..10).expect("read")
        };
        assert_eq!(flipped(5), flipped(5));
        assert_ne!(flipped(5), b"0123456789");
    }
}
