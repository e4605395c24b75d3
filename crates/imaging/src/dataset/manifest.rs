//! A folder with a `manifest.csv`: columns `file` and `label`, and where there are any `split` and
//! `patient`. A file lies in the folder or in one of its tars, in `SPLIT.tar` first.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path};

use super::{Found, IMAGES_LIMIT, Source, Split, read_file};
use crate::Error;
use crate::picture::{FILE_LIMIT_BYTES, Picture};
use rayon::prelude::*;

/// Largest tar that is read: 4 GiB.
const TAR_LIMIT_BYTES: u64 = 4 << 30;

struct Row {
    file: String,
    label: String,
    split: String,
    patient: String,
}

pub(super) fn read(source: &Source) -> Result<Vec<Found>, Error> {
    let rows = rows(&source.path.join("manifest.csv"))?;
    let tars = tars(&source.path)?;
    rows.into_par_iter()
        .filter(|row| source.classes.is_empty() || source.classes.contains(&row.label))
        .map(|row| {
            let bytes = match packed(&tars, &row) {
                Some(bytes) => bytes.to_vec(),
                None => read_file(&source.path.join(&row.file), FILE_LIMIT_BYTES)?,
            };
            let picture = Picture::decode(&bytes, source.channels, source.size_px)
                .map_err(|e| Error::DataSet(format!("{}: {e}", row.file)))?;
            let split = if row.split == "test" {
                Split::Test
            } else {
                Split::Training
            };
            // One id may stand for two people in two splits of a published set.
            let patient = format!("{}/{}", row.split, row.patient);
            Ok(Found {
                pixels: picture.planes,
                label: row.label,
                patient,
                split,
            })
        })
        .collect()
}

fn rows(path: &Path) -> Result<Vec<Row>, Error> {
    let wrong = |e: csv::Error| Error::DataSet(format!("{}: {e}", path.display()));
    let mut reader = csv::Reader::from_path(path).map_err(wrong)?;
    let headers = reader.headers().map_err(wrong)?.clone();
    let column = |name: &str| headers.iter().position(|h| h == name);
    let missing = |name| Error::DataSet(format!("{} has no column {name}", path.display()));
    let file = column("file").ok_or_else(|| missing("file"))?;
    let label = column("label").ok_or_else(|| missing("label"))?;
    let (split, patient) = (column("split"), column("patient"));
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let field = |i: usize| record.get(i).unwrap_or_default().to_owned();
        let name = field(file);
        let inside = Path::new(&name)
            .components()
            .all(|c| matches!(c, Component::Normal(_)));
        if name.is_empty() || !inside || rows.len() >= IMAGES_LIMIT {
            return Err(Error::DataSet(format!(
                "{}: a file name or the length",
                path.display()
            )));
        }
        let known = patient.map(field).filter(|p| !p.is_empty());
        rows.push(Row {
            label: field(label),
            split: split.map(field).unwrap_or_default(),
            patient: known.unwrap_or_else(|| name.clone()),
            file: name,
        });
    }
    Ok(rows)
}

type Tars = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

fn tars(folder: &Path) -> Result<Tars, Error> {
    let mut tars = Tars::new();
    for entry in std::fs::read_dir(folder).map_err(Error::file(folder))? {
        let path = entry.map_err(Error::file(folder))?.path();
        if path.extension().is_none_or(|e| e != "tar") {
            continue;
        }
        let bytes = read_file(&path, TAR_LIMIT_BYTES)?;
        let mut files = BTreeMap::new();
        for member in tar::Archive::new(bytes.as_slice())
            .entries()
            .map_err(Error::file(&path))?
        {
            let mut member = member.map_err(Error::file(&path))?;
            if !member.header().entry_type().is_file() || member.size() > FILE_LIMIT_BYTES {
                continue;
            }
            let name = member
                .path()
                .map_err(Error::file(&path))?
                .to_string_lossy()
                .into_owned();
            let mut content = Vec::new();
            member
                .read_to_end(&mut content)
                .map_err(Error::file(&path))?;
            files.insert(name, content);
        }
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        tars.insert(stem, files);
    }
    Ok(tars)
}

fn packed<'a>(tars: &'a Tars, row: &Row) -> Option<&'a [u8]> {
    let own = tars.get(&row.split).and_then(|tar| tar.get(&row.file));
    own.or_else(|| tars.values().find_map(|tar| tar.get(&row.file)))
        .map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_in_the_folder_and_in_tars_are_found_with_their_patients() {
        let folder = tempfile::tempdir().unwrap();
        let image = |value| {
            let mut out = std::io::Cursor::new(Vec::new());
            image::GrayImage::from_pixel(30, 30, image::Luma([value]))
                .write_to(&mut out, image::ImageFormat::Png)
                .unwrap();
            out.into_inner()
        };
        let mut tar = tar::Builder::new(Vec::new());
        let bytes = image(200);
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append_data(&mut header, "b/2.png", bytes.as_slice())
            .unwrap();
        std::fs::write(folder.path().join("test.tar"), tar.into_inner().unwrap()).unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/1.png"), image(100)).unwrap();
        let manifest = "split,file,label,patient\ntrain,a/1.png,a,p\ntest,b/2.png,b,p\n";
        std::fs::write(folder.path().join("manifest.csv"), manifest).unwrap();

        let source = Source {
            path: folder.path().into(),
            size_px: 28,
            channels: 1,
            classes: Vec::new(),
            patients: None,
        };
        let data = super::super::DataSet::read(&source).unwrap();
        assert_eq!(data.classes, ["a", "b"]);
        assert_eq!(
            (data.samples[0].pixels[0], data.samples[1].pixels[0]),
            (100, 200)
        );
        assert_eq!(
            (data.samples[0].split, data.samples[1].split),
            (Split::Training, Split::Test)
        );
        assert_ne!(data.samples[0].patient, data.samples[1].patient);

        let outside = "file,label\n../../etc/passwd,a\n";
        std::fs::write(folder.path().join("manifest.csv"), outside).unwrap();
        assert!(super::super::DataSet::read(&source).is_err());
    }
}
