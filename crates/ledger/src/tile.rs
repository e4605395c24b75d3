//! The log as static files: the C2SP tlog-tiles layout.
//!
//! A tile is 256 hashes side by side. Tiles of level 0 hold leaf hashes, those of level L the roots
//! of full tiles of level L - 1; the levels between are recomputed by whoever reads. The rightmost
//! tile of a level may be partial. Entry bundles are cut like tiles of level 0.
//! Specification: <https://c2sp.org/tlog-tiles>.

use core::fmt;

use salus_proto::Digest;

use crate::Error;
use crate::proof::NodeRead;
use crate::tree::{MAX_TREE_SIZE, node_hash};

/// Levels of the tree that one level of tiles spans.
pub const TILE_HEIGHT: u8 = 8;
/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 1 << TILE_HEIGHT;
/// Longest entry that a bundle can hold, in bytes.
pub const BUNDLED_ENTRY_LIMIT: usize = u16::MAX as usize;

/// Highest tile level that [`MAX_TREE_SIZE`] leaves reach.
const MAX_LEVEL: u8 = 7;

/// What a file of the layout holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// Hashes of the tile level, 0 to 7.
    Hashes(u8),
    /// Log entries.
    Entries,
}

/// One file of the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    content: Content,
    index: u64,
    width: u16,
}

impl Tile {
    /// The tile with this place and 1 to 256 hashes or entries.
    ///
    /// # Errors
    /// [`Error::TilePath`] for a level, index or width that no tree has.
    pub fn new(content: Content, index: u64, width: u16) -> Result<Self, Error> {
        let level = match content {
            Content::Hashes(level) => level,
            Content::Entries => 0,
        };
        let tiles_at_most = MAX_TREE_SIZE
            .checked_shr(u32::from(TILE_HEIGHT) * (u32::from(level) + 1))
            .unwrap_or(0);
        if level > MAX_LEVEL || index > tiles_at_most || !(1..=TILE_WIDTH).contains(&width) {
            return Err(Error::TilePath);
        }
        Ok(Self {
            content,
            index,
            width,
        })
    }

    /// Reads a path such as `tile/0/x001/067.p/5` or `tile/entries/000`, in its one valid form.
    ///
    /// # Errors
    /// [`Error::TilePath`] for anything else.
    pub fn parse(path: &str) -> Result<Self, Error> {
        let tile = Self::parsed(path).ok_or(Error::TilePath)?;
        // Leading zeros, superfluous elements and the like do not survive the round trip.
        if tile.to_string() == path {
            Ok(tile)
        } else {
            Err(Error::TilePath)
        }
    }

    fn parsed(path: &str) -> Option<Self> {
        /// `tile/entries/` with the longest index and width.
        const LONGEST: usize = 64;
        let rest = path
            .strip_prefix("tile/")
            .filter(|_| path.len() <= LONGEST)?;
        let (kind, rest) = rest.split_once('/')?;
        let content = match kind {
            "entries" => Content::Entries,
            level => Content::Hashes(level.parse().ok()?),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().ok().filter(|w| *w < TILE_WIDTH)?),
            None => (rest, TILE_WIDTH),
        };
        let index = index.split('/').try_fold(0_u64, |index, element| {
            let digits: u64 = element.strip_prefix('x').unwrap_or(element).parse().ok()?;
            index.checked_mul(1000)?.checked_add(digits)
        })?;
        Self::new(content, index, width).ok()
    }

    /// Whether it holds hashes, and of which level, or entries.
    pub fn content(&self) -> Content {
        self.content
    }

    /// Position within its level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Hashes or entries in it, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether a log of `size` entries has this tile: as the full tile or the partial one that it
    /// has for exactly this size, or as a partial tile of a smaller size.
    pub fn exists_at(&self, size: u64) -> bool {
        let level = match self.content {
            Content::Hashes(level) => level,
            Content::Entries => 0,
        };
        let hashes = size >> (u32::from(TILE_HEIGHT) * u32::from(level));
        self.first().saturating_add(u64::from(self.width)) <= hashes
    }

    /// Tree level and node indexes of the hashes in it; for entries, their indexes.
    pub fn nodes(&self) -> (u8, core::ops::Range<u64>) {
        let level = match self.content {
            Content::Hashes(level) => level * TILE_HEIGHT,
            Content::Entries => 0,
        };
        (level, self.first()..self.first() + u64::from(self.width))
    }

    fn first(&self) -> u64 {
        self.index * u64::from(TILE_WIDTH)
    }

    /// The bytes of this tile of hashes, from wherever nodes are kept.
    ///
    /// # Errors
    /// [`Error::MissingNode`] if `nodes` lacks a hash; [`Error::TilePath`] for an entry bundle.
    pub fn hashes(&self, nodes: &impl NodeRead) -> Result<Vec<u8>, Error> {
        if self.content == Content::Entries {
            return Err(Error::TilePath);
        }
        let (level, indexes) = self.nodes();
        let mut bytes = Vec::with_capacity(usize::from(self.width) * Digest::LEN);
        for index in indexes {
            let hash = nodes
                .node(level, index)
                .ok_or(Error::MissingNode { level, index })?;
            bytes.extend_from_slice(&hash.0);
        }
        Ok(bytes)
    }
}

impl fmt::Display for Tile {
    /// The path below the log's prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.content {
            Content::Hashes(level) => write!(f, "tile/{level}/")?,
            Content::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for group in groups.iter().skip(1).rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", groups[0])?;
        if self.width < TILE_WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// The tiles of hashes that a log of `size` entries has and one of `known` entries has not, level
/// by level; `known` 0 gives all. Each as wide as it is at `size`.
pub fn tiles(known: u64, size: u64) -> impl Iterator<Item = Tile> {
    (0..=MAX_LEVEL).flat_map(move |level| {
        let shift = u32::from(TILE_HEIGHT) * u32::from(level);
        cut(Content::Hashes(level), known >> shift, size >> shift)
    })
}

/// The entry bundles that a log of `size` entries has and one of `known` entries has not.
pub fn bundles(known: u64, size: u64) -> impl Iterator<Item = Tile> {
    cut(Content::Entries, known, size)
}

fn cut(content: Content, known: u64, size: u64) -> impl Iterator<Item = Tile> {
    let width = u64::from(TILE_WIDTH);
    let end = if known < size {
        size.div_ceil(width)
    } else {
        0
    };
    (known / width..end).map(move |index| {
        #[expect(clippy::cast_possible_truncation, reason = "at most 256")]
        let width = width.min(size - index * width) as u16;
        Tile {
            content,
            index,
            width,
        }
    })
}

/// Writes an entry bundle: each entry after its length in two bytes, big-endian.
///
/// # Errors
/// [`Error::EntryTooLong`] above [`BUNDLED_ENTRY_LIMIT`]; [`Error::TileContent`] for no entries or
/// more than 256.
pub fn write_bundle<'e>(entries: impl IntoIterator<Item = &'e [u8]>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut count = 0_u16;
    for entry in entries {
        let length = u16::try_from(entry.len()).map_err(|_| Error::EntryTooLong {
            length: entry.len(),
        })?;
        count += 1;
        if count > TILE_WIDTH {
            return Err(Error::TileContent);
        }
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    if count == 0 {
        Err(Error::TileContent)
    } else {
        Ok(bytes)
    }
}

/// Reads an entry bundle of exactly `width` entries.
///
/// # Errors
/// [`Error::TileContent`] if the bytes hold another number of entries or end within one.
pub fn read_bundle(mut bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, Error> {
    let mut entries = Vec::with_capacity(usize::from(width.min(TILE_WIDTH)));
    for _ in 0..width {
        let (length, rest) = bytes.split_first_chunk::<2>().ok_or(Error::TileContent)?;
        let (entry, rest) = rest
            .split_at_checked(usize::from(u16::from_be_bytes(*length)))
            .ok_or(Error::TileContent)?;
        entries.push(entry);
        bytes = rest;
    }
    if bytes.is_empty() {
        Ok(entries)
    } else {
        Err(Error::TileContent)
    }
}

/// Where tiles of hashes are kept.
pub trait TileRead {
    /// The longest tile there is at this place: 32 bytes a hash.
    fn tile(&self, level: u8, index: u64) -> Option<Vec<u8>>;
}

/// Nodes of the tree out of its tiles, for a client that has only those.
#[derive(Debug)]
pub struct TileNodes<R>(pub R);

impl<R: TileRead> NodeRead for TileNodes<R> {
    fn node(&self, level: u8, index: u64) -> Option<Digest> {
        let height = level % TILE_HEIGHT;
        let first = index
            .checked_shl(u32::from(height))
            .filter(|f| f >> height == index)?;
        let tile = self
            .0
            .tile(level / TILE_HEIGHT, first / u64::from(TILE_WIDTH))?;
        let (hashes, _) = tile.as_chunks::<32>();
        let begin = usize::try_from(first % u64::from(TILE_WIDTH)).ok()?;
        let mut row: Vec<Digest> = hashes
            .get(begin..begin + (1 << height))?
            .iter()
            .map(|hash| Digest(*hash))
            .collect();
        while row.len() > 1 {
            row = row
                .as_chunks::<2>()
                .0
                .iter()
                .map(|[a, b]| node_hash(a, b))
                .collect();
        }
        row.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proof::{ConsistencyProof, InclusionProof, MemoryTree};
    use crate::tree::leaf_hash;

    #[test]
    fn paths_are_those_of_the_specification() {
        let full = |content, index| Tile::new(content, index, TILE_WIDTH).unwrap();
        for (tile, path) in [
            (full(Content::Hashes(0), 0), "tile/0/000"),
            (full(Content::Hashes(0), 1_234_067), "tile/0/x001/x234/067"),
            (
                Tile::new(Content::Hashes(0), 1067, 5).unwrap(),
                "tile/0/x001/067.p/5",
            ),
            (full(Content::Hashes(2), 1000), "tile/2/x001/000"),
            (
                Tile::new(Content::Entries, 999, 255).unwrap(),
                "tile/entries/999.p/255",
            ),
            (full(Content::Entries, 12), "tile/entries/012"),
        ] {
            assert_eq!(tile.to_string(), path);
            assert_eq!(Tile::parse(path), Ok(tile));
        }
    }

    #[test]
    fn paths_in_any_other_form_are_refused() {
        for path in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/0000",
            "tile/00/000",
            "tile/+0/000",
            "tile/8/000",
            "tile/64/000",
            "tile/0/x000/000",
            "tile/0/001/067",
            "tile/0/x001/x067",
            "tile/0/x001/067/",
            "tile/0/000.p/0",
            "tile/0/000.p/05",
            "tile/0/000.p/256",
            "tile/0/000.p/",
            "tile/0/../000",
            "tile/entry/000",
            "/tile/0/000",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Tile::parse(path), Err(Error::TilePath), "{path}");
        }
    }

    #[test]
    fn a_log_of_70000_has_the_tiles_of_the_specifications_example() {
        let all: Vec<_> = tiles(0, 70_000).collect();
        let count = |level, full| {
            let of_level = all
                .iter()
                .filter(|tile| tile.content() == Content::Hashes(level));
            of_level
                .filter(|tile| (tile.width() == TILE_WIDTH) == full)
                .count()
        };
        assert_eq!((count(0, true), count(0, false)), (273, 1));
        assert_eq!((count(1, true), count(1, false)), (1, 1));
        assert_eq!((count(2, true), count(2, false)), (0, 1));
        let paths: Vec<_> = all.iter().map(Tile::to_string).collect();
        for path in ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"] {
            assert!(paths.iter().any(|p| p == path), "{path}");
        }
        let paths: Vec<_> = tiles(0, 256).map(|tile| tile.to_string()).collect();
        assert_eq!(paths, ["tile/0/000", "tile/1/000.p/1"]);
        let paths: Vec<_> = bundles(256, 513).map(|tile| tile.to_string()).collect();
        assert_eq!(paths, ["tile/entries/001", "tile/entries/002.p/1"]);
        assert_eq!(tiles(513, 513).count() + bundles(513, 513).count(), 0);
    }

    #[test]
    fn growing_by_steps_visits_every_tile_that_changed() {
        let steps = [0_u64, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000];
        for pair in steps.windows(2) {
            let new: Vec<_> = tiles(pair[0], pair[1]).collect();
            let old: Vec<_> = tiles(0, pair[0]).collect();
            let expected: Vec<_> = tiles(0, pair[1])
                .filter(|tile| !old.contains(tile))
                .collect();
            assert_eq!(new, expected, "{pair:?}");
            for tile in new {
                assert!(
                    tile.exists_at(pair[1]) && !tile.exists_at(pair[0]),
                    "{tile} {pair:?}"
                );
            }
        }
    }

    struct Files(MemoryTree);

    impl TileRead for Files {
        fn tile(&self, level: u8, index: u64) -> Option<Vec<u8>> {
            tiles(0, self.0.size())
                .find(|t| t.content() == Content::Hashes(level) && t.index() == index)?
                .hashes(&self.0)
                .ok()
        }
    }

    #[test]
    fn proofs_made_from_tiles_equal_those_made_from_nodes() {
        let size = 70_001_u64;
        let leaves = (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let files = TileNodes(Files(MemoryTree::from_leaf_hashes(leaves)));
        let nodes = &files.0.0;
        for index in [0, 255, 256, 65_535, 65_536, 69_999, 70_000] {
            let proof = InclusionProof::new(&files, index, size).unwrap();
            assert_eq!(proof, nodes.inclusion(index).unwrap());
            proof
                .verify(&leaf_hash(&index.to_be_bytes()), &nodes.root())
                .unwrap();
        }
        for first in [1, 256, 65_537, 70_000] {
            assert_eq!(
                ConsistencyProof::new(&files, first, size),
                ConsistencyProof::new(nodes, first, size)
            );
        }
        assert_eq!(files.node(0, size), None);
        assert_eq!(files.node(17, 0), None);
        assert_eq!(files.node(9, u64::MAX), None);
    }

    #[test]
    fn bundles_hold_exactly_their_entries() {
        let entries: [&[u8]; 3] = [b"", b"one", &[7; 300]];
        let bytes = write_bundle(entries).unwrap();
        assert_eq!(&bytes[..9], b"\0\0\0\x03one\x01\x2c");
        assert_eq!(read_bundle(&bytes, 3).unwrap(), entries);
        for width in [0, 2, 4] {
            assert_eq!(
                read_bundle(&bytes, width),
                Err(Error::TileContent),
                "{width}"
            );
        }
        for end in 0..bytes.len() {
            assert_eq!(
                read_bundle(&bytes[..end], 3),
                Err(Error::TileContent),
                "{end}"
            );
        }
        assert_eq!(write_bundle([]), Err(Error::TileContent));
        assert_eq!(write_bundle([b"".as_slice(); 257]), Err(Error::TileContent));
        let long = vec![0; BUNDLED_ENTRY_LIMIT + 1];
        let error = Error::EntryTooLong { length: long.len() };
        assert_eq!(write_bundle([long.as_slice()]), Err(error));
    }

    proptest! {
        #[test]
        fn any_path_is_refused_or_written_back(path in "tile/([0-9]{1,2}|entries)/[x0-9/.p]{0,30}|\\PC*") {
            if let Ok(tile) = Tile::parse(&path) {
                prop_assert_eq!(tile.to_string(), path);
            }
        }

        #[test]
        fn any_tile_has_one_path(level in 0..=7_u8, index: u64, width in 1..=256_u16) {
            let index = index.checked_shr(10 + 8 * u32::from(level)).unwrap_or(0);
            let tile = Tile::new(Content::Hashes(level), index, width).unwrap();
            prop_assert_eq!(Tile::parse(&tile.to_string()).unwrap(), tile);
        }

        #[test]
        fn any_bytes_are_a_bundle_or_refused(bytes: Vec<u8>, width in 0..300_u16) {
            if let Ok(entries) = read_bundle(&bytes, width)
                && width > 0
                && width <= TILE_WIDTH
            {
                prop_assert_eq!(write_bundle(entries).unwrap(), bytes);
            }
        }
    }
}
