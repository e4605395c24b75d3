//! Real files of eleven transfer syntaxes against pydicom, odd files, and files made here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::Error;

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/dicom");
    folder.is_dir().then_some(folder)
}

/// The manifest's rows by file name, cells by column name.
fn manifest(folder: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(folder.join("manifest.csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned));
    let header: Vec<String> = lines.next().unwrap().collect();
    lines
        .map(|cells| header.iter().cloned().zip(cells).collect())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

#[test]
fn valid_files_say_what_pydicom_says_and_lossless_pixels_are_equal() {
    let Some(folder) = folder() else {
        println!("skipped: the DICOM samples are not beside the repository");
        return;
    };
    let (mut files, mut equal, mut other) = (0, 0, Vec::new());
    for row in manifest(&folder)
        .iter()
        .filter(|row| row["file"].starts_with("valid/"))
    {
        let file = &row["file"];
        let bytes = std::fs::read(folder.join(file)).unwrap();
        assert_eq!(crate::sniff::sniff(&bytes), crate::sniff::Kind::Dicom);
        let found = inspect(&bytes, &Limits::default()).unwrap_or_else(|e| panic!("{file}: {e}"));
        files += 1;
        assert_eq!(found.transfer_syntax, row["transfer_syntax"], "{file}");
        assert_eq!(
            found.modality.unwrap_or_default(),
            row["modality"],
            "{file}"
        );
        assert_eq!(
            found.body_part.unwrap_or_default(),
            row["body_part"],
            "{file}"
        );
        let number = |n: Option<u16>| n.map(|n| n.to_string()).unwrap_or_default();
        assert_eq!(
            (number(found.rows), number(found.columns)),
            (row["rows"].clone(), row["columns"].clone())
        );
        if row["pixel_sha256_le"].is_empty() {
            assert_ne!(found.content, Content::Image);
            assert!(pixels(&bytes, &Limits::default()).is_err());
            continue;
        }
        let image = pixels(&bytes, &Limits::default()).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(image.rows.to_string(), row["rows"]);
        if hex(&image.data) == row["pixel_sha256_le"] {
            equal += 1;
        } else {
            other.push(file.clone());
        }
    }
    // The rest is lossy by its codestream, so it depends on the decoder's rounding.
    assert_eq!(
        other,
        [
            "valid/RG1_J2KI.dcm",
            "valid/examples_ybr_color.dcm",
            "valid/SC_rgb_jpeg_dcmtk.dcm",
            "valid/HTJ2K_08_RGB.dcm",
        ]
    );
    assert_eq!((files, equal), (29, 20));
}

#[test]
fn names_are_read_in_their_character_sets() {
    let Some(folder) = folder() else {
        println!("skipped: the DICOM samples are not beside the repository");
        return;
    };
    for (file, name) in [
        ("chrFrenMulti.dcm", "Buc^Jérôme"),
        ("chrH31.dcm", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("chrX1.dcm", "Wang^XiaoDong=王^小東"),
        ("MR_small_bigendian.dcm", "CompressedSamples^MR1"),
        ("rtplan.dcm", "Last^First^mid^pre"),
    ] {
        let bytes = std::fs::read(folder.join("valid").join(file)).unwrap();
        let found = inspect(&bytes, &Limits::default()).unwrap();
        assert_eq!(found.patient_name.as_deref(), Some(name), "{file}");
        assert!(found.study.is_some_and(|uid| uid.starts_with("1.")));
    }
    let directory = std::fs::read(folder.join("valid/DICOMDIR")).unwrap();
    let found = inspect(&directory, &Limits::default()).unwrap();
    assert_eq!(
        (found.content, found.directory_records > 10),
        (Content::Directory, true)
    );
}

#[test]
fn a_twelve_lead_waveform_becomes_an_ecg() {
    let Some(folder) = folder() else {
        println!("skipped: the DICOM samples are not beside the repository");
        return;
    };
    let bytes = std::fs::read(folder.join("valid/waveform_ecg.dcm")).unwrap();
    let groups = waveforms(&bytes, &Limits::default()).unwrap();
    let shape: Vec<_> = groups
        .iter()
        .map(|g| (g.leads.len(), g.leads[0].samples.len()))
        .collect();
    assert_eq!(shape, [(12, 10_000), (12, 1200)]);
    let first = &groups[0];
    assert_eq!(
        (first.frames_per_s.to_f64(), first.leads[0].unit.as_str()),
        (1000.0, "uV")
    );
    assert_eq!(first.leads[1].name, "Lead II");
    // Einthoven's law: III = II - I, within the rounding of the recorder.
    let lead = |at: usize| first.leads[at].physical();
    let worst = lead(0)
        .zip(lead(1))
        .zip(lead(2))
        .map(|((a, b), c)| (b - a - c).abs())
        .fold(0.0, f64::max);
    assert!(worst < 4.0, "{worst} uV");
    assert_eq!(Ecg::from_bytes(&first.to_bytes()).as_ref(), Ok(first));
    println!(
        "{:?} {:?}",
        first.leads[0].gain,
        &first.leads[0].samples[..4]
    );
}

#[test]
fn odd_files_give_a_typed_error_or_the_right_image() {
    let Some(folder) = folder() else {
        println!("skipped: the DICOM samples are not beside the repository");
        return;
    };
    let cut = || Error::Truncated { what: "DICOM file" };
    let no_pixels = || Error::Missing {
        what: "DICOM pixel data",
    };
    let frames = "a number of frames that is no number";
    let not_dicom = Error::Malformed {
        what: "DICOM file",
        reason: "not DICOM",
        offset: 0,
    };
    let no_syntax = Error::Missing {
        what: "transfer syntax of the DICOM file",
    };
    let twelve_bits = Error::unsupported("DICOM transfer syntax", "1.2.840.10008.1.2.4.51");
    // What reading the metadata gives, and what decoding the pixels gives.
    let mut expected = BTreeMap::from([
        ("MR_truncated.dcm", (Some(cut()), Some(cut()))),
        (
            "badVR.dcm",
            (
                None,
                Some(Error::Malformed {
                    what: "DICOM pixel data",
                    reason: frames,
                    offset: 0,
                }),
            ),
        ),
        ("bad_sequence.dcm", (None, None)),
        ("no_meta.dcm", (Some(not_dicom.clone()), Some(not_dicom))),
        (
            "meta_missing_tsyntax.dcm",
            (Some(no_syntax.clone()), Some(no_syntax)),
        ),
        ("ExplVR_LitEndNoMeta.dcm", (None, Some(no_pixels()))),
        ("rtplan_truncated.dcm", (Some(cut()), Some(cut()))),
        (
            "emri_small_jpeg_2k_lossless_too_short.dcm",
            (Some(cut()), Some(cut())),
        ),
        ("J2K_pixelrep_mismatch.dcm", (None, None)),
        ("UN_sequence.dcm", (None, Some(no_pixels()))),
        ("empty_charset_LEI.dcm", (None, Some(no_pixels()))),
        ("RG3_JPLY.dcm", (None, Some(twelve_bits))),
    ]);
    for row in manifest(&folder)
        .iter()
        .filter(|row| row["file"].starts_with("edge/"))
    {
        let bytes = std::fs::read(folder.join(&row["file"])).unwrap();
        let image = pixels(&bytes, &Limits::default());
        if let Ok(image) = &image {
            assert_eq!(hex(&image.data), row["pixel_sha256_le"], "{}", row["file"]);
        }
        let found = (inspect(&bytes, &Limits::default()).err(), image.err());
        let name = row["file"].strip_prefix("edge/").unwrap();
        assert_eq!(Some(found), expected.remove(name), "{name}");
    }
    assert!(expected.is_empty());
}

/// A file of ours: explicit little-endian, 2 rows, 3 columns, 16 bits.
fn small(syntax: &str, more: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    let mut text = |group: u16, element: u16, vr: &[u8; 2], value: &[u8]| {
        out.extend(group.to_le_bytes());
        out.extend(element.to_le_bytes());
        out.extend(vr);
        out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        out.extend(value);
    };
    text(2, 0x10, b"UI", syntax.as_bytes());
    text(8, 0x60, b"CS", b"CT");
    text(0x10, 0x10, b"PN", b"Canary^Name");
    for (element, value) in [
        (2, 1_u16),
        (0x10, 2),
        (0x11, 3),
        (0x100, 16),
        (0x101, 12),
        (0x103, 0),
    ] {
        text(0x28, element, b"US", &value.to_le_bytes());
    }
    text(0x28, 4, b"CS", b"MONOCHROME2 ");
    out.extend(more);
    out
}

fn plain_pixels() -> Vec<u8> {
    let mut more = vec![0xe0, 0x7f, 0x10, 0, b'O', b'W', 0, 0, 12, 0, 0, 0];
    more.extend((1..=12).collect::<Vec<u8>>());
    more
}

#[test]
fn a_file_of_ours_reads_and_shows_nobody() {
    let file = small("1.2.840.10008.1.2.1", &plain_pixels());
    let found = inspect(&file, &Limits::default()).unwrap();
    assert_eq!(found.patient_name.as_deref(), Some("Canary^Name"));
    let image = pixels(&file, &Limits::default()).unwrap();
    assert_eq!((image.rows, image.columns, image.bits_stored), (2, 3, 12));
    assert_eq!(image.data, (1..=12).collect::<Vec<u8>>());
    assert_eq!(format!("{found:?} {image:?}").find("Canary"), None);
    let few = Limits {
        decoded_bytes: 11,
        ..Limits::default()
    };
    assert!(matches!(pixels(&file, &few), Err(Error::TooLarge { .. })));
    let few = Limits {
        bytes: 100,
        ..Limits::default()
    };
    assert!(matches!(inspect(&file, &few), Err(Error::TooLarge { .. })));
    for cut in 132..file.len() {
        assert!(pixels(&file[..cut], &Limits::default()).is_err(), "{cut}");
    }
    assert_eq!(
        pixels(&small("1.2.840.10008.1.2.4.100", &[]), &Limits::default()),
        Err(Error::Missing {
            what: "DICOM pixel data"
        })
    );
    assert_eq!(
        pixels(
            &small("1.2.840.10008.1.2.4.100", &plain_pixels()),
            &Limits::default()
        ),
        Err(Error::Unsupported {
            what: "DICOM transfer syntax",
            name: "1.2.840.10008.1.2.4.100".into()
        })
    );
}

#[test]
fn hostile_lengths_and_nesting_are_refused_without_memory() {
    let syntax = "1.2.840.10008.1.2.1";
    // A value that claims two gigabytes.
    let claims = [
        0xe0, 0x7f, 0x10, 0, b'O', b'W', 0, 0, 0xff, 0xff, 0xff, 0x7f, 1, 2,
    ];
    assert_eq!(
        inspect(&small(syntax, &claims), &Limits::default()),
        Err(Error::Truncated { what: "DICOM file" })
    );
    // A hundred thousand sequences in one another.
    let nest = [
        8, 0, 0x40, 0x11, b'S', b'Q', 0, 0, 255, 255, 255, 255, 0xfe, 0xff, 0, 0xe0, 255, 255, 255,
        255,
    ];
    let nested: Vec<u8> = nest
        .iter()
        .copied()
        .cycle()
        .take(nest.len() * 100_000)
        .collect();
    assert_eq!(
        inspect(&small(syntax, &nested), &Limits::default()),
        Err(Error::TooDeep {
            what: "DICOM sequence",
            limit: 64
        })
    );
    // A deflate bomb: 64 MiB of zeros.
    let bomb = {
        use std::io::Write as _;
        let mut out = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        out.write_all(&vec![0; 64 << 20]).unwrap();
        out.finish().unwrap()
    };
    let mut file = small("1.2.840.10008.1.2.1.99", &[]);
    let meta_end = 132 + 8 + "1.2.840.10008.1.2.1.99".len();
    file.truncate(meta_end);
    file.extend(bomb);
    let limits = Limits {
        bytes: 1 << 20,
        ..Limits::default()
    };
    assert!(matches!(
        inspect(&file, &limits),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn real_files_cut_anywhere_never_panic() {
    let Some(folder) = folder() else {
        println!("skipped: the DICOM samples are not beside the repository");
        return;
    };
    let limits = Limits {
        bytes: 4 << 20,
        decoded_bytes: 4 << 20,
    };
    for file in [
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "image_dfl.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "chrH31.dcm",
        "test-SR.dcm",
    ] {
        let bytes = std::fs::read(folder.join("valid").join(file)).unwrap();
        for cut in (0..bytes.len()).step_by(97) {
            let _ = inspect(&bytes[..cut], &limits);
            let _ = pixels(&bytes[..cut], &limits);
        }
        let mut damaged = bytes.clone();
        for at in (0..bytes.len()).step_by(61) {
            damaged[at] ^= 0x41;
            let _ = inspect(&damaged, &limits);
            let _ = pixels(&damaged, &limits);
            damaged[at] = bytes[at];
        }
    }
}

proptest! {
    #[test]
    fn damaged_files_never_panic(at in 128..400_usize, byte: u8, tail: Vec<u8>, syntax in prop::sample::select(vec![
        "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5",
        "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90",
    ]), head in prop::sample::select(vec![&b""[..], b"\xff\xd8\xff", b"\xff\x4f\xff\x51\x00\x29"])) {
        let limits = Limits { bytes: 1 << 20, decoded_bytes: 1 << 20 };
        let mut more = plain_pixels();
        more.extend(&tail);
        let mut file = small(syntax, &more);
        let at = at.min(file.len() - 1);
        file[at] = byte;
        let _ = inspect(&file, &limits);
        let _ = pixels(&file, &limits);
        let _ = waveforms(&file, &limits);
        // Encapsulated: one fragment of the random bytes behind a codec's first bytes.
        let fragment = [head, &tail].concat();
        let mut more = vec![0xe0, 0x7f, 0x10, 0, b'O', b'B', 0, 0, 255, 255, 255, 255, 0xfe, 0xff, 0, 0xe0, 0, 0, 0, 0];
        more.extend([0xfe, 0xff, 0, 0xe0]);
        more.extend(u32::try_from(fragment.len()).unwrap().to_le_bytes());
        more.extend(fragment);
        more.extend([0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
        let _ = pixels(&small(syntax, &more), &limits);
        let _ = inspect(&tail, &limits);
    }
}
