//! Steps about evidence: a proof that stands by itself, replays and forgeries, one ledger everywhere.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use salus_ledger::bundle::Bundle;
use salus_proto::Digest;
use salus_proto::command::Action;
use salus_proto::ids::AccessId;
use salus_proto::role::Reason;
use salus_runtime::entropy::SystemEntropy;

use super::super::nodes::{Process, certified};
use super::{MEMBERS, Story, expect_refused};

impl Story<'_> {
    pub(super) async fn verify(&mut self) -> anyhow::Result<Vec<String>> {
        let maya = self.person("maya")?.clone();
        let record = self.read.first().context("a record")?.anchor.record;
        let status = self.process(0)?.node.status().await?;
        certified(&[self.process(0)?], status.size, &*self.clock).await?;
        let (bundle, _) = maya.proof(record).await?;
        let path = self.dir.join("record.proof.json");
        crate::files::write(&path, &bundle, 0o644)?;
        let verify = |path: PathBuf, genesis: String| -> anyhow::Result<i32> {
            let status = Command::new(std::env::current_exe()?)
                .args(["audit", "verify", "--genesis", &genesis])
                .arg(path)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            status.code().context("the verifier was killed")
        };
        let genesis = self.genesis.to_string();
        let code = verify(path.clone(), genesis.clone())?;
        ensure!(code == 0, "`salus audit verify` ended with {code}");
        let other = Digest([7; 32]).to_string();
        ensure!(
            verify(path, other)? == 4,
            "the bundle verifies for another consortium"
        );
        // Every 97th byte, altered: refused, or the same JSON value written otherwise.
        let sound = Bundle::from_json(&bundle)?.verify(&self.genesis);
        let mut refused = 0;
        for at in (0..bundle.len()).step_by(97) {
            let mut altered = bundle.clone();
            if let Some(byte) = altered.get_mut(at) {
                *byte ^= 1;
            }
            match Bundle::from_json(&altered) {
                Ok(parsed) if Bundle::from_json(&bundle)? == parsed => {}
                Ok(parsed) => {
                    let report = parsed.verify(&self.genesis);
                    // A signature line under an altered name counts for nobody; the rest of the
                    // quorum still proves the same claim.
                    let same =
                        report.proven == sound.proven && report.checkpoint == sound.checkpoint;
                    ensure!(
                        same || !report.verified(),
                        "byte {at} changes what is proven"
                    );
                    refused += usize::from(!report.verified());
                }
                Err(_) => refused += 1,
            }
        }
        Ok(vec![format!(
            "record, manifest, entry, inclusion and quorum verified offline ({} bytes); {refused} \
             altered bundles refused",
            bundle.len()
        )])
    }

    pub(super) async fn replays(&mut self) -> anyhow::Result<Vec<String>> {
        let maya = self.person("maya")?.clone();
        let north = self.process(0)?.node.clone();
        let action = Action::RevokeAccess {
            access: AccessId::random(&mut SystemEntropy),
            reason: Reason::ConsentWithdrawn,
        };
        let command = maya.sign(action);
        let node = maya.node().clone();
        expect_refused(
            node.submit(command.clone()).await,
            "an unknown access was ended",
        )?;
        let size = north.status().await?.size;
        expect_refused(
            node.submit(command.clone()).await,
            "a replayed command was accepted",
        )?;
        let mut forged = command;
        if let Some(last) = forged.last_mut() {
            *last ^= 1;
        }
        expect_refused(node.submit(forged).await, "a forged signature was accepted")?;
        let after = north.status().await?.size;
        ensure!(after == size, "a replay or forgery grew the ledger");
        Ok(vec![
            "a replayed and a forged command are refused and leave no entry".into(),
        ])
    }

    pub(super) async fn same_ledger(&mut self) -> anyhow::Result<Vec<String>> {
        let clock = Arc::clone(&self.clock);
        let size = self.process(0)?.node.status().await?.size;
        let all: Vec<&Process> = self.processes.iter().collect();
        let statuses = certified(&all, size, &*clock).await?;
        let newest = statuses
            .iter()
            .filter_map(|s| s.certified.as_ref())
            .map(|c| c.size)
            .max();
        let statuses = certified(&all, newest.unwrap_or(size), &*clock).await?;
        let roots: Vec<(u64, Digest)> = statuses
            .iter()
            .filter_map(|s| s.certified.as_ref().map(|c| (c.size, c.root)))
            .collect();
        let same = roots.windows(2).all(|w| w[0] == w[1]);
        ensure!(
            same && roots.len() == MEMBERS.len(),
            "the nodes certify different logs"
        );
        let entries = roots.first().map_or(0, |(size, _)| *size);
        Ok(vec![format!(
            "{entries} entries, one root on all four nodes"
        )])
    }
}
