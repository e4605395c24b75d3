//! What an Observation or a Condition says, as typed values; numbers stay the decimal text they were.

use std::collections::{BTreeMap, BTreeSet};

use salus_proto::record::RecordKind;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::json::Cursor;
use crate::{Error, Result};

/// SNOMED CT's code system URI.
pub(crate) const SNOMED: &str = "http://snomed.info/sct";
/// LOINC's code system URI.
pub(crate) const LOINC: &str = "http://loinc.org";

/// LOINC codes of the FHIR R4 vital-signs profiles and their panels.
const VITAL_SIGNS: [&str; 15] = [
    "85353-1", "9279-1", "8867-4", "2708-6", "59408-5", "8310-5", "8302-2", "9843-4", "29463-7",
    "39156-5", "85354-9", "55284-4", "8480-6", "8462-4", "8478-0",
];
/// LOINC codes of ECG studies: EKG study, 12-lead panel, ECG waveform.
const ECG: [&str; 4] = ["11524-6", "34534-8", "28010-7", "93025-1"];

/// One code of a code system. Its `Debug` shows no content.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct Coding {
    /// Code system URI, for example `http://snomed.info/sct`; empty if the source names none.
    pub system: String,
    /// The code; empty if the source gives only words.
    pub code: String,
    /// The code's words.
    pub display: String,
}

/// A measured amount. Its `Debug` shows no content.
#[derive(Clone, PartialEq, Eq)]
pub struct Quantity {
    /// The decimal number as the source wrote it, without rounding.
    pub value: String,
    /// UCUM code, or the unit in words when the source has no code; empty if it has neither.
    pub unit: String,
}

/// An Observation: one measurement, or several as components (blood pressure).
#[derive(Clone, PartialEq, Eq)]
pub struct Observation {
    /// What was measured; the first coding that has a code.
    pub code: Coding,
    /// When: FHIR dateTime text, or the start of the period.
    pub effective: Option<String>,
    /// The value, if it is a quantity.
    pub value: Option<Quantity>,
    /// The value, if it is coded or plain text.
    pub text: Option<String>,
    /// Parts with their own codes.
    pub components: Vec<(Coding, Quantity)>,
}

/// A Condition: a symptom, problem or diagnosis.
#[derive(Clone, PartialEq, Eq)]
pub struct Condition {
    /// SNOMED CT code first, then ICD-10, then whatever else the source has.
    pub code: Coding,
    /// Free text.
    pub text: String,
    /// FHIR dateTime of the onset.
    pub onset: Option<String>,
    /// FHIR dateTime of the end.
    pub abatement: Option<String>,
    /// Whether `clinicalStatus` is `active`, `recurrence` or `relapse`.
    pub active: bool,
}

macro_rules! opaque_debug {
    ($($name:ident)*) => {$(
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}
opaque_debug!(Coding Quantity Observation Condition);

impl Coding {
    /// Whether this is the LOINC code.
    pub fn is_loinc(&self, code: &str) -> bool {
        self.system == LOINC && self.code == code
    }
}

impl Quantity {
    /// The nearest whole number, if there is one between 0 and 65,535.
    pub fn rounded(&self) -> Option<u16> {
        let value: f64 = self.value.parse().ok()?;
        let rounded = value.round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and in range, as just checked"
        )]
        (0.0..=65_535.0)
            .contains(&rounded)
            .then_some(rounded as u16)
    }
}

impl Observation {
    /// Reads one Observation resource.
    pub fn parse(raw: &str) -> Result<Self> {
        let wire: WireObservation<'_> = read(raw, "Observation")?;
        let quantity = |q: WireQuantity<'_>| q.read();
        Ok(Self {
            code: wire.code.best(),
            effective: wire
                .effective_date_time
                .or(wire.effective_period.and_then(|p| p.start)),
            value: wire.value_quantity.and_then(quantity),
            text: wire
                .value_codeable_concept
                .map(Concept::words)
                .or(wire.value_string),
            components: wire
                .component
                .into_iter()
                .filter_map(|c| Some((c.code.best(), c.value_quantity.and_then(quantity)?)))
                .collect(),
        })
    }

    /// The amount under a LOINC code, whether it is the observation itself or a component.
    pub fn loinc(&self, code: &str) -> Option<&Quantity> {
        let own = self.value.as_ref().filter(|_| self.code.is_loinc(code));
        own.or_else(|| {
            self.components
                .iter()
                .find(|(c, _)| c.is_loinc(code))
                .map(|(_, q)| q)
        })
    }

    /// The pulse in beats a minute (LOINC 8867-4).
    pub fn heart_rate_per_min(&self) -> Option<u16> {
        self.loinc("8867-4")?.rounded()
    }

    /// Systolic and diastolic blood pressure in mmHg (LOINC 8480-6, 8462-4).
    pub fn blood_pressure_mmhg(&self) -> Option<(u16, u16)> {
        Some((
            self.loinc("8480-6")?.rounded()?,
            self.loinc("8462-4")?.rounded()?,
        ))
    }
}

impl Condition {
    /// Reads one Condition resource.
    pub fn parse(raw: &str) -> Result<Self> {
        let wire: WireCondition = read(raw, "Condition")?;
        let status = wire.clinical_status.best();
        Ok(Self {
            code: wire.code.best(),
            text: wire.code.words(),
            onset: wire.onset_date_time,
            abatement: wire.abatement_date_time,
            active: matches!(status.code.as_str(), "active" | "recurrence" | "relapse"),
        })
    }
}

/// How many different patients have each symptom. The patient is any name that tells patients apart;
/// it does not stand in the result. Symptoms without a code count under their words.
pub fn symptom_counts<P: Ord>(
    symptoms: impl IntoIterator<Item = (P, Condition)>,
) -> BTreeMap<Coding, u64> {
    let mut patients: BTreeMap<Coding, BTreeSet<P>> = BTreeMap::new();
    let mut words: BTreeMap<(String, String), Coding> = BTreeMap::new();
    for (patient, condition) in symptoms {
        let mut coding = condition.code;
        if coding.code.is_empty() {
            coding.display = condition.text.trim().to_owned();
        } else {
            // One code counts once, however its sources spell it: the first spelling is shown.
            let key = (coding.system.clone(), coding.code.clone());
            coding = words.entry(key).or_insert(coding).clone();
        }
        patients.entry(coding).or_default().insert(patient);
    }
    patients
        .into_iter()
        .map(|(coding, who)| (coding, who.len() as u64))
        .collect()
}

/// Decides from its category, and failing that from its code, what an Observation is.
pub(super) fn observation_kind(category: Option<&str>, code: Option<&str>) -> Result<RecordKind> {
    let mut vitals = false;
    if let Some(category) = category {
        each_code(category, |found| {
            vitals |= matches!(found, "vital-signs" | "vital-sign");
        })?;
    }
    let mut ecg = false;
    if let Some(code) = code {
        each_code(code, |found| {
            ecg |= ECG.contains(&found);
            vitals |= VITAL_SIGNS.contains(&found);
        })?;
    }
    Ok(match (ecg, vitals) {
        (true, _) => RecordKind::Ecg,
        (false, true) => RecordKind::Vitals,
        (false, false) => RecordKind::Observation,
    })
}

/// Calls `found` with every `coding.code` of a CodeableConcept or a list of them.
fn each_code(text: &str, mut found: impl FnMut(&str)) -> Result<()> {
    let mut concept = |c: &mut Cursor<'_>| {
        if !c.at_object() {
            return c.skip().map(drop);
        }
        c.object(|c, name| {
            if name != "coding" || !c.at_array() {
                return c.skip().map(drop);
            }
            c.array(|c| {
                if !c.at_object() {
                    return c.skip().map(drop);
                }
                c.object(|c, name| {
                    if name == "code" && c.at_string() {
                        found(&c.string()?.value()?);
                        return Ok(());
                    }
                    c.skip().map(drop)
                })
            })
        })
    };
    let mut c = Cursor::new(text);
    if c.at_array() {
        c.array(concept)
    } else {
        concept(&mut c)
    }
}

/// Reads a resource by `serde`; its message may quote content, so only the place is kept.
pub(super) fn read<'a, T: Deserialize<'a>>(raw: &'a str, what: &'static str) -> Result<T> {
    serde_json::from_str(raw).map_err(|e| Error::Malformed {
        what,
        reason: "a member is missing or of the wrong type",
        offset: e.column(),
    })
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Concept {
    coding: Vec<Coding>,
    text: String,
}

impl Concept {
    /// SNOMED CT and LOINC before ICD-10 before the rest: the order in which they are precise.
    fn best(&self) -> Coding {
        let rank = |c: &&Coding| match c.system.as_str() {
            _ if c.code.is_empty() => 3,
            SNOMED | LOINC => 0,
            "http://hl7.org/fhir/sid/icd-10" | "http://hl7.org/fhir/sid/icd-10-cm" => 1,
            _ => 2,
        };
        self.coding
            .iter()
            .min_by_key(rank)
            .cloned()
            .unwrap_or_default()
    }

    fn words(self) -> String {
        if self.text.is_empty() {
            self.best().display
        } else {
            self.text
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireObservation<'a> {
    code: Concept,
    effective_date_time: Option<String>,
    effective_period: Option<Period>,
    #[serde(borrow)]
    value_quantity: Option<WireQuantity<'a>>,
    value_codeable_concept: Option<Concept>,
    value_string: Option<String>,
    #[serde(borrow, default)]
    component: Vec<Component<'a>>,
}

#[derive(Deserialize)]
struct Period {
    start: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Component<'a> {
    code: Concept,
    #[serde(borrow)]
    value_quantity: Option<WireQuantity<'a>>,
}

#[derive(Deserialize)]
struct WireQuantity<'a> {
    #[serde(borrow, default, deserialize_with = "number_text")]
    value: Option<&'a str>,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    code: String,
}

impl WireQuantity<'_> {
    fn read(self) -> Option<Quantity> {
        let unit = if self.code.is_empty() {
            self.unit
        } else {
            self.code
        };
        Some(Quantity {
            value: self.value?.to_owned(),
            unit,
        })
    }
}

fn number_text<'de: 'a, 'a, D: Deserializer<'de>>(
    d: D,
) -> core::result::Result<Option<&'a str>, D::Error> {
    let text = <&RawValue>::deserialize(d)?.get();
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if is_number {
        Ok(Some(text))
    } else {
        Err(serde::de::Error::custom("not a number"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCondition {
    #[serde(default)]
    clinical_status: Concept,
    #[serde(default)]
    code: Concept,
    onset_date_time: Option<String>,
    abatement_date_time: Option<String>,
}
