//! The story: every step does something a user would do and checks what came of it.

mod beginning;
mod care;
mod evidence;
mod outage;
mod records;
mod scan;
mod training;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use salus_client::Error;
use salus_client::person::Person;
use salus_client::records::Opened;
use salus_proto::ids::{AccessId, ConsultationId, JobId, PatientAlias, PrincipalId};
use salus_proto::role::Role;
use salus_proto::{Digest, TimestampMs};
use salus_runtime::clock::{Clock, SystemClock};
use serde::Serialize;

use super::nodes::Process;
use super::samples::Samples;
use super::start::{Someone, Start};
use super::{Arguments, samples};
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

const NOTICE: &str = "This is a demonstration: passwords are public, and none of this is for care.";

/// Who stands on the start page, in what order, and what for where it is not what the role says.
const ON_STAGE: [(&str, Option<&str>); 7] = [
    ("maya", None),
    ("dana", None),
    ("stan", None),
    ("olive", None),
    (
        "noah",
        Some("A patient without records at any hospital: empty pages."),
    ),
    ("emil", Some("A second doctor, whom nobody has asked.")),
    (
        "mallory",
        Some("Somebody whose profile was refused, and who is told so."),
    ),
];

/// Asks the desktop to open a page. That there may be no desktop is no failure: the path is printed.
fn show(page: &std::path::Path) {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let told = std::process::Command::new(opener)
        .arg(page)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    if told.is_err() {
        tracing::debug!("there is no {opener} to open the start page with");
    }
}

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
    /// Where real films may be.
    films: Option<PathBuf>,
    genesis: Digest,
    processes: Vec<Process>,
    people: BTreeMap<&'static str, Person>,
    principals: BTreeMap<&'static str, PrincipalId>,
    alias: Option<PatientAlias>,
    access: Option<AccessId>,
    read: Vec<Opened>,
    consultation: Option<ConsultationId>,
    job: Option<JobId>,
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
        films: arguments.samples.clone(),
        genesis: Digest::default(),
        processes: Vec::new(),
        people: BTreeMap::new(),
        principals: BTreeMap::new(),
        alias: None,
        access: None,
        read: Vec::new(),
        consultation: None,
        job: None,
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
        story.announce(arguments.open)?;
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
            && step!(self, "hospitals train together", train)
            && step!(self, "a doctor has the model judge a film", judge)
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

    /// Writes the start page and says where everything is.
    fn announce(&self, open: bool) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Announcement {
            notice: &'static str,
            start: PathBuf,
            nodes: Vec<(String, String)>,
            people: Vec<Cast>,
        }
        let nodes: Vec<(String, String)> = self
            .processes
            .iter()
            .map(|p| (p.name.clone(), p.node.base().to_owned()))
            .collect();
        let start = self.dir.join("start.html");
        crate::files::write(&start, self.start_page(&nodes).as_bytes(), 0o644)?;
        let announcement = Announcement {
            notice: NOTICE,
            start: start.clone(),
            nodes,
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
                "\n{}\n\nNodes:{}\n\nPeople (login, password):{}\n\nStart page: {}\n\nStop with Ctrl-C.",
                a.notice,
                nodes.collect::<String>(),
                people.collect::<String>(),
                a.start.display()
            )
        })?;
        if open {
            show(&start);
        }
        Ok(())
    }

    fn start_page(&self, nodes: &[(String, String)]) -> String {
        let people: Vec<Someone<'_>> = ON_STAGE
            .iter()
            .filter_map(|(login, hint)| {
                let one = CAST.iter().find(|one| one.login == *login)?;
                let (home, api) = nodes.get(one.home)?;
                Some(Someone {
                    name: one.name,
                    login: one.login,
                    password: one.password,
                    role: one.role,
                    hint: *hint,
                    home: (home, api),
                })
            })
            .collect();
        let page = Start {
            notice: NOTICE,
            data: &self.samples.title,
            authority: &self.dir.join("consortium/authority.pem"),
            nodes,
            people: &people,
        };
        page.html()
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
}

/// A refusal of any kind is what is wanted; success and broken connections are not.
fn expect_refused<T>(outcome: Result<T, Error>, what: &str) -> anyhow::Result<()> {
    match outcome {
        Err(Error::Refused(_)) => Ok(()),
        Ok(_) => bail!("{what}"),
        Err(error) => Err(error).context("refused otherwise than expected"),
    }
}
