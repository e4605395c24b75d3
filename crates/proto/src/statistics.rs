//! What a hospital signs about its own patients for others to chart: how many have a symptom, how many
//! consult a doctor. Counts only, with small cells left out and the others rounded.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::TimestampMs;
use crate::encode::{self, Malformed, to_bytes};
use crate::ids::{ConsortiumId, OrganisationId, PrincipalId};

/// The smallest number of patients that leaves a hospital; a cell with fewer is not there at all.
pub const SMALL_CELL: u64 = 5;
/// Numbers that leave a hospital are multiples of this, the nearest to what was counted.
pub const ROUNDING: u64 = 5;
/// Most cells of one statement, the largest first.
pub const CELLS_LIMIT: usize = 500;
/// Longest URI of a code system, in bytes.
pub const SYSTEM_LIMIT: usize = 200;
/// Longest code, in bytes.
pub const CODE_LIMIT: usize = 64;
/// Longest words of a code, in bytes.
pub const DISPLAY_LIMIT: usize = 200;
/// Largest encoded [`Counts`], in bytes.
pub const COUNTS_LIMIT: usize = 512 << 10;

/// What is counted.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Chart {
    /// Patients by symptom or diagnosis.
    #[n(0)]
    Symptoms,
    /// Patients by the doctor whom they consulted.
    #[n(1)]
    Doctors,
}

/// Patients who have one coded symptom or diagnosis.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SymptomCount {
    /// URI of the code system; empty if the sources name none.
    #[n(0)]
    pub system: String,
    /// The code, not empty.
    #[n(1)]
    pub code: String,
    /// The code's words; empty unless enough patients' records spell them so.
    #[n(2)]
    pub display: String,
    /// Patients, rounded.
    #[n(3)]
    pub patients: u64,
}

/// Patients who consulted one doctor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DoctorCount {
    /// The doctor.
    #[n(0)]
    pub doctor: PrincipalId,
    /// Patients, rounded.
    #[n(1)]
    pub patients: u64,
}

/// The counts of one chart as they leave a hospital. Signed as COSE_Sign with Ed25519 and ML-DSA-65
/// under the label `statistics`, the organisation being the key id.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Counts {
    /// In which consortium.
    #[n(0)]
    pub consortium: ConsortiumId,
    /// Whose patients.
    #[n(1)]
    pub organisation: OrganisationId,
    /// What is counted.
    #[n(2)]
    pub chart: Chart,
    /// When it was counted, by the hospital's clock.
    #[n(3)]
    pub counted: TimestampMs,
    /// Everything that the ledger's first so many entries brought is counted.
    #[n(4)]
    pub entries: u64,
    /// Cells with fewer patients are left out.
    #[n(5)]
    pub threshold: u64,
    /// Every number is the nearest multiple of this.
    #[n(6)]
    pub rounding: u64,
    /// Patients who are in the chart at all, rounded; absent if they are too few. A patient may stand
    /// in several cells.
    #[n(7)]
    pub patients: Option<u64>,
    /// Patients with a symptom in words alone, rounded; absent if they are too few.
    #[n(8)]
    pub uncoded: Option<u64>,
    /// By symptom, ascending by system and code; empty in other charts.
    #[n(9)]
    pub symptoms: Vec<SymptomCount>,
    /// By doctor, ascending; empty in other charts.
    #[n(10)]
    pub doctors: Vec<DoctorCount>,
}

const WHAT: &str = "a hospital's counts";

impl Counts {
    /// The bytes that are signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Reads counts, and refuses those that break their own rule.
    ///
    /// # Errors
    /// [`Malformed`] unless it is the one encoding of counts of one chart, in order, each a multiple of
    /// `rounding` and not below `threshold`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let counts: Self = encode::from_bytes(bytes, COUNTS_LIMIT, WHAT)?;
        counts.fault().map_or(Ok(()), |reason| {
            Err(Malformed::Structure {
                what: WHAT,
                reason: reason.into(),
            })
        })?;
        Ok(counts)
    }

    fn fault(&self) -> Option<&'static str> {
        let numbers = self
            .symptoms
            .iter()
            .map(|cell| cell.patients)
            .chain(self.doctors.iter().map(|cell| cell.patients))
            .chain(self.patients)
            .chain(self.uncoded);
        let other_cells = match self.chart {
            Chart::Symptoms => !self.doctors.is_empty(),
            Chart::Doctors => !self.symptoms.is_empty() || self.uncoded.is_some(),
        };
        let named = |cell: &SymptomCount| {
            (1..=CODE_LIMIT).contains(&cell.code.len())
                && cell.system.len() <= SYSTEM_LIMIT
                && cell.display.len() <= DISPLAY_LIMIT
        };
        let key = |cell: &SymptomCount| (cell.system.clone(), cell.code.clone());
        if self.threshold < SMALL_CELL || self.rounding < ROUNDING {
            return Some("its rule is too weak");
        }
        if numbers
            .into_iter()
            .any(|n| n < self.threshold || n % self.rounding != 0)
        {
            return Some("a number breaks its rule");
        }
        if other_cells {
            return Some("cells of another chart");
        }
        if self.symptoms.len() > CELLS_LIMIT || self.doctors.len() > CELLS_LIMIT {
            return Some("too many cells");
        }
        if !self.symptoms.iter().all(named) {
            return Some("a code or its words are too long");
        }
        let ordered = self.symptoms.is_sorted_by(|a, b| key(a) < key(b))
            && self.doctors.is_sorted_by(|a, b| a.doctor < b.doctor);
        (!ordered).then_some("cells out of order")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn symptoms() -> Counts {
        let cell = |code: &str, display: &str, patients| SymptomCount {
            system: "http://snomed.info/sct".into(),
            code: code.into(),
            display: display.into(),
            patients,
        };
        Counts {
            consortium: ConsortiumId([9; 16]),
            organisation: OrganisationId([1; 16]),
            chart: Chart::Symptoms,
            counted: TimestampMs(1_700_000_000_000),
            entries: 4_711,
            threshold: SMALL_CELL,
            rounding: ROUNDING,
            patients: Some(40),
            uncoded: Some(5),
            symptoms: vec![cell("386661006", "Fever", 25), cell("49727002", "", 5)],
            doctors: Vec::new(),
        }
    }

    fn doctors() -> Counts {
        Counts {
            chart: Chart::Doctors,
            patients: None,
            uncoded: None,
            symptoms: Vec::new(),
            doctors: vec![DoctorCount {
                doctor: PrincipalId([3; 16]),
                patients: 10,
            }],
            ..symptoms()
        }
    }

    /// Files that TypeScript reads too; both make and refuse the same bytes.
    fn vectors() -> Value {
        serde_json::from_str(include_str!("../testdata/statistics/counts.json")).unwrap()
    }

    #[test]
    fn counts_have_the_committed_bytes_and_read_back() {
        let vectors = vectors();
        for (name, counts) in [("symptoms", symptoms()), ("doctors", doctors())] {
            assert_eq!(
                vectors[name].as_str(),
                Some(&*hex::encode(counts.to_bytes()))
            );
            assert_eq!(Counts::from_bytes(&counts.to_bytes()), Ok(counts));
        }
    }

    #[test]
    fn counts_that_break_their_own_rule_are_refused() {
        type Break = fn(&mut Counts);
        let broken: [(&str, Break); 10] = [
            ("a small cell", |c| c.symptoms[1].patients = 0),
            ("a number that is not rounded", |c| {
                c.symptoms[0].patients = 26;
            }),
            ("a small total", |c| c.patients = Some(0)),
            ("a total that is not rounded", |c| c.patients = Some(41)),
            ("a weaker threshold", |c| c.threshold = 1),
            ("no rounding", |c| c.rounding = 1),
            ("cells out of order", |c| c.symptoms.swap(0, 1)),
            ("a cell twice", |c| c.symptoms[1] = c.symptoms[0].clone()),
            ("a cell without a code", |c| c.symptoms[0].code.clear()),
            ("cells of another chart", |c| c.chart = Chart::Doctors),
        ];
        let vectors = vectors();
        let malformed = vectors["malformed"].as_object().unwrap();
        assert_eq!(malformed.len(), broken.len());
        for (why, change) in broken {
            let mut counts = symptoms();
            change(&mut counts);
            let bytes = counts.to_bytes();
            assert_eq!(
                malformed[why].as_str(),
                Some(&*hex::encode(&bytes)),
                "{why}"
            );
            assert!(Counts::from_bytes(&bytes).is_err(), "{why}");
        }
    }

    #[test]
    fn shortened_and_lengthened_counts_are_refused() {
        let bytes = symptoms().to_bytes();
        for length in 0..bytes.len() {
            assert!(Counts::from_bytes(&bytes[..length]).is_err());
        }
        assert!(Counts::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    }
}
