//! `POST /commands`: whatever one signs oneself.

use std::sync::Arc;

use axum::extract::State;
use salus_proto::api::command::{CommandReceipt, CommandSubmission};
use salus_proto::api::problem::Problem as ProblemBody;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use crate::app::command::{read_command, receipt};
use crate::app::{Actor, App};
use crate::problem::{Problem, Result};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(submit))
}

/// Submit a signed command and wait until it is final
#[utoipa::path(post, path = "/commands", tag = "commands", request_body = CommandSubmission,
    responses((status = 200, body = CommandReceipt), (status = "4XX", body = ProblemBody),
        (status = 503, body = ProblemBody, description = "`no-quorum` names who does not answer")))]
async fn submit(
    State(app): State<Arc<App>>,
    actor: Actor,
    Json(submission): Json<CommandSubmission>,
) -> Result<Json<CommandReceipt>> {
    if read_command(&submission.command.0)?.principal != actor.id {
        return Err(Problem::not_yours());
    }
    let entry = app.submit(&submission.command.0).await?;
    Ok(Json(receipt(&entry)))
}
