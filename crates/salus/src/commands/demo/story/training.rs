//! Training in the story: films taken in at three hospitals, a job among them, and a doctor who has
//! its model judge an image.

use anyhow::{Context as _, ensure};
use salus_client::records::Reading;
use salus_proto::api::training::LineageView;
use salus_proto::record::{KeyClass, RecordKind};
use salus_proto::role::{Decision, Purpose, Reason};
use salus_runtime::entropy::SystemEntropy;

use super::super::training as films;
use super::{CLOUD, DAY_MS, Story, expect_refused};

impl Story<'_> {
    pub(super) async fn train(&mut self) -> anyhow::Result<Vec<String>> {
        let (title, folders) = films::films(self.films.as_deref(), &self.dir, CLOUD)?;
        let mut words = vec![title];
        for (hospital, folder) in folders.iter().enumerate() {
            let taken = self
                .intake(hospital, std::slice::from_ref(folder), None)
                .await?;
            taken.ensure_all_taken("films")?;
            words.push(format!(
                "{}: {} records of films and findings sealed and anchored",
                self.process(hospital)?.name,
                taken.records
            ));
        }
        let (hospitals, cloud) = self.processes.split_at(CLOUD);
        let cloud = cloud.first().context("the cloud's node")?;
        let trained = films::train(hospitals, cloud).await?;
        words.extend(trained.words);
        self.job = Some(trained.job);
        Ok(words)
    }

    /// The patient's hospital shares an image with the doctor, who has the model judge it there.
    pub(super) async fn judge(&mut self) -> anyhow::Result<Vec<String>> {
        let (job, alias) = (self.job.context("a job")?, self.alias.context("an alias")?);
        let api = self.process(0)?.node.base().to_owned();
        let dana = self.person("dana")?.at(&api).await?;
        let until = self.clock.now().plus_ms(DAY_MS);
        let classes = [KeyClass::Medical];
        let access = dana
            .request_access(
                alias,
                &classes,
                Purpose::Treatment,
                until,
                &mut SystemEntropy,
            )
            .await?;
        let stan = self.person("stan")?;
        stan.decide_access(access, Decision::Approve, Reason::IdentityVerified)
            .await?;
        let listed = dana.sealed_records(alias).await?;
        let image = listed.iter().find(|r| r.kind == RecordKind::Image);
        let image = image.context("an image of the patient")?.record;
        let reading = Reading {
            alias,
            access: Some(access),
            records: vec![image],
            purpose: Purpose::Treatment,
        };
        let opened = dana.read(reading).await?;
        let opened = opened.first().context("the image was released")?;
        let view = dana.judge(job, alias, Some(access), opened, true).await?;
        let sum: f32 = view.probabilities.iter().map(|p| p.probability).sum();
        ensure!((sum - 1.0).abs() < 1e-3, "probabilities add up to {sum}");
        ensure!(view.heat_map.is_some(), "there is no heat map");
        let lineage: LineageView = dana.node().get(&format!("/jobs/{job}/lineage")).await?;
        ensure!(
            lineage.uses.contains(&view.entry) && lineage.model == view.model,
            "the lineage does not name the use"
        );
        let receipts = self.person("maya")?.receipts(alias).await?;
        ensure!(
            receipts.iter().any(|r| r.entry == view.entry),
            "the patient does not see the use of the model"
        );
        // The cloud never sees an opened image, and without a grant there is no judgement.
        let cloud = self
            .person("dana")?
            .judge(job, alias, Some(access), opened, false);
        expect_refused(cloud.await, "the cloud judged an image")?;
        let emil = self.person("emil")?.at(&api).await?;
        let stolen = emil.judge(job, alias, Some(access), opened, false).await;
        expect_refused(stolen, "a doctor used another doctor's grant")?;
        Ok(vec![
            format!(
                "{} ({}); warnings: {}",
                view.class,
                view.probabilities
                    .iter()
                    .map(|p| format!("{} {:.2}", p.class, p.probability))
                    .collect::<Vec<_>>()
                    .join(", "),
                if view.warnings.is_empty() {
                    "none".to_owned()
                } else {
                    view.warnings.join(", ")
                }
            ),
            "receipted, seen by the patient, and the lineage names plan, rounds, members and data"
                .into(),
        ])
    }
}
