//! What people do with their own accounts: come back with the recovery code, change the password, print
//! a new code, replace their keys.

use std::path::PathBuf;
use std::sync::Arc;

use salus_client::account::{Account, Opener};
use salus_crypto::keyring::RecoveryCode;
use salus_proto::TimestampMs;
use salus_proto::ids::PrincipalId;
use salus_runtime::clock::SystemClock;
use salus_runtime::entropy::SystemEntropy;
use serde::Serialize;

use super::session::{Reach, new_password, secret};
use crate::node::connect;
use crate::output::{Exit, Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Recover {
    #[command(flatten)]
    reach: Reach,
    /// Login of the account.
    #[arg(long)]
    login: String,
    /// File with the recovery code on its first line, readable by its owner only; without it the code
    /// is asked for on the terminal.
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// File with the new password on its first line, readable by its owner only; without it the
    /// password is asked for twice on the terminal.
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Password {
    #[command(flatten)]
    renew: Renew,
    /// File with the new password on its first line, readable by its owner only; without it the
    /// password is asked for twice on the terminal.
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Renew {
    #[command(flatten)]
    reach: Reach,
    /// Login of the account.
    #[arg(long)]
    login: String,
    /// File with the password on its first line, readable by its owner only; without it the password
    /// is asked for on the terminal.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Renew {
    async fn open(&self) -> anyhow::Result<Account> {
        let password = secret(self.password_file.as_deref(), "Password")?;
        let opener = Opener::Password(&password);
        open(&self.reach, &self.login, opener).await
    }
}

async fn open(reach: &Reach, login: &str, opener: Opener<'_>) -> anyhow::Result<Account> {
    let node = connect(&reach.node, &reach.authority)?;
    let clock = Arc::new(SystemClock::new());
    Ok(Account::open(&node, login, opener, clock, &mut SystemEntropy).await?)
}

#[derive(Debug, Serialize)]
struct Changed {
    principal: PrincipalId,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<TimestampMs>,
}

impl Changed {
    fn of(account: &Account) -> Self {
        Self {
            principal: account.person().principal(),
            recovery_code: None,
            entry: None,
            at: None,
        }
    }
}

pub(super) async fn recover(arguments: Recover, output: &Output) -> anyhow::Result<Exit> {
    let code = secret(arguments.code_file.as_deref(), "Recovery code")?;
    let code = RecoveryCode::parse(&code)?;
    let opener = Opener::RecoveryCode(&code);
    let mut account = open(&arguments.reach, &arguments.login, opener).await?;
    let password = new_password(arguments.new_password_file.as_deref())?;
    // First a way in that stays, then the end of the old one.
    account
        .change_password(&password, &mut SystemEntropy)
        .await?;
    let code = account.renew_recovery_code(&mut SystemEntropy).await?;
    let changed = Changed {
        recovery_code: Some(code.to_string()),
        ..Changed::of(&account)
    };
    output.report(&changed, |c| {
        format!(
            "Welcome back. The new password opens the account of {}; other sessions have ended.\n\
             New recovery code, to be printed and kept; the old one is used up:\n  {}",
            c.principal,
            c.recovery_code.as_deref().unwrap_or_default()
        )
    })?;
    Ok(Exit::Done)
}

pub(super) async fn password(arguments: Password, output: &Output) -> anyhow::Result<Exit> {
    let mut account = arguments.renew.open().await?;
    let password = new_password(arguments.new_password_file.as_deref())?;
    account
        .change_password(&password, &mut SystemEntropy)
        .await?;
    output.report(&Changed::of(&account), |c| {
        format!(
            "The new password opens the account of {}; other sessions have ended.",
            c.principal
        )
    })?;
    Ok(Exit::Done)
}

pub(super) async fn recovery_code(arguments: Renew, output: &Output) -> anyhow::Result<Exit> {
    let mut account = arguments.open().await?;
    let code = account.renew_recovery_code(&mut SystemEntropy).await?;
    let changed = Changed {
        recovery_code: Some(code.to_string()),
        ..Changed::of(&account)
    };
    output.report(&changed, |c| {
        format!(
            "New recovery code, to be printed and kept; the old one opens nothing any more:\n  {}",
            c.recovery_code.as_deref().unwrap_or_default()
        )
    })?;
    Ok(Exit::Done)
}

pub(super) async fn rotate_keys(arguments: Renew, output: &Output) -> anyhow::Result<Exit> {
    let mut account = arguments.open().await?;
    let receipt = account.rotate_keys(&mut SystemEntropy).await?;
    let changed = Changed {
        entry: Some(receipt.entry),
        at: Some(receipt.time),
        ..Changed::of(&account)
    };
    output.report(&changed, |c| {
        format!(
            "{} signs and opens with new keys from entry {} of the ledger on; what was sealed to the old \
             ones still opens.",
            c.principal,
            c.entry.unwrap_or_default()
        )
    })?;
    Ok(Exit::Done)
}
