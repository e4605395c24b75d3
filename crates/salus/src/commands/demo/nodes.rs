//! The demonstration's nodes: real processes of this same program, started, stopped and killed by pid.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use salus_client::node::Node;
use salus_client::person::Person;
use salus_crypto::digest::sha256;
use salus_proto::api::ledger::LedgerStatus;
use salus_proto::encode::to_bytes;
use salus_runtime::clock::Clock;

use crate::config::NodeConfig;
use crate::files;
use crate::node::{connect, organisation_session};

/// How long a node may take to answer after it was started.
const START_PATIENCE_MS: u64 = 60_000;
/// How long the consortium may take to certify a checkpoint, or a node to catch up.
const AGREE_PATIENCE_MS: u64 = 120_000;
/// How often a condition is looked at while the demonstration waits.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One member's node process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) file: PathBuf,
    pub(super) config: NodeConfig,
    pub(super) node: Node,
    child: Option<Child>,
}

impl Process {
    /// A node that has not been started yet.
    pub(super) fn new(name: &str, file: &Path, api: &str) -> anyhow::Result<Self> {
        let config = NodeConfig::load(file)?;
        let genesis = sha256(&to_bytes(&files::read_genesis(&config.genesis)?));
        let node = connect(api, &config.api.authority)?.of_consortium(genesis);
        let (name, file) = (name.to_owned(), file.to_owned());
        Ok(Self {
            name,
            file,
            config,
            node,
            child: None,
        })
    }

    /// Starts the process; its log goes beside its data.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("node.log"))?;
        let child = Command::new(std::env::current_exe()?)
            .args(["node", "-v", "--json", "--config"])
            .arg(&self.file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start the node of {}", self.name))?;
        self.child = Some(child);
        Ok(())
    }

    /// The process's number, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Waits until the API answers and the node has heard every member of `awaited`.
    pub(super) async fn answers(
        &mut self,
        awaited: usize,
        clock: &dyn Clock,
    ) -> anyhow::Result<LedgerStatus> {
        let deadline = clock.now().plus_ms(START_PATIENCE_MS);
        loop {
            if let Ok(status) = self.node.status().await
                && status
                    .members
                    .iter()
                    .filter(|m| m.last_heard.is_some())
                    .count()
                    >= awaited
            {
                return Ok(status);
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!(
                    "the node of {} ended with {status}; see its node.log",
                    self.name
                );
            }
            if clock.now() > deadline {
                bail!(
                    "the node of {} does not answer; see its node.log",
                    self.name
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Asks the process to end and waits for it.
    pub(super) async fn stop(&mut self, clock: &dyn Clock) -> anyhow::Result<()> {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        let pid = child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status()?;
        anyhow::ensure!(told.success(), "cannot signal the node of {}", self.name);
        let deadline = clock.now().plus_ms(START_PATIENCE_MS);
        while child.try_wait()?.is_none() {
            if clock.now() > deadline {
                bail!("the node of {} does not stop", self.name);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.child = None;
        Ok(())
    }

    /// Ends the process as a power cut would (SIGKILL).
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// A session of the organisation at its own node.
    pub(super) async fn organisation(&self, clock: &Arc<dyn Clock>) -> anyhow::Result<Person> {
        organisation_session(&self.config, Arc::clone(clock)).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The demonstration ends; a process that is gone already is no error.
        let _ = self.kill();
    }
}

/// Waits until every given node has certified at least `size` entries, and returns their roots.
pub(super) async fn certified(
    nodes: &[&Process],
    size: u64,
    clock: &dyn Clock,
) -> anyhow::Result<Vec<LedgerStatus>> {
    let deadline = clock.now().plus_ms(AGREE_PATIENCE_MS);
    loop {
        let mut all = Vec::new();
        for process in nodes {
            if let Ok(status) = process.node.status().await
                && status.size >= size
                && status.certified.is_some_and(|c| c.size >= size)
            {
                all.push(status);
            }
        }
        if all.len() == nodes.len() {
            return Ok(all);
        }
        if clock.now() > deadline {
            bail!(
                "{} of {} nodes have certified {size} entries",
                all.len(),
                nodes.len()
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Ports of the loopback interface that are free now, each once.
pub(super) fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    listeners
        .iter()
        .map(|l| Ok(l.local_addr()?.port()))
        .collect()
}
