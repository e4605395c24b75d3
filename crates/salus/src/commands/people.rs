//! `salus person` and `salus profiles`: registering, and deciding on who registered.

use std::path::PathBuf;

use salus_client::person::{Registration, register};
use salus_proto::api::account::Profile;
use salus_proto::api::principal::PrincipalSummary;
use salus_proto::command::Action;
use salus_proto::ids::PrincipalId;
use salus_proto::role::{Decision, Reason, Role};
use salus_runtime::clock::SystemClock;
use salus_runtime::entropy::SystemEntropy;
use serde::Serialize;

use super::session::{Actor, Reach, block_on, new_password};
use super::{account, words};
use crate::node::connect;
use crate::output::{Exit, Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum PersonCommand {
    /// Register at a node. The profile waits for the cloud operator's decision.
    ///
    /// Prints the recovery code: print it and keep it, it is the only way back without the password.
    #[command(after_help = "\
Example:
  salus person register --node https://127.0.0.1:8446 --authority consortium/authority.pem \\
    --login maya --password-file maya.password --role patient --name 'Maya Osei'")]
    Register(Register),
    /// Show who one is: role, standing, profile.
    Show(Actor),
    /// Set a new password with the recovery code. Prints a new code: the old one is used up.
    #[command(after_help = "\
Example:
  salus person recover --node https://127.0.0.1:8446 --authority consortium/authority.pem --login maya")]
    Recover(account::Recover),
    /// Change the password.
    Password(account::Password),
    /// Print a new recovery code; the old one opens nothing any more.
    RecoveryCode(account::Renew),
    /// Replace one's keys: new ones sign and open from now on; what came before still opens.
    RotateKeys(account::Renew),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Register {
    #[command(flatten)]
    reach: Reach,
    /// Login of the new account.
    #[arg(long)]
    login: String,
    /// File with the password on its first line, readable by its owner only; without it the password
    /// is asked for on the terminal.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// patient, doctor, staff, operator, data-user or auditor.
    #[arg(long, value_parser = words::word::<Role>)]
    role: Role,
    /// Name.
    #[arg(long)]
    name: String,
    /// A doctor's specialty.
    #[arg(long)]
    specialty: Option<String>,
    /// The hospital where a doctor or staff member works.
    #[arg(long)]
    hospital: Option<String>,
    /// A doctor's licence number.
    #[arg(long)]
    licence: Option<String>,
    /// Phone number.
    #[arg(long)]
    phone: Option<String>,
    /// E-mail address.
    #[arg(long)]
    email: Option<String>,
    /// Postal address.
    #[arg(long)]
    address: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum ProfilesCommand {
    /// List profiles by standing.
    List(List),
    /// Authorise or refuse a pending profile.
    Decide(Decide),
    /// Shut a principal out for good.
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    actor: Actor,
    /// pending, authorised, refused or revoked.
    #[arg(long, default_value = "pending")]
    standing: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Decide {
    #[command(flatten)]
    actor: Actor,
    /// The principal.
    principal: PrincipalId,
    /// approve or refuse.
    #[arg(value_parser = words::word::<Decision>)]
    decision: Decision,
    /// Why, for example identity-verified, not-entitled, duplicate.
    #[arg(long, default_value = "identity-verified", value_parser = words::word::<Reason>)]
    reason: Reason,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    actor: Actor,
    /// The principal.
    principal: PrincipalId,
    /// Why, for example key-compromised or left-role.
    #[arg(long, value_parser = words::word::<Reason>)]
    reason: Reason,
}

#[derive(Debug, Serialize)]
struct Registered {
    principal: PrincipalId,
    recovery_code: String,
}

pub(crate) fn person(command: PersonCommand, output: &Output) -> anyhow::Result<Exit> {
    match command {
        PersonCommand::Register(arguments) => block_on(enrol(arguments, output)),
        PersonCommand::Recover(arguments) => block_on(account::recover(arguments, output)),
        PersonCommand::Password(arguments) => block_on(account::password(arguments, output)),
        PersonCommand::RecoveryCode(arguments) => {
            block_on(account::recovery_code(arguments, output))
        }
        PersonCommand::RotateKeys(arguments) => block_on(account::rotate_keys(arguments, output)),
        PersonCommand::Show(actor) => block_on(async {
            let me = actor.session().await?.me().await?;
            output.report(&me, |me| {
                format!(
                    "{}\n  role      {}\n  standing  {}",
                    me.principal,
                    words::of(&me.role),
                    words::of(&me.standing)
                )
            })?;
            Ok(Exit::Done)
        }),
    }
}

async fn enrol(arguments: Register, output: &Output) -> anyhow::Result<Exit> {
    let password = new_password(arguments.password_file.as_deref())?;
    let node = connect(&arguments.reach.node, &arguments.reach.authority)?;
    let profile = Profile {
        name: arguments.name,
        specialty: arguments.specialty,
        hospital: arguments.hospital,
        licence: arguments.licence,
        phone: arguments.phone,
        email: arguments.email,
        address: arguments.address,
    };
    let wish = Registration {
        login: &arguments.login,
        password: &password,
        role: arguments.role,
        profile: &profile,
    };
    let registered = register(&node, wish, &SystemClock::new(), &mut SystemEntropy).await?;
    let registered = Registered {
        principal: registered.principal,
        recovery_code: registered.recovery_code.to_string(),
    };
    output.report(&registered, |r| {
        format!(
            "Registered as {}; waits for the cloud operator's decision.\n\
             Recovery code, to be printed and kept:\n  {}",
            r.principal, r.recovery_code
        )
    })?;
    Ok(Exit::Done)
}

pub(crate) fn profiles(command: ProfilesCommand, output: &Output) -> anyhow::Result<Exit> {
    match command {
        ProfilesCommand::List(arguments) => block_on(async {
            let person = arguments.actor.session().await?;
            let path = format!("/principals?standing={}", arguments.standing);
            let found: Vec<PrincipalSummary> = person.node().all(&path).await?;
            for one in &found {
                output.report(one, |p| {
                    let name = p
                        .profile
                        .as_ref()
                        .map_or("(account on another node)", |p| &p.name);
                    format!("{}  {:<10} {name}", p.principal, words::of(&p.role))
                })?;
            }
            Ok(Exit::Done)
        }),
        ProfilesCommand::Decide(Decide {
            actor,
            principal,
            decision,
            reason,
        }) => act(
            &actor,
            Action::DecidePrincipal {
                principal,
                decision,
                reason,
            },
            output,
        ),
        ProfilesCommand::Revoke(Revoke {
            actor,
            principal,
            reason,
        }) => act(
            &actor,
            Action::RevokePrincipal { principal, reason },
            output,
        ),
    }
}

/// Signs one action, submits it and reports its entry.
pub(super) fn act(actor: &Actor, action: Action, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        let receipt = actor.session().await?.act(action).await?;
        output.report(&receipt, |r| {
            format!("Entry {} of the ledger, {}.", r.entry, r.time)
        })?;
        Ok(Exit::Done)
    })
}
