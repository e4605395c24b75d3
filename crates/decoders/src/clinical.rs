//! The formats that hospitals speak. Bounds are far below the product's, so that a decoder that obeys
//! them is quick and one that does not is found out by its memory.

use salus_clinical::ecg::Ecg;
use salus_clinical::fhir::{self, Bundle, Condition, Demographics, Observation};
use salus_clinical::wfdb::{self, Files, Header};
use salus_clinical::{catalogue, dicom, image, pdf, tar};

const BYTES_LIMIT: usize = 8 << 20;

/// A FHIR bundle, packed or not, and its resources.
pub fn fhir(data: &[u8]) -> bool {
    let limits = fhir::Limits {
        bytes: BYTES_LIMIT,
        resources: 10_000,
    };
    if fhir::is_gzip(data) {
        let unpacked = fhir::unpack(data, BYTES_LIMIT);
        assert!(
            unpacked
                .as_ref()
                .is_ok_and(|json| json.len() <= BYTES_LIMIT)
                || unpacked.is_err()
        );
        return unpacked.is_ok();
    }
    let Ok(bundle) = Bundle::parse(data, limits) else {
        return false;
    };
    for resource in &bundle.resources {
        match resource.resource_type {
            "Patient" => {
                let _ = Demographics::parse(resource.raw);
                let _ = Demographics::split(resource.raw);
            }
            "Observation" => drop(Observation::parse(resource.raw)),
            "Condition" => drop(Condition::parse(resource.raw)),
            _ => {}
        }
    }
    !bundle.resources.is_empty()
}

/// A WFDB record: the header, a zero byte, and the bytes of every file that the header names.
pub fn wfdb(data: &[u8]) -> bool {
    let end = data
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(data.len());
    let (text, rest) = data.split_at(end);
    let Ok(header) = Header::parse(text) else {
        return false;
    };
    let signals = rest.get(1..).unwrap_or_default();
    let names = header.files();
    let files: Files<'_> = names.iter().map(|name| (name.as_str(), signals)).collect();
    let ecg = wfdb::read(text, &files);
    ecg.iter().for_each(stored);
    ecg.is_ok()
}

/// WFDB annotations.
pub fn annotations(data: &[u8]) -> bool {
    let found = wfdb::annotations(data);
    assert!(
        found.iter().all(|found| found.len() <= data.len()),
        "more annotations than bytes"
    );
    found.is_ok()
}

/// The stored form of an ECG.
pub fn ecg(data: &[u8]) -> bool {
    let ecg = Ecg::from_bytes(data);
    assert!(
        ecg.iter().all(|ecg| ecg.to_bytes() == data),
        "two encodings of one ECG"
    );
    ecg.is_ok()
}

fn stored(ecg: &Ecg) {
    let again = Ecg::from_bytes(&ecg.to_bytes()).ok();
    assert!(again.as_ref() == Some(ecg), "an ECG that is not read back");
}

/// A DICOM file: what it says of itself, its pixels and its waveforms.
pub fn dicom(data: &[u8]) -> bool {
    let limits = dicom::Limits {
        bytes: BYTES_LIMIT,
        decoded_bytes: BYTES_LIMIT,
    };
    let inspected = dicom::inspect(data, &limits).is_ok();
    let pixels = dicom::pixels(data, &limits);
    if let Ok(pixels) = &pixels {
        assert!(
            pixels.data.len() <= BYTES_LIMIT,
            "more pixels than the limit"
        );
    }
    let waveforms = dicom::waveforms(data, &limits);
    waveforms.iter().flatten().for_each(stored);
    inspected && (pixels.is_ok() || waveforms.is_ok())
}

/// A PNG or JPEG.
pub fn image(data: &[u8]) -> bool {
    let limits = image::Limits {
        bytes: BYTES_LIMIT,
        side: 4096,
        decoded_bytes: BYTES_LIMIT as u64,
    };
    let Ok(image) = image::decode(data, limits) else {
        return false;
    };
    let samples = u64::from(image.width) * u64::from(image.height) * u64::from(image.channels);
    let bytes = samples * u64::from(image.bits / 8);
    assert!(
        image.pixels.len() as u64 == bytes,
        "pixels that do not fit the picture"
    );
    true
}

/// A PDF document.
pub fn pdf(data: &[u8]) -> bool {
    pdf::inspect(data, BYTES_LIMIT).is_ok()
}

/// A tar archive; no path leaves its folder.
pub fn tar(data: &[u8]) -> bool {
    let members = tar::members(data);
    for member in members.iter().flatten() {
        stays_inside(&member.path);
    }
    members.is_ok()
}

/// A `manifest.csv`; no path leaves its folder.
pub fn manifest(data: &[u8]) -> bool {
    let listed = catalogue::read_manifest(data);
    for file in listed.iter().flatten() {
        stays_inside(&file.file);
    }
    listed.is_ok()
}

fn stays_inside(path: &str) {
    assert!(
        !path.starts_with('/') && !path.contains('\\'),
        "an absolute or foreign path"
    );
    assert!(
        path.split('/').all(|part| !matches!(part, "" | "." | "..")),
        "a path that climbs"
    );
}
