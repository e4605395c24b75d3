//! `/consultations` and `/prescriptions`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use salus_proto::api::Page;
use salus_proto::api::command::CommandReceipt;
use salus_proto::api::consultation::{
    AnswerRequest, ConsultationRequest, ConsultationSide, ConsultationView, PrescriptionEvidence,
    PrescriptionQuestion, PrescriptionView,
};
use salus_proto::api::problem::Problem as ProblemBody;
use salus_proto::ids::{ConsultationId, RecordId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Paging, Path, Query};
use crate::app::{Actor, App};
use crate::problem::Result;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(open))
        .routes(routes!(consultations))
        .routes(routes!(consultation))
        .routes(routes!(answer))
        .routes(routes!(prescriptions))
        .routes(routes!(evidence))
}

/// Send records and a question to a doctor
#[utoipa::path(post, path = "/consultations", tag = "consultations",
    request_body = ConsultationRequest,
    responses((status = 201, body = ConsultationView), (status = "4XX", body = ProblemBody),
        (status = 503, body = ProblemBody)))]
async fn open(
    State(app): State<Arc<App>>,
    actor: Actor,
    Json(request): Json<ConsultationRequest>,
) -> Result<(StatusCode, Json<ConsultationView>)> {
    Ok((
        StatusCode::CREATED,
        Json(app.open_consultation(&actor, request).await?),
    ))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Side {
    /// From which side to look; a doctor's own side for doctors, else the patient's, when absent.
    #[serde(rename = "as")]
    side: Option<ConsultationSide>,
}

/// My consultations
#[utoipa::path(get, path = "/consultations", tag = "consultations", params(Side, Paging),
    responses((status = 200, body = Page<ConsultationView>), (status = "4XX", body = ProblemBody)))]
async fn consultations(
    State(app): State<Arc<App>>,
    actor: Actor,
    Query(side): Query<Side>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ConsultationView>>> {
    app.consultations(&actor, side.side, &paging)
        .await
        .map(Json)
}

/// One consultation
#[utoipa::path(get, path = "/consultations/{id}", tag = "consultations",
    params(("id" = ConsultationId, Path)),
    responses((status = 200, body = ConsultationView), (status = "4XX", body = ProblemBody)))]
async fn consultation(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(id): Path<ConsultationId>,
) -> Result<Json<ConsultationView>> {
    app.consultation(&actor, id).await.map(Json)
}

/// Answer a consultation; the answer's batch was uploaded before
#[utoipa::path(post, path = "/consultations/{id}/answer", tag = "consultations",
    params(("id" = ConsultationId, Path)), request_body = AnswerRequest,
    responses((status = 200, body = CommandReceipt), (status = "4XX", body = ProblemBody),
        (status = 503, body = ProblemBody)))]
async fn answer(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(id): Path<ConsultationId>,
    Json(request): Json<AnswerRequest>,
) -> Result<Json<CommandReceipt>> {
    app.answer_consultation(&actor, id, &request.command.0)
        .await
        .map(Json)
}

/// Prescriptions that I gave or got; a page covers so many consultations
#[utoipa::path(get, path = "/prescriptions", tag = "consultations", params(Side, Paging),
    responses((status = 200, body = Page<PrescriptionView>), (status = "4XX", body = ProblemBody)))]
async fn prescriptions(
    State(app): State<Arc<App>>,
    actor: Actor,
    Query(side): Query<Side>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<PrescriptionView>>> {
    app.prescriptions(&actor, side.side, &paging)
        .await
        .map(Json)
}

/// Evidence of a prescription, for whoever knows what it says: a pharmacy needs no account
#[utoipa::path(post, path = "/prescriptions/{record}/evidence", tag = "consultations",
    params(("record" = RecordId, Path)), request_body = PrescriptionQuestion,
    responses((status = 200, body = PrescriptionEvidence), (status = "4XX", body = ProblemBody)))]
async fn evidence(
    State(app): State<Arc<App>>,
    Path(record): Path<RecordId>,
    Json(question): Json<PrescriptionQuestion>,
) -> Result<Json<PrescriptionEvidence>> {
    app.prescription_evidence(record, question.content)
        .await
        .map(Json)
}
