//! Counting a hospital's patients, and what of the counts may leave it. Pure: no keys, tables or clock.
//!
//! Only codes are kept of what was opened, in memory, so that a patient with something new is all that
//! has to be opened again.
//!
//! What leaves: cells of at least [`SMALL_CELL`] patients, each number and total rounded to the nearest
//! multiple of [`ROUNDING`], so that neither a total less the cells nor two charts one patient apart
//! give away a cell that was left out; and, in `app::statistics`, nothing new before as many patients
//! have changed as make a cell.

use std::collections::{BTreeMap, BTreeSet};

use salus_clinical::fhir::{Coding, Condition};
use salus_proto::api::statistics::{DoctorPatients, SymptomPatients};
use salus_proto::ids::{PatientAlias, PrincipalId};
use salus_proto::statistics::{
    CELLS_LIMIT, CODE_LIMIT, DISPLAY_LIMIT, DoctorCount, ROUNDING, SMALL_CELL, SYSTEM_LIMIT,
    SymptomCount,
};

/// The symptoms of a hospital's patients. `Debug` shows none.
#[derive(Default)]
pub(crate) struct Tally {
    patients: BTreeMap<PatientAlias, OfPatient>,
    /// Every coding that was met, once: a patient has numbers into it.
    codings: Vec<Coding>,
    numbers: BTreeMap<Coding, u32>,
}

impl core::fmt::Debug for Tally {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Tally({} patients)", self.patients.len())
    }
}

struct OfPatient {
    /// The entry that brought the latest of what is counted.
    latest: u64,
    /// `None` if a record does not open.
    symptoms: Option<Symptoms>,
}

struct Symptoms {
    codings: Vec<u32>,
    uncoded: bool,
}

/// Patients by symptom, as they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SymptomTable {
    /// Patients who are counted.
    pub(crate) patients: u64,
    /// Patients with a record that does not open.
    pub(crate) unreadable: u64,
    /// Patients with a symptom in words alone.
    pub(crate) uncoded: u64,
    /// By system and code.
    cells: BTreeMap<(String, String), Cell>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Cell {
    patients: u64,
    /// How many patients' records use which words.
    spellings: BTreeMap<String, u64>,
}

impl Tally {
    /// Drops whoever is not among `current`, and names whom to count: patients and the entry of the
    /// latest thing to count of them.
    pub(crate) fn stale(&mut self, current: &[(PatientAlias, u64)]) -> Vec<(PatientAlias, u64)> {
        let here: BTreeSet<PatientAlias> = current.iter().map(|(alias, _)| *alias).collect();
        self.patients.retain(|alias, _| here.contains(alias));
        let counted = |alias: &PatientAlias, latest: u64| {
            self.patients
                .get(alias)
                .is_some_and(|known| known.latest == latest)
        };
        current
            .iter()
            .filter(|(alias, latest)| !counted(alias, *latest))
            .copied()
            .collect()
    }

    /// Counts a patient by the bodies of all records of symptoms; `None` if one does not open.
    pub(crate) fn count<'b>(
        &mut self,
        alias: PatientAlias,
        latest: u64,
        bodies: Option<impl IntoIterator<Item = &'b [u8]>>,
    ) {
        let symptoms = bodies.map(|bodies| {
            let mut codings = BTreeSet::new();
            let mut uncoded = false;
            for body in bodies {
                match coding_of(body) {
                    Some(coding) => drop(codings.insert(self.number(coding))),
                    None => uncoded = true,
                }
            }
            let codings = codings.into_iter().collect();
            Symptoms { codings, uncoded }
        });
        self.patients.insert(alias, OfPatient { latest, symptoms });
    }

    fn number(&mut self, coding: Coding) -> u32 {
        if let Some(number) = self.numbers.get(&coding) {
            return *number;
        }
        let number = u32::try_from(self.codings.len()).unwrap_or(u32::MAX);
        self.codings.push(coding.clone());
        self.numbers.insert(coding, number);
        number
    }

    /// Patients who are counted or could not be.
    pub(crate) fn counted(&self) -> u64 {
        self.patients.len() as u64
    }

    /// Patients by symptom.
    pub(crate) fn table(&self) -> SymptomTable {
        let mut table = SymptomTable::default();
        for patient in self.patients.values() {
            let Some(symptoms) = &patient.symptoms else {
                table.unreadable += 1;
                continue;
            };
            table.patients += 1;
            table.uncoded += u64::from(symptoms.uncoded);
            let mut codes = BTreeSet::new();
            for number in &symptoms.codings {
                let Some(coding) = usize::try_from(*number)
                    .ok()
                    .and_then(|n| self.codings.get(n))
                else {
                    continue;
                };
                let key = (coding.system.clone(), coding.code.clone());
                let cell = table.cells.entry(key.clone()).or_default();
                // One code counts once, however often and in whatever words a patient has it.
                cell.patients += u64::from(codes.insert(key));
                *cell.spellings.entry(coding.display.clone()).or_default() += 1;
            }
        }
        table
    }
}

/// The code of a record of a symptom; `None` if it has words alone.
fn coding_of(body: &[u8]) -> Option<Coding> {
    let mut coding = Condition::parse(core::str::from_utf8(body).ok()?)
        .ok()?
        .code;
    let named =
        (1..=CODE_LIMIT).contains(&coding.code.len()) && coding.system.len() <= SYSTEM_LIMIT;
    if coding.display.len() > DISPLAY_LIMIT {
        coding.display.clear();
    }
    named.then_some(coding)
}

impl Cell {
    /// The most frequent words, if at least so many patients' records use them.
    fn words(&self, at_least: u64) -> String {
        let most = self
            .spellings
            .iter()
            .filter(|(words, count)| !words.is_empty() && **count >= at_least)
            .max_by_key(|(_, count)| **count);
        most.map(|(words, _)| words.clone()).unwrap_or_default()
    }
}

impl SymptomTable {
    /// Every cell as it is, the most frequent first.
    pub(crate) fn exact(&self) -> Vec<SymptomPatients> {
        let cells = self
            .cells
            .iter()
            .map(|((system, code), cell)| SymptomPatients {
                system: system.clone(),
                code: code.clone(),
                display: cell.words(1),
                patients: cell.patients,
            });
        let mut cells: Vec<_> = cells.collect();
        cells.sort_by_key(|cell| core::cmp::Reverse(cell.patients));
        cells
    }

    /// The cells that may leave. The words of a code leave only where enough records use them: words
    /// are typed by people, who may write anything there.
    pub(crate) fn leaving(&self) -> Vec<SymptomCount> {
        let cells = self.cells.iter().filter_map(|((system, code), cell)| {
            Some(SymptomCount {
                system: system.clone(),
                code: code.clone(),
                display: cell.words(SMALL_CELL),
                patients: leaving(cell.patients)?,
            })
        });
        largest(cells.collect(), |cell| cell.patients)
    }
}

/// Patients by the doctor whom they consulted: each patient of each doctor, and the entry of their latest
/// consultation.
#[derive(Debug)]
pub(crate) struct DoctorTable(pub(crate) Vec<(PrincipalId, PatientAlias, u64)>);

impl DoctorTable {
    /// Patients who consulted anybody, each with the latest entry.
    pub(crate) fn patients(&self) -> BTreeMap<PatientAlias, u64> {
        let mut patients = BTreeMap::new();
        for (_, alias, entry) in &self.0 {
            let latest = patients.entry(*alias).or_insert(*entry);
            *latest = (*latest).max(*entry);
        }
        patients
    }

    fn by_doctor(&self) -> BTreeMap<PrincipalId, u64> {
        let mut doctors = BTreeMap::new();
        for (doctor, ..) in &self.0 {
            *doctors.entry(*doctor).or_default() += 1;
        }
        doctors
    }

    /// Every doctor's patients as they are, the most first.
    pub(crate) fn exact(&self) -> Vec<DoctorPatients> {
        let doctors = self.by_doctor().into_iter();
        let mut cells: Vec<_> = doctors
            .map(|(doctor, patients)| DoctorPatients { doctor, patients })
            .collect();
        cells.sort_by_key(|cell| core::cmp::Reverse(cell.patients));
        cells
    }

    /// The cells that may leave.
    pub(crate) fn leaving(&self) -> Vec<DoctorCount> {
        let doctors = self.by_doctor().into_iter();
        let cells = doctors.filter_map(|(doctor, patients)| {
            let patients = leaving(patients)?;
            Some(DoctorCount { doctor, patients })
        });
        largest(cells.collect(), |cell| cell.patients)
    }
}

/// A number as it may leave the hospital: the nearest multiple of [`ROUNDING`], and nothing below
/// [`SMALL_CELL`].
pub(crate) fn leaving(patients: u64) -> Option<u64> {
    (patients >= SMALL_CELL).then(|| (patients + ROUNDING / 2) / ROUNDING * ROUNDING)
}

/// At most [`CELLS_LIMIT`] cells, the largest, in the order they came in.
fn largest<T>(cells: Vec<T>, patients: impl Fn(&T) -> u64) -> Vec<T> {
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_by_key(|at| core::cmp::Reverse(cells.get(*at).map_or(0, &patients)));
    order.truncate(CELLS_LIMIT);
    let kept: BTreeSet<usize> = order.into_iter().collect();
    let cells = cells.into_iter().enumerate();
    cells
        .filter(|(at, _)| kept.contains(at))
        .map(|(_, cell)| cell)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(code: &str, display: &str) -> String {
        serde_json::json!({
            "resourceType": "Condition",
            "code": {
                "coding": [{ "system": "http://snomed.info/sct", "code": code, "display": display }],
                "text": display,
            },
        })
        .to_string()
    }

    fn words(text: &str) -> String {
        serde_json::json!({ "resourceType": "Condition", "code": { "text": text } }).to_string()
    }

    fn count(tally: &mut Tally, patient: u8, bodies: &[String]) {
        let bodies = bodies.iter().map(|body| body.as_bytes());
        tally.count(
            PatientAlias([patient; 16]),
            u64::from(patient),
            Some(bodies),
        );
    }

    #[test]
    fn a_patient_counts_once_for_a_code_however_it_is_written() {
        let mut tally = Tally::default();
        count(
            &mut tally,
            1,
            &[
                condition("1", "Fever"),
                condition("1", "fever"),
                condition("2", "Cough"),
            ],
        );
        count(
            &mut tally,
            2,
            &[condition("1", "Fever"), words("tired"), words("sad")],
        );
        count(&mut tally, 3, &["no JSON".into()]);
        let table = tally.table();
        assert_eq!((table.patients, table.uncoded), (3, 2));
        let exact = table.exact();
        let shown: Vec<_> = exact
            .iter()
            .map(|cell| (&*cell.code, &*cell.display, cell.patients))
            .collect();
        assert_eq!(shown, [("1", "Fever", 2), ("2", "Cough", 1)]);
    }

    #[test]
    fn small_cells_stay_and_the_rest_is_rounded_to_the_nearest_step() {
        let expected = [
            (0, None),
            (4, None),
            (5, Some(5)),
            (7, Some(5)),
            (8, Some(10)),
            (12, Some(10)),
        ];
        for (patients, left) in expected {
            assert_eq!(leaving(patients), left, "{patients}");
        }
        let mut tally = Tally::default();
        for patient in 0..8 {
            let mut bodies = vec![condition("common", "Common")];
            if patient < 4 {
                bodies.push(condition("rare", "Rare"));
            }
            count(&mut tally, patient, &bodies);
        }
        let left = tally.table().leaving();
        assert_eq!(left.len(), 1);
        assert_eq!((&*left[0].code, left[0].patients), ("common", 10));
    }

    #[test]
    fn words_that_few_records_use_never_leave() {
        let mut tally = Tally::default();
        for patient in 0..6 {
            let display = if patient == 0 {
                "Fever of John Doe"
            } else {
                "Fever"
            };
            count(
                &mut tally,
                patient,
                &[
                    condition("1", display),
                    condition("2", &format!("x{patient}")),
                ],
            );
        }
        let left = tally.table().leaving();
        let shown: Vec<_> = left
            .iter()
            .map(|cell| (&*cell.code, &*cell.display))
            .collect();
        assert_eq!(shown, [("1", "Fever"), ("2", "")]);
    }

    #[test]
    fn only_what_changed_is_counted_anew_and_what_is_gone_is_forgotten() {
        let mut tally = Tally::default();
        let [a, b, c] = [1, 2, 3].map(|n| PatientAlias([n; 16]));
        assert_eq!(tally.stale(&[(a, 1), (b, 2)]), [(a, 1), (b, 2)]);
        count(&mut tally, 1, &[condition("1", "Fever")]);
        count(&mut tally, 2, &[condition("1", "Fever")]);
        assert_eq!(tally.stale(&[(a, 1), (b, 7), (c, 3)]), [(b, 7), (c, 3)]);
        assert!(tally.stale(&[(a, 1)]).is_empty());
        assert_eq!((tally.counted(), tally.table().patients), (1, 1));
    }

    #[test]
    fn a_record_that_does_not_open_is_said_and_hides_nobody_else() {
        let mut tally = Tally::default();
        count(&mut tally, 1, &[condition("1", "Fever")]);
        tally.count(PatientAlias([2; 16]), 2, None::<[&[u8]; 0]>);
        let table = tally.table();
        assert_eq!((table.patients, table.unreadable), (1, 1));
    }

    #[test]
    fn at_most_the_largest_cells_leave_and_in_order() {
        let mut tally = Tally::default();
        let codes: Vec<String> = (0..CELLS_LIMIT + 20).map(|n| format!("{n:04}")).collect();
        for patient in 0..20 {
            let kept = if patient < 10 { 0 } else { 20 };
            let bodies: Vec<String> = codes[kept..]
                .iter()
                .map(|code| condition(code, ""))
                .collect();
            count(&mut tally, patient, &bodies);
        }
        let left = tally.table().leaving();
        assert_eq!(left.len(), CELLS_LIMIT);
        assert_eq!((&*left[0].code, left[0].patients), ("0020", 20));
        assert!(left.is_sorted_by(|a, b| a.code < b.code));
    }

    #[test]
    fn doctors_are_counted_by_different_patients() {
        let mut rows = Vec::new();
        for patient in 0..6 {
            rows.push((
                PrincipalId([1; 16]),
                PatientAlias([patient; 16]),
                u64::from(patient),
            ));
        }
        rows.push((PrincipalId([2; 16]), PatientAlias([0; 16]), 9));
        let table = DoctorTable(rows);
        let exact: Vec<u64> = table.exact().iter().map(|cell| cell.patients).collect();
        assert_eq!(exact, [6, 1]);
        let left = table.leaving();
        assert_eq!(left.len(), 1);
        assert_eq!(
            (left[0].doctor, left[0].patients),
            (PrincipalId([1; 16]), 5)
        );
        assert_eq!(table.patients()[&PatientAlias([0; 16])], 9);
    }
}
