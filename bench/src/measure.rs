//! Rounds, their median and spread, and the row of the table that they become. Knows no figure.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// The rounds of one measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Rounds {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) rounds: Vec<f64>,
}

impl Rounds {
    /// Of at least one round.
    pub(crate) fn of(rounds: Vec<f64>) -> Self {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        Self {
            median,
            least: at(0),
            most: at(last),
            rounds,
        }
    }

    /// Round by round, this over that.
    fn over(&self, that: &Self) -> Self {
        Self::of(
            self.rounds
                .iter()
                .zip(&that.rounds)
                .map(|(a, b)| a / b)
                .collect(),
        )
    }
}

/// What a figure is held to; `docs/performance.md` says where the bars come from.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bar {
    /// So many times the peer of the same run.
    TimesPeer(f64),
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    fn met(self, ours: f64, ratio: Option<f64>) -> bool {
        match self {
            Self::TimesPeer(bar) => ratio.is_some_and(|ratio| ratio >= bar),
            Self::AtLeast(bar) => ours >= bar,
            Self::AtMost(bar) => ours <= bar,
        }
    }

    fn text(self) -> String {
        match self {
            Self::TimesPeer(bar) => format!("{bar:.1} x"),
            Self::AtLeast(bar) => format!("≥ {}", number(bar)),
            Self::AtMost(bar) => format!("≤ {}", number(bar)),
        }
    }
}

/// A peer, measured in the same rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) rounds: Rounds,
}

/// One row of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// What was done.
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: Rounds,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<Peer>,
    /// Ours over the peer's, round by round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<Rounds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) must: Option<Bar>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aim: Option<Bar>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) must_met: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aim_met: Option<bool>,
    /// What else the run saw.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) note: String,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, rounds: Vec<f64>) -> Self {
        Self {
            what: what.into(),
            unit,
            ours: Rounds::of(rounds),
            peer: None,
            ratio: None,
            must: None,
            aim: None,
            must_met: None,
            aim_met: None,
            note: String::new(),
        }
    }

    pub(crate) fn beside(mut self, name: impl Into<String>, rounds: Vec<f64>) -> Self {
        let peer = Peer {
            name: name.into(),
            rounds: Rounds::of(rounds),
        };
        self.ratio = Some(self.ours.over(&peer.rounds));
        self.peer = Some(peer);
        self
    }

    /// To be called after [`Self::beside`].
    pub(crate) fn held_to(mut self, must: Bar, aim: Option<Bar>) -> Self {
        let ratio = self.ratio.as_ref().map(|ratio| ratio.median);
        self.must_met = Some(must.met(self.ours.median, ratio));
        self.aim_met = aim.map(|aim| aim.met(self.ours.median, ratio));
        (self.must, self.aim) = (Some(must), aim);
        self
    }

    pub(crate) fn noting(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The row in a few words, for who watches the run.
    pub(crate) fn line(&self) -> String {
        let ratio = self
            .ratio
            .as_ref()
            .map_or(String::new(), |r| format!(", {:.2} x", r.median));
        format!(
            "{}: {} {}{ratio}",
            self.what,
            number(self.ours.median),
            self.unit
        )
    }

    /// The row of the Markdown table.
    pub(crate) fn markdown(&self) -> String {
        let spread = |rounds: &Rounds| {
            if rounds.rounds.len() < 2 {
                return number(rounds.median);
            }
            let (least, most) = (number(rounds.least), number(rounds.most));
            format!("{} ({least} to {most})", number(rounds.median))
        };
        let peer = self.peer.as_ref().map_or(String::new(), |peer| {
            format!("{}: {}", peer.name, spread(&peer.rounds))
        });
        let ratio = self
            .ratio
            .as_ref()
            .map_or(String::new(), |r| format!("{:.2} x", r.median));
        let bar = |bar: Option<Bar>, met: Option<bool>| match (bar, met) {
            (Some(bar), Some(met)) => {
                format!("{}, {}", bar.text(), if met { "met" } else { "missed" })
            }
            _ => String::new(),
        };
        format!(
            "| {} | {} {} | {peer} | {ratio} | {} | {} | {} |",
            self.what,
            spread(&self.ours),
            self.unit,
            bar(self.must, self.must_met),
            bar(self.aim, self.aim_met),
            self.note
        )
    }
}

/// A number with as many digits as mean something.
fn number(value: f64) -> String {
    if value >= 1e4 {
        let whole = format!("{value:.0}");
        let mut grouped = String::new();
        for (at, digit) in whole.chars().enumerate() {
            if at > 0 && (whole.len() - at).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped
    } else if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

/// CPU time of the calling thread.
pub(crate) fn thread_time() -> Duration {
    duration(ClockId::ThreadCPUTime)
}

/// CPU time of this process, all threads.
pub(crate) fn process_time() -> Duration {
    duration(ClockId::ProcessCPUTime)
}

fn duration(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds)
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// How often `work` runs in a second of this thread's CPU time, over at least `span` of it.
pub(crate) fn per_cpu_second(
    span: Duration,
    mut work: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    work()?;
    let start = thread_time();
    let mut times = 0_u64;
    loop {
        for _ in 0..8 {
            work()?;
        }
        times += 8;
        let spent = thread_time() - start;
        if spent >= span {
            return Ok(times as f64 / spent.as_secs_f64());
        }
    }
}

/// Seconds of wall time since `start`.
pub(crate) fn seconds_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}
