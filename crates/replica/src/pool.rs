//! Commands that wait to be ordered: bounded, each once, each principal's in sequence order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use salus_proto::{Digest, TimestampMs};

use crate::machine::Ready;

/// Most commands that wait.
pub(crate) const POOL_LIMIT: usize = 1 << 16;
/// Most bytes that wait.
const POOL_BYTES_LIMIT: usize = 64 << 20;
/// Most commands of one principal that wait.
const PRINCIPAL_LIMIT: usize = 4096;
/// Ids of finished commands that are remembered, so that late gossip does not bring them back.
const DONE_LIMIT: usize = 1 << 17;

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It waits already.
    Known,
    /// It was ordered already.
    Done,
    /// No room.
    Full,
}

#[derive(Debug)]
struct Item<P> {
    id: Digest,
    command: Bytes,
    ready: Ready<P>,
}

/// The waiting commands of one node.
#[derive(Debug)]
pub(crate) struct Pool<P> {
    next: u64,
    by_arrival: BTreeMap<u64, Item<P>>,
    arrivals: BTreeMap<Digest, u64>,
    by_principal: BTreeMap<[u8; 16], BTreeSet<(u64, u64)>>,
    bytes: usize,
    done: BTreeSet<Digest>,
    done_order: VecDeque<Digest>,
}

impl<P> Default for Pool<P> {
    fn default() -> Self {
        Self {
            next: 0,
            by_arrival: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            by_principal: BTreeMap::new(),
            bytes: 0,
            done: BTreeSet::new(),
            done_order: VecDeque::new(),
        }
    }
}

impl<P> Pool<P> {
    /// Takes a command that passed its check.
    pub(crate) fn add(
        &mut self,
        id: Digest,
        command: Bytes,
        ready: Ready<P>,
    ) -> Result<(), NotTaken> {
        if self.arrivals.contains_key(&id) {
            return Err(NotTaken::Known);
        }
        if self.done.contains(&id) {
            return Err(NotTaken::Done);
        }
        let mine = self.by_principal.entry(ready.principal).or_default();
        if self.by_arrival.len() >= POOL_LIMIT
            || self.bytes + command.len() > POOL_BYTES_LIMIT
            || mine.len() >= PRINCIPAL_LIMIT
        {
            return Err(NotTaken::Full);
        }
        let arrival = self.next;
        self.next += 1;
        mine.insert((ready.sequence, arrival));
        self.bytes += command.len();
        self.arrivals.insert(id, arrival);
        self.by_arrival.insert(arrival, Item { id, command, ready });
        Ok(())
    }

    /// Whether the command waits or was ordered lately, so that it need not be checked again.
    pub(crate) fn knows(&self, id: &Digest) -> bool {
        self.arrivals.contains_key(id) || self.done.contains(id)
    }

    /// What admission made of a waiting command.
    pub(crate) fn prepared(&self, id: &Digest) -> Option<Arc<P>> {
        Some(
            self.by_arrival
                .get(self.arrivals.get(id)?)?
                .ready
                .prepared
                .clone(),
        )
    }

    /// Number of waiting commands.
    pub(crate) fn len(&self) -> usize {
        self.by_arrival.len()
    }

    /// The commands to propose next, oldest first and each principal's in sequence order, without
    /// those in `taken` and those that have expired.
    pub(crate) fn pick(
        &self,
        taken: &BTreeSet<Digest>,
        now: TimestampMs,
        limit: usize,
        bytes_limit: usize,
    ) -> Vec<Bytes> {
        let usable = |item: &Item<P>| item.ready.expires >= now && !taken.contains(&item.id);
        let mut cursors = BTreeMap::new();
        let (mut picked, mut bytes) = (Vec::new(), 0);
        for slot in self
            .by_arrival
            .values()
            .filter(|item| usable(item))
            .take(limit)
        {
            let principal = slot.ready.principal;
            let cursor = cursors.entry(principal).or_insert_with(|| {
                let mine = self.by_principal.get(&principal).into_iter().flatten();
                mine.filter_map(|(_, arrival)| self.by_arrival.get(arrival))
                    .filter(|item| usable(item))
            });
            // As many usable items as slots, so there is one for each.
            let Some(item) = cursor.next() else { continue };
            bytes += item.command.len() + 4;
            if bytes > bytes_limit {
                break;
            }
            picked.push(item.command.clone());
        }
        picked
    }

    /// Forgets a command that was ordered, and remembers that it was.
    pub(crate) fn finish(&mut self, id: Digest) {
        self.forget(&id);
        if self.done.insert(id) {
            self.done_order.push_back(id);
        }
        if self.done_order.len() > DONE_LIMIT
            && let Some(oldest) = self.done_order.pop_front()
        {
            self.done.remove(&oldest);
        }
    }

    /// Drops commands that can only be refused by now.
    pub(crate) fn expire(&mut self, now: TimestampMs) {
        let expired: Vec<Digest> = self
            .by_arrival
            .values()
            .filter(|item| item.ready.expires < now)
            .map(|item| item.id)
            .collect();
        expired.iter().for_each(|id| self.forget(id));
    }

    fn forget(&mut self, id: &Digest) {
        let Some(arrival) = self.arrivals.remove(id) else {
            return;
        };
        let Some(item) = self.by_arrival.remove(&arrival) else {
            return;
        };
        self.bytes -= item.command.len();
        if let Some(mine) = self.by_principal.get_mut(&item.ready.principal) {
            mine.remove(&(item.ready.sequence, arrival));
            if mine.is_empty() {
                self.by_principal.remove(&item.ready.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command_id;

    fn add(pool: &mut Pool<()>, principal: u8, sequence: u64) -> Result<Digest, NotTaken> {
        let command = Bytes::from(format!("{principal}:{sequence}"));
        let ready = Ready {
            principal: [principal; 16],
            sequence,
            expires: TimestampMs(1000),
            prepared: Arc::new(()),
        };
        let id = command_id(&command);
        pool.add(id, command, ready).map(|()| id)
    }

    fn picked(pool: &Pool<()>, taken: &BTreeSet<Digest>) -> Vec<String> {
        let commands = pool.pick(taken, TimestampMs(0), 100, 1 << 20);
        commands
            .iter()
            .map(|c| String::from_utf8(c.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn each_principals_commands_come_in_sequence_order() {
        let mut pool = Pool::default();
        for (principal, sequence) in [(1, 2), (2, 1), (1, 1), (1, 3), (2, 2)] {
            add(&mut pool, principal, sequence).unwrap();
        }
        assert_eq!(
            picked(&pool, &BTreeSet::new()),
            ["1:1", "2:1", "1:2", "1:3", "2:2"]
        );
        let taken = [command_id(b"1:1")].into();
        assert_eq!(picked(&pool, &taken), ["1:2", "2:1", "1:3", "2:2"]);
    }

    #[test]
    fn a_command_is_taken_once_even_after_it_was_ordered() {
        let mut pool = Pool::default();
        let id = add(&mut pool, 1, 1).unwrap();
        assert_eq!(add(&mut pool, 1, 1), Err(NotTaken::Known));
        pool.finish(id);
        assert_eq!(pool.len(), 0);
        assert_eq!(add(&mut pool, 1, 1), Err(NotTaken::Done));
    }

    #[test]
    fn one_principal_cannot_fill_the_pool() {
        let mut pool = Pool::default();
        for sequence in 0..PRINCIPAL_LIMIT as u64 {
            add(&mut pool, 1, sequence).unwrap();
        }
        assert_eq!(add(&mut pool, 1, u64::MAX), Err(NotTaken::Full));
        add(&mut pool, 2, 1).unwrap();
    }

    #[test]
    fn expired_commands_are_not_proposed_and_then_dropped() {
        let mut pool = Pool::default();
        add(&mut pool, 1, 1).unwrap();
        assert!(
            pool.pick(&BTreeSet::new(), TimestampMs(1001), 10, 1 << 20)
                .is_empty()
        );
        pool.expire(TimestampMs(1001));
        assert_eq!((pool.len(), pool.bytes), (0, 0));
    }
}
