//! `salus consortium`: founding one, and the card with which a new organisation asks to join.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use salus_crypto::digest::sha256;
use salus_crypto::sign::Ed25519Signer;
use salus_proto::encode::to_bytes;
use salus_proto::ids::{ConsortiumId, OrganisationId};
use salus_proto::member::{Genesis, MEMBERS_LIMIT, Member, TEXT_LIMIT};
use salus_proto::role::NodeRole;
use salus_proto::{Digest, Entropy, TimestampMs};
use salus_runtime::clock::{Clock as _, SystemClock};
use salus_runtime::entropy::SystemEntropy;
use serde::Serialize;

use crate::config::{Api, Engine, NodeConfig, Policy, Storage};
use crate::files::{self, NodeKeys};
use crate::output::{Exit, Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make genesis, keys and configuration for every founding member.
    ///
    /// Writes DIR/genesis.cbor, DIR/authority.pem (checks every member's TLS certificate) and a folder
    /// for each member with its node.toml and secret keys. Hand each folder to its organisation
    /// over a safe channel, then delete it here; pin the printed genesis digest everywhere.
    #[command(after_help = "\
Example:
  salus consortium init --dir consortium --name riverside \\
    --member 'North Hospital=hospital@north.example' \\
    --member 'South Hospital=hospital@south.example' \\
    --member 'University=hospital,data-user@uni.example' \\
    --member 'Healthcare Cloud=cloud,coordinator@cloud.example'")]
    Init(Init),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// Folder to write; must not exist yet, or be empty.
    #[arg(long)]
    dir: PathBuf,
    /// Name of the consortium; stands in every checkpoint.
    #[arg(long)]
    name: String,
    /// A founding member: NAME=ROLE[,ROLE][@HOST[:API_PORT[:ENGINE_PORT]]], with the roles
    /// hospital, cloud, coordinator and data-user. Members on the same host get ports of their own.
    #[arg(long = "member", required = true, value_name = "MEMBER")]
    members: Vec<String>,
    /// Host of members that name none.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// First API port to give away.
    #[arg(long, default_value_t = 8443)]
    api_port: u16,
    /// First port of the consensus engine to give away.
    #[arg(long, default_value_t = 9443)]
    engine_port: u16,
}

/// A founding member before it has keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Founding {
    pub(crate) name: String,
    pub(crate) roles: Vec<NodeRole>,
    pub(crate) host: String,
    pub(crate) api_port: u16,
    pub(crate) engine_port: u16,
}

/// What `init` made.
#[derive(Debug, Serialize)]
pub(crate) struct Founded {
    /// The consortium's id.
    pub(crate) consortium: ConsortiumId,
    /// SHA-256 of the genesis file: what everybody pins.
    pub(crate) genesis: Digest,
    /// The members' configuration files.
    pub(crate) members: Vec<FoundedMember>,
}

#[derive(Debug, Serialize)]
pub(crate) struct FoundedMember {
    pub(crate) organisation: OrganisationId,
    pub(crate) name: String,
    pub(crate) roles: Vec<NodeRole>,
    pub(crate) api: String,
    pub(crate) config: PathBuf,
}

pub(crate) fn run(command: Command, output: &Output) -> anyhow::Result<Exit> {
    match command {
        Command::Init(arguments) => {
            let members = parse_members(&arguments)?;
            let founded = found(
                &arguments.dir,
                &arguments.name,
                &members,
                SystemClock::new().now(),
                &mut SystemEntropy,
            )?;
            output.report(&founded, |f| {
                let members = f.members.iter().map(|m| {
                    format!("  {:<24} {}\n    salus node --config {}", m.name, m.api, m.config.display())
                });
                format!(
                    "Founded the consortium {}.\nGenesis digest, to be pinned by every member:\n  {}\n{}",
                    arguments.name,
                    f.genesis,
                    members.collect::<Vec<_>>().join("\n")
                )
            })?;
            Ok(Exit::Done)
        }
    }
}

fn parse_members(arguments: &Init) -> anyhow::Result<Vec<Founding>> {
    let mut members = Vec::new();
    for (i, text) in (0_u16..).zip(&arguments.members) {
        let wrong = || format!("`{text}` is not NAME=ROLE[,ROLE][@HOST[:API_PORT[:ENGINE_PORT]]]");
        let (name, rest) = text.split_once('=').with_context(wrong)?;
        let (roles, place) = rest.split_once('@').unwrap_or((rest, &arguments.host));
        let mut place = place.split(':');
        let host = place.next().filter(|h| !h.is_empty()).with_context(wrong)?;
        let mut port = |first: u16| match place.next() {
            Some(port) => port.parse().with_context(wrong),
            None => first.checked_add(i).context("no ports are left"),
        };
        let (api_port, engine_port) = (port(arguments.api_port)?, port(arguments.engine_port)?);
        members.push(Founding {
            name: name.trim().to_owned(),
            roles: parse_roles(roles).with_context(wrong)?,
            host: host.to_owned(),
            api_port,
            engine_port,
        });
    }
    Ok(members)
}

/// Reads `hospital,cloud`.
pub(crate) fn parse_roles(text: &str) -> anyhow::Result<Vec<NodeRole>> {
    let mut roles = Vec::new();
    for word in text.split(',') {
        roles.push(match word.trim() {
            "hospital" => NodeRole::Hospital,
            "cloud" => NodeRole::Cloud,
            "coordinator" => NodeRole::Coordinator,
            "data-user" => NodeRole::DataUser,
            other => bail!("`{other}` is not a role: hospital, cloud, coordinator or data-user"),
        });
    }
    roles.sort_unstable();
    roles.dedup();
    Ok(roles)
}

/// The folder name of a member: its name in lower case, everything else a hyphen.
pub(crate) fn folder_name(name: &str) -> String {
    let dashed: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    let words: Vec<&str> = dashed.split('-').filter(|w| !w.is_empty()).collect();
    words.join("-")
}

/// Makes everything that a consortium starts from.
pub(crate) fn found(
    dir: &Path,
    name: &str,
    foundings: &[Founding],
    now: TimestampMs,
    entropy: &mut dyn Entropy,
) -> anyhow::Result<Founded> {
    check(dir, name, foundings)?;
    let authority = Authority::new(name)?;
    files::write(
        &dir.join("authority.pem"),
        authority.certificate.as_bytes(),
        0o644,
    )?;

    let clouds: Vec<String> = foundings
        .iter()
        .filter(|f| f.roles.contains(&NodeRole::Cloud))
        .map(|f| f.name.clone())
        .collect();
    let mut members = Vec::new();
    let mut founded = Vec::new();
    for founding in foundings {
        let folder = dir.join(folder_name(&founding.name));
        let keys = NodeKeys::generate(OrganisationId::random(entropy), entropy)?;
        let member = card(founding, &keys)?;
        keys.save(&folder.join("secret/node.keys"))?;
        authority.issue(&founding.host, &folder)?;
        let config = configuration(founding, &clouds);
        let file = folder.join("node.toml");
        files::write(&file, toml::to_string_pretty(&config)?.as_bytes(), 0o644)?;
        founded.push(FoundedMember {
            organisation: member.organisation,
            name: member.name.clone(),
            roles: member.roles.clone(),
            api: member.api.clone(),
            config: file,
        });
        members.push(member);
    }
    members.sort_by_key(|m| m.organisation);

    let genesis = Genesis {
        version: 1,
        consortium: ConsortiumId::random(entropy),
        name: name.to_owned(),
        created: now,
        members,
        founders: Vec::new(),
    };
    salus_contract::genesis(&genesis).context("the members do not make a valid genesis")?;
    files::write_genesis(&dir.join("genesis.cbor"), &genesis)?;
    Ok(Founded {
        consortium: genesis.consortium,
        genesis: sha256(&to_bytes(&genesis)),
        members: founded,
    })
}

fn check(dir: &Path, name: &str, foundings: &[Founding]) -> anyhow::Result<()> {
    let taken = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    ensure!(
        !taken,
        "{} is not empty; choose another folder",
        dir.display()
    );
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    ensure!(
        !name.is_empty() && name.len() <= TEXT_LIMIT && name.chars().all(plain),
        "the consortium's name may have letters, digits, '-', '.' and '_'"
    );
    ensure!(
        foundings.len() <= MEMBERS_LIMIT,
        "a consortium has at most {MEMBERS_LIMIT} members"
    );
    for (i, a) in foundings.iter().enumerate() {
        ensure!(
            !folder_name(&a.name).is_empty(),
            "a member needs a name with a letter or digit"
        );
        ensure!(!a.roles.is_empty(), "{} needs a role", a.name);
        let same = |b: &Founding| folder_name(&a.name) == folder_name(&b.name);
        ensure!(
            !foundings.iter().skip(i + 1).any(same),
            "two members are called {}",
            a.name
        );
    }
    Ok(())
}

/// What others need to know of a member.
pub(crate) fn card(founding: &Founding, keys: &NodeKeys) -> anyhow::Result<Member> {
    Ok(Member {
        organisation: keys.organisation,
        name: founding.name.clone(),
        roles: founding.roles.clone(),
        keys: keys.keys.public().clone(),
        engine_key: Ed25519Signer::from_seed(&keys.engine_seed)?.public(),
        engine_address: format!("{}:{}", founding.host, founding.engine_port),
        api: format!("https://{}:{}", founding.host, founding.api_port),
    })
}

pub(crate) fn configuration(founding: &Founding, clouds: &[String]) -> NodeConfig {
    // A name resolves differently on the machine itself; a loopback address must stay one.
    let local = matches!(founding.host.as_str(), "127.0.0.1" | "localhost" | "::1");
    let interface = if local {
        founding.host.as_str()
    } else {
        "0.0.0.0"
    };
    NodeConfig {
        genesis: "../genesis.cbor".into(),
        keys: "secret/node.keys".into(),
        card: None,
        introduction: None,
        data: "data".into(),
        api: Api {
            listen: format!("{interface}:{}", founding.api_port),
            certificate: "tls/node.pem".into(),
            private_key: "secret/tls.key".into(),
            authority: "../authority.pem".into(),
        },
        engine: Engine {
            listen: format!("{interface}:{}", founding.engine_port),
        },
        storage: Storage::default(),
        policy: Policy {
            replicate_to: if founding.roles.contains(&NodeRole::Hospital) {
                clouds
                    .iter()
                    .filter(|c| **c != founding.name)
                    .cloned()
                    .collect()
            } else {
                Vec::new()
            },
            ..Policy::default()
        },
    }
}

/// The certificate authority of a new consortium, or of a member that joins later and whose authority
/// the others add to `authority.pem`. Its key lives as long as the command runs.
pub(crate) struct Authority {
    /// Its own certificate, PEM.
    pub(crate) certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A fresh one, of this name.
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{name} members"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// Writes a node's certificate and key.
    pub(crate) fn issue(&self, host: &str, folder: &Path) -> anyhow::Result<()> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, host.to_owned());
        params.subject_alt_names = names(host)?;
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        files::write(
            &folder.join("tls/node.pem"),
            certificate.pem().as_bytes(),
            0o644,
        )?;
        files::write_secret(
            &folder.join("secret/tls.key"),
            key.serialize_pem().as_bytes(),
        )
    }
}

fn names(host: &str) -> anyhow::Result<Vec<SanType>> {
    Ok(match host.parse() {
        // Browsers open the demonstration under `localhost`.
        Ok(address) if std::net::IpAddr::is_loopback(&address) => {
            vec![
                SanType::IpAddress(address),
                SanType::DnsName("localhost".try_into()?),
            ]
        }
        Ok(address) => vec![SanType::IpAddress(address)],
        Err(_) => vec![SanType::DnsName(
            host.try_into().context("not a host name")?,
        )],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use salus_runtime::entropy::SeededEntropy;

    fn init(members: &[&str]) -> Init {
        Init {
            dir: PathBuf::new(),
            name: "test".into(),
            members: members.iter().map(|&m| m.to_owned()).collect(),
            host: "127.0.0.1".into(),
            api_port: 8443,
            engine_port: 9443,
        }
    }

    #[test]
    fn members_are_read_with_and_without_a_place() {
        let members = parse_members(&init(&[
            "North Hospital=hospital",
            "Cloud=coordinator,cloud@cloud.example:443:9000",
        ]))
        .unwrap();
        assert_eq!(members[0].api_port, 8443);
        assert_eq!(members[1].roles, [NodeRole::Cloud, NodeRole::Coordinator]);
        assert_eq!((members[1].api_port, members[1].engine_port), (443, 9000));
        for wrong in [
            "North",
            "North=ward",
            "North=hospital@",
            "North=hospital@h:x",
        ] {
            assert!(parse_members(&init(&[wrong])).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_founded_consortium_has_a_genesis_that_every_configuration_points_to() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("c");
        let members = parse_members(&init(&["North=hospital", "Cloud=cloud"])).unwrap();
        let now = TimestampMs(1);
        let founded = found(&dir, "test", &members, now, &mut SeededEntropy::new(7)).unwrap();
        for member in &founded.members {
            let config = NodeConfig::load(&member.config).unwrap();
            let genesis = files::read_genesis(&config.genesis).unwrap();
            assert_eq!(sha256(&to_bytes(&genesis)), founded.genesis);
            let keys = NodeKeys::load(&config.keys).unwrap();
            let card = genesis
                .members
                .iter()
                .find(|m| m.organisation == keys.organisation);
            assert_eq!(card.unwrap().keys, *keys.keys.public());
        }
        let again = found(&dir, "test", &members, now, &mut SeededEntropy::new(7));
        assert!(again.unwrap_err().to_string().contains("not empty"));
    }
}
