//! Dealing a data set's patients to hospitals: evenly, by Dirichlet shares of each class, or by class.

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::dataset::DataSet;
use crate::random::Seeded;

/// Fewest images a hospital gets under a Dirichlet split; the draw is repeated until all have them.
pub const MINIMUM_IMAGES: usize = 40;
/// Draws after which a Dirichlet split is given up.
const DRAWS: u64 = 10_000;
/// Stream number of partitions.
const PARTITION: u64 = 0xDE;

/// How patients are dealt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deal {
    /// At random, equally many to each.
    Iid,
    /// Class by class with shares drawn from Dirichlet(α); a small α means very different hospitals
    /// (Hsu et al. 2019).
    Dirichlet(f64),
    /// Sorted by class and cut: most hospitals see one class.
    Label,
}

impl FromStr for Deal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once(':') {
            None if text == "iid" => Ok(Self::Iid),
            None if text == "label" => Ok(Self::Label),
            Some(("dirichlet", alpha)) => match alpha.parse() {
                Ok(alpha) if alpha > 0.0 && alpha <= 1e6 => Ok(Self::Dirichlet(alpha)),
                _ => Err(Error::Setting(format!(
                    "dirichlet:{alpha} needs a number above 0"
                ))),
            },
            _ => Err(Error::Setting(format!(
                "{text} is not iid, dirichlet:ALPHA or label"
            ))),
        }
    }
}

impl fmt::Display for Deal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iid => f.write_str("iid"),
            Self::Dirichlet(alpha) => write!(f, "dirichlet:{alpha}"),
            Self::Label => f.write_str("label"),
        }
    }
}

/// Deals `indices` to `sites` hospitals, whole patients only, each list ascending.
pub fn deal(
    data: &DataSet,
    indices: &[usize],
    sites: usize,
    how: Deal,
    seed: u64,
) -> Result<Vec<Vec<usize>>, Error> {
    let classes = data.patients_by_class(indices);
    let patients: usize = classes.iter().map(Vec::len).sum();
    if sites == 0 || patients < sites {
        return Err(Error::Setting(format!(
            "{patients} patients cannot be dealt to {sites} sites"
        )));
    }
    let mut dealt = match how {
        Deal::Iid => {
            let mut all: Vec<_> = classes.into_iter().flatten().collect();
            Seeded::new(seed, &[PARTITION, 0]).shuffle(&mut all);
            cut(all, &vec![1.0 / sites as f64; sites])
        }
        Deal::Label => {
            let mut all = Vec::new();
            for (class, mut patients) in classes.into_iter().enumerate() {
                Seeded::new(seed, &[PARTITION, 1, class as u64]).shuffle(&mut patients);
                all.extend(patients);
            }
            cut(all, &vec![1.0 / sites as f64; sites])
        }
        Deal::Dirichlet(alpha) => dirichlet(&classes, sites, alpha, seed)?,
    };
    for site in &mut dealt {
        site.sort_unstable();
    }
    Ok(dealt)
}

fn dirichlet(
    classes: &[Vec<Vec<usize>>],
    sites: usize,
    alpha: f64,
    seed: u64,
) -> Result<Vec<Vec<usize>>, Error> {
    for draw in 0..DRAWS {
        let mut random = Seeded::new(seed, &[PARTITION, 2, draw]);
        let mut dealt = vec![Vec::new(); sites];
        for patients in classes {
            let mut patients = patients.clone();
            random.shuffle(&mut patients);
            let gammas: Vec<f64> = (0..sites).map(|_| random.gamma(alpha)).collect();
            let sum: f64 = gammas.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            let shares: Vec<f64> = gammas.iter().map(|g| g / sum).collect();
            for (site, part) in dealt.iter_mut().zip(cut(patients, &shares)) {
                site.extend(part);
            }
        }
        if dealt.iter().all(|site| site.len() >= MINIMUM_IMAGES) {
            return Ok(dealt);
        }
    }
    Err(Error::Setting(format!(
        "no draw of dirichlet:{alpha} gives each of {sites} sites {MINIMUM_IMAGES} images"
    )))
}

/// Cuts patients in order where the cumulative number of images passes the cumulative shares.
fn cut(patients: Vec<Vec<usize>>, shares: &[f64]) -> Vec<Vec<usize>> {
    let total: usize = patients.iter().map(Vec::len).sum();
    let mut ends = Vec::with_capacity(shares.len());
    let mut sum = 0.0;
    for share in shares {
        sum += share;
        ends.push(sum * total as f64);
    }
    let mut out = vec![Vec::new(); shares.len()];
    let (mut site, mut count) = (0, 0usize);
    for images in patients {
        // A patient belongs where the middle of their images falls.
        let middle = count as f64 + images.len() as f64 / 2.0;
        while site + 1 < ends.len() && middle >= ends[site] {
            site += 1;
        }
        count += images.len();
        out[site].extend(images);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::testing::discs;

    #[test]
    fn every_image_goes_to_one_hospital_and_patients_stay_together() {
        let data = discs(800, 28, 1);
        let all: Vec<usize> = (0..data.samples.len()).collect();
        for how in [Deal::Iid, Deal::Dirichlet(0.3), Deal::Label] {
            let sites = deal(&data, &all, 8, how, 5).unwrap();
            let mut together: Vec<usize> = sites.iter().flatten().copied().collect();
            together.sort_unstable();
            assert_eq!(together, all, "{how}");
            let mut home = std::collections::BTreeMap::new();
            for (s, site) in sites.iter().enumerate() {
                assert!(site.len() >= MINIMUM_IMAGES);
                for i in site {
                    assert_eq!(*home.entry(data.samples[*i].patient).or_insert(s), s);
                }
            }
            assert_eq!(sites, deal(&data, &all, 8, how, 5).unwrap());
        }
        let label = deal(&data, &all, 8, Deal::Label, 5).unwrap();
        assert!(label.iter().all(|s| data.counts(s).contains(&0)));
        let even = deal(&data, &all, 8, Deal::Iid, 5).unwrap();
        assert!(even.iter().all(|s| s.len() == 200));
        assert!(deal(&data, &all, 0, Deal::Iid, 5).is_err());
        assert!(deal(&data, &all[..20], 8, Deal::Dirichlet(0.3), 5).is_err());
    }

    #[test]
    fn a_small_alpha_makes_hospitals_more_different() {
        let data = discs(800, 28, 1);
        let all: Vec<usize> = (0..data.samples.len()).collect();
        let spread = |alpha| {
            let sites = deal(&data, &all, 5, Deal::Dirichlet(alpha), 5).unwrap();
            let share = |s: &Vec<usize>| data.counts(s)[0] as f64 / s.len() as f64;
            sites.iter().map(|s| (share(s) - 0.5).abs()).sum::<f64>()
        };
        assert!(spread(0.3) > 2.0 * spread(100.0));
    }

    #[test]
    fn splits_read_as_they_print() {
        for text in ["iid", "label", "dirichlet:0.3"] {
            assert_eq!(text.parse::<Deal>().unwrap().to_string(), text);
        }
        for text in ["", "dirichlet", "dirichlet:0", "dirichlet:x", "iid:1"] {
            assert!(text.parse::<Deal>().is_err(), "{text}");
        }
    }
}
