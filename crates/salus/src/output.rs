//! What the program says: one JSON line a result with `--json`, plain words otherwise; errors with
//! their whole chain, once, on standard error; exit codes that mean something.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use salus_proto::api::problem::Problem;
use serde::Serialize;

/// How a command ended. `salus --help` lists these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or verified.
    Done,
    /// Something failed; the message says what and what to do.
    Failed,
    /// The consortium, a policy, a node or a person refused: a normal answer.
    Refused,
    /// A proof, a signature or a stored value is wrong.
    NotVerified,
    /// Too few members answer, or the node is overloaded; nothing was lost, try again.
    Unavailable,
}

impl Exit {
    /// The exit code's meaning, for `--help`.
    pub(crate) const HELP: &'static str = "\
Exit codes:
  0  done, or verified
  1  failed; the message says what to do
  2  wrong usage
  3  refused by the consortium, a policy or a person
  4  a proof, signature or stored value does not verify
  5  too few members answer, or the node is busy; nothing was lost, try again";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Refused => 3,
            Exit::NotVerified => 4,
            Exit::Unavailable => 5,
        })
    }
}

/// An error that ends the program with a code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

/// Standard output, as text or JSON lines.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether results are JSON lines.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Reports a result: the value as one JSON line, or the words for people.
    pub(crate) fn report<T: Serialize>(
        &self,
        value: &T,
        words: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        let line = if self.json {
            serde_json::to_string(value)?
        } else {
            words(value)
        };
        let mut out = std::io::stdout().lock();
        // A reader that has seen enough (`salus ... | head`) is not an error.
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }

    /// Shows progress on standard error: a line that is rewritten on a terminal, nothing otherwise.
    pub(crate) fn progress(&self, text: &str) {
        let mut err = std::io::stderr().lock();
        if err.is_terminal() {
            // Progress is a courtesy: losing it must not end the work.
            let _ = write!(err, "\r\x1b[2K{text}").and_then(|()| err.flush());
        }
    }

    /// Ends a rewritten progress line.
    pub(crate) fn progress_done(&self) {
        let mut err = std::io::stderr().lock();
        if err.is_terminal() {
            let _ = write!(err, "\r\x1b[2K").and_then(|()| err.flush());
        }
    }

    /// Prints an error and its causes once, and names the exit code.
    pub(crate) fn fail(&self, error: &anyhow::Error) -> Exit {
        let exit = exit_of(error);
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        let text = if self.json {
            serde_json::json!({ "error": causes.first(), "causes": causes.get(1..) }).to_string()
        } else {
            format!("salus: {}", causes.join(": "))
        };
        let _ = writeln!(std::io::stderr(), "{text}");
        exit
    }
}

/// How a command that ended with this error ends the program.
fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(ended) = error.downcast_ref::<Ended>() {
        return ended.exit;
    }
    let mut causes = error.chain();
    if causes.any(|cause| cause.downcast_ref().is_some_and(is_altered)) {
        return Exit::NotVerified;
    }
    let mut causes = error.chain();
    match causes.find_map(|cause| cause.downcast_ref::<salus_client::Error>()) {
        Some(salus_client::Error::LoginRefused) => Exit::Refused,
        Some(salus_client::Error::NotVerified { .. }) => Exit::NotVerified,
        Some(salus_client::Error::Refused(problem) | salus_client::Error::Unavailable(problem)) => {
            exit_of_problem(problem)
        }
        _ => Exit::Failed,
    }
}

/// Whether sealed bytes are not as they were sealed.
fn is_altered(error: &salus_crypto::Error) -> bool {
    use salus_crypto::Error as E;
    matches!(
        error,
        E::Unwrap | E::WrongContext | E::Truncated | E::Overlong | E::Chunk { .. }
    )
}

/// A node's answer as an exit code. What the ledger recorded as refused carries its entry; other
/// refusals are told by their status. A request that was malformed, and a node that is broken, are
/// failures: the same call comes to the same end, and somebody has to look.
fn exit_of_problem(problem: &Problem) -> Exit {
    let broken = matches!(problem.code.as_str(), "storage-failure" | "ledger-failure");
    match problem.status {
        _ if problem.entry.is_some() => Exit::Refused,
        401 | 403 | 404 | 409 | 412 => Exit::Refused,
        429 | 503 | 504 if !broken => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

/// Logs go to standard error: warnings by default, more with `-v`.
pub(crate) fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info,commonware=warn,sqlx=warn",
        2 => "debug,commonware=info,sqlx=info,hyper=info,h2=info,rustls=info",
        _ => "trace",
    };
    tracing_subscriber::fmt()
        // Colours are for people: in a file they are rubbish.
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    fn problem(status: u16, code: &str, entry: Option<u64>) -> Problem {
        Problem {
            kind: format!("urn:salus:problem:{code}"),
            title: code.to_owned(),
            status,
            detail: None,
            instance: None,
            code: code.to_owned(),
            errors: Vec::new(),
            entry,
            silent: Vec::new(),
        }
    }

    #[test]
    fn refusals_and_waits_have_codes_of_their_own_and_mistakes_are_failures() {
        use salus_client::Error as E;
        let refused =
            |status, code: &str, entry| E::Refused(Box::new(problem(status, code, entry)));
        let waits = |status, code: &str| E::Unavailable(Box::new(problem(status, code, None)));
        for (error, exit) in [
            (refused(403, "pending-principal", None), Exit::Refused),
            (refused(404, "not-found", None), Exit::Refused),
            (refused(409, "wrong-state", Some(7)), Exit::Refused),
            (refused(422, "out-of-range", Some(7)), Exit::Refused),
            (refused(422, "invalid", None), Exit::Failed),
            (refused(400, "malformed-request", None), Exit::Failed),
            (refused(413, "too-large", None), Exit::Failed),
            (refused(500, "internal", None), Exit::Failed),
            (refused(504, "timeout", None), Exit::Unavailable),
            (waits(503, "no-quorum"), Exit::Unavailable),
            (waits(503, "overloaded"), Exit::Unavailable),
            (waits(429, "too-many-attempts"), Exit::Unavailable),
            (waits(503, "storage-failure"), Exit::Failed),
            (E::LoginRefused, Exit::Refused),
            (E::Authority, Exit::Failed),
        ] {
            let text = format!("{error:?}");
            let wrapped = Err::<(), _>(error).context("while testing").unwrap_err();
            assert_eq!(exit_of(&wrapped), exit, "{text}");
        }
        assert_eq!(exit_of(&anyhow::anyhow!("no disk")), Exit::Failed);
    }
}
