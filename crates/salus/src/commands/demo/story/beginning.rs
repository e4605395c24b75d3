//! The first steps: a founded consortium, its running nodes, people with profiles.

use std::sync::Arc;

use anyhow::ensure;
use salus_client::Error;
use salus_client::node::Node;
use salus_client::person::{Person, Registration, register};
use salus_proto::api::account::Profile;
use salus_proto::command::Action;
use salus_proto::ids::PatientAlias;
use salus_proto::role::{Decision, NodeRole, Reason, Role};
use salus_runtime::entropy::SystemEntropy;

use super::super::nodes::{Process, free_ports};
use super::{CAST, CLOUD, Cast, MEMBERS, Story, expect_refused};
use crate::commands::consortium::{Founding, found};

impl Story<'_> {
    #[expect(clippy::unused_async, reason = "every step is awaited alike")]
    pub(super) async fn found(&mut self) -> anyhow::Result<Vec<String>> {
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

    pub(super) async fn start(&mut self) -> anyhow::Result<Vec<String>> {
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

    pub(super) async fn register(&mut self) -> anyhow::Result<Vec<String>> {
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

    pub(super) async fn log_in(&self, one: &Cast, home: &Node) -> anyhow::Result<Person> {
        let clock = Arc::clone(&self.clock);
        Ok(Person::login(home, one.login, one.password, clock, &mut SystemEntropy).await?)
    }

    pub(super) async fn authorise(&mut self) -> anyhow::Result<Vec<String>> {
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
}
