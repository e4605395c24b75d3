//! The story: every step does something a user would do and checks what came of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use salus_client::care::{Question, Reply};
use salus_client::node::Node;
use salus_client::person::{Person, Registration, register};
use salus_client::records::{Opened, Reading};
use salus_client::{Error, intake::pieces};
use salus_ledger::bundle::Bundle;
use salus_proto::api::account::Profile;
use salus_proto::api::patient::{OwnAlias, PatientSummary};
use salus_proto::command::Action;
use salus_proto::ids::{AccessId, ConsultationId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::{KeyClass, RecordKind};
use salus_proto::role::{Decision, NodeRole, Purpose, Reason, Role};
use salus_proto::{Digest, TimestampMs};
use salus_runtime::clock::{Clock, SystemClock};
use salus_runtime::entropy::SystemEntropy;
use serde::Serialize;

use super::Arguments;
use super::nodes::{Process, certified, free_ports};
use super::samples::{self, Samples};
use crate::commands::consortium::{Founding, found};
use crate::output::{Exit, Output};

const DAY_MS: u64 = 86_400_000;
/// How long what happened at one node may take to show at another.
const SOON_MS: u64 = 30_000;
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Names of the demonstration's members; the cloud is the last.
const MEMBERS: [&str; 4] = [
    "North Hospital",
    "South Hospital",
    "East Hospital",
    "Healthcare Cloud",
];
const CLOUD: usize = 3;

/// One step's outcome, a JSON line with `--json`.
#[derive(Debug, Serialize)]
struct Step {
    step: &'static str,
    ok: bool,
    checked: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    seconds: f64,
}

/// People of the demonstration; every password is shown, because none of this is real care.
#[derive(Debug, Clone, Serialize)]
struct Cast {
    login: &'static str,
    password: &'static str,
    role: Role,
    name: &'static str,
    home: usize,
}

const CAST: [Cast; 7] = [
    cast(
        "olive",
        "olive-demo-1",
        Role::Operator,
        "Olive Okafor",
        CLOUD,
    ),
    cast("stan", "stan-demo-1", Role::Staff, "Stan Nowak", 0),
    cast("maya", "maya-demo-1", Role::Patient, "Maya Osei", CLOUD),
    cast("noah", "noah-demo-1", Role::Patient, "Noah Weber", CLOUD),
    cast("dana", "dana-demo-1", Role::Doctor, "Dr. Dana Ruiz", CLOUD),
    cast(
        "emil",
        "emil-demo-1",
        Role::Doctor,
        "Dr. Emil Fischer",
        CLOUD,
    ),
    cast(
        "mallory",
        "mallory-demo-1",
        Role::Doctor,
        "Mallory Quack",
        CLOUD,
    ),
];

const fn cast(
    login: &'static str,
    password: &'static str,
    role: Role,
    name: &'static str,
    home: usize,
) -> Cast {
    Cast {
        login,
        password,
        role,
        name,
        home,
    }
}

/// Everything that the story knows while it goes on.
struct Story<'a> {
    dir: PathBuf,
    output: &'a Output,
    clock: Arc<dyn Clock>,
    samples: Samples,
    genesis: Digest,
    processes: Vec<Process>,
    people: BTreeMap<&'static str, Person>,
    principals: BTreeMap<&'static str, PrincipalId>,
    alias: Option<PatientAlias>,
    access: Option<AccessId>,
    read: Vec<Opened>,
    consultation: Option<ConsultationId>,
    reads: usize,
}

/// Runs the demonstration.
pub(super) async fn tell(arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let dir = std::path::absolute(&arguments.dir)?;
    let taken = std::fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some());
    ensure!(
        !taken,
        "{} is not empty; choose another folder with --dir",
        dir.display()
    );
    std::fs::create_dir_all(&dir)?;
    let samples = samples::choose(
        arguments.samples.as_deref(),
        &dir,
        arguments.patients,
        CLOUD,
    )?;
    let mut story = Story {
        dir,
        output,
        clock,
        samples,
        genesis: Digest::default(),
        processes: Vec::new(),
        people: BTreeMap::new(),
        principals: BTreeMap::new(),
        alias: None,
        access: None,
        read: Vec::new(),
        consultation: None,
        reads: 0,
    };
    let told = if arguments.story {
        story.whole().await
    } else {
        story.beginning().await
    };
    if !told {
        return Ok(Exit::Failed);
    }
    if !arguments.story {
        story.announce()?;
        tokio::signal::ctrl_c().await?;
    }
    for process in &mut story.processes {
        process.stop(&*story.clock).await?;
    }
    Ok(Exit::Done)
}

/// Runs one step, reports it, and tells whether to go on.
macro_rules! step {
    ($story:ident, $name:literal, $work:ident) => {{
        let started = $story.clock.now();
        $story.output.progress(concat!($name, " ..."));
        let outcome = $story.$work().await;
        $story.report($name, started, outcome)
    }};
}

impl Story<'_> {
    /// The steps up to a consortium with people and data in it.
    async fn beginning(&mut self) -> bool {
        step!(self, "found the consortium", found)
            && step!(self, "start four nodes", start)
            && step!(self, "register people", register)
            && step!(self, "authorise profiles", authorise)
            && step!(self, "take records in, sealed", take_in)
            && step!(self, "link a patient and approve access", approve)
    }

    async fn whole(&mut self) -> bool {
        self.beginning().await
            && step!(self, "resume a killed import", resume)
            && step!(self, "refuse hostile files", hostile)
            && step!(self, "replicate to the cloud, without keys", replicated)
            && step!(self, "staff see everything sealed", sealed_view)
            && step!(self, "refuse access to strangers", strangers)
            && step!(self, "the patient reads", patient_reads)
            && step!(self, "the patient asks a doctor", ask)
            && step!(self, "the doctor reads and answers", answer)
            && step!(
                self,
                "the patient reads answer and prescription",
                reads_answer
            )
            && step!(self, "the patient lists every read", receipts)
            && step!(self, "verify a record offline", verify)
            && step!(self, "refuse replays and forgeries", replays)
            && step!(self, "nothing readable is stored", canary)
            && step!(self, "go on with one node killed", one_down)
            && step!(self, "wait with two nodes stopped, read on", two_down)
            && step!(self, "every node has the same ledger", same_ledger)
    }

    fn report(
        &self,
        step: &'static str,
        started: TimestampMs,
        outcome: anyhow::Result<Vec<String>>,
    ) -> bool {
        self.output.progress_done();
        let seconds = (self.clock.now().0 - started.0) as f64 / 1e3;
        let (ok, checked, error) = match outcome {
            Ok(checked) => (true, checked, None),
            Err(error) => {
                let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
                (false, Vec::new(), Some(causes.join(": ")))
            }
        };
        let step = Step {
            step,
            ok,
            checked,
            error,
            seconds,
        };
        let printed = self.output.report(&step, |s| {
            let mark = if s.ok { "ok" } else { "FAILED" };
            let lines = s
                .checked
                .iter()
                .chain(&s.error)
                .map(|line| format!("\n       {line}"));
            format!(
                "{mark:<6} {} ({:.1} s){}",
                s.step,
                s.seconds,
                lines.collect::<String>()
            )
        });
        ok && printed.is_ok()
    }

    fn announce(&self) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Announcement {
            notice: &'static str,
            nodes: Vec<(String, String)>,
            people: Vec<Cast>,
        }
        let announcement = Announcement {
            notice: "This is a demonstration: passwords are public, and none of this is for care.",
            nodes: self
                .processes
                .iter()
                .map(|p| (p.name.clone(), p.node.base().to_owned()))
                .collect(),
            people: CAST.to_vec(),
        };
        self.output.report(&announcement, |a| {
            let nodes = a
                .nodes
                .iter()
                .map(|(name, api)| format!("\n  {name:<18} {api}"));
            let people = a.people.iter().map(|p| {
                let home = MEMBERS.get(p.home).copied().unwrap_or_default();
                format!(
                    "\n  {:<8} {:<15} {:<18} at {home}",
                    p.login, p.password, p.name
                )
            });
            format!(
                "\n{}\n\nNodes:{}\n\nPeople (login, password):{}\n\nStop with Ctrl-C.",
                a.notice,
                nodes.collect::<String>(),
                people.collect::<String>()
            )
        })
    }

    fn process(&self, index: usize) -> anyhow::Result<&Process> {
        self.processes.get(index).context("the node was started")
    }

    fn person(&self, login: &str) -> anyhow::Result<&Person> {
        self.people
            .get(login)
            .with_context(|| format!("{login} is logged in"))
    }

    fn principal(&self, login: &str) -> anyhow::Result<PrincipalId> {
        self.principals
            .get(login)
            .copied()
            .with_context(|| format!("{login} is registered"))
    }

    async fn found(&mut self) -> anyhow::Result<Vec<String>> {
        let ports = free_ports(2 * MEMBERS.len())?;
        let (api, engine) = ports.split_at(MEMBERS.len());
        let foundings: Vec<Founding> = MEMBERS
            .iter()
            .enumerate()
            .map(|(i, name)| Founding {
                name: (*name).to_owned(),
                roles: if i == CLOUD {
                    vec![NodeRole::Cloud, NodeRole::Coordinator]
                } else {
                    vec![NodeRole::Hospital]
                },
                host: "127.0.0.1".to_owned(),
                api_port: api.get(i).copied().unwrap_or_default(),
                engine_port: engine.get(i).copied().unwrap_or_default(),
            })
            .collect();
        let folder = self.dir.join("consortium");
        let founded = found(
            &folder,
            "riverside",
            &foundings,
            self.clock.now(),
            &mut SystemEntropy,
        )?;
        self.genesis = founded.genesis;
        for member in &founded.members {
            self.processes
                .push(Process::new(&member.name, &member.config, &member.api)?);
        }
        Ok(vec![
            format!("using {}", self.samples.title),
            format!("four members; genesis {}", founded.genesis),
        ])
    }

    async fn start(&mut self) -> anyhow::Result<Vec<String>> {
        for process in &mut self.processes {
            process.start()?;
        }
        let clock = Arc::clone(&self.clock);
        let mut consortium = None;
        for process in &mut self.processes {
            let status = process.answers(MEMBERS.len(), &*clock).await?;
            ensure!(
                status.members.len() == MEMBERS.len(),
                "{} sees too few members",
                process.name
            );
            let first = *consortium.get_or_insert(status.consortium);
            ensure!(
                first == status.consortium,
                "{} is of another consortium",
                process.name
            );
        }
        Ok(vec![
            "four processes answer over TLS and know each other".into(),
        ])
    }

    async fn register(&mut self) -> anyhow::Result<Vec<String>> {
        for one in &CAST {
            let home = self.process(one.home)?.node.clone();
            let profile = Profile {
                name: one.name.to_owned(),
                specialty: (one.role == Role::Doctor).then(|| "Cardiology".to_owned()),
                hospital: (one.role == Role::Doctor).then(|| MEMBERS[0].to_owned()),
                licence: None,
                phone: None,
                email: None,
                address: None,
            };
            let wish = Registration {
                login: one.login,
                password: one.password,
                role: one.role,
                profile: &profile,
            };
            let registered = register(&home, wish, &*self.clock, &mut SystemEntropy).await?;
            self.principals.insert(one.login, registered.principal);
            let person = self.log_in(one, &home).await?;
            self.people.insert(one.login, person);
        }
        // Who is pending can do nothing, not even under their own signature.
        let maya = self.person("maya")?;
        let alias = PatientAlias::random(&mut SystemEntropy);
        let asked = maya.act(Action::OpenPatient { alias }).await;
        expect_refused(asked, "a pending profile acted")?;
        let listed = self
            .person("dana")?
            .node()
            .get::<serde_json::Value>("/doctors")
            .await;
        expect_refused(listed, "a pending profile saw the directory")?;
        let wrong = Person::login(
            &self.process(CLOUD)?.node,
            "maya",
            "not-her-password",
            Arc::clone(&self.clock),
            &mut SystemEntropy,
        )
        .await;
        ensure!(
            matches!(wrong, Err(Error::LoginRefused)),
            "a wrong password opened a session"
        );
        Ok(vec![
            format!(
                "{} people registered; no password left this process",
                CAST.len()
            ),
            "a pending profile can do nothing; a wrong password opens nothing".into(),
        ])
    }

    async fn log_in(&self, one: &Cast, home: &Node) -> anyhow::Result<Person> {
        let clock = Arc::clone(&self.clock);
        Ok(Person::login(home, one.login, one.password, clock, &mut SystemEntropy).await?)
    }

    async fn authorise(&mut self) -> anyhow::Result<Vec<String>> {
        let approve = |principal| Action::DecidePrincipal {
            principal,
            decision: Decision::Approve,
            reason: Reason::IdentityVerified,
        };
        // Organisations vouch for their own people; the operator for everybody else.
        let cloud = self.process(CLOUD)?.organisation(&self.clock).await?;
        cloud.act(approve(self.principal("olive")?)).await?;
        let north = self.process(0)?.organisation(&self.clock).await?;
        north.act(approve(self.principal("stan")?)).await?;
        let olive = self.person("olive")?;
        for login in ["maya", "noah", "dana", "emil"] {
            olive.act(approve(self.principal(login)?)).await?;
        }
        let principal = self.principal("mallory")?;
        let refuse = Action::DecidePrincipal {
            principal,
            decision: Decision::Refuse,
            reason: Reason::NotEntitled,
        };
        olive.act(refuse).await?;
        expect_refused(
            self.person("mallory")?
                .act(Action::RevokePrincipal {
                    principal,
                    reason: Reason::LeftRole,
                })
                .await,
            "a refused profile acted",
        )?;
        expect_refused(
            self.person("maya")?.act(approve(principal)).await,
            "a patient authorised a profile",
        )?;
        Ok(vec![
            "six authorised, one refused with its reason; nobody else may decide".into(),
        ])
    }

    async fn take_in(&mut self) -> anyhow::Result<Vec<String>> {
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
            ensure!(summary.failed == 0, "{} files failed", summary.failed);
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
        ensure!(summary.failed == 0, "{} attachments failed", summary.failed);
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
    fn first_patient(&self) -> anyhow::Result<(String, String)> {
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
    async fn intake(
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
        serde_json::from_str(last).with_context(|| format!("the import said: {last}"))
    }

    fn intake_command(
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
    async fn kept(&self, hospital: usize) -> anyhow::Result<usize> {
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

    async fn resume(&mut self) -> anyhow::Result<Vec<String>> {
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
        ensure!(summary.failed == 0, "{} files failed", summary.failed);
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

    async fn hostile(&mut self) -> anyhow::Result<Vec<String>> {
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

    async fn replicated(&mut self) -> anyhow::Result<Vec<String>> {
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

    async fn sealed_view(&mut self) -> anyhow::Result<Vec<String>> {
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
        let bundle = Bundle::from_json(&stan.proof(first.record).await?)?;
        ensure!(
            bundle.verify(&self.genesis).verified(),
            "its inclusion proof does not verify"
        );
        Ok(vec![format!(
            "{} records of one patient with digest, signer, time and entry; inclusion proven",
            sealed.len()
        )])
    }

    async fn approve(&mut self) -> anyhow::Result<Vec<String>> {
        let (_, name) = self.first_patient()?;
        let north = self.process(0)?;
        let api = north.node.base().to_owned();
        let stan = self.person("stan")?.clone();
        let patients: Vec<PatientSummary> = stan.patients().await?;
        let found = patients
            .iter()
            .find(|p| p.name.as_deref() == Some(name.as_str()));
        let alias = found
            .context("the patient is listed under the clear name")?
            .alias;
        self.alias = Some(alias);
        let patient = self.principal("maya")?;
        stan.act(Action::LinkPatient { alias, patient }).await?;

        let maya = self.person("maya")?;
        // Her account's node learns of the link as soon as it has executed the block.
        let deadline = self.clock.now().plus_ms(SOON_MS);
        loop {
            let own: Vec<OwnAlias> = maya.own_aliases().await?;
            if own.iter().any(|o| o.alias == alias && o.api == api) {
                break;
            }
            ensure!(self.clock.now() < deadline, "maya does not see her alias");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let maya = maya.at(&api).await?;
        let until = self.clock.now().plus_ms(365 * DAY_MS);
        let purpose = Purpose::PatientRequest;
        let access = maya
            .request_access(alias, &KeyClass::ALL, purpose, until, &mut SystemEntropy)
            .await?;
        let decided = self.decided(&maya, access).await?;
        ensure!(decided == "approved", "her request was {decided}");
        self.access = Some(access);

        // Another purpose is a person's decision; this one is refused, and she sees why.
        let asked = maya
            .request_access(
                alias,
                &[KeyClass::Medical],
                Purpose::Research,
                until,
                &mut SystemEntropy,
            )
            .await?;
        let waiting = stan.open_requests().await?;
        ensure!(
            waiting.iter().any(|a| a.access == asked),
            "staff do not see the request"
        );
        stan.decide_access(asked, Decision::Refuse, Reason::TooBroad)
            .await?;
        let answer = maya.access(asked).await?;
        let answer = serde_json::to_value(answer.status)?;
        let reason = answer
            .get("reason")
            .and_then(|r| r.as_str())
            .unwrap_or_default()
            .to_owned();
        ensure!(reason == "too-broad", "the reason shown is `{reason}`");
        self.people.insert("maya", maya);
        Ok(vec![
            "her own records: approved by the hospital's policy".into(),
            "a broader request: refused by staff, and she sees the reason".into(),
        ])
    }

    /// Waits until a request is no longer open.
    async fn decided(&self, person: &Person, access: AccessId) -> anyhow::Result<String> {
        let deadline = self.clock.now().plus_ms(SOON_MS);
        loop {
            let status = serde_json::to_value(person.access(access).await?.status)?;
            let word = status
                .get("status")
                .and_then(|s| s.as_str())
                .unwrap_or_default();
            if word != "requested" {
                return Ok(word.to_owned());
            }
            ensure!(self.clock.now() < deadline, "nobody decided on the request");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn reading(&self, records: Vec<RecordId>) -> anyhow::Result<Reading> {
        Ok(Reading {
            alias: self.alias.context("an alias")?,
            access: self.access,
            records,
            purpose: Purpose::PatientRequest,
        })
    }

    async fn strangers(&mut self) -> anyhow::Result<Vec<String>> {
        let alias = self.alias.context("an alias")?;
        let api = self.process(0)?.node.base().to_owned();
        let sealed = self.person("stan")?.sealed_records(alias).await?;
        let record = sealed.first().context("a record")?.record;
        for login in ["noah", "dana", "olive"] {
            let stranger = self.person(login)?.at(&api).await?;
            let read = stranger.read(self.reading(vec![record])?).await;
            expect_refused(read, "a stranger read a record")?;
            let mut without = self.reading(vec![record])?;
            without.access = None;
            expect_refused(
                stranger.read(without).await,
                "a stranger read without a grant",
            )?;
            let path = format!("/records/{record}/sealed?receipt=0");
            expect_refused(
                stranger.node().bytes(&path, None).await,
                "sealed bytes left the node",
            )?;
        }
        let noah = self.person("noah")?.at(&api).await?;
        expect_refused(
            noah.sealed_records(alias).await,
            "another patient saw her list",
        )?;
        Ok(vec![
            "another patient, a doctor and the operator get nothing, not even a list".into(),
        ])
    }

    async fn patient_reads(&mut self) -> anyhow::Result<Vec<String>> {
        let alias = self.alias.context("an alias")?;
        let maya = self.person("maya")?.clone();
        let sealed = maya.sealed_records(alias).await?;
        let records: Vec<RecordId> = sealed.iter().map(|r| r.record).collect();
        let opened = maya.read(self.reading(records)?).await?;
        ensure!(
            opened.len() == sealed.len(),
            "{} of {} opened",
            opened.len(),
            sealed.len()
        );
        self.reads += 1;

        let mut expected = 0;
        for path in &self.samples.attachments {
            let bytes = std::fs::read(path)?;
            let whole = opened.iter().any(|o| o.content.body == bytes);
            let wave = path.extension().is_some_and(|e| e == "hea");
            ensure!(
                whole || wave,
                "{} did not come back as it was",
                path.display()
            );
            expected += usize::from(whole);
        }
        let ecgs = opened
            .iter()
            .filter(|o| o.anchor.kind == RecordKind::Ecg)
            .count();
        let is_document = |o: &&Opened| o.anchor.kind == RecordKind::Document;
        let documents = opened.iter().filter(is_document).count();
        let signed = opened
            .iter()
            .filter(is_document)
            .all(|d| d.statement.is_some());
        ensure!(signed, "a document is not signed");
        let bundle = self.samples.shares.first().and_then(|s| s.bundles.first());
        let source = pieces::fhir(&std::fs::read(bundle.context("a bundle")?)?)?;
        let pieces = &source.patients.first().context("a patient")?.pieces;
        for piece in pieces {
            let same = opened.iter().any(|o| o.content.body == piece.body);
            ensure!(
                same,
                "a resource of kind {:?} did not come back as it was",
                piece.kind
            );
        }
        self.read = opened;
        Ok(vec![
            format!(
                "{} records opened here, each checked against its anchor",
                sealed.len()
            ),
            format!(
                "{} FHIR resources and {expected} files came back byte for byte, {ecgs} ECG, \
                 {documents} documents with both signatures checked",
                pieces.len()
            ),
        ])
    }

    async fn ask(&mut self) -> anyhow::Result<Vec<String>> {
        let maya = self.person("maya")?.clone();
        let doctors = self.at_home("maya").await?.doctors().await?;
        let dana = self.principal("dana")?;
        ensure!(
            doctors.iter().any(|d| d.principal == dana),
            "dana is not in the directory"
        );
        let mallory = self.principal("mallory")?;
        ensure!(
            doctors.iter().all(|d| d.principal != mallory),
            "a refused doctor is listed"
        );
        let chosen: Vec<Opened> = std::mem::take(&mut self.read)
            .into_iter()
            .filter(|o| matches!(o.anchor.kind, RecordKind::Ecg | RecordKind::Symptom))
            .take(3)
            .collect();
        ensure!(!chosen.is_empty(), "there is nothing to send");
        let custodian = self
            .process(0)?
            .organisation(&self.clock)
            .await?
            .organisation();
        let question = Question {
            alias: self.alias.context("an alias")?,
            custodian,
            doctor: dana,
            text: "My heart races at night. What does the ECG say?",
            records: &chosen,
            until: self.clock.now().plus_ms(30 * DAY_MS),
        };
        let consultation = maya.ask(question, &mut SystemEntropy).await?;
        self.consultation = Some(consultation);
        let sent = chosen.len();
        self.read = chosen;
        Ok(vec![format!(
            "a question and exactly {sent} records sent to one doctor"
        )])
    }

    /// The same person in a session at the node where the account is.
    async fn at_home(&self, login: &str) -> anyhow::Result<Person> {
        let one = CAST
            .iter()
            .find(|c| c.login == login)
            .context("a known person")?;
        let home = self.process(one.home)?.node.base().to_owned();
        Ok(self.person(login)?.at(&home).await?)
    }

    async fn answer(&mut self) -> anyhow::Result<Vec<String>> {
        let api = self.process(0)?.node.base().to_owned();
        let id = self.consultation.context("a consultation")?;
        let dana = self.person("dana")?.at(&api).await?;
        let consultation = dana.consultation(id).await?;
        let reading = |records: Vec<RecordId>| Reading {
            alias: consultation.alias,
            access: Some(consultation.access),
            records,
            purpose: Purpose::Treatment,
        };
        let opened = dana.read(reading(consultation.records.clone())).await?;
        self.reads += 1;
        let question = opened
            .iter()
            .find(|o| o.anchor.kind == RecordKind::Question);
        let question = question.context("the question came along")?;
        ensure!(question.statement.is_some(), "the question is not signed");
        for sent in &self.read {
            let same = opened.iter().any(|o| o.content.body == sent.content.body);
            ensure!(same, "a record that was sent did not arrive");
        }
        // Nothing but what was sent, and nobody but her.
        let all = self
            .person("stan")?
            .sealed_records(consultation.alias)
            .await?;
        let other = all
            .iter()
            .find(|r| !consultation.records.contains(&r.record));
        let other = other.context("a record that was not sent")?.record;
        expect_refused(
            dana.read(reading(vec![other])).await,
            "a doctor read more than was sent",
        )?;
        let emil = self.person("emil")?.at(&api).await?;
        let stolen = emil.read(reading(consultation.records.clone())).await;
        expect_refused(stolen, "another doctor read the consultation")?;
        expect_refused(
            emil.consultation(id).await,
            "another doctor saw the consultation",
        )?;

        let prescription = serde_json::json!({
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": { "coding": [{
                "system": "http://www.nlm.nih.gov/research/umls/rxnorm",
                "code": "866427", "display": "metoprolol succinate 25 MG",
            }] },
            "dosageInstruction": [{ "text": "one tablet every morning for 28 days" }],
        });
        let custodian = self
            .process(0)?
            .organisation(&self.clock)
            .await?
            .organisation();
        let reply = Reply {
            consultation: &consultation,
            custodian,
            text: "Sinus rhythm with frequent premature beats. Take this and come back in a month.",
            prescriptions: &[prescription.to_string().into_bytes()],
        };
        dana.answer(reply, &mut SystemEntropy).await?;
        let given = dana.prescriptions().await?;
        ensure!(
            given.iter().any(|p| p.consultation == id),
            "dana does not see her prescription"
        );
        Ok(vec![
            format!(
                "the doctor opened {} records, and none that was not sent",
                opened.len()
            ),
            "another doctor opened nothing; answer and prescription are signed and listed".into(),
        ])
    }

    async fn reads_answer(&mut self) -> anyhow::Result<Vec<String>> {
        let maya = self.person("maya")?.clone();
        let id = self.consultation.context("a consultation")?;
        let consultation = maya.consultation(id).await?;
        let answer = consultation.answer.as_ref().context("there is no answer")?;
        let opened = maya.read(self.reading(answer.records.clone())?).await?;
        self.reads += 1;
        let kinds: Vec<RecordKind> = opened.iter().map(|o| o.anchor.kind).collect();
        ensure!(
            kinds.contains(&RecordKind::Answer),
            "the answer did not arrive"
        );
        ensure!(
            kinds.contains(&RecordKind::Prescription),
            "the prescription did not arrive"
        );
        let dana = self.principal("dana")?;
        let signed = opened
            .iter()
            .all(|o| o.statement.is_some() && o.signer == dana);
        ensure!(signed, "answer or prescription is not signed by the doctor");
        Ok(vec![
            "both opened; Ed25519 and ML-DSA-65 signatures of the doctor verified".into(),
        ])
    }

    async fn receipts(&mut self) -> anyhow::Result<Vec<String>> {
        let alias = self.alias.context("an alias")?;
        let receipts = self.person("maya")?.receipts(alias).await?;
        let (maya, dana) = (self.principal("maya")?, self.principal("dana")?);
        let by = |who| receipts.iter().filter(|r| r.reader == who).count();
        let reads = by(maya) + by(dana);
        ensure!(
            reads == self.reads,
            "{reads} receipts for {} reads",
            self.reads
        );
        ensure!(by(dana) == 1, "{} receipts of the doctor", by(dana));
        let purpose = receipts
            .iter()
            .find(|r| r.reader == dana)
            .map(|r| r.purpose);
        ensure!(
            purpose == Some(Purpose::Treatment),
            "the doctor's purpose is not shown"
        );
        Ok(vec![format!(
            "{} receipts: who, when, what, what for; one for every read that happened",
            receipts.len()
        )])
    }

    async fn verify(&mut self) -> anyhow::Result<Vec<String>> {
        let maya = self.person("maya")?.clone();
        let record = self.read.first().context("a record")?.anchor.record;
        let status = self.process(0)?.node.status().await?;
        certified(&[self.process(0)?], status.size, &*self.clock).await?;
        let bundle = maya.proof(record).await?;
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

    async fn replays(&mut self) -> anyhow::Result<Vec<String>> {
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

    async fn canary(&mut self) -> anyhow::Result<Vec<String>> {
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
                let content = match std::fs::read(&path) {
                    // The nodes are running: a file may be gone again since it was listed.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    content => content?,
                };
                files += 1;
                bytes += content.len();
                for canary in &canaries {
                    let found = content
                        .windows(canary.len())
                        .any(|w| w == canary.as_slice());
                    ensure!(!found, "{} holds readable patient data", path.display());
                }
            }
        }
        Ok(vec![format!(
            "{} plaintexts (question, answer, prescription, address, phone, clinical values) occur in \
             none of {files} files, {:.1} MB, that the nodes wrote",
            canaries.len(),
            bytes as f64 / 1e6
        )])
    }

    async fn one_down(&mut self) -> anyhow::Result<Vec<String>> {
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

    async fn two_down(&mut self) -> anyhow::Result<Vec<String>> {
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

    async fn same_ledger(&mut self) -> anyhow::Result<Vec<String>> {
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

/// The last line of `salus intake --json`.
#[derive(Debug, serde::Deserialize)]
struct Taken {
    records: usize,
    failed: usize,
    seconds: f64,
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

/// A refusal of any kind is what is wanted; success and broken connections are not.
fn expect_refused<T>(outcome: Result<T, Error>, what: &str) -> anyhow::Result<()> {
    match outcome {
        Err(Error::Refused(_)) => Ok(()),
        Ok(_) => bail!("{what}"),
        Err(error) => Err(error).context("refused otherwise than expected"),
    }
}
