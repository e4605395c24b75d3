//! One patient from the command line: the form that a ward would fill in, as a FHIR bundle.

use anyhow::{Context as _, bail, ensure};
use salus_crypto::digest::sha256_of;
use serde_json::{Value, json};

/// What a hospital collects about a patient, beside files.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Form {
    /// Fill in the fields below for one patient (needs --patient and --name).
    #[arg(long, requires = "patient", requires = "name")]
    form: bool,
    /// Full name: the only field that stays readable, unless the profile is strict.
    #[arg(long, requires = "form")]
    name: Option<String>,
    /// Postal address.
    #[arg(long, requires = "form")]
    address: Option<String>,
    /// Phone number.
    #[arg(long, requires = "form")]
    phone: Option<String>,
    /// E-mail address.
    #[arg(long, requires = "form")]
    email: Option<String>,
    /// Birth date, YYYY-MM-DD.
    #[arg(long, requires = "form", value_name = "DATE")]
    birth_date: Option<String>,
    /// Pulse in beats a minute.
    #[arg(long, requires = "form", value_name = "PER_MIN", value_parser = clap::value_parser!(u16).range(1..=400))]
    pulse: Option<u16>,
    /// A symptom: CODE|WORDS with a SNOMED CT or ICD-10 code, or words alone; repeat for more.
    #[arg(long = "symptom", requires = "form", value_name = "CODE|WORDS")]
    symptoms: Vec<String>,
}

impl Form {
    /// The bundle of a filled-in form.
    pub(super) fn source(&self, patient: Option<&str>) -> anyhow::Result<Option<Vec<u8>>> {
        if !self.form {
            return Ok(None);
        }
        let patient = patient.context("--form needs --patient")?;
        let name = self.name.as_deref().context("--form needs --name")?;
        ensure!(
            !patient.is_empty() && !name.trim().is_empty(),
            "patient and name are empty"
        );
        let telecom = |system: &str, value: &Option<String>| {
            value
                .as_ref()
                .map(|v| json!({ "system": system, "value": v }))
        };
        let telecoms: Vec<Value> = [telecom("phone", &self.phone), telecom("email", &self.email)]
            .into_iter()
            .flatten()
            .collect();
        let mut about = json!({
            "resourceType": "Patient",
            "id": patient,
            "identifier": [{ "value": patient }],
            "name": [{ "text": name }],
        });
        if let Some(fields) = about.as_object_mut() {
            if !telecoms.is_empty() {
                fields.insert("telecom".into(), telecoms.into());
            }
            if let Some(address) = &self.address {
                fields.insert(
                    "address".into(),
                    json!([{ "text": address, "line": [address] }]),
                );
            }
            if let Some(date) = &self.birth_date {
                fields.insert("birthDate".into(), date.clone().into());
            }
        }
        let mut resources = vec![about];
        let subject = json!({ "reference": format!("Patient/{patient}") });
        if let Some(pulse) = self.pulse {
            resources.push(pulse_observation(pulse, &subject));
        }
        for symptom in &self.symptoms {
            resources.push(condition(symptom, &subject)?);
        }
        let entries: Vec<Value> = resources
            .into_iter()
            .map(|mut resource| {
                if resource.get("id").is_none() {
                    let text = resource.to_string();
                    let id = sha256_of(&[patient.as_bytes(), b"/", text.as_bytes()]).to_string();
                    let id: String = id.chars().take(32).collect();
                    if let Some(fields) = resource.as_object_mut() {
                        fields.insert("id".into(), id.into());
                    }
                }
                json!({ "resource": resource })
            })
            .collect();
        let bundle = json!({ "resourceType": "Bundle", "type": "collection", "entry": entries });
        Ok(Some(bundle.to_string().into_bytes()))
    }
}

/// LOINC 8867-4, "Heart rate", in UCUM `/min`.
fn pulse_observation(pulse: u16, subject: &Value) -> Value {
    json!({
        "resourceType": "Observation",
        "status": "final",
        "category": [{ "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/observation-category",
            "code": "vital-signs",
        }] }],
        "code": { "coding": [{ "system": "http://loinc.org", "code": "8867-4", "display": "Heart rate" }] },
        "subject": subject,
        "valueQuantity": {
            "value": pulse, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min",
        },
    })
}

fn condition(symptom: &str, subject: &Value) -> anyhow::Result<Value> {
    let code = match symptom.split_once('|') {
        None => json!({ "text": symptom }),
        Some((code, words)) => {
            // SNOMED CT identifiers are 6 to 18 digits; ICD-10 codes start with a letter.
            let snomed = (6..=18).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit());
            let icd = code.len() >= 3
                && code.starts_with(|c: char| c.is_ascii_uppercase())
                && code.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
            let system = match (snomed, icd) {
                (true, _) => "http://snomed.info/sct",
                (_, true) => "http://hl7.org/fhir/sid/icd-10",
                _ => bail!("`{code}` is neither a SNOMED CT nor an ICD-10 code"),
            };
            let coding = json!([{ "system": system, "code": code, "display": words }]);
            json!({ "coding": coding, "text": words })
        }
    };
    Ok(json!({ "resourceType": "Condition", "code": code, "subject": subject }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use salus_client::intake::pieces;
    use salus_proto::record::RecordKind;

    #[test]
    fn a_form_becomes_sealed_pieces_of_every_field() {
        let form = Form {
            form: true,
            name: Some("Maya Osei".into()),
            address: Some("1 Road".into()),
            phone: Some("1234".into()),
            email: Some("maya@example.org".into()),
            birth_date: Some("1980-02-03".into()),
            pulse: Some(72),
            symptoms: vec!["386661006|Fever".into(), "R05|Cough".into(), "tired".into()],
        };
        let bundle = form.source(Some("P-17")).unwrap().unwrap();
        let read = pieces::fhir(&bundle).unwrap();
        let [patient] = read.patients.as_slice() else {
            panic!("one patient")
        };
        assert_eq!(patient.name.as_deref(), Some("Maya Osei"));
        let count = |kind| patient.pieces.iter().filter(|p| p.kind == kind).count();
        assert_eq!(count(RecordKind::Vitals), 1);
        assert_eq!(count(RecordKind::Symptom), 3);
        assert_eq!(count(RecordKind::Demographics), 1);
        assert_eq!(count(RecordKind::QuasiIdentifiers), 1);
        let identity = patient
            .pieces
            .iter()
            .find(|p| p.kind == RecordKind::Demographics)
            .unwrap();
        let text = String::from_utf8(identity.body.clone()).unwrap();
        for value in ["1 Road", "1234", "maya@example.org"] {
            assert!(text.contains(value), "{value}");
        }
        assert!(condition("12|x", &json!({})).is_err());
    }
}
