//! Steps about records on their way in: intake, a killed import, hostile files, replicas, what staff
//! see and what nobody does.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use salus_client::intake::pieces;
use salus_ledger::bundle::Bundle;
use salus_proto::record::RecordKind;

use super::super::nodes::certified;
use super::scan::Scan;
use super::{CLOUD, LOOK_EVERY, SOON_MS, Story};

impl Story<'_> {
    pub(super) async fn take_in(&mut self) -> anyhow::Result<Vec<String>> {
        let mut words = Vec::new();
        for hospital in 0..CLOUD {
            let share = self
                .samples
                .shares
                .get(hospital)
                .context("a share a hospital")?;
            let (bundles, expected) = (share.bundles.clone(), share.records);
            // The second hospital's import is left to be killed and resumed.
            let bundles = if hospital == 1 {
                bundles.into_iter().take(1).collect()
            } else {
                bundles
            };
            let summary = self.intake(hospital, &bundles, None).await?;
            summary.ensure_all_taken("files")?;
            if hospital != 1 {
                let kept = self.kept(hospital).await?;
                ensure!(
                    kept == expected,
                    "{kept} records are kept, {expected} were expected"
                );
            }
            words.push(format!(
                "{}: {} records sealed and anchored, {:.0} records/s",
                self.process(hospital)?.name,
                summary.records,
                summary.records as f64 / summary.seconds.max(1e-3)
            ));
        }
        let attachments = self.samples.attachments.clone();
        let patient = self.first_patient()?;
        let summary = self.intake(0, &attachments, Some(&patient.0)).await?;
        summary.ensure_all_taken("attachments")?;
        ensure!(
            summary.records == attachments.len(),
            "not every attachment was taken in"
        );
        words.push(format!(
            "ECG, document and images of one patient: {} records",
            summary.records
        ));
        let again = self.intake(0, &attachments, Some(&patient.0)).await?;
        ensure!(
            again.records == 0,
            "{} records were taken in twice",
            again.records
        );
        words.push("taking the same files in again stores nothing twice".into());
        Ok(words)
    }

    /// Number and name of the first patient of the first hospital, as the sources name them.
    pub(super) fn first_patient(&self) -> anyhow::Result<(String, String)> {
        let share = self.samples.shares.first().context("a first share")?;
        let bundle = share.bundles.first().context("a first bundle")?;
        let read = pieces::fhir(&std::fs::read(bundle)?)?;
        let patient = read
            .patients
            .into_iter()
            .next()
            .context("a patient in the bundle")?;
        Ok((patient.patient, patient.name.unwrap_or_default()))
    }

    /// Runs `salus intake` as a hospital would.
    pub(super) async fn intake(
        &self,
        hospital: usize,
        paths: &[PathBuf],
        patient: Option<&str>,
    ) -> anyhow::Result<Taken> {
        let mut command = self.intake_command(hospital, paths, patient)?;
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().with_context(|| {
            format!(
                "the import said nothing: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
        let mut taken: Taken =
            serde_json::from_str(last).with_context(|| format!("the import said: {last}"))?;
        taken.first_error = text.lines().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(line.get("error")?.as_str()?.to_owned())
        });
        Ok(taken)
    }

    pub(super) fn intake_command(
        &self,
        hospital: usize,
        paths: &[PathBuf],
        patient: Option<&str>,
    ) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["intake", "--json", "--config"])
            .arg(&self.process(hospital)?.file);
        if let Some(patient) = patient {
            command.args(["--patient", patient]);
        }
        command.args(paths).stdin(Stdio::null());
        Ok(command)
    }

    /// Records that a hospital keeps.
    pub(super) async fn kept(&self, hospital: usize) -> anyhow::Result<usize> {
        let patients = self
            .process(hospital)?
            .organisation(&self.clock)
            .await?
            .patients()
            .await?;
        Ok(patients
            .iter()
            .map(|p| usize::try_from(p.records).unwrap_or(usize::MAX))
            .sum())
    }

    pub(super) async fn resume(&mut self) -> anyhow::Result<Vec<String>> {
        let share = self.samples.shares.get(1).context("a second share")?;
        let (bundles, expected) = (share.bundles.clone(), share.records);
        let journal = self.process(1)?.config.data.join("intake.journal");
        let lines = |path: &Path| {
            std::fs::read_to_string(path)
                .unwrap_or_default()
                .lines()
                .count()
        };
        let before = lines(&journal);
        let mut command = self.intake_command(1, &bundles, None)?;
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // Killed as soon as it has begun to write, wherever it then is.
        while child.try_wait()?.is_none() && lines(&journal) <= before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        child.kill()?;
        child.wait()?;
        let after_kill = self.kept(1).await?;
        let summary = self.intake(1, &bundles, None).await?;
        summary.ensure_all_taken("files")?;
        let kept = self.kept(1).await?;
        ensure!(
            kept == expected,
            "{kept} records are kept, {expected} were expected"
        );
        Ok(vec![format!(
            "killed (SIGKILL) at {after_kill} records, resumed to {kept} of {expected}: nothing lost, \
             nothing twice"
        )])
    }

    pub(super) async fn hostile(&mut self) -> anyhow::Result<Vec<String>> {
        let folder = self.dir.join("hostile");
        let mut files = self.samples.hostile.clone();
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let bundle = r#"{"resourceType":"Bundle","type":"collection","entry":["#;
        for (name, bytes) in [
            ("deep.json", format!("{bundle}{deep}]}}").into_bytes()),
            (
                "bad-utf8.json",
                b"{\"resourceType\":\"Bundle\",\"type\":\"\xff\xfe\"}".to_vec(),
            ),
            ("cut.json", bundle.as_bytes().to_vec()),
            ("empty.pdf", b"%PDF-1.7\n".to_vec()),
            ("unknown.bin", vec![7; 100]),
        ] {
            let path = folder.join(name);
            crate::files::write(&path, &bytes, 0o644)?;
            files.push(path);
        }
        let before = self.kept(0).await?;
        let hostile = files.len();
        let good = folder.join("good.json");
        let sound = r#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":
            {"resourceType":"Patient","id":"P-sound","name":[{"text":"Sound Patient"}]}}]}"#;
        crate::files::write(&good, sound.as_bytes(), 0o644)?;
        files.push(good);
        let summary = self.intake(0, &files, Some("P-hostile")).await?;
        ensure!(summary.failed > 0, "no hostile file was refused");
        let kept = self.kept(0).await?;
        let odd = hostile.saturating_sub(summary.failed);
        ensure!(
            kept == before + summary.records,
            "something was taken in by halves"
        );
        ensure!(
            summary.records >= 2,
            "the sound file of the batch was not taken in"
        );
        Ok(vec![format!(
            "{} of {hostile} malformed files refused by name, {odd} odd but sound ones taken in, the \
             rest of the batch went on",
            summary.failed
        )])
    }

    pub(super) async fn replicated(&mut self) -> anyhow::Result<Vec<String>> {
        let mut kept = 0;
        for hospital in 0..CLOUD {
            kept += self.kept(hospital).await?;
        }
        let olive = self.person("olive")?.clone();
        let deadline = self.clock.now().plus_ms(2 * SOON_MS);
        loop {
            let replicas = olive.patients().await?;
            let there: u64 = replicas.iter().map(|p| p.records).sum();
            if there == kept as u64 {
                return Ok(vec![format!(
                    "{there} sealed records at the cloud; no key went along"
                )]);
            }
            ensure!(
                self.clock.now() < deadline,
                "the cloud has {there} of {kept} records"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(super) async fn sealed_view(&mut self) -> anyhow::Result<Vec<String>> {
        let alias = self.alias.context("a linked patient")?;
        let stan = self.person("stan")?;
        let sealed = stan.sealed_records(alias).await?;
        ensure!(!sealed.is_empty(), "staff see no records");
        let first = sealed.first().context("a record")?;
        let north = self.process(0)?;
        let status = north.node.status().await?;
        ensure!(
            sealed.iter().all(|r| r.entry < status.size),
            "a record has no entry"
        );
        ensure!(
            sealed.iter().all(|r| r.signed.0 > 0),
            "a record has no time"
        );
        certified(&[north], first.entry + 1, &*self.clock).await?;
        let bundle = Bundle::from_json(&stan.proof(first.record).await?.0)?;
        ensure!(
            bundle.verify(&self.genesis).verified(),
            "its inclusion proof does not verify"
        );
        Ok(vec![format!(
            "{} records of one patient with digest, signer, time and entry; inclusion proven",
            sealed.len()
        )])
    }

    #[expect(clippy::unused_async, reason = "every step is awaited alike")]
    pub(super) async fn canary(&mut self) -> anyhow::Result<Vec<String>> {
        let bundle = self.samples.shares.first().and_then(|s| s.bundles.first());
        let bytes = std::fs::read(bundle.context("a bundle")?)?;
        let source = pieces::fhir(&bytes)?;
        let patient = source.patients.first().context("a patient")?;
        let mut canaries: Vec<Vec<u8>> = vec![
            b"My heart races at night".to_vec(),
            b"frequent premature beats".to_vec(),
            b"metoprolol succinate".to_vec(),
        ];
        canaries.extend(canaries_of(patient));
        let scan = Scan::new(&canaries)?;
        let mut files = 0;
        let mut bytes = 0;
        let mut stack = vec![self.dir.join("consortium")];
        while let Some(folder) = stack.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    stack.push(path);
                    continue;
                }
                let file = match File::open(&path) {
                    // The nodes are running: a file may be gone again since it was listed.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    file => file?,
                };
                files += 1;
                bytes += file.metadata()?.len();
                let found = scan.occurs_in(file)?;
                ensure!(!found, "{} holds readable patient data", path.display());
            }
        }
        let cloud = self.process(CLOUD)?;
        let memory = match cloud
            .id()
            .map(|pid| scan.occurs_in_memory(pid, &cloud.file))
        {
            Some(Ok(Some(looked_at))) => format!(
                "nor in {:.0} MB of the cloud node's memory",
                looked_at as f64 / 1e6
            ),
            Some(Ok(None)) => bail!("the cloud node's memory holds readable patient data"),
            Some(Err(error)) => format!("the cloud node's memory was not looked at: {error}"),
            None => bail!("the cloud node runs"),
        };
        Ok(vec![
            format!(
                "{} plaintexts (question, answer, prescription, address, phone, clinical values) \
                 occur in none of {files} files, {:.1} MB, that the nodes wrote",
                canaries.len(),
                bytes as f64 / 1e6
            ),
            memory,
        ])
    }
}

/// The last line of `salus intake --json`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Taken {
    pub(super) records: usize,
    pub(super) failed: usize,
    seconds: f64,
    /// Why the first file that was not taken in was not.
    #[serde(skip)]
    first_error: Option<String>,
}

impl Taken {
    pub(super) fn ensure_all_taken(&self, what: &str) -> anyhow::Result<()> {
        ensure!(
            self.failed == 0,
            "{} {what} failed, the first: {}",
            self.failed,
            self.first_error
                .as_deref()
                .unwrap_or("for an unknown reason")
        );
        Ok(())
    }
}

/// Long plain strings of a patient that must stand nowhere.
fn canaries_of(patient: &pieces::OfPatient) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for piece in &patient.pieces {
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(&piece.body) else {
            continue;
        };
        let wanted: &[&str] = match piece.kind {
            RecordKind::Demographics => &[
                "/telecom/0/value",
                "/address/0/line/0",
                "/identifier/1/value",
            ],
            RecordKind::Vitals | RecordKind::Observation => &["/effectiveDateTime", "/id"],
            _ => &["/id"],
        };
        for pointer in wanted {
            if let Some(text) = value.pointer(pointer).and_then(|v| v.as_str())
                && text.len() >= 8
            {
                found.push(text.as_bytes().to_vec());
            }
        }
    }
    found.truncate(40);
    found
}
