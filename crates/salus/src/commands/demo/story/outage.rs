//! Steps with nodes away: one killed, then two stopped.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use salus_client::Error;
use salus_proto::command::Action;
use salus_proto::ids::PatientAlias;
use salus_runtime::entropy::SystemEntropy;

use super::super::nodes::{Process, certified};
use super::Story;

impl Story<'_> {
    pub(super) async fn one_down(&mut self) -> anyhow::Result<Vec<String>> {
        let clock = Arc::clone(&self.clock);
        let before = self.process(0)?.node.status().await?.size;
        let south = self.processes.get_mut(1).context("a second node")?;
        south.kill()?;
        let north = self.process(0)?.organisation(&self.clock).await?;
        for _ in 0..5 {
            let alias = PatientAlias::random(&mut SystemEntropy);
            north.act(Action::OpenPatient { alias }).await?;
        }
        let south = self.processes.get_mut(1).context("a second node")?;
        south.start()?;
        let status = south.answers(1, &*clock).await?;
        ensure!(status.size >= before, "the killed node lost entries");
        let all: Vec<&Process> = self.processes.iter().collect();
        certified(&all, before + 5, &*clock).await?;
        Ok(vec![format!(
            "five writes went on; the killed node kept its {before} entries, came back and caught up"
        )])
    }

    pub(super) async fn two_down(&mut self) -> anyhow::Result<Vec<String>> {
        let clock = Arc::clone(&self.clock);
        let north = self.process(0)?.organisation(&clock).await?;
        for index in [1, 2] {
            let process = self.processes.get_mut(index).context("a node")?;
            process.stop(&*clock).await?;
        }
        let alias = PatientAlias::random(&mut SystemEntropy);
        let command = north.sign(Action::OpenPatient { alias });
        let silent = match north.node().submit(command).await {
            Err(Error::Unavailable(problem)) => problem,
            Err(error) => bail!("a write without a quorum failed otherwise: {error}"),
            Ok(_) => bail!("a write went through without a quorum"),
        };
        ensure!(
            silent.code == "no-quorum",
            "the answer is `{}`",
            silent.code
        );
        let named = silent.silent.len();
        ensure!(named == 2, "{named} silent members are named");
        let patients = north.patients().await?;
        ensure!(!patients.is_empty(), "reads stopped");
        for index in [1, 2] {
            let process = self.processes.get_mut(index).context("a node")?;
            process.start()?;
            process.answers(1, &*clock).await?;
        }
        let deadline = clock.now().plus_ms(60_000);
        loop {
            let alias = PatientAlias::random(&mut SystemEntropy);
            match north.act(Action::OpenPatient { alias }).await {
                Ok(_) => break,
                Err(Error::Unavailable(_)) if clock.now() < deadline => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(vec![
            "writes wait and name the two silent members; reads go on".into(),
            "both back: writes go on".into(),
        ])
    }
}
