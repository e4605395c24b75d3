//! The run as JSON and as the table of `docs/performance.md`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::machine::Machine;
use crate::measure::Row;

const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// One run of the suite.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) command: String,
    pub(crate) revision: String,
    pub(crate) quick: bool,
    pub(crate) machine: Machine,
    pub(crate) figures: Vec<Row>,
    pub(crate) not_measured: Vec<String>,
}

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let machine = &self.machine;
        let mut text = String::new();
        // Writing to a string fails for no input.
        let _ = writeln!(
            text,
            "Command: `{}`. Revision {}. Machine: {}, {} cores, {} GiB, Linux {}, {} under the working \
             folder. Load averages (1, 5, 15 min) before: {}; after, the suite's own load included: {}. \
             {}; {}; {}; rage: {}.",
            self.command,
            self.revision,
            machine.cpu,
            machine.cores,
            machine.memory_gib,
            machine.kernel,
            machine.file_system,
            machine.load_before,
            machine.load_after,
            machine.salus,
            machine.rustc,
            machine.openssl,
            machine.rage
        );
        if self.quick {
            text.push_str("\nA quick run with small sizes: no figure here is worth quoting.\n");
        }
        text.push_str(
            "\n| What | Median (least to most) | Peer, same run | Ratio | Must | Aim | Remarks |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for row in &self.figures {
            text.push_str(&row.markdown());
            text.push('\n');
        }
        for missing in &self.not_measured {
            let _ = writeln!(text, "\nNot measured: {missing}");
        }
        text
    }

    pub(crate) fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Replaces what stands between the markers.
    pub(crate) fn write_table(&self, path: &Path) -> anyhow::Result<()> {
        let before = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let parts = before.split_once(BEGIN).and_then(|(head, rest)| {
            let (_, tail) = rest.split_once(END)?;
            Some((head, tail))
        });
        let (head, tail) =
            parts.with_context(|| format!("{} lacks the markers of the table", path.display()))?;
        let text = format!("{head}{BEGIN}\n{}{END}{tail}", self.markdown());
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
