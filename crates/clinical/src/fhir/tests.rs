//! Bundles of ours and Synthea's: what comes out, and what is refused.

use std::collections::BTreeSet;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn parse(json: &str) -> Result<Bundle<'_>> {
    Bundle::parse(json.as_bytes(), Limits::default())
}

const SMALL: &str = r#"{"resourceType":"Bundle","type":"transaction","entry":[
  {"fullUrl":"urn:uuid:p1","resource":{"resourceType":"Patient","id":"p1",
    "identifier":[{"system":"urn:mrn","value":"4711"}],
    "name":[{"use":"old","family":"Before"},{"use":"official","prefix":["Dr."],"given":["Ada","B."],"family":"Löwe"}],
    "telecom":[{"system":"phone","value":"030 123"},{"system":"email","value":"ada@example.org"}],
    "gender":"female","birthDate":"1980-02-29","extension":[{"url":"x/us-core-race","valueString":"r"},{"url":"x/other","valueString":"o"}],
    "address":[{"line":["Weg 1"],"city":"Berlin","postalCode":"10115","country":"DE"}]},"request":{"method":"POST","url":"Patient"}},
  {"fullUrl":"urn:uuid:o1","resource":{"resourceType":"Organization","id":"o1",
    "identifier":[{"system":"urn:b","value":"2"},{"system":"urn:a","value":"9"},{"value":"no system"}],"name":"H"}},
  {"fullUrl":"urn:uuid:v1","resource":{"subject":{"reference":"urn:uuid:p1"},"status":"final",
    "code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},
    "valueQuantity":{"value":71.60,"unit":"beats/minute","code":"/min"},"resourceType":"Observation"}},
  {"resource":{"resourceType":"Observation","subject":{"reference":"Patient/p1"},
    "category":[{"coding":[{"code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}]},
    "component":[{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":121,"code":"mm[Hg]"}},
                 {"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":79.5,"code":"mm[Hg]"}}]}},
  {"resource":{"resourceType":"Condition","subject":{"reference":"Patient/elsewhere"},"clinicalStatus":{"coding":[{"code":"active"}]},
    "code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10","code":"R05","display":"Cough"},{"system":"http://snomed.info/sct","code":"49727002","display":"Cough"}],"text":"dry cough"}}},
  {"resource":{"resourceType":"Provenance","target":[{"reference":"urn:uuid:v1"}]}}
]}"#;

#[test]
fn a_bundle_is_split_with_owners_classes_and_identities() {
    let bundle = parse(SMALL).unwrap();
    assert_eq!(bundle.kind, BundleKind::Transaction);
    let [patient, organisation, pulse, pressure, cough, provenance] = &bundle.resources[..] else {
        panic!("six resources");
    };
    assert_eq!(
        (patient.class, patient.kind),
        (KeyClass::Identity, RecordKind::Demographics)
    );
    assert_eq!(patient.owner, Owner::Patient(0));
    assert_eq!(organisation.owner, Owner::Directory);
    let identities: Vec<_> = organisation
        .identities
        .iter()
        .map(|i| (i.system.as_str(), i.value.as_str()))
        .collect();
    assert_eq!(identities, [("urn:a", "9"), ("urn:b", "2")]);
    assert_eq!(
        (pulse.owner, pulse.kind),
        (Owner::Patient(0), RecordKind::Vitals)
    );
    assert_eq!(
        (pressure.owner, pressure.kind),
        (Owner::Patient(0), RecordKind::Vitals)
    );
    assert_eq!(
        (cough.owner, cough.kind),
        (Owner::Elsewhere, RecordKind::Symptom)
    );
    assert_eq!(provenance.owner, Owner::Patient(0));

    let pulse = Observation::parse(pulse.raw).unwrap();
    assert_eq!(pulse.heart_rate_per_min(), Some(72));
    assert_eq!(pulse.value.unwrap().value, "71.60");
    let pressure = Observation::parse(pressure.raw).unwrap();
    assert_eq!(pressure.blood_pressure_mmhg(), Some((121, 80)));
    let cough = Condition::parse(cough.raw).unwrap();
    assert_eq!(
        (cough.code.code.as_str(), cough.text.as_str(), cough.active),
        ("49727002", "dry cough", true)
    );

    let who = Demographics::parse(patient.raw).unwrap();
    assert_eq!(who.name, "Dr. Ada B. Löwe");
    assert_eq!(
        (who.phone(), who.email()),
        (Some("030 123"), Some("ada@example.org"))
    );
    assert_eq!(who.birth_date.as_deref(), Some("1980-02-29"));
    assert_eq!(format!("{who:?} {patient:?}").find("Ada"), None);
}

#[test]
fn a_patient_is_cut_into_identifiers_and_quasi_identifiers_with_nothing_lost() {
    let bundle = parse(SMALL).unwrap();
    let (identity, quasi) = Demographics::split(bundle.resources[0].raw).unwrap();
    for (text, in_identity) in [
        ("Löwe", true),
        ("4711", true),
        ("030 123", true),
        ("Weg 1", true),
        ("Berlin", true),
        ("x/other", true),
        ("1980-02-29", false),
        ("female", false),
        ("10115", false),
        ("DE", false),
        ("us-core-race", false),
    ] {
        assert_eq!(identity.contains(text), in_identity, "{text}");
        assert_eq!(quasi.contains(text), !in_identity, "{text}");
    }
    assert!(!quasi.contains("p1"));
}

#[test]
fn symptoms_count_patients_not_mentions() {
    let condition = |code: &str, display: &str| Condition {
        code: Coding {
            system: "s".into(),
            code: code.into(),
            display: display.into(),
        },
        text: "in words".into(),
        onset: None,
        abatement: None,
        active: true,
    };
    let counts = symptom_counts([
        ("a", condition("1", "cough")),
        ("a", condition("1", "Cough")),
        ("b", condition("1", "COUGH")),
        ("b", condition("2", "fever")),
        ("c", condition("", "")),
    ]);
    let counts: Vec<_> = counts
        .iter()
        .map(|(c, n)| (c.code.as_str(), c.display.as_str(), *n))
        .collect();
    assert_eq!(
        counts,
        [("", "in words", 1), ("1", "cough", 2), ("2", "fever", 1)]
    );
}

#[test]
fn bad_bundles_are_refused_with_the_reason() {
    let bundle = |entries: &str| {
        format!(r#"{{"resourceType":"Bundle","type":"batch","entry":[{entries}]}}"#)
    };
    let reason = |json: &str| parse(json).map(|_| ()).unwrap_err();
    assert_eq!(
        reason("{}"),
        Error::Missing {
            what: "resourceType Bundle"
        }
    );
    assert_eq!(
        reason(r#"{"resourceType":"Patient"}"#),
        Error::Missing {
            what: "resourceType Bundle"
        }
    );
    assert_eq!(
        reason(r#"{"resourceType":"Bundle"}"#),
        Error::Missing {
            what: "type of the FHIR bundle"
        }
    );
    assert_eq!(
        reason(r#"{"resourceType":"Bundle","type":"subscription"}"#),
        Error::Unsupported {
            what: "FHIR bundle type",
            name: "subscription".into()
        }
    );
    assert_eq!(
        reason(&bundle("{}")),
        Error::Missing {
            what: "resource of a FHIR bundle entry"
        }
    );
    assert_eq!(
        reason(&bundle(r#"{"resource":{"id":"x"}}"#)),
        Error::Missing {
            what: "resourceType of a FHIR resource"
        }
    );
    assert_eq!(
        reason(&bundle(
            r#"{"resource":{"resourceType":"A"},"request":{"method":"DELETE"}}"#
        )),
        Error::Unsupported {
            what: "FHIR request method",
            name: "DELETE".into()
        }
    );
    let twice = r#"{"fullUrl":"u","resource":{"resourceType":"A"}}"#;
    assert_eq!(
        reason(&bundle(&format!("{twice},{twice}"))),
        Error::Duplicate {
            what: "fullUrl in a FHIR bundle"
        }
    );
    let patient = r#"{"resource":{"resourceType":"Patient","id":"1"}}"#;
    assert_eq!(
        reason(&bundle(&format!("{patient},{patient}"))),
        Error::Duplicate {
            what: "Patient in a FHIR bundle"
        }
    );
    assert_eq!(
        reason(&bundle(
            r#"{"resource":{"resourceType":"A","id":"1","id":"2"}}"#
        )),
        Error::Duplicate {
            what: "JSON member"
        }
    );
    let deep = format!("{}{}", r#"{"x":"#.repeat(100_000), "}".repeat(100_000));
    assert_eq!(
        reason(&bundle(&format!(
            r#"{{"resource":{{"resourceType":"A","x":{deep}}}}}"#
        ))),
        Error::TooDeep {
            what: "JSON",
            limit: 64
        }
    );
    assert_eq!(
        Bundle::parse(b"{\"a\":\"\xff\"}", Limits::default()).unwrap_err(),
        Error::Text {
            what: "FHIR bundle",
            charset: "UTF-8",
            offset: 6
        }
    );
    let limits = Limits {
        bytes: 1000,
        resources: 1,
    };
    assert!(matches!(
        Bundle::parse(&[b' '; 1001], limits),
        Err(Error::TooLarge { limit: 1000, .. })
    ));
    let two = bundle(&format!(
        r#"{patient},{{"resource":{{"resourceType":"A"}}}}"#
    ));
    assert!(matches!(
        Bundle::parse(two.as_bytes(), limits),
        Err(Error::TooLarge { limit: 1, .. })
    ));
}

#[test]
fn gzip_is_unpacked_up_to_the_limit_and_no_further() {
    use std::io::Write;
    let pack = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let bomb = pack(&vec![b' '; 64 << 20]);
    assert!(is_gzip(&bomb) && bomb.len() < 70_000);
    assert!(matches!(
        unpack(&bomb, 1 << 20),
        Err(Error::TooLarge {
            length: 1_048_577,
            ..
        })
    ));
    let small = pack(SMALL.as_bytes());
    assert_eq!(unpack(&small, SMALL.len()).unwrap(), SMALL.as_bytes());
    for cut in 0..small.len() {
        assert!(unpack(&small[..cut], 1 << 20).is_err() || cut == 0, "{cut}");
    }
    let mut bad_sum = small.clone();
    *bad_sum.iter_mut().rev().nth(5).unwrap() ^= 1;
    assert_eq!(
        unpack(&bad_sum, 1 << 20),
        Err(Error::Codec { codec: "gzip" })
    );
}

#[test]
fn every_truncation_of_a_bundle_is_refused() {
    for cut in (0..SMALL.len()).filter(|&cut| SMALL.is_char_boundary(cut)) {
        assert!(
            SMALL.get(..cut).is_some_and(|text| parse(text).is_err()),
            "{cut}"
        );
    }
}

/// The folder of real samples beside the repository, if it is there.
fn synthea() -> Option<PathBuf> {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/fhir-synthea");
    folder.is_dir().then_some(folder)
}

#[test]
fn synthea_bundles_yield_the_published_counts_and_shared_resources_once() {
    let Some(folder) = synthea() else {
        println!("skipped: the Synthea samples are not beside the repository");
        return;
    };
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut shared = BTreeSet::new();
    let mut symptoms = Vec::new();
    let mut pulses = 0;
    let manifest = std::fs::read_to_string(folder.join("manifest.csv")).unwrap();
    for line in manifest.lines().skip(1) {
        let columns: Vec<&str> = line.split(',').collect();
        let gzip = std::fs::read(folder.join(columns[0])).unwrap();
        let json = unpack(&gzip, Limits::default().bytes).unwrap();
        let bundle = Bundle::parse(&json, Limits::default()).unwrap();
        assert_eq!(bundle.resources.len().to_string(), columns[6]);
        for resource in &bundle.resources {
            *counts.entry(resource.resource_type.to_owned()).or_default() += 1;
            match resource.owner {
                Owner::Patient(at) => {
                    assert_eq!(bundle.resources[at].id.as_deref(), Some(columns[7]));
                }
                Owner::Directory => shared.extend(resource.identities.iter().cloned()),
                Owner::Elsewhere | Owner::Unknown => panic!("unassigned"),
            }
            match resource.kind {
                RecordKind::Symptom => symptoms.push((
                    columns[7].to_owned(),
                    Condition::parse(resource.raw).unwrap(),
                )),
                RecordKind::Vitals => {
                    let vitals = Observation::parse(resource.raw).unwrap();
                    assert!(!vitals.code.code.is_empty());
                    pulses += u32::from(vitals.heart_rate_per_min().is_some());
                }
                RecordKind::Demographics => {
                    let who = Demographics::parse(resource.raw).unwrap();
                    assert!(
                        !who.name.is_empty() && who.phone().is_some() && who.birth_date.is_some()
                    );
                    Demographics::split(resource.raw).unwrap();
                }
                _ => {}
            }
        }
    }
    let published = std::fs::read_to_string(folder.join("resource_counts.csv")).unwrap_or_default();
    assert_eq!(counts.values().sum::<u64>(), 48_452, "{published}");
    assert_eq!(
        (
            counts["Observation"],
            counts["Condition"],
            counts["Organization"]
        ),
        (23_233, 1_144, 267)
    );
    assert_eq!(shared.len(), 178);
    let counts = symptom_counts(symptoms);
    assert!(counts.values().all(|&n| (1..=160).contains(&n)));
    println!("{} symptoms, {pulses} pulses", counts.len());
}

proptest! {
    #[test]
    fn flipped_bits_never_panic(at in 0..SMALL.len(), bit in 0..8_u32) {
        let mut bytes = SMALL.as_bytes().to_vec();
        bytes[at] ^= 1 << bit;
        if let Ok(bundle) = Bundle::parse(&bytes, Limits::default()) {
            for resource in &bundle.resources {
                let _ = Observation::parse(resource.raw);
                let _ = Condition::parse(resource.raw);
                let _ = Demographics::parse(resource.raw);
                let _ = Demographics::split(resource.raw);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Bundle::parse(&bytes, Limits::default());
        let _ = unpack(&bytes, 1 << 16);
        let mut gzip = vec![0x1f, 0x8b, 8];
        gzip.extend_from_slice(&bytes);
        let _ = unpack(&gzip, 1 << 16);
    }
}
