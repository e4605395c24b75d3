//! OpenAPI schemas of the words that bodies are made of; the words themselves live elsewhere in
//! `proto` and know nothing of OpenAPI.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::api::Binary;
use crate::command::{IncidentKind, Outcome, Refusal};
use crate::ids::{
    AccessId, BatchId, ConsortiumId, ConsultationId, JobId, OrganisationId, PatientAlias,
    PrincipalId, ProposalId, RecordId,
};
use crate::record::{KeyClass, RecordKind};
use crate::role::{Basis, Decision, NodeRole, Purpose, Reason, Role};
use crate::{Digest, TimestampMs};

fn text(pattern: &str, description: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .description(Some(description))
        .into()
}

macro_rules! ids {
    ($($id:ident)*) => {$(
        impl PartialSchema for $id {
            fn schema() -> RefOr<Schema> {
                text("^[0-9a-fA-F]{32}$", "16 random bytes, hexadecimal")
            }
        }
        impl ToSchema for $id {}
    )*};
}

ids! {
    AccessId BatchId ConsortiumId ConsultationId JobId OrganisationId PatientAlias PrincipalId
    ProposalId RecordId
}

impl PartialSchema for Digest {
    fn schema() -> RefOr<Schema> {
        text("^[0-9a-fA-F]{64}$", "SHA-256, hexadecimal")
    }
}
impl ToSchema for Digest {}

impl PartialSchema for TimestampMs {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0))
            .description(Some("Milliseconds since 1970-01-01T00:00:00Z"))
            .into()
    }
}
impl ToSchema for TimestampMs {}

impl PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .content_encoding("base64url")
            .description(Some("Bytes, base64url without padding"))
            .into()
    }
}
impl ToSchema for Binary {}

/// An enum whose JSON is one of some words. The `match` makes a forgotten variant an error.
macro_rules! words {
    ($($name:ident { $($variant:ident)* })*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                match Self::all()[0] {
                    $(Self::$variant)|* => {}
                }
                let words = Self::all().iter().filter_map(|word| serde_json::to_value(word).ok());
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
            }
        }
        impl ToSchema for $name {}
        impl All for $name {
            fn all() -> &'static [Self] {
                &[$(Self::$variant),*]
            }
        }
    )*};
}

trait All: Sized + 'static {
    fn all() -> &'static [Self];
}

words! {
    Role { Organisation Patient Doctor Staff Operator DataUser Auditor }
    NodeRole { Hospital Cloud Coordinator DataUser }
    Purpose { Treatment PatientRequest Emergency Research Operations }
    Decision { Approve Refuse }
    Reason {
        IdentityVerified IdentityNotVerified NotEntitled OwnRecords Hold Duplicate TooBroad
        KeyCompromised LeftRole ConsentWithdrawn
    }
    Basis { Policy Person }
    KeyClass { Identity Quasi Medical }
    RecordKind {
        Demographics Vitals Ecg Symptom Document Image Medication Encounter Observation Allergy
        Procedure Wearable Question Answer Prescription QuasiIdentifiers Other Finding
    }
    IncidentKind { Tampering Equivocation Intrusion Recovered }
    Refusal {
        WrongConsortium Replayed Expired UnknownPrincipal PendingPrincipal RevokedPrincipal
        NotAllowed NotFound AlreadyExists WrongState OutOfRange NotGranted KeyNotProven
        ImpossibleMembership StaleModel RoundOver
    }
}

impl PartialSchema for Outcome {
    fn schema() -> RefOr<Schema> {
        use utoipa::openapi::schema::OneOfBuilder;
        let accepted = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(["accepted"]));
        let refused = ObjectBuilder::new()
            .property("refused", Refusal::schema())
            .required("refused");
        OneOfBuilder::new().item(accepted).item(refused).into()
    }
}
impl ToSchema for Outcome {}
