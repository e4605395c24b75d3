//! MedMNIST's npz: `{train,val,test}_images` (`uint8`, N×H×W or N×H×W×3) and `_labels` (`uint8`,
//! N×1). Written from NumPy's description of the npy format, version 1.0 to 3.0.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use super::{Found, IMAGES_LIMIT, Source, Split, read_file};
use crate::Error;
use crate::picture::Picture;

/// Largest npz, and largest array within one: 4 GiB.
const LIMIT_BYTES: u64 = 4 << 30;
/// Longest header of an array.
const HEADER_LIMIT_BYTES: usize = 64 << 10;

struct Array {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

pub(super) fn read(source: &Source) -> Result<Vec<Found>, Error> {
    let bytes = read_file(&source.path, LIMIT_BYTES)?;
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| wrong(&e))?;
    let patients = source
        .patients
        .as_deref()
        .map(patients)
        .transpose()?
        .unwrap_or_default();
    let mut found = Vec::new();
    for part in ["train", "val", "test"] {
        let images = array(&mut zip, &format!("{part}_images.npy"))?;
        let labels = array(&mut zip, &format!("{part}_labels.npy"))?;
        let (count, height, width, depth) = match images.shape[..] {
            [n, h, w] => (n, h, w, 1),
            [n, h, w, 3] => (n, h, w, 3),
            _ => return Err(wrong(&"images are not N×H×W or N×H×W×3")),
        };
        let length = height * width * depth;
        if labels.bytes.len() != count || length == 0 || found.len() + count > IMAGES_LIMIT {
            return Err(wrong(&"one label is needed for each image"));
        }
        let split = if part == "test" {
            Split::Test
        } else {
            Split::Training
        };
        for (i, (pixels, label)) in images
            .bytes
            .chunks_exact(length)
            .zip(labels.bytes)
            .enumerate()
        {
            let pixels = planes(pixels, [width, height, depth], source)?;
            let named = source.classes.get(usize::from(label)).cloned();
            if named.is_none() && !source.classes.is_empty() {
                return Err(wrong(&format!("label {label} has no class name")));
            }
            let own = format!("{part}#{i}");
            let patient = patients.get(&(part.to_owned(), i)).cloned().unwrap_or(own);
            let label = named.unwrap_or_else(|| label.to_string());
            found.push(Found {
                pixels,
                label,
                patient,
                split,
            });
        }
    }
    Ok(found)
}

fn planes(
    pixels: &[u8],
    [width, height, depth]: [usize; 3],
    source: &Source,
) -> Result<Vec<u8>, Error> {
    let (channels, side) = (usize::from(source.channels), usize::from(source.size_px));
    if depth == channels && (width, height) == (side, side) {
        return Ok((0..depth)
            .flat_map(|c| pixels.iter().skip(c).step_by(depth).copied())
            .collect());
    }
    let size = u32::try_from(width).ok().zip(u32::try_from(height).ok());
    let (width, height) = size.ok_or_else(|| wrong(&"an image is too large"))?;
    if depth == 1 {
        let picture = Picture::from_grey(
            pixels.to_vec(),
            [width, height],
            source.channels,
            source.size_px,
        )?;
        return Ok(picture.planes);
    }
    let rgb = image::RgbImage::from_raw(width, height, pixels.to_vec());
    let rgb = rgb.ok_or_else(|| wrong(&"an image has another length"))?;
    let mut png = Cursor::new(Vec::new());
    rgb.write_to(&mut png, image::ImageFormat::Png)
        .map_err(|e| wrong(&e))?;
    Ok(Picture::decode(&png.into_inner(), source.channels, source.size_px)?.planes)
}

fn array(zip: &mut zip::ZipArchive<Cursor<Vec<u8>>>, name: &str) -> Result<Array, Error> {
    let file = zip
        .by_name(name)
        .map_err(|e| wrong(&format!("{name}: {e}")))?;
    let mut bytes = Vec::new();
    file.take(LIMIT_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|e| wrong(&e))?;
    parse(&bytes).ok_or_else(|| wrong(&format!("{name} is not a C-ordered uint8 array")))
}

fn parse(bytes: &[u8]) -> Option<Array> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let ([major, _], rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = if *major == 1 {
        let (length, rest) = rest.split_first_chunk::<2>()?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    if length > HEADER_LIMIT_BYTES {
        return None;
    }
    let (header, data) = rest.split_at_checked(length)?;
    let header: String = std::str::from_utf8(header)
        .ok()?
        .split_whitespace()
        .collect();
    if !header.contains("'descr':'|u1'") || !header.contains("'fortran_order':False") {
        return None;
    }
    let (_, shape) = header.split_once("'shape':(")?;
    let (shape, _) = shape.split_once(')')?;
    let sides = shape.split(',').filter(|s| !s.is_empty());
    let shape = sides
        .map(|s| s.parse().ok())
        .collect::<Option<Vec<usize>>>()?;
    let count = shape
        .iter()
        .try_fold(1usize, |n, side| n.checked_mul(*side))?;
    (data.len() == count).then(|| Array {
        shape,
        bytes: data.to_vec(),
    })
}

/// (split, index) to patient.
fn patients(path: &Path) -> Result<BTreeMap<(String, usize), String>, Error> {
    let failed = |e: csv::Error| Error::DataSet(format!("{}: {e}", path.display()));
    let mut reader = csv::Reader::from_path(path).map_err(failed)?;
    let headers = reader.headers().map_err(failed)?.clone();
    let column = |name: &str| {
        let missing = || Error::DataSet(format!("{} has no column {name}", path.display()));
        headers.iter().position(|h| h == name).ok_or_else(missing)
    };
    let (part, index) = (column("medmnist_split")?, column("medmnist_index")?);
    let patient = column("patient")?;
    let split = headers.iter().position(|h| h == "split");
    let mut out = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(failed)?;
        let field = |i: usize| record.get(i).unwrap_or_default();
        let Ok(number) = field(index).parse() else {
            continue;
        };
        // The publisher's ids are unique within its own split only.
        let own = split.map(field).unwrap_or_default();
        out.insert(
            (field(part).to_owned(), number),
            format!("{own}/{}", field(patient)),
        );
    }
    Ok(out)
}

fn wrong(why: &dyn std::fmt::Display) -> Error {
    Error::DataSet(format!("npz: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        out.extend(header.as_bytes());
        out.extend(data);
        out
    }

    #[test]
    fn an_array_reads_and_a_damaged_one_does_not() {
        let bytes = npy("(2, 3)", &[1, 2, 3, 4, 5, 6]);
        let array = parse(&bytes).unwrap();
        assert_eq!(
            (array.shape, array.bytes),
            (vec![2, 3], vec![1, 2, 3, 4, 5, 6])
        );
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).is_none(), "{length}");
        }
        assert!(parse(&npy("(99999999999, 99999999999)", &[])).is_none());
        assert!(parse(&npy("(-1,)", &[1])).is_none());
    }
}
