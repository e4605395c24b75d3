//! A block: its place, its agreed time and the commands that it orders, in one canonical encoding.

use bytes::Bytes;
use commonware_codec::{
    Buf, Encode as _, EncodeSize, Error, FixedSize as _, MaxEncodeSize as _, RangeCfg, Read,
    ReadExt as _, Write,
};
use commonware_consensus::types::Height;
use commonware_consensus::{Block as ConsensusBlock, BoundedBlock, Heightable};
use commonware_cryptography::sha256::Digest;
use commonware_cryptography::{Digestible, Hasher as _, Sha256};
use commonware_runtime::BufMut;
use salus_proto::command::COMMAND_LIMIT;

/// Most commands in a block.
pub(crate) const COMMANDS_LIMIT: usize = 4096;
/// Longest body of a block, in bytes: the commands, each behind its length in four.
pub(crate) const BODY_LIMIT: usize = 2 << 20;
/// Bytes of a command's length.
const LENGTH: usize = 4;

/// A proposal of what comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) parent: Digest,
    pub(crate) height: Height,
    /// Milliseconds since 1970, larger than the parent's.
    pub(crate) time_ms: u64,
    body: Bytes,
    /// Where each command ends in the body.
    ends: Vec<usize>,
}

impl Block {
    /// A block of at most [`COMMANDS_LIMIT`] commands in [`BODY_LIMIT`] bytes; the rest is left out.
    pub(crate) fn new(
        parent: Digest,
        height: Height,
        time_ms: u64,
        commands: impl IntoIterator<Item = Bytes>,
    ) -> Self {
        let (mut body, mut ends) = (Vec::new(), Vec::new());
        for command in commands.into_iter().take(COMMANDS_LIMIT) {
            let Ok(length) = u32::try_from(command.len()) else {
                continue;
            };
            if command.len() > COMMAND_LIMIT || body.len() + LENGTH + command.len() > BODY_LIMIT {
                continue;
            }
            body.put_u32(length);
            body.put_slice(&command);
            ends.push(body.len());
        }
        Self {
            parent,
            height,
            time_ms,
            body: body.into(),
            ends,
        }
    }

    /// The block before the first, of a consortium founded at `time_ms` with this genesis.
    pub(crate) fn genesis(genesis: &salus_proto::Digest, time_ms: u64) -> Self {
        Self::new(Digest(genesis.0), Height::zero(), time_ms, [])
    }

    /// The commands in their order; they share the block's memory.
    pub(crate) fn commands(&self) -> impl Iterator<Item = Bytes> + '_ {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.body.slice(start + LENGTH..*end))
    }

    /// Number of commands.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.ends.len()
    }
}

impl Write for Block {
    fn write(&self, buf: &mut impl BufMut) {
        self.parent.write(buf);
        self.height.write(buf);
        self.time_ms.write(buf);
        self.body.write(buf);
    }
}

impl EncodeSize for Block {
    fn encode_size(&self) -> usize {
        Digest::SIZE + self.height.encode_size() + u64::SIZE + self.body.encode_size()
    }
}

impl Read for Block {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, Error> {
        let parent = Digest::read(buf)?;
        let height = Height::read(buf)?;
        let time_ms = u64::read(buf)?;
        let body = Bytes::read_cfg(buf, &RangeCfg::from(..=BODY_LIMIT))?;
        let ends = ends(&body).ok_or(Error::Invalid("Block", "commands"))?;
        Ok(Self {
            parent,
            height,
            time_ms,
            body,
            ends,
        })
    }
}

/// Where the commands of a well-formed body end.
fn ends(body: &[u8]) -> Option<Vec<usize>> {
    let (mut ends, mut at) = (Vec::new(), 0);
    while at < body.len() {
        let length = body.get(at..)?.first_chunk::<LENGTH>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        at = at.checked_add(LENGTH)?.checked_add(length)?;
        if length == 0 || length > COMMAND_LIMIT || at > body.len() || ends.len() == COMMANDS_LIMIT
        {
            return None;
        }
        ends.push(at);
    }
    Some(ends)
}

impl Digestible for Block {
    type Digest = Digest;

    fn digest(&self) -> Digest {
        Sha256::hash(&[&self.encode()])
    }
}

impl Heightable for Block {
    fn height(&self) -> Height {
        self.height
    }
}

impl ConsensusBlock for Block {
    fn parent(&self) -> Digest {
        self.parent
    }
}

impl BoundedBlock for Block {
    fn max_encode_size((): &()) -> usize {
        // Five bytes hold the longest length prefix of the body.
        Digest::SIZE + Height::MAX_ENCODE_SIZE + u64::SIZE + 5 + BODY_LIMIT
    }
}

#[cfg(test)]
mod tests {
    use commonware_codec::DecodeExt as _;

    use super::*;

    fn block() -> Block {
        let commands = [&b"one"[..], b"two and more", b"3"].map(Bytes::from_static);
        Block::new(Digest([7; 32]), Height::new(5), 1_795_341_600_123, commands)
    }

    #[test]
    fn a_block_has_one_encoding_and_gives_its_commands_back() {
        let encoded = block().encode();
        assert_eq!(Block::decode(encoded.clone()).unwrap(), block());
        assert_eq!(encoded.len(), block().encode_size());
        let commands: Vec<_> = block().commands().collect();
        assert_eq!(commands, ["one", "two and more", "3"]);
    }

    #[test]
    fn a_body_that_lies_about_its_lengths_is_refused() {
        let golden = block().encode();
        for cut in 1..golden.len() {
            assert!(Block::decode(golden.slice(..cut)).is_err(), "cut at {cut}");
        }
        for bad in [&[0, 0, 0, 0][..], &[0, 0, 0, 2, 1], &[0xff; 8], &[0, 0, 0]] {
            assert_eq!(ends(bad), None);
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let large = Bytes::from(vec![1; COMMAND_LIMIT]);
        let block = Block::new(Digest([0; 32]), Height::new(1), 1, vec![large; 64]);
        assert_eq!(block.len(), BODY_LIMIT / (COMMAND_LIMIT + LENGTH));
        assert!(block.encode_size() <= Block::max_encode_size(&()));
        let excess = Bytes::from(vec![1; COMMAND_LIMIT + 1]);
        assert_eq!(
            Block::new(Digest([0; 32]), Height::new(1), 1, [excess]).len(),
            0
        );
    }
}
