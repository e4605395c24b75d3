//! `salus member`: joining, leaving, replacing and revoking members by quorum; keys of one's own.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use salus_client::node::Node;
use salus_client::person::Person;
use salus_ledger::bundle::Bundle;
use salus_proto::api::ledger::ProposalView;
use salus_proto::checkpoint::MEMBERS_STATE_KEY;
use salus_proto::command::Action;
use salus_proto::encode::from_bytes;
use salus_proto::ids::{OrganisationId, ProposalId};
use salus_proto::member::{GENESIS_LIMIT, Genesis, Member, MemberCard, MembershipChange};
use salus_proto::role::NodeRole;
use salus_replica::engine_public;
use salus_runtime::clock::SystemClock;
use salus_runtime::entropy::SystemEntropy;
use serde::Serialize;

use super::consortium::{Authority, Founding, card, configuration, folder_name, parse_roles};
use super::session::{Actor, block_on};
use crate::config::NodeConfig;
use crate::files::{self, KeyFiles, NodeKeys};
use crate::membership::{introduced, introduction};
use crate::node;
use crate::output::{Exit, Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make everything that an organisation which wants to join needs: keys, certificate, configuration,
    /// and the card that the members vote on.
    ///
    /// Writes a folder with node.toml, NAME.card and secret keys. Hand the card to the members, over a
    /// channel on which they know that it is yours. Once they have voted, start `salus node`: it
    /// fetches the ledger from the members, verifies it, and takes part.
    #[command(after_help = "\
Example, with what a member handed over:
  salus member prepare --dir east --name 'East Hospital' --roles hospital --host east.example \\
    --genesis genesis.cbor --authority authority.pem --introduction introduction.json")]
    Prepare(Prepare),
    /// Write a proof of who the members are, for an organisation that is to join.
    ///
    /// Needed once the members are not the founders any more. It verifies against the genesis file alone.
    Introduce {
        /// Act as the organisation of this node configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// File to write.
        #[arg(long)]
        to: PathBuf,
    },
    /// Propose that the organisation of a card joins, and trust the authority of its certificate.
    Join(ByCard),
    /// Add the authority of a card's certificate to those that this node trusts.
    Trust {
        /// The node's configuration; the authority is added to its `api.authority` file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The card.
        card: PathBuf,
    },
    /// Make new keys for this member and propose that they replace the current ones.
    ///
    /// The running node takes them when the members have approved: it starts anew by itself, wraps what
    /// was wrapped to the old keys to the new ones, and destroys the old ones when that is done.
    /// Repeating the command proposes the same keys again.
    Rotate {
        /// The node's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Make new keys for a member whose node is gone, and the card that the members vote on.
    Card(Card),
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
        /// The card that the organisation handed over: approve only if the proposal is about exactly
        /// this card. With --config its certificate's authority is trusted, too.
        #[arg(long)]
        card: Option<PathBuf>,
    },
    /// List proposals with their approvals.
    Proposals(Actor),
    /// List the members.
    List(Actor),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Place {
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
}

#[derive(Debug, clap::Args)]
pub(crate) struct Prepare {
    #[command(flatten)]
    place: Place,
    /// Folder to write; must not exist yet, or be empty.
    #[arg(long)]
    dir: PathBuf,
    /// The consortium's genesis file; compare its digest with the published one.
    #[arg(long)]
    genesis: PathBuf,
    /// PEM file with the authorities of the members' certificates.
    #[arg(long)]
    authority: PathBuf,
    /// Proof of who the members are; without it they are the founders.
    #[arg(long)]
    introduction: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Card {
    #[command(flatten)]
    place: Place,
    /// The member's id.
    #[arg(long)]
    organisation: OrganisationId,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Introduced {
    file: PathBuf,
    version: u64,
    members: usize,
}

#[derive(Debug, Serialize)]
struct Trusted {
    name: String,
    authority: PathBuf,
    added: bool,
}

#[derive(Debug, Serialize)]
struct Proposed {
    proposal: ProposalId,
    entry: u64,
}

pub(crate) fn run(command: Command, output: &Output) -> anyhow::Result<Exit> {
    match command {
        Command::Prepare(arguments) => prepare(&arguments, output),
        Command::Introduce { config, to } => introduce(&config, to, output),
        Command::Card(arguments) => make_card(arguments, output),
        Command::Join(ByCard { actor, card }) => {
            let card = files::read_card(&card)?;
            trust_too(&actor, &card, output)?;
            propose(&actor, MembershipChange::Join(card.member), output)
        }
        Command::Trust { config, card } => trust(
            &NodeConfig::load(&config)?,
            &files::read_card(&card)?,
            output,
        ),
        Command::Rotate { config } => rotate(&config, output),
        Command::Replace(ByCard { actor, card }) => {
            let card = files::read_card(&card)?;
            trust_too(&actor, &card, output)?;
            propose(&actor, MembershipChange::Replace(card.member), output)
        }
        Command::Leave(ByName {
            actor,
            organisation,
        }) => propose(&actor, MembershipChange::Leave(organisation), output),
        Command::Revoke(ByName {
            actor,
            organisation,
        }) => propose(&actor, MembershipChange::Revoke(organisation), output),
        Command::Approve {
            actor,
            proposal,
            card,
        } => {
            if let Some(card) = card {
                let card = files::read_card(&card)?;
                block_on(check_proposal(&actor, proposal, &card.member))?;
                trust_too(&actor, &card, output)?;
            }
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

impl Place {
    fn founding(&self) -> anyhow::Result<Founding> {
        ensure!(
            !folder_name(&self.name).is_empty(),
            "an organisation needs a name with a letter or digit"
        );
        Ok(Founding {
            name: self.name.trim().to_owned(),
            roles: parse_roles(&self.roles)?,
            host: self.host.clone(),
            api_port: self.api_port,
            engine_port: self.engine_port,
        })
    }
}

fn prepare(arguments: &Prepare, output: &Output) -> anyhow::Result<Exit> {
    let dir = &arguments.dir;
    let taken = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    ensure!(
        !taken,
        "{} is not empty; choose another folder",
        dir.display()
    );
    let genesis_bytes = std::fs::read(&arguments.genesis)
        .with_context(|| format!("cannot read {}", arguments.genesis.display()))?;
    let genesis: Genesis = from_bytes(&genesis_bytes, GENESIS_LIMIT, "a genesis file")
        .with_context(|| format!("{} is not a genesis file", arguments.genesis.display()))?;
    let authorities = std::fs::read_to_string(&arguments.authority)
        .with_context(|| format!("cannot read {}", arguments.authority.display()))?;
    let members = match &arguments.introduction {
        Some(path) => introduction(path, &genesis)?.members().to_vec(),
        None => genesis.members,
    };
    let founding = arguments.place.founding()?;
    ensure!(
        members.iter().all(|m| m.name != founding.name),
        "a member is called {} already",
        founding.name
    );
    let clouds: Vec<String> = members
        .into_iter()
        .filter(|m| m.roles.contains(&NodeRole::Cloud))
        .map(|m| m.name)
        .collect();

    let entropy = &mut SystemEntropy;
    let keys = NodeKeys::generate(OrganisationId::random(entropy), entropy)?;
    let member = card(&founding, &keys)?;
    let authority = Authority::new(&founding.name)?;
    let card_file = format!("{}.card", folder_name(&founding.name));
    let mut config = configuration(&founding, &clouds);
    config.genesis = "genesis.cbor".into();
    config.api.authority = "authority.pem".into();
    config.card = Some(card_file.clone().into());
    if let Some(path) = &arguments.introduction {
        config.introduction = Some("introduction.json".into());
        let proof = std::fs::read(path)?;
        files::write(&dir.join("introduction.json"), &proof, 0o644)?;
    }
    files::write(&dir.join("genesis.cbor"), &genesis_bytes, 0o644)?;
    let both = joined(&authorities, &authority.certificate);
    files::write(&dir.join("authority.pem"), both.as_bytes(), 0o644)?;
    keys.save(&dir.join(&config.keys))?;
    authority.issue(&founding.host, dir)?;
    let organisation = member.organisation;
    let card = MemberCard {
        member,
        authority: Some(authority.certificate),
    };
    files::write_card(&dir.join(&card_file), &card)?;
    let text = toml::to_string_pretty(&config)?;
    files::write(&dir.join("node.toml"), text.as_bytes(), 0o644)?;
    let made = Made {
        organisation,
        card: dir.join(card_file),
        keys: dir.join(&config.keys),
        config: Some(dir.join("node.toml")),
    };
    output.report(&made, |m| {
        format!(
            "Prepared {} ({}).\nHand {} to the members; when they have voted:\n  salus node --config {}",
            founding.name,
            m.organisation,
            m.card.display(),
            dir.join("node.toml").display()
        )
    })?;
    Ok(Exit::Done)
}

fn introduce(config: &Path, to: PathBuf, output: &Output) -> anyhow::Result<Exit> {
    let config = NodeConfig::load(config)?;
    let genesis = files::read_genesis(&config.genesis)?;
    block_on(async {
        let clock = std::sync::Arc::new(SystemClock::new());
        let person = node::organisation_session(&config, clock).await?;
        let path = format!("/ledger/proofs/state/{}", hex::encode(MEMBERS_STATE_KEY));
        let json = person.node().bytes(&path, None).await?;
        let list = introduced(&Bundle::from_json(&json)?, &genesis)
            .context("the node's proof of who the members are is not to be trusted")?;
        files::write(&to, &json, 0o644)?;
        let introduced = Introduced {
            file: to,
            version: list.version(),
            members: list.members().len(),
        };
        output.report(&introduced, |i| {
            format!("{}: {} members", i.file.display(), i.members)
        })?;
        Ok(Exit::Done)
    })
}

fn make_card(arguments: Card, output: &Output) -> anyhow::Result<Exit> {
    ensure!(
        !arguments.keys.exists(),
        "{} exists already; keys are never overwritten",
        arguments.keys.display()
    );
    let keys = NodeKeys::generate(arguments.organisation, &mut SystemEntropy)?;
    let member = card(&arguments.place.founding()?, &keys)?;
    keys.save(&arguments.keys)?;
    let organisation = member.organisation;
    let card = MemberCard {
        member,
        authority: None,
    };
    files::write_card(&arguments.card, &card)?;
    let made = Made {
        organisation,
        card: arguments.card,
        keys: arguments.keys,
        config: None,
    };
    output.report(&made, |m| {
        format!("{}  {}", m.organisation, m.card.display())
    })?;
    Ok(Exit::Done)
}

/// Trusts a card's authority at the node in whose name somebody acts, if it is one.
fn trust_too(actor: &Actor, card: &MemberCard, output: &Output) -> anyhow::Result<()> {
    match actor.config()? {
        Some(config) if card.authority.is_some() => trust(&config, card, output).map(drop),
        _ => Ok(()),
    }
}

fn trust(config: &NodeConfig, card: &MemberCard, output: &Output) -> anyhow::Result<Exit> {
    let pem = card
        .authority
        .as_deref()
        .context("the card names no authority")?;
    let file = &config.api.authority;
    let known =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let both = joined(&known, pem);
    Node::new(&card.member.api, both.as_bytes())
        .context("the card's authority is not a certificate")?;
    let added = both != known;
    if added {
        files::write(file, both.as_bytes(), 0o644)?;
    }
    let trusted = Trusted {
        name: card.member.name.clone(),
        authority: file.clone(),
        added,
    };
    output.report(&trusted, |t| {
        format!(
            "{} trusts the authority of {}",
            t.authority.display(),
            t.name
        )
    })?;
    Ok(Exit::Done)
}

/// PEM texts one after the other, the second once.
fn joined(known: &str, pem: &str) -> String {
    let (known_end, pem) = (if known.ends_with('\n') { "" } else { "\n" }, pem.trim());
    if known.contains(pem) {
        return known.to_owned();
    }
    format!("{known}{known_end}{pem}\n")
}

async fn check_proposal(
    actor: &Actor,
    proposal: ProposalId,
    member: &Member,
) -> anyhow::Result<()> {
    let all: Vec<ProposalView> = actor.session().await?.node().all("/proposals").await?;
    let found = all.into_iter().find(|p| p.proposal == proposal);
    match found.context("there is no such proposal")?.change {
        MembershipChange::Join(proposed) | MembershipChange::Replace(proposed)
            if proposed == *member =>
        {
            Ok(())
        }
        other => bail!(
            "the proposal ({}) is not about this card; nothing was approved",
            words(&other)
        ),
    }
}

fn rotate(config: &Path, output: &Output) -> anyhow::Result<Exit> {
    let config = NodeConfig::load(config)?;
    let key_files = KeyFiles::around(&config.keys);
    ensure!(
        !key_files.earlier.exists(),
        "the node is still moving key wraps from {} to the current keys; try again when that file is gone",
        key_files.earlier.display()
    );
    let current = NodeKeys::load(&config.keys)?;
    block_on(async {
        let clock = std::sync::Arc::new(SystemClock::new());
        let person = node::organisation_session(&config, clock).await?;
        let members = person.node().members().await?;
        let member = members
            .into_iter()
            .find(|m| m.organisation == current.organisation)
            .context("this organisation is no member")?;
        let next = if key_files.next.exists() {
            NodeKeys::load(&key_files.next)?
        } else {
            let next = current.successor(&mut SystemEntropy)?;
            // Before anybody can vote for them: whoever loses these keys then has lost the records.
            next.save(&key_files.next)?;
            next
        };
        let change = MembershipChange::Replace(Member {
            organisation: member.organisation,
            name: member.name,
            roles: member.roles,
            keys: next.keys.public().clone(),
            engine_key: engine_public(&next.engine_seed)?,
            engine_address: member.engine_address,
            api: member.api,
        });
        propose_as(&person, change, output).await
    })
}

fn propose(actor: &Actor, change: MembershipChange, output: &Output) -> anyhow::Result<Exit> {
    block_on(async { propose_as(&actor.session().await?, change, output).await })
}

async fn propose_as(
    person: &Person,
    change: MembershipChange,
    output: &Output,
) -> anyhow::Result<Exit> {
    let proposal = ProposalId::random(&mut SystemEntropy);
    let receipt = person
        .act(Action::ProposeMembership { proposal, change })
        .await?;
    let proposed = Proposed {
        proposal,
        entry: receipt.entry,
    };
    output.report(&proposed, |p| {
        format!(
            "Proposed as {}; the members approve it with `salus member approve`.",
            p.proposal
        )
    })?;
    Ok(Exit::Done)
}
