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
