//! Checkpoints among members: sign what was executed, collect what others signed, keep evidence.
//! Also the heartbeat by which members know each other's heights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use commonware_cryptography::ed25519::PublicKey;
use commonware_macros::select_loop;
use commonware_p2p::{Receiver, Recipients, Sender};
use commonware_runtime::{Clock, IoBuf, Spawner};
use minicbor::{Decode, Encode};
use salus_ledger::MemberList;
use salus_ledger::certificate::{CertifiedCheckpoint, signature_lines, verify_member};
use salus_proto::TimestampMs;
use salus_proto::checkpoint::{Checkpoint, NOTE_LIMIT, SignedNote, member_key_name};
use salus_proto::encode;
use salus_proto::ids::OrganisationId;
use salus_proto::member::Member;
use tokio::sync::mpsc;

use super::app::now_ms;
use super::epochs::{Epochs, engine_key};
use super::{NoteSigner, Timing};
use crate::Error;
use crate::chain::View;
use crate::machine::{Machine, command_id};
use crate::replica::{Certified, Peer, Shared, Stall, lock};
use crate::store::Mark;

/// Longest message of this channel, in bytes.
pub(crate) const MESSAGE_LIMIT: usize = NOTE_LIMIT + 64;
/// Time between heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(1000);
/// Time between looks at what waits too long.
const TICK: Duration = Duration::from_millis(250);
/// A member not heard for so long counts as missing, in milliseconds.
const MISSING_AFTER_MS: u64 = 3500;
/// Heights behind another member at which a replica says that it is syncing.
const SYNCING_BEHIND: u64 = 32;
/// Own checkpoints kept until they are certified.
const PENDING_LIMIT: usize = 64;
/// Notes kept for checkpoints that this replica has not reached.
const EARLY_LIMIT: usize = 256;
/// Own commands are passed on again after so long, in milliseconds.
const RESEND_AFTER_MS: u64 = 1000;
/// Handovers asked for at once.
const ASK_LIMIT: usize = 16;

/// What members tell each other beside the engine.
#[derive(Debug, Encode, Decode)]
enum Message {
    /// A heartbeat.
    #[n(0)]
    #[cbor(map)]
    Alive {
        #[n(0)]
        height: u64,
        #[n(1)]
        epoch: u64,
        #[n(2)]
        certified: u64,
    },
    /// A checkpoint with one or more signatures.
    #[n(1)]
    Note(#[n(0)] String),
    /// The last height of an epoch that the receiver still believes in.
    #[n(2)]
    Ended(#[n(0)] u64, #[n(1)] u64),
    /// A request for the certificate of the handover at this log size.
    #[n(3)]
    Handover(#[n(0)] u64),
}

/// What the executor tells this task.
pub(crate) enum Due {
    /// A checkpoint holds after an executed block.
    Checkpoint(Checkpoint, View),
    /// The tip moved.
    Executed(Mark),
}

struct Pending {
    gathering: Gathering,
    checkpoint: Checkpoint,
    view: View,
}

/// A note on its way to a quorum's signatures.
struct Gathering {
    note: SignedNote,
    members: Arc<MemberList>,
    signers: BTreeSet<OrganisationId>,
}

impl Gathering {
    /// A note with our own signature, if we are one of those who sign it.
    fn begin(text: String, members: Arc<MemberList>, signer: &dyn NoteSigner) -> Option<Self> {
        let mut note = SignedNote::new(text).ok()?;
        let mut signers = BTreeSet::new();
        if let Some(member) = members.member(signer.organisation())
            && let Some((ed25519, ml_dsa_65)) = signer.sign(note.text().as_bytes())
        {
            let mut mine = note.clone();
            for line in signature_lines(member, ed25519, ml_dsa_65) {
                mine.add(line).ok()?;
            }
            // Keys other than the list's, as around their replacement, would spoil the note.
            if verify_member(&mine, member).is_ok() {
                note = mine;
                signers.insert(member.organisation);
            }
        }
        Some(Self {
            note,
            members,
            signers,
        })
    }

    /// Adds the valid signatures of a note with the same text.
    fn add(&mut self, note: &SignedNote) {
        for member in self.members.members() {
            let theirs = note.only(&member_key_name(member.organisation));
            if theirs.signatures().is_empty()
                || self.signers.contains(&member.organisation)
                || verify_member(&theirs, member).is_err()
            {
                continue;
            }
            for line in theirs.signatures() {
                // A full note is certified already.
                let _ = self.note.add(line.clone());
            }
            self.signers.insert(member.organisation);
        }
    }

    fn is_certified(&self) -> bool {
        self.signers.len() >= self.members.quorum()
    }

    /// The note with our own signature alone, to be passed around.
    fn mine(&self, me: OrganisationId) -> Option<Message> {
        let mine = self.note.only(&member_key_name(me));
        (!mine.signatures().is_empty()).then(|| Message::Note(mine.to_string()))
    }
}

#[derive(Default)]
struct Heard {
    at_ms: Option<u64>,
    height: u64,
    epoch: u64,
}

/// The task's memory.
pub(crate) struct Notes<M: Machine> {
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) epochs: Epochs,
    pub(crate) signer: Arc<dyn NoteSigner>,
    pub(crate) origin: String,
    pub(crate) timing: Timing,
    pub(crate) due: mpsc::UnboundedReceiver<Due>,
    /// Told when another member knows that an epoch has ended: peer and the epoch's last height.
    pub(crate) ended: mpsc::UnboundedSender<(PublicKey, u64)>,
    pending: BTreeMap<u64, Pending>,
    early: BTreeMap<u64, Vec<SignedNote>>,
    /// Handovers without a certificate, by log size: fresh ones, and those from before we joined.
    handovers: BTreeMap<u64, Gathering>,
    /// Epochs below this number have been looked at for a handover.
    looked_at: u64,
    heard: BTreeMap<PublicKey, Heard>,
    tip: Mark,
}

impl<M: Machine> Notes<M> {
    #[expect(clippy::too_many_arguments, reason = "the wiring of one task")]
    pub(crate) fn new(
        shared: Arc<Shared<M>>,
        epochs: Epochs,
        signer: Arc<dyn NoteSigner>,
        origin: String,
        timing: Timing,
        due: mpsc::UnboundedReceiver<Due>,
        ended: mpsc::UnboundedSender<(PublicKey, u64)>,
        tip: Mark,
    ) -> Self {
        let (pending, early, handovers, looked_at, heard) = Default::default();
        Self {
            shared,
            epochs,
            signer,
            origin,
            timing,
            due,
            ended,
            pending,
            early,
            handovers,
            looked_at,
            heard,
            tip,
        }
    }

    pub(crate) async fn run<E: Spawner + Clock>(
        mut self,
        context: E,
        mut sender: impl Sender<PublicKey = PublicKey>,
        mut receiver: impl Receiver<PublicKey = PublicKey>,
    ) {
        self.restore();
        let mut next_beat = context.current();
        self.tick(now_ms(&context));
        select_loop! {
            context,
            on_stopped => {},
            Some(due) = self.due.recv() else break => match due {
                Due::Executed(tip) => self.tip = tip,
                Due::Checkpoint(checkpoint, view) => self.sign(checkpoint, view, &mut sender),
            },
            Ok((peer, message)) = receiver.recv() else break => {
                self.receive(peer, message.as_ref(), now_ms(&context), &mut sender);
            },
            _ = context.sleep(TICK) => {
                self.tick(now_ms(&context));
                if context.current() >= next_beat {
                    next_beat = context.current() + HEARTBEAT;
                    self.beat(&mut sender);
                }
            },
        }
    }

    /// The latest certified checkpoint of an earlier run.
    fn restore(&self) {
        let latest = self
            .shared
            .store
            .read()
            .and_then(|view| view.checkpoint(u64::MAX));
        let Ok(Some((_, note))) = latest else { return };
        let Ok(signed) = SignedNote::parse(&note) else {
            return;
        };
        if let Ok(checkpoint) = Checkpoint::parse(signed.text()) {
            self.shared.certify(Certified {
                checkpoint,
                note: note.into(),
                view: None,
            });
        }
    }

    fn tick(&mut self, now_ms: u64) {
        self.shared.tell_time(now_ms);
        self.shared.resend(now_ms, RESEND_AFTER_MS);
        self.look_for_handovers();
        lock(&self.shared.pool).expire(TimestampMs(now_ms));
        let me = self.signer.organisation();
        let (epoch, members) = match self.epochs.latest() {
            Some((number, _)) => (number, self.epochs.members(number)),
            None => (0, None),
        };
        let (mut peers, mut missing) = (Vec::new(), Vec::new());
        let everyone = members.iter().flat_map(|members| members.members());
        for member in everyone.filter(|member| member.organisation != me) {
            let heard = engine_key(&member.engine_key).and_then(|key| self.heard.get(&key));
            let heard_ms = heard.and_then(|heard| heard.at_ms);
            if heard_ms.is_none_or(|at| at + MISSING_AFTER_MS < now_ms) {
                missing.push(member.organisation);
            }
            let height = heard.map_or(0, |heard| heard.height);
            peers.push(Peer {
                organisation: member.organisation,
                heard_ms,
                height,
            });
        }
        let reachable = members
            .as_ref()
            .is_some_and(|members| members.members().len() - missing.len() >= members.quorum());
        let missing = (!reachable).then_some(missing);
        let timeout_ms = u64::try_from(self.timing.submit.as_millis()).unwrap_or(u64::MAX);
        self.shared.time_out(now_ms, timeout_ms, missing.as_deref());
        let highest = self
            .heard
            .values()
            .map(|heard| heard.height)
            .max()
            .unwrap_or(0);
        let mut status = lock(&self.shared.status);
        status.height = self.tip.height;
        status.time_ms = self.tip.time_ms;
        status.size = self.tip.size;
        status.epoch = epoch;
        status.syncing = highest > self.tip.height + SYNCING_BEHIND;
        status.peers = peers;
        status.stalled = missing.map(|missing| Stall::NoQuorum { missing });
    }

    fn beat(&mut self, sender: &mut impl Sender<PublicKey = PublicKey>) {
        let certified = self.shared.certified().map_or(0, |c| c.checkpoint.size);
        let alive = Message::Alive {
            height: self.tip.height,
            epoch: self.epochs.latest().map_or(0, |(number, _)| number),
            certified,
        };
        send(sender, Recipients::All, &alive);
        // Others may have missed our signature.
        let me = self.signer.organisation();
        if let Some((_, pending)) = self.pending.last_key_value()
            && let Some(mine) = pending.gathering.mine(me)
        {
            send(sender, Recipients::All, &mine);
        }
        for (size, handover) in self.handovers.iter().take(ASK_LIMIT) {
            send(sender, Recipients::All, &Message::Handover(*size));
            if let Some(mine) = handover.mine(me) {
                send(sender, Recipients::All, &mine);
            }
        }
    }

    /// Notes which ended epochs lack the certificate of their handover.
    fn look_for_handovers(&mut self) {
        while let Some((handover, members)) = self.epochs.handover(self.looked_at) {
            self.looked_at += 1;
            if self.certificate(handover.size).is_some() {
                continue;
            }
            if let Some(open) = Gathering::begin(handover.text, members, &*self.signer) {
                self.handovers.insert(handover.size, open);
                self.conclude_handover(handover.size);
            }
        }
    }

    /// The stored certificate at exactly this log size.
    fn certificate(&self, size: u64) -> Option<String> {
        let stored = self.shared.store.read().and_then(|v| v.checkpoint(size));
        let (at, note) = stored.ok()??;
        (at == size).then_some(note)
    }

    /// Keeps the certificate of a handover once a quorum has signed.
    fn conclude_handover(&mut self, size: u64) {
        let certified = self.handovers.get(&size).filter(|g| g.is_certified());
        let Some(note) = certified.map(|gathering| gathering.note.to_string()) else {
            return;
        };
        let keep = self.epochs.handovers();
        if let Err(error) = self.shared.store.put_checkpoint(size, &note, &keep) {
            self.shared.fail(error);
            return;
        }
        self.shared.tell_progress();
        self.close_handover(size);
    }

    /// Goes on with what the next members signed, which waited for their handover.
    fn close_handover(&mut self, size: u64) {
        if self.handovers.remove(&size).is_some() {
            let waiting: Vec<u64> = self.pending.range(size..).map(|(at, _)| *at).collect();
            for size in waiting {
                self.conclude(size);
            }
        }
    }

    fn sign(
        &mut self,
        checkpoint: Checkpoint,
        view: View,
        sender: &mut impl Sender<PublicKey = PublicKey>,
    ) {
        let size = checkpoint.size;
        if self.pending.contains_key(&size) || self.refresh(&checkpoint, &view) {
            return;
        }
        let Some(members) = self.epochs.members_at(checkpoint.height) else {
            return;
        };
        let Ok(text) = checkpoint.text() else { return };
        let Some(gathering) = Gathering::begin(text, members, &*self.signer) else {
            return;
        };
        if let Some(mine) = gathering.mine(self.signer.organisation()) {
            send(sender, Recipients::All, &mine);
        }
        self.pending.insert(
            size,
            Pending {
                gathering,
                checkpoint,
                view,
            },
        );
        if self.pending.len() > PENDING_LIMIT {
            self.pending.pop_first();
        }
        for note in self.early.remove(&size).unwrap_or_default() {
            self.collect(size, &note);
        }
        self.early = self.early.split_off(&size);
        self.conclude(size);
    }

    /// Gives the certified checkpoint of an earlier run the view that proofs need.
    fn refresh(&self, checkpoint: &Checkpoint, view: &View) -> bool {
        match self.shared.certified() {
            Some(certified) if certified.checkpoint.size == checkpoint.size => {
                if certified.checkpoint == *checkpoint {
                    self.shared.refresh(view.clone());
                } else {
                    self.shared.fail(Error::Diverged {
                        size: checkpoint.size,
                    });
                }
                true
            }
            Some(certified) => certified.checkpoint.size > checkpoint.size,
            None => false,
        }
    }

    fn receive(
        &mut self,
        peer: PublicKey,
        message: &[u8],
        now_ms: u64,
        sender: &mut impl Sender<PublicKey = PublicKey>,
    ) {
        let Ok(message) = encode::from_bytes(message, MESSAGE_LIMIT, "member message") else {
            return;
        };
        let heard = self.heard.entry(peer.clone()).or_default();
        heard.at_ms = Some(now_ms);
        match message {
            Message::Alive {
                height,
                epoch,
                certified,
            } => {
                heard.height = height;
                heard.epoch = epoch;
                if let Some(ours) = self.shared.certified()
                    && ours.checkpoint.size > certified
                {
                    let note = Message::Note(ours.note.to_string());
                    send(sender, Recipients::One(peer.clone()), &note);
                }
                if let Some(last) = self.epochs.get(epoch).and_then(|epoch| epoch.last)
                    && last <= self.tip.height
                {
                    send(sender, Recipients::One(peer), &Message::Ended(epoch, last));
                }
            }
            Message::Ended(epoch, last) => {
                let current = self.epochs.latest();
                if current.is_some_and(|(number, known)| number == epoch && known.first <= last) {
                    // A closed channel means that the engine is stopping.
                    drop(self.ended.send((peer, last)));
                }
            }
            Message::Handover(size) => {
                if self.epochs.handovers().contains(&size)
                    && let Some(note) = self.certificate(size)
                {
                    send(sender, Recipients::One(peer), &Message::Note(note));
                }
            }
            Message::Note(text) => {
                let Ok(note) = SignedNote::parse(&text) else {
                    return;
                };
                let Ok(checkpoint) = Checkpoint::parse(note.text()) else {
                    return;
                };
                if checkpoint.origin == self.origin {
                    self.take(checkpoint.size, note);
                }
            }
        }
    }

    fn take(&mut self, size: u64, note: SignedNote) {
        if let Some(handover) = self.handovers.get_mut(&size) {
            if handover.note.text() == note.text() {
                handover.add(&note);
                self.conclude_handover(size);
            } else if CertifiedCheckpoint::verify(&note, &handover.members, &self.origin).is_ok() {
                self.shared.fail(Error::Diverged { size });
            }
        }
        if self.pending.contains_key(&size) {
            self.collect(size, &note);
            self.conclude(size);
        } else if size > self.tip.size {
            let count: usize = self.early.values().map(Vec::len).sum();
            if count < EARLY_LIMIT {
                self.early.entry(size).or_default().push(note);
            } else if self
                .early
                .last_key_value()
                .is_some_and(|(last, _)| *last < size)
            {
                self.early.pop_first();
                self.early.entry(size).or_default().push(note);
            }
        } else if let Some(certified) = self.shared.certified()
            && certified.checkpoint.size == size
            && let Ok(ours) = SignedNote::parse(&certified.note)
            && let Some(members) = self.epochs.members_at(certified.checkpoint.height)
        {
            self.convict(&ours, &note, &members);
        }
    }

    /// Adds the valid signatures of a note about the same log; keeps others as evidence.
    fn collect(&mut self, size: u64, note: &SignedNote) {
        let Some(pending) = self.pending.get_mut(&size) else {
            return;
        };
        let gathering = &mut pending.gathering;
        if note.text() != gathering.note.text() {
            let (ours, members) = (gathering.note.clone(), gathering.members.clone());
            if CertifiedCheckpoint::verify(note, &members, &self.origin).is_ok() {
                self.shared.fail(Error::Diverged { size });
            }
            self.convict(&ours, note, &members);
            return;
        }
        gathering.add(note);
    }

    /// Keeps the note of a member that validly signed another log than ours.
    fn convict(&self, ours: &SignedNote, theirs: &SignedNote, members: &MemberList) {
        if ours.text() == theirs.text() {
            return;
        }
        for member in members.members() {
            let signed = theirs.only(&member_key_name(member.organisation));
            if !signed.signatures().is_empty() && verify_member(&signed, member).is_ok() {
                tracing::warn!(member = %member.organisation, "member signed a different log");
                let id = command_id(signed.text().as_bytes());
                let notes = format!("{ours}\n{signed}");
                if let Err(error) = self.shared.store.put_evidence(&id, &notes) {
                    self.shared.fail(error);
                }
            }
        }
    }

    /// Certifies a checkpoint that a quorum signed, once every handover before it is certified too:
    /// who knows only the genesis could not tell that these are the members.
    fn conclude(&mut self, size: u64) {
        self.look_for_handovers();
        if self.handovers.range(..size).next().is_some() {
            return;
        }
        let Some(pending) = self.pending.get(&size) else {
            return;
        };
        if !pending.gathering.is_certified() {
            return;
        }
        let note = pending.gathering.note.to_string();
        let keep: Vec<u64> = self.epochs.handovers();
        if let Err(error) = self.shared.store.put_checkpoint(size, &note, &keep) {
            self.shared.fail(error);
            return;
        }
        self.shared.certify(Certified {
            checkpoint: pending.checkpoint.clone(),
            note: note.into(),
            view: Some(pending.view.clone()),
        });
        // What an older epoch's members have yet to sign is their handover, and stays.
        let members = pending.gathering.members.digest();
        self.pending
            .retain(|at, pending| *at > size || pending.gathering.members.digest() != members);
        self.pending.remove(&size);
        self.close_handover(size);
    }
}

/// The answer of a liar: a validly signed checkpoint over another log than the one in `message`.
pub(crate) fn lie(message: &[u8], member: &Member, signer: &dyn NoteSigner) -> Option<Vec<u8>> {
    let Ok(Message::Note(text)) = encode::from_bytes(message, MESSAGE_LIMIT, "member message")
    else {
        return None;
    };
    let mut checkpoint = Checkpoint::parse(SignedNote::parse(&text).ok()?.text()).ok()?;
    checkpoint.root.0[0] ^= 1;
    let mut note = SignedNote::new(checkpoint.text().ok()?).ok()?;
    let (ed25519, ml_dsa_65) = signer.sign(note.text().as_bytes())?;
    for line in signature_lines(member, ed25519, ml_dsa_65) {
        note.add(line).ok()?;
    }
    Some(encode::to_bytes(&Message::Note(note.to_string())))
}

fn send(
    sender: &mut impl Sender<PublicKey = PublicKey>,
    to: Recipients<PublicKey>,
    message: &Message,
) {
    // Who is not reached now hears the next heartbeat.
    drop(sender.send(to, IoBuf::from(encode::to_bytes(message)), false));
}
