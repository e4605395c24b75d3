//! FHIR R4 bundles, split into resources in one pass; the resources themselves stay the bytes that
//! the source wrote, because those bytes are what is sealed and signed.
//!
//! ```text
//!   gzip ──unpack──> JSON ──Bundle::parse──> Resource { raw, kind, class, patient, identities }
//!                                               │
//!                     Demographics::parse, Observation::parse, Condition::parse (one resource each)
//! ```
//!
//! A resource belongs to the patient that its `subject`, `patient` or `beneficiary` names. Resources
//! of the directory (organisations, practitioners, places, products) belong to nobody; many bundles
//! repeat them, and their business identifiers say which are the same.

mod clinical;
mod patient;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

use salus_proto::record::{KeyClass, RecordKind};

pub use clinical::{Coding, Condition, Observation, Quantity, symptom_counts};
pub(crate) use clinical::{LOINC, SNOMED};
pub use patient::{Address, Demographics, Identifier, Telecom};

use crate::json::Cursor;
use crate::{Error, Result};

/// Bounds on one bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest JSON text, in bytes, also after decompression.
    pub bytes: usize,
    /// Most resources.
    pub resources: usize,
}

impl Default for Limits {
    /// 256 MiB and 200,000 resources; a long hospital history in Synthea is 4 MB and 1,200.
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            resources: 200_000,
        }
    }
}

/// Whether the bytes start as a gzip member does (RFC 1952).
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b, 8])
}

/// Decompresses gzip (RFC 1952, several members allowed) of at most `limit` bytes. Memory grows
/// with what really comes out, never with what a length field declares.
pub fn unpack(gzip: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(gzip)
        .take(limit as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|_| Error::Codec { codec: "gzip" })?;
    if out.len() > limit {
        return Err(too_large(out.len(), limit));
    }
    Ok(out)
}

fn too_large(length: usize, limit: usize) -> Error {
    Error::TooLarge {
        what: "FHIR bundle",
        length: length as u64,
        limit: limit as u64,
    }
}

/// What the sender means by the bundle (FHIR R4 `Bundle.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleKind {
    /// All or nothing.
    Transaction,
    /// Each entry by itself.
    Batch,
    /// A set of resources.
    Collection,
    /// A composition and what it refers to.
    Document,
    /// The answer to a query.
    SearchSet,
}

/// A bundle whose every byte has been checked for JSON syntax.
#[derive(Debug)]
pub struct Bundle<'a> {
    /// `Bundle.type`.
    pub kind: BundleKind,
    /// The resources in their order.
    pub resources: Vec<Resource<'a>>,
}

/// One resource of a bundle. Its `Debug` shows no content.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource<'a> {
    /// `resourceType`, for example `Observation`; ASCII letters.
    pub resource_type: &'a str,
    /// `Resource.id`.
    pub id: Option<Cow<'a, str>>,
    /// `Bundle.entry.fullUrl`, for example `urn:uuid:…`.
    pub full_url: Option<Cow<'a, str>>,
    /// The resource's JSON text as it came.
    pub raw: &'a str,
    /// The reference to its patient as it came.
    pub subject: Option<Cow<'a, str>>,
    /// Whose it is.
    pub owner: Owner,
    /// Business identifiers by which a directory resource is recognised in other bundles, ascending;
    /// empty for a resource with an owner.
    pub identities: Vec<Identity>,
    /// The class key that seals it.
    pub class: KeyClass,
    /// What kind of record it makes.
    pub kind: RecordKind,
}

/// Whose a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The Patient resource at this position of [`Bundle::resources`], or the resource is that Patient.
    Patient(usize),
    /// A patient that the bundle does not contain: see [`Resource::subject`].
    Elsewhere,
    /// Nobody: an organisation, a practitioner and the like.
    Directory,
    /// The bundle does not say.
    Unknown,
}

/// A business identifier of a directory resource. The same identity in two bundles is the same
/// organisation or person, whatever ids the bundles gave it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// `resourceType`.
    pub resource_type: String,
    /// `identifier.system`, or `urn:salus:resource-id` when it has no business identifier.
    pub system: String,
    /// `identifier.value`, or the resource's id.
    pub value: String,
}

impl core::fmt::Debug for Resource<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Resource")
            .field("type", &self.resource_type)
            .field("kind", &self.kind)
            .field("bytes", &self.raw.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Bundle<'a> {
    /// Splits a bundle. Either the whole text is sound or nothing of it is used.
    pub fn parse(json: &'a [u8], limits: Limits) -> Result<Self> {
        if json.len() > limits.bytes {
            return Err(too_large(json.len(), limits.bytes));
        }
        // A byte order mark is not JSON, but exports from Windows begin with one.
        let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
        let text = core::str::from_utf8(json).map_err(|e| Error::Text {
            what: "FHIR bundle",
            charset: "UTF-8",
            offset: e.valid_up_to(),
        })?;
        let mut is_bundle = false;
        let mut kind = None;
        let mut resources = Vec::new();
        let mut cursor = Cursor::new(text);
        cursor.object(|c, name| {
            match name {
                "resourceType" => is_bundle = c.string()?.value()? == "Bundle",
                "type" => kind = Some(bundle_kind(&c.string()?.value()?)?),
                "entry" => c.array(|c| {
                    if resources.len() == limits.resources {
                        return Err(Error::TooLarge {
                            what: "resources of a FHIR bundle",
                            length: limits.resources as u64 + 1,
                            limit: limits.resources as u64,
                        });
                    }
                    resources.push(entry(c)?);
                    Ok(())
                })?,
                _ => drop(c.skip()?),
            }
            Ok(())
        })?;
        cursor.end()?;
        if !is_bundle {
            return Err(Error::Missing {
                what: "resourceType Bundle",
            });
        }
        let kind = kind.ok_or(Error::Missing {
            what: "type of the FHIR bundle",
        })?;
        assign_owners(&mut resources)?;
        Ok(Self { kind, resources })
    }

    /// The Patient resources with their positions.
    pub fn patients(&self) -> impl Iterator<Item = (usize, &Resource<'a>)> {
        self.resources
            .iter()
            .enumerate()
            .filter(|(_, r)| r.resource_type == "Patient")
    }
}

fn bundle_kind(name: &str) -> Result<BundleKind> {
    Ok(match name {
        "transaction" => BundleKind::Transaction,
        "batch" => BundleKind::Batch,
        "collection" => BundleKind::Collection,
        "document" => BundleKind::Document,
        "searchset" => BundleKind::SearchSet,
        other => return Err(Error::unsupported("FHIR bundle type", other)),
    })
}

fn entry<'a>(c: &mut Cursor<'a>) -> Result<Resource<'a>> {
    let mut full_url = None;
    let mut resource = None;
    c.object(|c, name| {
        match name {
            "fullUrl" => full_url = Some(c.string()?.value()?),
            "resource" => resource = Some(self::resource(c)?),
            "request" => c.object(|c, name| {
                if name != "method" {
                    return c.skip().map(drop);
                }
                match c.string()?.value()?.as_ref() {
                    "POST" | "PUT" => Ok(()),
                    // Deleting and patching need the resource that they change.
                    other => Err(Error::unsupported("FHIR request method", other)),
                }
            })?,
            _ => drop(c.skip()?),
        }
        Ok(())
    })?;
    let mut resource = resource.ok_or(Error::Missing {
        what: "resource of a FHIR bundle entry",
    })?;
    resource.full_url = full_url;
    Ok(resource)
}

/// Reads the members that decide where a resource belongs, in whatever order they stand.
fn resource<'a>(c: &mut Cursor<'a>) -> Result<Resource<'a>> {
    let start = c.position();
    let mut resource_type = None;
    let mut id = None;
    let mut subject = None;
    let (mut identifier, mut category, mut code) = (None, None, None);
    c.object(|c, name| {
        match name {
            "resourceType" => resource_type = Some(c.string()?.value()?),
            "id" => id = Some(c.string()?.value()?),
            "subject" | "patient" | "beneficiary" => {
                if let Some(found) = reference(c)? {
                    subject.get_or_insert(found);
                }
            }
            "identifier" => identifier = Some(c.skip()?),
            "category" => category = Some(c.skip()?),
            "code" => code = Some(c.skip()?),
            _ => drop(c.skip()?),
        }
        Ok(())
    })?;
    let Some(Cow::Borrowed(resource_type)) = resource_type else {
        return Err(Error::Missing {
            what: "resourceType of a FHIR resource",
        });
    };
    let plain = (1..=64).contains(&resource_type.len())
        && resource_type.bytes().all(|b| b.is_ascii_alphabetic());
    if !plain {
        return Err(Error::unsupported("FHIR resource type", resource_type));
    }
    let (class, kind) = match resource_type {
        "Patient" => (KeyClass::Identity, RecordKind::Demographics),
        "RelatedPerson" | "Person" => (KeyClass::Identity, RecordKind::Other),
        "Observation" => (
            KeyClass::Medical,
            clinical::observation_kind(category, code)?,
        ),
        "Condition" => (KeyClass::Medical, RecordKind::Symptom),
        "AllergyIntolerance" => (KeyClass::Medical, RecordKind::Allergy),
        "MedicationRequest"
        | "MedicationStatement"
        | "MedicationAdministration"
        | "MedicationDispense" => (KeyClass::Medical, RecordKind::Medication),
        "Encounter" | "EpisodeOfCare" => (KeyClass::Medical, RecordKind::Encounter),
        "Procedure" | "Immunization" => (KeyClass::Medical, RecordKind::Procedure),
        "DocumentReference" | "Composition" => (KeyClass::Medical, RecordKind::Document),
        "Media" | "ImagingStudy" => (KeyClass::Medical, RecordKind::Image),
        _ => (KeyClass::Medical, RecordKind::Other),
    };
    let directory = subject.is_none() && is_directory(resource_type);
    let identities = if directory {
        identities(resource_type, identifier, id.as_deref())?
    } else {
        Vec::new()
    };
    Ok(Resource {
        resource_type,
        id,
        full_url: None,
        raw: c.since(start),
        subject,
        owner: if directory {
            Owner::Directory
        } else {
            Owner::Unknown
        },
        identities,
        class,
        kind,
    })
}

/// Types that describe the health service or its products, and no patient (FHIR R4 resource list,
/// "Entities" and "Definitional artifacts"). A Device with a patient is that patient's.
fn is_directory(resource_type: &str) -> bool {
    matches!(
        resource_type,
        "Organization"
            | "OrganizationAffiliation"
            | "Practitioner"
            | "PractitionerRole"
            | "Location"
            | "HealthcareService"
            | "Endpoint"
            | "Device"
            | "DeviceDefinition"
            | "Medication"
            | "MedicationKnowledge"
            | "Substance"
            | "InsurancePlan"
            | "PlanDefinition"
            | "ActivityDefinition"
            | "Questionnaire"
            | "ValueSet"
            | "CodeSystem"
            | "ConceptMap"
            | "StructureDefinition"
    )
}

/// The `reference` of a Reference; arrays of references (as in `Group`-like uses) are no subject.
fn reference<'a>(c: &mut Cursor<'a>) -> Result<Option<Cow<'a, str>>> {
    if !c.at_object() {
        return c.skip().map(|_| None);
    }
    let mut found = None;
    c.object(|c, name| {
        if name == "reference" && c.at_string() {
            found = Some(c.string()?.value()?);
            return Ok(());
        }
        c.skip().map(drop)
    })?;
    Ok(found)
}

/// `identifier` is a list in most resources and a single one in some.
fn identities(
    resource_type: &str,
    identifier: Option<&str>,
    id: Option<&str>,
) -> Result<Vec<Identity>> {
    let mut found = Vec::new();
    let mut read = |c: &mut Cursor<'_>| {
        if !c.at_object() {
            return c.skip().map(drop);
        }
        let (mut system, mut value) = (None, None);
        c.object(|c, name| {
            match name {
                "system" if c.at_string() => system = Some(c.string()?.value()?.into_owned()),
                "value" if c.at_string() => value = Some(c.string()?.value()?.into_owned()),
                _ => drop(c.skip()?),
            }
            Ok(())
        })?;
        if let (Some(system), Some(value)) = (system, value) {
            found.push(Identity {
                resource_type: resource_type.to_owned(),
                system,
                value,
            });
        }
        Ok(())
    };
    if let Some(text) = identifier {
        let mut c = Cursor::new(text);
        if c.at_array() {
            c.array(&mut read)?;
        } else {
            read(&mut c)?;
        }
    }
    if found.is_empty()
        && let Some(id) = id
    {
        found.push(Identity {
            resource_type: resource_type.to_owned(),
            system: "urn:salus:resource-id".to_owned(),
            value: id.to_owned(),
        });
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Resolves subjects against the Patients of the same bundle (FHIR R4 "Resolving references in
/// bundles": by `fullUrl`, or `Patient/id`). Two resources with one `fullUrl`, or two Patients with
/// one id, are refused: a reference could mean either.
fn assign_owners(resources: &mut [Resource<'_>]) -> Result<()> {
    let mut urls: Vec<&str> = resources
        .iter()
        .filter_map(|r| r.full_url.as_deref())
        .collect();
    urls.sort_unstable();
    if urls.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Error::Duplicate {
            what: "fullUrl in a FHIR bundle",
        });
    }
    let mut by_reference: BTreeMap<String, usize> = BTreeMap::new();
    let mut only = None;
    let mut count = 0_usize;
    for (at, patient) in resources
        .iter()
        .enumerate()
        .filter(|(_, r)| r.resource_type == "Patient")
    {
        count += 1;
        only = Some(at);
        let names = [
            patient.full_url.as_deref().map(str::to_owned),
            patient.id.as_deref().map(|id| format!("Patient/{id}")),
        ];
        for name in names.into_iter().flatten() {
            if by_reference
                .insert(name, at)
                .is_some_and(|before| before != at)
            {
                return Err(Error::Duplicate {
                    what: "Patient in a FHIR bundle",
                });
            }
        }
    }
    let only = only.filter(|_| count == 1);
    for at in 0..resources.len() {
        let Some(resource) = resources.get_mut(at) else {
            break;
        };
        resource.owner = match (&resource.subject, resource.owner) {
            _ if resource.resource_type == "Patient" => Owner::Patient(at),
            (Some(subject), _) => by_reference
                .get(subject.as_ref())
                .map_or(Owner::Elsewhere, |&p| Owner::Patient(p)),
            (None, Owner::Directory) => Owner::Directory,
            // A bundle about one patient: what names nobody is taken to be theirs, so that it is
            // sealed under their keys rather than left out.
            (None, _) => only.map_or(Owner::Unknown, Owner::Patient),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests;
