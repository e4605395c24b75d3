//! From a hospital's files to plain pieces: what each is, whose it is, which key class seals it.

use salus_clinical::fhir::{Bundle, Demographics, Identity, Limits, Owner, is_gzip, unpack};
use salus_clinical::image::{self, Limits as ImageLimits};
use salus_clinical::sniff::{Kind, sanitise_name, sniff};
use salus_clinical::{dicom, pdf, wfdb};
use salus_crypto::digest::{sha256, sha256_of};
use salus_proto::Digest;
use salus_proto::record::{KeyClass, RecordKind};

use crate::error::{Error, Result};

/// Media type of an ECG in our own compact form (`docs/formats.md`, "Clinical content").
pub const ECG_MEDIA_TYPE: &str = "application/vnd.salus.ecg+cbor";

/// Largest document, in bytes.
const DOCUMENT_LIMIT: usize = 256 << 20;

/// One record before it is sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Piece {
    /// Tells it from every other piece of its patient: the digest of its origin.
    pub source: Digest,
    /// What it is.
    pub kind: RecordKind,
    /// Which class key seals it.
    pub class: KeyClass,
    /// Media type of the body.
    pub media_type: String,
    /// A name for people; sealed with the body.
    pub title: String,
    /// The data.
    pub body: Vec<u8>,
    /// Whether the hospital signs a statement about it.
    pub signed: bool,
}

impl core::fmt::Debug for Piece {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Piece")
            .field("kind", &self.kind)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What a source holds about one patient.
#[derive(Clone, Debug, Default)]
pub struct OfPatient {
    /// How the source names the patient; a hospital's own number or a FHIR id.
    pub patient: String,
    /// The clear name, when the source has one.
    pub name: Option<String>,
    /// The pieces.
    pub pieces: Vec<Piece>,
}

/// What a FHIR bundle holds: patients, and resources about nobody that bundles share.
#[derive(Debug, Default)]
pub struct OfBundle {
    /// The patients.
    pub patients: Vec<OfPatient>,
    /// Organisations, practitioners and the like, with what identifies them across bundles.
    pub directory: Vec<(Vec<Identity>, Piece)>,
}

/// Reads a FHIR R4 bundle, plain or gzip.
pub fn fhir(bytes: &[u8]) -> Result<OfBundle> {
    let limits = Limits::default();
    let unpacked;
    let json = if is_gzip(bytes) {
        unpacked = unpack(bytes, limits.bytes)?;
        unpacked.as_slice()
    } else {
        bytes
    };
    let bundle = Bundle::parse(json, limits)?;
    let mut out = OfBundle::default();
    let mut places = std::collections::BTreeMap::new();
    for (position, resource) in bundle.patients() {
        let about = Demographics::parse(resource.raw)?;
        let patient = resource
            .id
            .as_deref()
            .or(resource.full_url.as_deref())
            .unwrap_or_default();
        if patient.is_empty() {
            return Err(Error::NoPatient {
                what: "a Patient resource without an id",
            });
        }
        places.insert(position, out.patients.len());
        let name = Some(about.name).filter(|name| !name.is_empty());
        out.patients.push(OfPatient {
            patient: patient.to_owned(),
            name,
            pieces: Vec::new(),
        });
    }
    let only = (out.patients.len() == 1).then_some(0);
    for (position, resource) in bundle.resources.iter().enumerate() {
        let name = match (&resource.id, &resource.full_url) {
            (Some(id), _) => id.as_bytes(),
            (None, Some(url)) => url.as_bytes(),
            (None, None) => resource.raw.as_bytes(),
        };
        let source = sha256_of(&[resource.resource_type.as_bytes(), b"/", name]);
        let piece = |kind, class, title: &str, body: String| Piece {
            // With the content: an amended resource is another record, beside the one that stands.
            source: sha256_of(&[
                source.as_bytes(),
                title.as_bytes(),
                sha256(body.as_bytes()).as_bytes(),
            ]),
            kind,
            class,
            media_type: Kind::Json.media_type().to_owned(),
            title: title.to_owned(),
            body: body.into_bytes(),
            signed: false,
        };
        let whole = || {
            let raw = resource.raw.to_owned();
            piece(resource.kind, resource.class, resource.resource_type, raw)
        };
        let owner = match resource.owner {
            Owner::Patient(at) => places.get(&at).copied(),
            Owner::Directory => {
                out.directory.push((resource.identities.clone(), whole()));
                continue;
            }
            // A bundle about one patient says of everything in it whose it is.
            Owner::Unknown => only,
            Owner::Elsewhere => None,
        };
        let owner = owner.and_then(|place| out.patients.get_mut(place));
        let owner = owner.ok_or(Error::NoPatient {
            what: "a resource of the bundle that belongs to no patient in it",
        })?;
        if places.contains_key(&position) {
            let (identity, quasi) = Demographics::split(resource.raw)?;
            owner.pieces.push(piece(
                RecordKind::Demographics,
                KeyClass::Identity,
                "Patient (identity)",
                identity,
            ));
            owner.pieces.push(piece(
                RecordKind::QuasiIdentifiers,
                KeyClass::Quasi,
                "Patient (quasi-identifiers)",
                quasi,
            ));
        } else {
            owner.pieces.push(whole());
        }
    }
    Ok(out)
}

/// Reads an ECG in WFDB format; `title` is the record's name.
pub fn ecg(title: &str, header: &[u8], files: &wfdb::Files<'_>) -> Result<Piece> {
    let ecg = wfdb::read(header, files)?;
    let body = ecg.to_bytes();
    Ok(medical(RecordKind::Ecg, ECG_MEDIA_TYPE, title, body))
}

/// Checks a DICOM file, pixels and waveforms included. Its whole bytes become the record, for the
/// patient whom it names.
pub fn dicom_file(title: &str, bytes: Vec<u8>) -> Result<OfPatient> {
    let limits = dicom::Limits::default();
    let about = dicom::inspect(&bytes, &limits)?;
    let kind = match about.content {
        dicom::Content::Image => {
            dicom::pixels(&bytes, &limits)?;
            RecordKind::Image
        }
        dicom::Content::Waveform => {
            dicom::waveforms(&bytes, &limits)?;
            RecordKind::Ecg
        }
        dicom::Content::Report => RecordKind::Document,
        dicom::Content::Directory | dicom::Content::Other => RecordKind::Other,
    };
    Ok(OfPatient {
        patient: about.patient_id.unwrap_or_default(),
        // `Family^Given^Middle`, other writings after `=` (DICOM PS3.5 section 6.2).
        name: about.patient_name.map(|name| {
            let written = name.split('=').next().unwrap_or_default();
            let parts: Vec<&str> = written.split('^').filter(|part| !part.is_empty()).collect();
            parts.join(" ")
        }),
        pieces: vec![medical(kind, Kind::Dicom.media_type(), title, bytes)],
    })
}

/// Checks a PNG or JPEG image; its bytes become the record.
pub fn picture(title: &str, bytes: Vec<u8>) -> Result<Piece> {
    image::decode(&bytes, ImageLimits::default())?;
    let media_type = sniff(&bytes).media_type();
    Ok(medical(RecordKind::Image, media_type, title, bytes))
}

/// Checks a PDF document; its bytes become a record that the hospital signs for.
pub fn document(title: &str, bytes: Vec<u8>) -> Result<Piece> {
    pdf::inspect(&bytes, DOCUMENT_LIMIT)?;
    let mut piece = medical(RecordKind::Document, Kind::Pdf.media_type(), title, bytes);
    piece.signed = true;
    Ok(piece)
}

/// Media type of a FHIR resource in JSON.
pub const FHIR_MEDIA_TYPE: &str = "application/fhir+json";
/// Where a finding's label comes from: the manifest that the image was taken in with.
pub const LABEL_SYSTEM: &str = "urn:salus:label";
/// Whether an image is for training or for testing, by the manifest.
pub const SPLIT_SYSTEM: &str = "urn:salus:split";
/// Names an image by the SHA-256 of its bytes.
pub const IMAGE_SYSTEM: &str = "urn:salus:sha256";

/// A coded finding about an image that is taken in with it: a FHIR R4 Observation that names the image
/// by the digest of its bytes. Training reads labels from nowhere else.
pub fn finding(image: &Digest, label: &str, split: Option<&str>) -> Piece {
    let tags: Vec<serde_json::Value> = split
        .map(|split| serde_json::json!({ "system": SPLIT_SYSTEM, "code": split }))
        .into_iter()
        .collect();
    let body = serde_json::json!({
        "resourceType": "Observation",
        "meta": { "tag": tags },
        "status": "final",
        "category": [{ "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/observation-category",
            "code": "imaging",
        }] }],
        "code": { "coding": [{
            "system": "http://loinc.org",
            "code": "18782-3",
            "display": "Radiology Study observation (findings)",
        }] },
        "derivedFrom": [{ "identifier": { "system": IMAGE_SYSTEM, "value": image.to_string() } }],
        "valueCodeableConcept": {
            "coding": [{ "system": LABEL_SYSTEM, "code": label }],
            "text": label,
        },
    });
    let body = body.to_string().into_bytes();
    Piece {
        source: sha256_of(&[image.as_bytes(), b"/finding"]),
        kind: RecordKind::Finding,
        class: KeyClass::Medical,
        media_type: FHIR_MEDIA_TYPE.to_owned(),
        title: "Finding".to_owned(),
        body,
        signed: false,
    }
}

/// What a finding says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Digest of the image's bytes.
    pub image: Digest,
    /// The label.
    pub label: String,
    /// `train`, `test` or another word of the manifest.
    pub split: Option<String>,
}

impl Finding {
    /// Reads a finding; `None` for an observation that is none.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let json: serde_json::Value = serde_json::from_slice(body).ok()?;
        let coded = |value: &serde_json::Value, system: &str| {
            let codings = value.as_array()?;
            let coding = codings.iter().find(|coding| coding["system"] == system)?;
            coding["code"].as_str().map(str::to_owned)
        };
        let identifier = json["derivedFrom"]
            .as_array()?
            .iter()
            .map(|from| &from["identifier"])
            .find(|identifier| identifier["system"] == IMAGE_SYSTEM)?;
        Some(Self {
            image: identifier["value"].as_str()?.parse().ok()?,
            label: coded(&json["valueCodeableConcept"]["coding"], LABEL_SYSTEM)?,
            split: coded(&json["meta"]["tag"], SPLIT_SYSTEM),
        })
    }
}

fn medical(kind: RecordKind, media_type: &str, title: &str, body: Vec<u8>) -> Piece {
    Piece {
        source: sha256(&body),
        kind,
        class: KeyClass::Medical,
        media_type: media_type.to_owned(),
        title: sanitise_name(title),
        body,
        signed: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_back_and_other_observations_are_none() {
        let image = sha256(b"image");
        let piece = finding(&image, "pneumonia", Some("test"));
        let read = Finding::parse(&piece.body).unwrap();
        assert_eq!((read.image, read.label.as_str()), (image, "pneumonia"));
        assert_eq!(read.split.as_deref(), Some("test"));
        let piece = finding(&image, "normal", None);
        assert_eq!(Finding::parse(&piece.body).unwrap().split, None);
        for other in [&b"{}"[..], b"[]", b"\xff", b"{\"derivedFrom\":[{}]}"] {
            assert_eq!(Finding::parse(other), None);
        }
    }
}
