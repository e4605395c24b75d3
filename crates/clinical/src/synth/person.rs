//! One synthetic person: who they are, what they complain of, and what was measured.

use super::random::{Purpose, Stream, whole};

const WOMEN: [&str; 20] = [
    "Amara", "Ingrid", "Mei", "Leyla", "Sofía", "Chiara", "Zoë", "Nadia", "Freya", "Priya", "Hana",
    "Élodie", "Marta", "Aisha", "Greta", "Yuki", "Ruth", "Olga", "Clara", "Thandi",
];
const MEN: [&str; 20] = [
    "Kwame", "Lars", "Jun", "Emre", "Mateo", "Luca", "Noël", "Samir", "Björn", "Arjun", "Kenji",
    "Étienne", "Tomasz", "Omar", "Jonas", "Haruki", "David", "Ivan", "Felix", "Sipho",
];
const FAMILIES: [&str; 32] = [
    "Okafor",
    "Lindqvist",
    "Chen",
    "Yılmaz",
    "García",
    "Rossi",
    "de Vries",
    "Haddad",
    "Møller",
    "Sharma",
    "Tanaka",
    "Lefèvre",
    "Kowalski",
    "Rahman",
    "Schäfer",
    "Sato",
    "Goldberg",
    "Petrov",
    "Baumann",
    "Dlamini",
    "Nakamura",
    "Silva",
    "Novák",
    "O'Brien",
    "Fischer",
    "Andersson",
    "Moreau",
    "Ricci",
    "Varga",
    "Jensen",
    "Iyer",
    "Mensah",
];
const STREETS: [&str; 10] = [
    "Harbour Road",
    "Mill Lane",
    "Station Street",
    "Orchard Way",
    "Church Hill",
    "Elm Avenue",
    "Market Square",
    "River Walk",
    "Garden Close",
    "Queen's Parade",
];
const TOWNS: [(&str, &str); 6] = [
    ("Northport", "10110"),
    ("Eastbrook", "20220"),
    ("Southvale", "30330"),
    ("Westmere", "40440"),
    ("Highfield", "50550"),
    ("Lakeside", "60660"),
];

/// A SNOMED CT code and its words.
pub(super) type Term = (&'static str, &'static str);

const RESPIRATORY: [Term; 5] = [
    ("49727002", "Cough"),
    ("386661006", "Fever"),
    ("267036007", "Dyspnea"),
    ("84229001", "Fatigue"),
    ("29857009", "Chest pain"),
];
const GENERAL: [Term; 7] = [
    ("25064002", "Headache"),
    ("84229001", "Fatigue"),
    ("404640003", "Dizziness"),
    ("422587007", "Nausea"),
    ("21522001", "Abdominal pain"),
    ("49727002", "Cough"),
    ("162397003", "Pain in throat"),
];
const LASTING: [Term; 3] = [
    ("38341003", "Hypertensive disorder"),
    ("44054006", "Diabetes mellitus type 2"),
    ("195967001", "Asthma"),
];
const ALLERGIES: [Term; 4] = [
    ("91936005", "Allergy to penicillin"),
    ("300916003", "Allergy to latex"),
    ("91935009", "Allergy to peanut"),
    ("419474003", "Allergy to mould"),
];

pub(super) const PNEUMONIA: Term = ("233604007", "Pneumonia");
pub(super) const PALPITATIONS: Term = ("80313002", "Palpitations");
/// RxNorm code and words.
pub(super) const AMOXICILLIN: Term = ("308182", "Amoxicillin 250 MG Oral Capsule");
const ACETAMINOPHEN: Term = ("313782", "Acetaminophen 325 MG Oral Tablet");
const METFORMIN: Term = (
    "860975",
    "24 HR Metformin hydrochloride 500 MG Extended Release Oral Tablet",
);

/// The generator's truth about one person; every file of theirs follows from it.
pub(super) struct Person {
    /// Position in the cohort, from 0.
    pub(super) index: u32,
    /// Id of the Patient resource; the `patient` of every manifest.
    pub(super) id: String,
    /// Medical record number.
    pub(super) record_number: String,
    pub(super) female: bool,
    pub(super) given: &'static str,
    pub(super) family: &'static str,
    pub(super) birth_date: String,
    pub(super) street: String,
    pub(super) town: &'static str,
    pub(super) postcode: &'static str,
    pub(super) phone: String,
    pub(super) email: String,
    /// The chest image's class.
    pub(super) pneumonia: bool,
    pub(super) symptoms: Vec<Term>,
    pub(super) conditions: Vec<Term>,
    pub(super) allergy: Option<Term>,
    pub(super) medicines: Vec<Term>,
    pub(super) heart_rate_per_min: i32,
    pub(super) systolic_mmhg: i32,
    pub(super) diastolic_mmhg: i32,
    pub(super) saturation_percent: i32,
    /// Body temperature in tenths of a degree Celsius.
    pub(super) temperature_tenths: i32,
    pub(super) breaths_per_min: i32,
    /// Which of the fixed organisations and practitioners treats them.
    pub(super) organisation: usize,
    pub(super) practitioner: usize,
    /// Visit: milliseconds since 1970, in January to June 2026.
    pub(super) visit_ms: u64,
}

impl Person {
    pub(super) fn new(seed: u64, index: u32) -> Self {
        let r = &mut Stream::new(seed, index, Purpose::Person);
        let female = r.chance(0.5);
        let given = if female { r.pick(&WOMEN) } else { r.pick(&MEN) };
        let family = r.pick(&FAMILIES);
        let (town, postcode) = r.pick(&TOWNS);
        let pneumonia = r.chance(0.5);
        let fast_heart = r.chance(0.12);
        let slow_heart = !fast_heart && r.chance(0.08);

        let pool: &[Term] = if pneumonia { &RESPIRATORY } else { &GENERAL };
        let mut symptoms: Vec<Term> = pool
            .iter()
            .copied()
            .filter(|_| r.chance(if pneumonia { 0.6 } else { 0.25 }))
            .collect();
        if symptoms.is_empty() {
            symptoms.push(r.pick(pool));
        }
        if fast_heart {
            symptoms.push(PALPITATIONS);
        }
        let mut conditions: Vec<Term> = LASTING.iter().copied().filter(|_| r.chance(0.2)).collect();
        let mut medicines = Vec::new();
        if conditions.iter().any(|c| c.0 == "44054006") {
            medicines.push(METFORMIN);
        }
        if symptoms
            .iter()
            .any(|s| s.0 == "386661006" || s.0 == "25064002")
        {
            medicines.push(ACETAMINOPHEN);
        }
        let allergy = r.chance(0.2).then(|| r.pick(&ALLERGIES));
        if pneumonia {
            conditions.push(PNEUMONIA);
            if allergy.is_none_or(|a| a.0 != "91936005") {
                medicines.push(AMOXICILLIN);
            }
        }
        let fever = symptoms.iter().any(|s| s.0 == "386661006");
        let pressure = conditions.iter().any(|c| c.0 == "38341003");
        let heart_rate = match (fast_heart, slow_heart) {
            (true, _) => r.between(104.0, 135.0),
            (_, true) => r.between(42.0, 56.0),
            _ => r.between(61.0, 92.0) + if fever { 6.0 } else { 0.0 },
        };
        let systolic = if pressure {
            r.between(140.0, 170.0)
        } else {
            r.between(104.0, 134.0)
        };
        let (year, month, day) = (1936 + r.below(70), 1 + r.below(12), 1 + r.below(28));
        let house = 1 + r.below(180);
        let mail = plain_letters(&format!("{given}.{family}"));
        Self {
            index,
            id: Stream::new(seed, index, Purpose::Ids).uuid(),
            record_number: format!("SYN-{:06}", index + 1),
            female,
            given,
            family,
            birth_date: format!("{year:04}-{month:02}-{day:02}"),
            street: format!("{house} {}", r.pick(&STREETS)),
            town,
            postcode,
            // 555-0100 to 555-0199 are kept for fiction (North American Numbering Plan).
            phone: format!("+1-202-555-01{:02}", r.below(100)),
            // Reserved for examples (RFC 2606).
            email: format!("{mail}.{}@example.org", index + 1),
            pneumonia,
            symptoms,
            conditions,
            allergy,
            medicines,
            heart_rate_per_min: whole(heart_rate),
            systolic_mmhg: whole(systolic),
            diastolic_mmhg: whole(systolic * r.between(0.58, 0.68)),
            saturation_percent: whole(if pneumonia {
                r.between(87.0, 95.0)
            } else {
                r.between(96.0, 99.4)
            }),
            temperature_tenths: whole(if fever {
                r.between(381.0, 397.0)
            } else {
                r.between(361.0, 373.0)
            }),
            breaths_per_min: whole(if pneumonia {
                r.between(19.0, 29.0)
            } else {
                r.between(12.0, 18.0)
            }),
            organisation: r.below(4) as usize,
            practitioner: r.below(8) as usize,
            visit_ms: 1_767_254_400_000
                + u64::from(r.below(180)) * 86_400_000
                + u64::from(8 * 60 + r.below(600)) * 60_000,
        }
    }

    /// `0001` for the first person: the stem of all their files.
    pub(super) fn stem(&self) -> String {
        format!("{:04}", self.index + 1)
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.given, self.family)
    }

    /// The label of the ECG, by the usual bounds of 60 and 100 beats a minute.
    pub(super) fn rhythm(&self) -> &'static str {
        match self.heart_rate_per_min {
            ..60 => "bradycardia",
            60..=100 => "normal",
            _ => "tachycardia",
        }
    }

    pub(super) fn image_class(&self) -> &'static str {
        if self.pneumonia {
            "pneumonia"
        } else {
            "normal"
        }
    }
}

/// Letters, digits and points only: the local part of an address that every system accepts.
fn plain_letters(text: &str) -> String {
    let plain = |c: char| match c {
        'ä' | 'á' | 'å' => 'a',
        'é' | 'è' | 'ë' | 'É' => 'e',
        'í' | 'ı' => 'i',
        'ö' | 'ø' | 'ó' => 'o',
        other => other.to_ascii_lowercase(),
    };
    text.chars()
        .map(plain)
        .filter(|c| c.is_ascii_alphanumeric() || *c == '.')
        .collect()
}
