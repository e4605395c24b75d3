//! Who a command acts as: a person with login and password, or the organisation of a configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use salus_client::person::Person;
use salus_crypto::digest::sha256;
use salus_proto::Digest;
use salus_proto::encode::to_bytes;
use salus_runtime::clock::SystemClock;
use salus_runtime::entropy::SystemEntropy;
use zeroize::Zeroizing;

use crate::config::NodeConfig;
use crate::files;
use crate::node::{connect, organisation_session};

/// A node as anybody reaches it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Reach {
    /// Address of the node, for example https://127.0.0.1:8443.
    #[arg(long, value_name = "URL")]
    pub(crate) node: String,
    /// PEM file that the node's certificate is checked with.
    #[arg(long, value_name = "FILE")]
    pub(crate) authority: PathBuf,
}

/// Who acts.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Actor {
    /// Act as the organisation of this node configuration.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["node", "authority", "login", "password_file"])]
    config: Option<PathBuf>,
    /// Address of the node where the account is.
    #[arg(
        long,
        value_name = "URL",
        requires = "login",
        required_unless_present = "config"
    )]
    node: Option<String>,
    /// PEM file that the node's certificate is checked with.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    authority: Option<PathBuf>,
    /// Genesis file of the consortium, or its digest, from somebody you trust: other people's keys are
    /// believed only with a proof that starts there. Default: genesis.cbor beside the authority file.
    #[arg(long, value_name = "FILE|DIGEST", conflicts_with = "config")]
    genesis: Option<String>,
    /// Login of the account.
    #[arg(long, required_unless_present = "config")]
    login: Option<String>,
    /// File with the password on its first line; readable by its owner only.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    password_file: Option<PathBuf>,
    /// Go on at another member's node after logging in, for example the hospital that keeps the records.
    #[arg(long, value_name = "URL")]
    at: Option<String>,
}

impl Actor {
    /// Opens the session.
    pub(crate) async fn session(&self) -> anyhow::Result<Person> {
        let clock = Arc::new(SystemClock::new());
        let person = match (&self.config, &self.node, &self.authority, &self.login) {
            (Some(config), ..) => organisation_session(&NodeConfig::load(config)?, clock).await?,
            (None, Some(node), Some(authority), Some(login)) => {
                let password =
                    read_password(self.password_file.as_deref().context("no password file")?)?;
                let genesis = pinned_genesis(self.genesis.as_deref(), authority)?;
                let node = connect(node, authority)?.of_consortium(genesis);
                Person::login(&node, login, &password, clock, &mut SystemEntropy).await?
            }
            _ => bail!("name a person with --node, --authority, --login and --password-file"),
        };
        Ok(match &self.at {
            Some(base) => person.at(base).await?,
            None => person,
        })
    }
}

/// The genesis digest that was named, or that of the file beside the authority's.
fn pinned_genesis(named: Option<&str>, authority: &Path) -> anyhow::Result<Digest> {
    let file = match named {
        Some(named) => match named.parse() {
            Ok(digest) => return Ok(digest),
            Err(_) => PathBuf::from(named),
        },
        None => authority.with_file_name("genesis.cbor"),
    };
    let genesis = files::read_genesis(&file)
        .context("name the consortium's genesis file or its digest with --genesis")?;
    Ok(sha256(&to_bytes(&genesis)))
}

/// The password on the first line of a file.
pub(crate) fn read_password(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let text = files::read_secret(path)?;
    let password = text.lines().next().unwrap_or_default();
    anyhow::ensure!(
        !password.is_empty(),
        "{} has no password on its first line",
        path.display()
    );
    Ok(Zeroizing::new(password.to_owned()))
}

/// Runs an asynchronous command.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
