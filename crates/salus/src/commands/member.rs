//! `salus member`: joining, leaving, replacing and revoking members by quorum; keys of one's own.

use std::path::PathBuf;

use anyhow::Context as _;
use salus_crypto::keys::{SecretKeys, random_secret};
use salus_proto::api::ledger::ProposalView;
use salus_proto::command::Action;
use salus_proto::encode::{from_bytes, to_bytes};
use salus_proto::ids::{OrganisationId, ProposalId};
use salus_proto::member::{Member, MembershipChange};
use salus_runtime::entropy::SystemEntropy;
use serde::Serialize;

use super::consortium::{Founding, card, parse_roles};
use super::session::{Actor, block_on};
use crate::files::{self, NodeKeys};
use crate::output::{Exit, Output};

/// Largest member card, in bytes.
const CARD_LIMIT: usize = 64 << 10;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make keys for an organisation that wants to join, or new keys for a member, and the card that the
    /// members vote on.
    Card(Card),
    /// Propose that the organisation of a card joins.
    Join(ByCard),
    /// Propose that a member's keys, address or roles are replaced by those of a card.
    Replace(ByCard),
    /// Propose that a member leaves in good standing.
    Leave(ByName),
    /// Propose that a member is expelled and its keys revoked.
    Revoke(ByName),
    /// Approve a proposal; the quorum's last approval carries it out.
    Approve {
        #[command(flatten)]
        actor: Actor,
        /// The proposal.
        proposal: ProposalId,
    },
    /// List proposals with their approvals.
    Proposals(Actor),
    /// List the members.
    List(Actor),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Card {
    /// Name of the organisation.
    #[arg(long)]
    name: String,
    /// hospital, cloud, coordinator, data-user; comma between.
    #[arg(long)]
    roles: String,
    /// Host under which the others reach the node.
    #[arg(long)]
    host: String,
    /// Port of the API.
    #[arg(long, default_value_t = 8443)]
    api_port: u16,
    /// Port of the consensus engine.
    #[arg(long, default_value_t = 9443)]
    engine_port: u16,
    /// The organisation's id, when a member replaces its keys; a fresh one if absent.
    #[arg(long)]
    organisation: Option<OrganisationId>,
    /// File to write the secret keys to; must not exist yet.
    #[arg(long)]
    keys: PathBuf,
    /// File to write the card to, for the members.
    #[arg(long)]
    card: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ByCard {
    #[command(flatten)]
    actor: Actor,
    /// The card.
    card: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ByName {
    #[command(flatten)]
    actor: Actor,
    /// The member.
    organisation: OrganisationId,
}

#[derive(Debug, Serialize)]
struct Made {
    organisation: OrganisationId,
    card: PathBuf,
    keys: PathBuf,
}

#[derive(Debug, Serialize)]
struct Proposed {
    proposal: ProposalId,
    entry: u64,
}

pub(crate) fn run(command: Command, output: &Output) -> anyhow::Result<Exit> {
    match command {
        Command::Card(arguments) => make_card(arguments, output),
        Command::Join(ByCard { actor, card }) => {
            propose(&actor, MembershipChange::Join(read_card(&card)?), output)
        }
        Command::Replace(ByCard { actor, card }) => {
            propose(&actor, MembershipChange::Replace(read_card(&card)?), output)
        }
        Command::Leave(ByName {
            actor,
            organisation,
        }) => propose(&actor, MembershipChange::Leave(organisation), output),
        Command::Revoke(ByName {
            actor,
            organisation,
        }) => propose(&actor, MembershipChange::Revoke(organisation), output),
        Command::Approve { actor, proposal } => {
            super::people::act(&actor, Action::ApproveMembership { proposal }, output)
        }
        Command::Proposals(actor) => block_on(async {
            let proposals: Vec<ProposalView> =
                actor.session().await?.node().all("/proposals").await?;
            for proposal in proposals {
                output.report(&proposal, |p| {
                    let state = match p.carried_out {
                        Some(at) => format!("carried out {at}"),
                        None if p.open => {
                            format!("{} of {} approvals", p.approvals.len(), p.needed)
                        }
                        None => "void: the membership has changed since".to_owned(),
                    };
                    format!("{}  {}  {state}", p.proposal, words(&p.change))
                })?;
            }
            Ok(Exit::Done)
        }),
        Command::List(actor) => block_on(async {
            for member in actor.session().await?.node().members().await? {
                output.report(&member, |m| {
                    format!("{}  {}  {}", m.organisation, m.name, m.api)
                })?;
            }
            Ok(Exit::Done)
        }),
    }
}

fn words(change: &MembershipChange) -> String {
    match change {
        MembershipChange::Join(member) => format!("{} joins", member.name),
        MembershipChange::Replace(member) => format!("{} replaces its keys", member.name),
        MembershipChange::Leave(organisation) => format!("{organisation} leaves"),
        MembershipChange::Revoke(organisation) => format!("{organisation} is expelled"),
    }
}

fn make_card(arguments: Card, output: &Output) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        !arguments.keys.exists(),
        "{} exists already; keys are never overwritten",
        arguments.keys.display()
    );
    let entropy = &mut SystemEntropy;
    let keys = NodeKeys {
        organisation: arguments
            .organisation
            .unwrap_or_else(|| OrganisationId::random(entropy)),
        keys: SecretKeys::generate(entropy)?,
        engine_seed: random_secret(entropy),
    };
    let founding = Founding {
        name: arguments.name,
        roles: parse_roles(&arguments.roles)?,
        host: arguments.host,
        api_port: arguments.api_port,
        engine_port: arguments.engine_port,
    };
    let member = card(&founding, &keys)?;
    keys.save(&arguments.keys)?;
    files::write(&arguments.card, &to_bytes(&member), 0o644)?;
    let made = Made {
        organisation: member.organisation,
        card: arguments.card,
        keys: arguments.keys,
    };
    output.report(&made, |m| {
        format!("{}  {}", m.organisation, m.card.display())
    })?;
    Ok(Exit::Done)
}

fn read_card(path: &std::path::Path) -> anyhow::Result<Member> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    from_bytes(&bytes, CARD_LIMIT, "a member card")
        .with_context(|| format!("{} is not a member card", path.display()))
}

fn propose(actor: &Actor, change: MembershipChange, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        let proposal = ProposalId::random(&mut SystemEntropy);
        let person = actor.session().await?;
        let receipt = person
            .act(Action::ProposeMembership { proposal, change })
            .await?;
        output.report(
            &Proposed {
                proposal,
                entry: receipt.entry,
            },
            |p| {
                format!(
                    "Proposed as {}; the members approve it with `salus member approve`.",
                    p.proposal
                )
            },
        )?;
        Ok(Exit::Done)
    })
}
