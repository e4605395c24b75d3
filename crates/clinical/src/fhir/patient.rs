//! Who a patient is, and the cut between what identifies outright and what only narrows down.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::clinical::read;
use crate::{Error, Result};

/// A Patient resource as typed values. Its `Debug` shows no content.
#[derive(Clone, PartialEq, Eq)]
pub struct Demographics {
    /// The name to show: the `official` or else `usual` or else first one, in one line.
    pub name: String,
    /// All addresses.
    pub addresses: Vec<Address>,
    /// Phone numbers, e-mail addresses and the like.
    pub telecoms: Vec<Telecom>,
    /// FHIR date: `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
    pub birth_date: Option<String>,
    /// FHIR administrative gender: `male`, `female`, `other` or `unknown`.
    pub sex: Option<String>,
    /// Business identifiers.
    pub identifiers: Vec<Identifier>,
}

/// A postal address. Empty where the source says nothing.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Address {
    /// Street lines.
    pub line: Vec<String>,
    /// Town.
    pub city: String,
    /// State or province.
    pub state: String,
    /// Postcode.
    pub postal_code: String,
    /// Country.
    pub country: String,
}

/// A way to reach somebody.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Telecom {
    /// `phone`, `email`, `fax`, `sms`, `url`, `pager` or `other`.
    pub system: String,
    /// The number or address.
    pub value: String,
}

/// A business identifier.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Identifier {
    /// The namespace URI.
    pub system: String,
    /// The value within it.
    pub value: String,
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
opaque_debug!(Demographics Address Telecom Identifier);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePatient {
    #[serde(default)]
    name: Vec<HumanName>,
    #[serde(default)]
    address: Vec<Address>,
    #[serde(default)]
    telecom: Vec<Telecom>,
    #[serde(default)]
    identifier: Vec<Identifier>,
    birth_date: Option<String>,
    gender: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct HumanName {
    #[serde(rename = "use")]
    usage: String,
    text: String,
    prefix: Vec<String>,
    given: Vec<String>,
    family: String,
    suffix: Vec<String>,
}

impl HumanName {
    fn line(&self) -> String {
        if !self.text.is_empty() {
            return self.text.clone();
        }
        let parts = self
            .prefix
            .iter()
            .chain(&self.given)
            .chain([&self.family])
            .chain(&self.suffix);
        parts
            .filter(|p| !p.is_empty())
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Members of a Patient that narrow down without naming (FHIR R4 Patient; Sweeney 2000: birth date,
/// sex and postcode). Extensions carry race, birthplace and the like; `text` repeats anything and is
/// an identifier.
const QUASI: [&str; 8] = [
    "birthDate",
    "gender",
    "deceasedBoolean",
    "deceasedDateTime",
    "maritalStatus",
    "multipleBirthBoolean",
    "multipleBirthInteger",
    "communication",
];

impl Demographics {
    /// Reads one Patient resource.
    pub fn parse(raw: &str) -> Result<Self> {
        let wire: WirePatient = read(raw, "Patient")?;
        let rank = |name: &&HumanName| match name.usage.as_str() {
            "official" => 0,
            "usual" => 1,
            "old" | "maiden" => 3,
            _ => 2,
        };
        Ok(Self {
            name: wire
                .name
                .iter()
                .min_by_key(rank)
                .map(HumanName::line)
                .unwrap_or_default(),
            addresses: wire.address,
            telecoms: wire.telecom,
            birth_date: wire.birth_date,
            sex: wire.gender,
            identifiers: wire.identifier,
        })
    }

    /// The first phone number.
    pub fn phone(&self) -> Option<&str> {
        self.telecom("phone")
    }

    /// The first e-mail address.
    pub fn email(&self) -> Option<&str> {
        self.telecom("email")
    }

    fn telecom(&self, system: &str) -> Option<&str> {
        self.telecoms
            .iter()
            .find(|t| t.system == system)
            .map(|t| t.value.as_str())
    }

    /// Cuts a Patient resource into two Patient resources for two key classes: explicit identifiers,
    /// and quasi-identifiers (birth date, sex, postcode and region). Every member stands in exactly
    /// one of them; of an address, postcode, state and country move to the second. Both keep the
    /// `resourceType` and nothing of the second names the patient: not even the id.
    pub fn split(raw: &str) -> Result<(String, String)> {
        let members: Map<String, Value> = read(raw, "Patient")?;
        let mut identity = Map::new();
        let mut quasi = Map::new();
        for (name, value) in members {
            let plain = name.strip_prefix('_').unwrap_or(&name);
            if name == "resourceType" {
                quasi.insert(name.clone(), value.clone());
                identity.insert(name, value);
            } else if QUASI.contains(&plain) {
                quasi.insert(name, value);
            } else if name == "address" {
                let (streets, regions) = split_addresses(value)?;
                identity.insert(name.clone(), streets);
                quasi.insert(name, regions);
            } else if name == "extension" {
                let (keep, moved) = split_extensions(value)?;
                identity.insert(name.clone(), keep);
                quasi.insert(name, moved);
            } else {
                identity.insert(name, value);
            }
        }
        Ok((
            Value::Object(identity).to_string(),
            Value::Object(quasi).to_string(),
        ))
    }
}

fn list(value: Value, what: &'static str) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(Error::Malformed {
            what,
            reason: "expected a list",
            offset: 0,
        }),
    }
}

fn split_addresses(value: Value) -> Result<(Value, Value)> {
    let mut streets = Vec::new();
    let mut regions = Vec::new();
    for address in list(value, "Patient.address")? {
        let Value::Object(members) = address else {
            continue;
        };
        let (region, street): (Map<_, _>, Map<_, _>) = members
            .into_iter()
            .partition(|(name, _)| matches!(name.as_str(), "postalCode" | "state" | "country"));
        streets.push(Value::Object(street));
        regions.push(Value::Object(region));
    }
    Ok((Value::Array(streets), Value::Array(regions)))
}

/// Race, ethnicity, birth sex and birthplace narrow down; a mother's maiden name and anything
/// unknown is kept with the identifiers, which is the stricter side.
fn split_extensions(value: Value) -> Result<(Value, Value)> {
    let narrows = |extension: &Value| {
        let url = extension
            .get("url")
            .and_then(Value::as_str)
            .unwrap_or_default();
        [
            "us-core-race",
            "us-core-ethnicity",
            "us-core-birthsex",
            "patient-birthPlace",
        ]
        .iter()
        .any(|known| url.ends_with(known))
    };
    let (quasi, identity): (Vec<_>, Vec<_>) = list(value, "Patient.extension")?
        .into_iter()
        .partition(narrows);
    Ok((Value::Array(identity), Value::Array(quasi)))
}
