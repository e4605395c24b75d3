//! `salus ledger`: how the ledger is doing, and what stands on it.

use salus_proto::api::ledger::EntryView;

use super::session::{Actor, Reach, block_on};
use crate::node::connect;
use crate::output::{Exit, Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Height, size, the last certified checkpoint, and who answers.
    Status(Reach),
    /// List entries: who did what when, and what became of it.
    Entries {
        #[command(flatten)]
        actor: Actor,
        /// Only entries after this one.
        #[arg(long)]
        after: Option<u64>,
    },
}

pub(crate) fn run(command: Command, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        match command {
            Command::Status(reach) => {
                let status = connect(&reach.node, &reach.authority)?.status().await?;
                output.report(&status, |s| {
                    let certified = s.certified.as_ref().map_or_else(
                        || "none yet".to_owned(),
                        |c| format!("{} entries, root {}, {}", c.size, c.root, c.time),
                    );
                    let members = s.members.iter().map(|m| {
                        let heard = m
                            .last_heard
                            .map_or_else(String::new, |at| format!("heard {at}"));
                        format!("\n  {:<24} {} {heard}", m.name, m.api)
                    });
                    let stalled = match &s.stalled {
                        None => "",
                        Some(stalled) if stalled.silent.is_empty() => {
                            "\nWRITES WAIT: this node's ledger failed; its log says why, and it has to be \
                             started again"
                        }
                        Some(_) => "\nWRITES WAIT: too few members answer",
                    };
                    format!(
                        "{}: height {}, {} entries\ncertified: {certified}{}{stalled}",
                        s.origin,
                        s.height,
                        s.size,
                        members.collect::<String>()
                    )
                })?;
            }
            Command::Entries { actor, after } => {
                let person = actor.session().await?;
                let after = after.map_or_else(String::new, |a| format!("?after={a}"));
                let entries: Vec<EntryView> = person
                    .node()
                    .all(&format!("/ledger/entries{after}"))
                    .await?;
                for entry in entries {
                    output.report(&entry, |e| {
                        let action = serde_json::to_value(&e.action).ok();
                        let kind = action
                            .as_ref()
                            .and_then(|a| a.get("type")?.as_str().map(str::to_owned));
                        format!(
                            "{:>6}  {}  {}  {:<20} {}",
                            e.index,
                            e.time,
                            e.principal,
                            kind.unwrap_or_default(),
                            match e.outcome {
                                salus_proto::command::Outcome::Accepted => "accepted".to_owned(),
                                salus_proto::command::Outcome::Refused(why) =>
                                    format!("refused: {why}"),
                            }
                        )
                    })?;
                }
            }
        }
        Ok(Exit::Done)
    })
}
