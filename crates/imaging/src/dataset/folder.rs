//! Folders named for classes, with images inside; `train`, `val` and `test` folders may lie above
//! them. Each image is taken for a patient of its own.

use std::path::{Path, PathBuf};

use super::{Found, IMAGES_LIMIT, Source, Split, read_file};
use crate::Error;
use crate::picture::{FILE_LIMIT_BYTES, Picture};
use rayon::prelude::*;

pub(super) fn read(source: &Source) -> Result<Vec<Found>, Error> {
    let mut files = Vec::new();
    for folder in children(&source.path)?.into_iter().filter(|p| p.is_dir()) {
        match name(&folder).as_str() {
            "train" | "val" => classes(&folder, Split::Training, &mut files)?,
            "test" => classes(&folder, Split::Test, &mut files)?,
            _ => images(&folder, Split::Training, &mut files)?,
        }
    }
    files
        .into_par_iter()
        .filter(|(_, label, _)| source.classes.is_empty() || source.classes.contains(label))
        .map(|(path, label, split)| {
            let bytes = read_file(&path, FILE_LIMIT_BYTES)?;
            let picture = Picture::decode(&bytes, source.channels, source.size_px)
                .map_err(|e| Error::DataSet(format!("{}: {e}", path.display())))?;
            let patient = path.display().to_string();
            Ok(Found {
                pixels: picture.planes,
                label,
                patient,
                split,
            })
        })
        .collect()
}

type Files = Vec<(PathBuf, String, Split)>;

fn classes(folder: &Path, split: Split, out: &mut Files) -> Result<(), Error> {
    for class in children(folder)?.into_iter().filter(|p| p.is_dir()) {
        images(&class, split, out)?;
    }
    Ok(())
}

fn images(folder: &Path, split: Split, out: &mut Files) -> Result<(), Error> {
    for file in children(folder)? {
        let extension = file.extension().unwrap_or_default().to_ascii_lowercase();
        if ["png", "jpg", "jpeg"].iter().any(|e| extension == *e) {
            out.push((file, name(folder), split));
        }
        if out.len() > IMAGES_LIMIT {
            return Err(Error::DataSet("too many images".into()));
        }
    }
    Ok(())
}

/// Sorted, so that a data set reads the same everywhere.
fn children(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(folder).map_err(Error::file(folder))?;
    let mut paths = entries
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Error::file(folder))?;
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
