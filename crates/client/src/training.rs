//! Having a model judge a record that was opened here.

use salus_proto::Digest;
use salus_proto::api::training::{JobView, PredictionRequest, PredictionView};
use salus_proto::command::Action;
use salus_proto::ids::{AccessId, JobId, PatientAlias};

use crate::error::Result;
use crate::person::Person;
use crate::records::Opened;

impl Person {
    /// Hands an opened image to the hospital's node of this session, which has the job's final model
    /// judge it. The use is signed here and becomes a receipt on the ledger before the answer comes.
    pub async fn judge(
        &self,
        job: JobId,
        alias: PatientAlias,
        access: Option<AccessId>,
        image: &Opened,
        heat_map: bool,
    ) -> Result<PredictionView> {
        let model = self.final_model(job).await?;
        let command = self.sign(Action::UseModel {
            job,
            model,
            alias,
            access,
            record: image.anchor.record,
        });
        let request = PredictionRequest {
            command: command.into(),
            image: image.content.body.clone().into(),
            heat_map,
        };
        self.node().post("/predictions", &request).await
    }

    async fn final_model(&self, job: JobId) -> Result<Digest> {
        let view: JobView = self.node().get(&format!("/jobs/{job}")).await?;
        Ok(view.model)
    }
}
