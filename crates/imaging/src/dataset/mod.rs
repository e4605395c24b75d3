//! Labelled images with the patients they belong to, from a folder with a `manifest.csv`, a MedMNIST
//! npz, or folders named for classes.

mod folder;
mod manifest;
mod npz;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use salus_proto::Digest;

use crate::Error;
use crate::random::Seeded;

/// Most images in a data set.
pub const IMAGES_LIMIT: usize = 4_000_000;

/// Where images come from and what is to be read of them.
#[derive(Debug, Clone)]
pub struct Source {
    /// A folder or an npz file.
    pub path: PathBuf,
    /// Pixels a side to scale to, 28 to 256.
    pub size_px: u16,
    /// 1 or 3.
    pub channels: u8,
    /// Classes to read, in the order of the network's outputs; empty means all, sorted. For an npz,
    /// whose labels are numbers, the names of label 0, 1 and so on.
    pub classes: Vec<String>,
    /// A manifest with columns `medmnist_split`, `medmnist_index` and `patient` for an npz.
    pub patients: Option<PathBuf>,
}

/// Which part of a data set an image belongs to by its publisher's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// Training; a publisher's validation part counts as training, so that validation images can be
    /// drawn by patient.
    Training,
    /// The common test set.
    Test,
}

/// One labelled image.
#[derive(Debug, Clone)]
pub struct Sample {
    /// `channels × size × size` bytes.
    pub pixels: Vec<u8>,
    /// Position in [`DataSet::classes`].
    pub class: usize,
    /// Numbers the patient within the data set.
    pub patient: usize,
    /// Training or test.
    pub split: Split,
}

/// Labelled images of one size.
#[derive(Debug, Clone)]
pub struct DataSet {
    /// Class names in the order of the network's outputs.
    pub classes: Vec<String>,
    /// 1 or 3.
    pub channels: u8,
    /// Pixels a side.
    pub size_px: u16,
    /// The images.
    pub samples: Vec<Sample>,
}

/// An image as a reader finds it, before classes and patients are numbered.
struct Found {
    pixels: Vec<u8>,
    label: String,
    patient: String,
    split: Split,
}

impl DataSet {
    /// Reads a data set.
    pub fn read(source: &Source) -> Result<Self, Error> {
        let path = source.path.as_path();
        let found = if path.is_file() {
            npz::read(source)?
        } else if path.join("manifest.csv").is_file() {
            manifest::read(source)?
        } else {
            folder::read(source)?
        };
        Self::number(source, found)
    }

    fn number(source: &Source, found: Vec<Found>) -> Result<Self, Error> {
        let mut classes = source.classes.clone();
        if classes.is_empty() {
            classes = found.iter().map(|f| f.label.clone()).collect();
            classes.sort();
            classes.dedup();
        }
        let mut patients = BTreeMap::new();
        let mut samples = Vec::with_capacity(found.len());
        for image in found {
            let Some(class) = classes.iter().position(|c| *c == image.label) else {
                continue;
            };
            let next = patients.len();
            let patient = *patients.entry(image.patient).or_insert(next);
            samples.push(Sample {
                pixels: image.pixels,
                class,
                patient,
                split: image.split,
            });
        }
        if classes.len() < 2 || samples.is_empty() {
            let path = source.path.display();
            return Err(Error::DataSet(format!(
                "{path} has no images of two classes"
            )));
        }
        let (channels, size_px) = (source.channels, source.size_px);
        Ok(Self {
            classes,
            channels,
            size_px,
            samples,
        })
    }

    /// Positions of the images of a split.
    pub fn of(&self, split: Split) -> Vec<usize> {
        (0..self.samples.len())
            .filter(|i| self.samples[*i].split == split)
            .collect()
    }

    /// Images of each class among `indices`.
    pub fn counts(&self, indices: &[usize]) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for i in indices {
            counts[self.samples[*i].class] += 1;
        }
        counts
    }

    /// Mean and standard deviation of the pixels of `indices`, in 0..1.
    pub fn pixel_statistics(&self, indices: &[usize]) -> (f64, f64) {
        let (mut sum, mut squares, mut count) = (0u128, 0u128, 0u128);
        for i in indices {
            for p in &self.samples[*i].pixels {
                sum += u128::from(*p);
                squares += u128::from(u32::from(*p) * u32::from(*p));
            }
            count += self.samples[*i].pixels.len() as u128;
        }
        let count = (count.max(1)) as f64;
        let mean = sum as f64 / count;
        let variance = squares as f64 / count - mean * mean;
        (mean / 255.0, variance.max(1.0).sqrt() / 255.0)
    }

    /// The images of each patient among `indices`, by patient number.
    pub fn by_patient(&self, indices: &[usize]) -> Vec<Vec<usize>> {
        let mut groups = BTreeMap::<usize, Vec<usize>>::new();
        for i in indices {
            groups.entry(self.samples[*i].patient).or_default().push(*i);
        }
        groups.into_values().collect()
    }

    /// Parts `indices` in two by patient, class by class, so that the second part holds about
    /// `fraction` of each class.
    pub fn hold_out(
        &self,
        indices: &[usize],
        fraction: f64,
        seed: u64,
    ) -> (Vec<usize>, Vec<usize>) {
        let parts = (1.0 / fraction.max(1e-9)).round().max(1.0);
        if fraction <= 0.0 {
            return (indices.to_vec(), Vec::new());
        }
        let mut folds = self.folds(indices, parts as usize, seed);
        let held = folds.swap_remove(0);
        let mut rest: Vec<usize> = folds.into_iter().flatten().collect();
        rest.sort_unstable();
        (rest, held)
    }

    /// Deals `indices` into `count` folds by patient, class by class, as evenly as patients allow.
    pub fn folds(&self, indices: &[usize], count: usize, seed: u64) -> Vec<Vec<usize>> {
        let mut folds = vec![Vec::new(); count.max(1)];
        for (class, mut patients) in self.patients_by_class(indices).into_iter().enumerate() {
            Seeded::new(seed, &[FOLDS, class as u64]).shuffle(&mut patients);
            let mut sizes = vec![0; folds.len()];
            for images in patients {
                let smallest = (0..sizes.len()).min_by_key(|i| sizes[*i]).unwrap_or(0);
                sizes[smallest] += images.len();
                folds[smallest].extend(images);
            }
        }
        for fold in &mut folds {
            fold.sort_unstable();
        }
        folds
    }

    /// Patients with their images, listed under the class that most of their images have (the lower
    /// class where two are even).
    pub fn patients_by_class(&self, indices: &[usize]) -> Vec<Vec<Vec<usize>>> {
        let mut classes = vec![Vec::new(); self.classes.len()];
        for images in self.by_patient(indices) {
            let counts = self.counts(&images);
            let most = counts.iter().max().copied().unwrap_or(0);
            let class = counts.iter().position(|c| *c == most).unwrap_or(0);
            classes[class].push(images);
        }
        classes
    }

    /// Digest of what `indices` hold: labels and pixels in order. Names the data version of a site.
    pub fn digest(&self, indices: &[usize]) -> Digest {
        let mut bytes = Vec::new();
        for i in indices {
            let sample = &self.samples[*i];
            bytes.extend((sample.class as u64).to_le_bytes());
            bytes.extend(salus_federated::digest(&sample.pixels).0);
        }
        salus_federated::digest(&bytes)
    }
}

/// Stream number of folds.
const FOLDS: u64 = 0xF0;

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let length = std::fs::metadata(path).map_err(Error::file(path))?.len();
    if length > limit {
        return Err(Error::DataSet(format!(
            "{} is larger than {limit} bytes",
            path.display()
        )));
    }
    std::fs::read(path).map_err(Error::file(path))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Bright discs of two sizes on noise: easy, made here, two images a patient.
    pub(crate) fn discs(patients: usize, side: u16, seed: u64) -> DataSet {
        let mut random = Seeded::new(seed, &[]);
        let s = f64::from(side);
        let sample = |i: usize, random: &mut Seeded| {
            let class = i / 2 % 2;
            let radius = if class == 0 { 0.12 } else { 0.3 } * s;
            let (cx, cy) = (
                s * (0.4 + 0.2 * random.unit()),
                s * (0.4 + 0.2 * random.unit()),
            );
            let pixels = (0..usize::from(side) * usize::from(side)).map(|p| {
                let (x, y) = (
                    (p % usize::from(side)) as f64,
                    (p / usize::from(side)) as f64,
                );
                let inside = (x - cx).hypot(y - cy) < radius;
                (60.0 + 60.0 * random.unit() + if inside { 90.0 } else { 0.0 }) as u8
            });
            let pixels = pixels.collect();
            let split = if i / 2 % 8 < 6 {
                Split::Training
            } else {
                Split::Test
            };
            Sample {
                pixels,
                class,
                patient: i / 2,
                split,
            }
        };
        let samples = (0..2 * patients).map(|i| sample(i, &mut random)).collect();
        DataSet {
            classes: vec!["small".into(), "large".into()],
            channels: 1,
            size_px: side,
            samples,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::discs;

    #[test]
    fn no_patient_is_on_both_sides_and_classes_stay_even() {
        let data = discs(200, 28, 1);
        let all: Vec<usize> = (0..data.samples.len()).collect();
        let (rest, held) = data.hold_out(&all, 0.2, 3);
        assert_eq!(rest.len() + held.len(), all.len());
        let of = |indices: &[usize]| -> std::collections::BTreeSet<usize> {
            indices.iter().map(|i| data.samples[*i].patient).collect()
        };
        assert!(of(&rest).is_disjoint(&of(&held)));
        assert_eq!(data.counts(&held), [40, 40]);
        let folds = data.folds(&all, 5, 3);
        assert_eq!(folds.iter().map(Vec::len).collect::<Vec<_>>(), [80; 5]);
        assert_ne!(data.folds(&all, 5, 4), folds);
    }
}
