//! Who a command acts as: a person with login and password, or the organisation of a configuration.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use rustix::termios::{self, LocalModes, OptionalActions};
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

/// Longest line that is read from a terminal, in bytes.
const LINE_LIMIT: u64 = 4096;

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
    /// File with the password on its first line, readable by its owner only; without it the password
    /// is asked for on the terminal.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Go on at another member's node after logging in, for example the hospital that keeps the records.
    #[arg(long, value_name = "URL")]
    at: Option<String>,
}

impl Actor {
    /// The node configuration in whose organisation's name it acts, if it does.
    pub(crate) fn config(&self) -> anyhow::Result<Option<NodeConfig>> {
        self.config.as_deref().map(NodeConfig::load).transpose()
    }

    /// Opens the session.
    pub(crate) async fn session(&self) -> anyhow::Result<Person> {
        let clock = Arc::new(SystemClock::new());
        let person = match (&self.config, &self.node, &self.authority, &self.login) {
            (Some(config), ..) => organisation_session(&NodeConfig::load(config)?, clock).await?,
            (None, Some(node), Some(authority), Some(login)) => {
                let password = secret(self.password_file.as_deref(), "Password")?;
                let genesis = pinned_genesis(self.genesis.as_deref(), authority)?;
                let node = connect(node, authority)?.of_consortium(genesis);
                Person::login(&node, login, &password, clock, &mut SystemEntropy).await?
            }
            _ => bail!("name a person with --node, --authority and --login"),
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

/// A secret from its file, or asked for on the terminal, where it does not show.
pub(crate) fn secret(file: Option<&Path>, what: &str) -> anyhow::Result<Zeroizing<String>> {
    if let Some(file) = file {
        return read_password(file);
    }
    let typed = ask(what)?;
    ensure!(!typed.is_empty(), "nothing was entered");
    Ok(typed)
}

/// A new password from its file, or asked for twice.
pub(crate) fn new_password(file: Option<&Path>) -> anyhow::Result<Zeroizing<String>> {
    if file.is_some() {
        return secret(file, "");
    }
    let first = secret(None, "New password")?;
    let again = ask("The same again")?;
    ensure!(*first == *again, "the two are not the same");
    Ok(first)
}

/// A line typed on the terminal. What is typed stops to show before it is asked for.
fn ask(what: &str) -> anyhow::Result<Zeroizing<String>> {
    let terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .with_context(|| {
            format!("there is no terminal to ask for the {what}; give it in a file")
        })?;
    let shown = termios::tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    termios::tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let mut typed = Zeroizing::new(String::new());
    let read = write!(&terminal, "{what}: ")
        .and_then(|()| BufReader::new((&terminal).take(LINE_LIMIT)).read_line(&mut typed));
    termios::tcsetattr(&terminal, OptionalActions::Now, &shown)?;
    read.context("the terminal cannot be read")?;
    let line = typed.trim_end_matches(['\r', '\n']);
    Ok(Zeroizing::new(line.to_owned()))
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
