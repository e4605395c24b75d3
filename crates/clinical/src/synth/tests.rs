//! The cohort is the same bytes every time, and our own readers accept all of it.

use std::collections::BTreeMap;

use salus_proto::record::RecordKind;

use super::*;
use crate::fhir::{Bundle, Condition, Demographics, Limits, Observation, Owner};

fn files(patients: u32, seed: u64) -> BTreeMap<String, Vec<u8>> {
    synthesise(patients, seed)
        .unwrap()
        .map(|f| f.unwrap())
        .map(|f| (f.path, f.bytes))
        .collect()
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

#[test]
fn a_cohort_is_the_same_bytes_on_every_machine() {
    let mut digests: BTreeMap<String, Sha256> = BTreeMap::new();
    for (path, bytes) in files(4, 7) {
        let folder = path.split('/').next().unwrap().to_owned();
        let digest = digests.entry(folder).or_default();
        digest.update(path.as_bytes());
        digest.update(&bytes);
    }
    let found: String = digests
        .into_iter()
        .map(|(folder, digest)| {
            let hex: String = digest
                .finalize()
                .iter()
                .take(8)
                .map(|b| format!("{b:02x}"))
                .collect();
            format!("{folder} {hex}\n")
        })
        .collect();
    assert_eq!(found, include_str!("golden.txt"));
}

#[test]
fn a_person_does_not_depend_on_the_size_of_the_cohort() {
    let (small, large) = (files(2, 3), files(4, 3));
    for (path, bytes) in small
        .iter()
        .filter(|(path, _)| !path.ends_with("manifest.csv"))
    {
        assert_eq!(large.get(path), Some(bytes), "{path}");
    }
    assert_ne!(files(2, 4)["fhir/0001.json"], small["fhir/0001.json"]);
    assert!(synthesise(PATIENTS_LIMIT + 1, 0).is_err());
}

#[test]
fn manifests_list_every_file_with_its_checksum_and_patient() {
    let files = files(6, 1);
    let mut listed = 0;
    for folder in ["fhir", "ecg", "documents", "images", "wearables"] {
        let manifest = String::from_utf8(files[&format!("{folder}/manifest.csv")].clone()).unwrap();
        let mut lines = manifest.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let column = |name| header.iter().position(|h| *h == name).unwrap();
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            let bytes = &files[&format!("{folder}/{}", cells[column("file")])];
            assert_eq!(sum(bytes), cells[column("sha256")]);
            assert_eq!(cells[column("patient")].len(), 36);
            listed += 1;
        }
    }
    assert_eq!(listed, files.len() - 6);
}

#[test]
fn bundles_read_as_hospital_bundles_do() {
    let files = files(12, 5);
    let mut identities = std::collections::BTreeSet::new();
    let (mut organisations, mut classes) = (0, std::collections::BTreeSet::new());
    for (path, bytes) in files.iter().filter(|(path, _)| path.ends_with(".json")) {
        let bundle = Bundle::parse(bytes, Limits::default()).unwrap();
        let mut kinds = BTreeMap::<RecordKind, u32>::new();
        for resource in &bundle.resources {
            *kinds.entry(resource.kind).or_default() += 1;
            match resource.kind {
                RecordKind::Demographics => {
                    let who = Demographics::parse(resource.raw).unwrap();
                    assert!(who.email().unwrap().ends_with("@example.org"));
                    assert!(
                        who.phone().is_some() && who.birth_date.is_some() && who.name.contains(' ')
                    );
                    assert!(!who.addresses[0].line.is_empty());
                }
                RecordKind::Vitals => {
                    let vitals = Observation::parse(resource.raw).unwrap();
                    if vitals.code.is_loinc("8867-4") {
                        assert!((40..=140).contains(&vitals.heart_rate_per_min().unwrap()));
                    }
                    if vitals.code.is_loinc("85354-9") {
                        let (high, low) = vitals.blood_pressure_mmhg().unwrap();
                        assert!(high > low);
                    }
                }
                RecordKind::Symptom => {
                    let condition = Condition::parse(resource.raw).unwrap();
                    assert!(condition.active && condition.code.system == crate::fhir::SNOMED);
                    if condition.code.code == "233604007" {
                        classes.insert(path.clone());
                    }
                }
                _ => {}
            }
            if resource.owner == Owner::Directory {
                organisations += u32::from(resource.resource_type == "Organization");
                identities.extend(resource.identities.iter().cloned());
            }
        }
        assert_eq!(kinds[&RecordKind::Vitals], 5, "{path}");
        assert!(kinds[&RecordKind::Symptom] >= 1);
    }
    assert_eq!(organisations, 12);
    assert!(
        identities
            .iter()
            .filter(|i| i.resource_type == "Organization")
            .count()
            <= 4
    );
    let films = String::from_utf8(files["images/manifest.csv"].clone()).unwrap();
    assert!(!classes.is_empty() && films.contains(",pneumonia,") && films.contains(",normal,"));
}

#[test]
fn the_ecg_beats_at_the_measured_pulse_and_obeys_einthoven() {
    let mut twelve_leads = 0;
    for index in 0..8 {
        let person = Person::new(11, index);
        let ecg = ecg::ecg(11, &person);
        let lead = |name: &str| {
            ecg.leads
                .iter()
                .find(|l| l.name == name)
                .map(|l| &l.samples)
        };
        let two = lead("II").unwrap();
        // R peaks: maxima above 0.6 mV over the median, at least 0.25 s apart.
        let rate = ecg.frames_per_s.to_f64();
        let mut sorted = two.clone();
        sorted.sort_unstable();
        let threshold = sorted[sorted.len() / 2] + 600;
        let mut peaks: Vec<usize> = Vec::new();
        for (at, pair) in two.windows(2).enumerate() {
            let rises = pair[0] < threshold && pair[1] >= threshold;
            if rises
                && peaks
                    .last()
                    .is_none_or(|last| (at - last) as f64 > 0.25 * rate)
            {
                peaks.push(at);
            }
        }
        let span = (peaks[peaks.len() - 1] - peaks[0]) as f64 / rate;
        let pulse = 60.0 * (peaks.len() - 1) as f64 / span;
        assert!(
            (pulse - f64::from(person.heart_rate_per_min)).abs() < 3.0,
            "{index}: {pulse}"
        );
        if let (Some(one), Some(three)) = (lead("I"), lead("III")) {
            twelve_leads += 1;
            assert_eq!(ecg.leads.len(), 12);
            assert!(
                one.iter()
                    .zip(two)
                    .zip(three)
                    .all(|((a, b), c)| a + c == *b)
            );
        }
    }
    assert_eq!(twelve_leads, 4);
}
