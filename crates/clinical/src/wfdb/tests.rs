//! Every storage format against wfdb-python 4.3.1, and everything hostile.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "packs small numbers known here"
)]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::ecg::Decimal;

/// Reads a record of one signal `x` in file `f`.
fn one(
    format: &str,
    initial: i32,
    checksum: i32,
    bytes: &[u8],
    samples: usize,
) -> Result<Vec<i32>> {
    let header = format!("g 1 100 {samples}\nf {format} 200 16 0 {initial} {checksum} 0 x\n");
    Ok(read(header.as_bytes(), &Files::from([("f", bytes)]))?
        .leads
        .remove(0)
        .samples)
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |b: u8| (b as char).to_digit(16).unwrap() as u8;
    text.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

const BASE: [i32; 11] = [0, 1, -1, 7, -8, 100, -100, 127, -127, 64, -3];

#[test]
fn files_that_wfdb_python_wrote_read_as_written() {
    for (format, scale, checksum, bytes) in [
        (
            "16",
            250,
            15000,
            "0000fa0006ffd60630f8a861589e067cfa83803e12fd",
        ),
        (
            "24",
            60000,
            61056,
            "00000060ea00a015ffa0680600adf8808d5b8072a4a0457460ba8b00983ae040fd",
        ),
        (
            "32",
            16_000_000,
            28672,
            "000000000024f40000dc0bff00fcac0600e05ef800105e5f00f0a1a000dc1d790024e2860000093d009423fd",
        ),
        ("80", 1, 60, "80817f8778e41cff01c07d"),
        ("212", 16, 960, "000010f00f70806f40c079f0104800d00f"),
        (
            "508",
            1,
            60,
            "664c61430000002210001000000015000015177000700000000b70892b224df712a1c13c010de49aefc3840000282000\
             00007265666572656e6365206c6962464c414320312e342e3320323032333036323300000000fff86b02000a80020001\
             ff07f8649c7f8140fdeb48",
        ),
        (
            "516",
            250,
            15000,
            "664c6143000000221000100000001f00001f177000f00000000b0b32f17a66eb028b07d492bd41b11df4840000282000\
             00007265666572656e6365206c6962464c414320312e342e3320323032333036323300000000fff86b08000a07038000\
             00fbfe0c1b5fc1861a93cb1f01c1fd3e81fa248be2",
        ),
        (
            "524",
            60000,
            61056,
            "664c61430000002210001000000025000025177001700000000bceebfe1fb6eee34bf5ff7ddc0383cdcc840000282000\
             00007265666572656e6365206c6962464c414320312e342e3320323032333036323300000000fff86b0c000aac030800\
             0000ea7fe2b419a2fc5685b8d948e51d116c5dd33a981fa81c0f0a",
        ),
    ] {
        let expected: Vec<i32> = BASE.iter().map(|b| b * scale).collect();
        assert_eq!(
            one(format, 0, checksum, &unhex(bytes), 11).as_deref(),
            Ok(&expected[..]),
            "{format}"
        );
        assert_eq!(
            one(format, 0, checksum + 1, &unhex(bytes), 11),
            Err(Error::Checksum {
                what: "WFDB signal",
                index: 0
            })
        );
        let bytes = unhex(bytes);
        for cut in 0..bytes.len() {
            assert!(
                one(format, 0, checksum, &bytes[..cut], 11).is_err(),
                "{format} {cut}"
            );
        }
    }
}

/// The other formats, packed here as `signal(5)` describes them.
#[test]
fn the_remaining_formats_read_as_packed_by_hand() {
    let scaled: Vec<i32> = BASE.iter().map(|b| b * 250).collect();
    let big_endian: Vec<u8> = scaled
        .iter()
        .flat_map(|&s| (s as i16).to_be_bytes())
        .collect();
    assert_eq!(
        one("61", 0, 15000, &big_endian, 11).as_deref(),
        Ok(&scaled[..])
    );
    let offset: Vec<u8> = scaled
        .iter()
        .flat_map(|&s| ((s + 0x8000) as u16).to_le_bytes())
        .collect();
    assert_eq!(
        one("160", 0, 15000, &offset, 11).as_deref(),
        Ok(&scaled[..])
    );

    let differences: Vec<u8> = BASE.iter().map(|&b| b as i8 as u8).collect();
    let sums: Vec<i32> = BASE
        .iter()
        .scan(50, |sum, b| {
            *sum += b;
            Some(*sum)
        })
        .collect();
    let total = sums.iter().sum();
    assert_eq!(
        one("8", 50, total, &differences, 11).as_deref(),
        Ok(&sums[..])
    );

    let small: Vec<i32> = BASE.iter().map(|b| b * 4).collect();
    let ten = |at: usize| small.get(at).map_or(0, |s| (s & 0x3ff) as u32);
    let (mut packed_310, mut packed_311) = (Vec::new(), Vec::new());
    for at in (0..11).step_by(3) {
        let (a, b, c) = (ten(at), ten(at + 1), ten(at + 2));
        packed_310.extend_from_slice(&((a << 1 | (c & 0x1f) << 11) as u16).to_le_bytes());
        packed_310.extend_from_slice(&((b << 1 | (c >> 5) << 11) as u16).to_le_bytes());
        packed_311.extend_from_slice(&(a | b << 10 | c << 20).to_le_bytes());
    }
    assert_eq!(
        one("310", 0, 240, &packed_310, 11).as_deref(),
        Ok(&small[..])
    );
    assert_eq!(
        one("311", 0, 240, &packed_311, 11).as_deref(),
        Ok(&small[..])
    );
}

#[test]
fn frames_offsets_skew_and_missing_samples() {
    // Two signals in one file: x has two samples a frame and is one frame late; 4 bytes come before.
    let words: [i16; 12] = [9, 9, 50, 1, 2, 51, 3, 4, -32768, 5, 6, 53];
    let mut bytes = vec![0xee; 4];
    bytes.extend(words.iter().flat_map(|w| w.to_le_bytes()));
    let header = b"r 2 62.5/100 3 8:26:04 26/10/1994\nf 16x2:1+4 7247(-5)/uV 16 0 1 21 0 x y\nf 16+4\n# note\n";
    let ecg = read(header, &Files::from([("f", &bytes[..])])).unwrap();
    assert_eq!(ecg.leads[0].samples, [1, 2, 3, 4, 5, 6]);
    assert_eq!(ecg.leads[1].samples, [50, 51, Lead::NO_SAMPLE]);
    assert_eq!(
        (ecg.leads[0].name.as_str(), ecg.leads[0].unit.as_str()),
        ("x y", "uV")
    );
    assert_eq!(
        (ecg.leads[0].baseline, ecg.frames_per_s),
        (
            -5,
            Decimal {
                mantissa: 625,
                exponent: -1
            }
        )
    );
    assert_eq!(ecg.started.as_deref(), Some("1994-10-26T08:26:04"));
    assert_eq!(ecg.remarks, ["note"]);
    let back: Vec<f64> = ecg.leads[1].physical().collect();
    assert!(back[2].is_nan() && back[0] > 0.249 && back[0] < 0.251);
    // Without a length the file says how long the record is.
    let ecg = read(
        b"r 1 250\nf 80\n",
        &Files::from([("f", &[0x80_u8, 0x81, 0x7f][..])]),
    )
    .unwrap();
    assert_eq!(ecg.leads[0].samples, [0, 1, -1]);
}

#[test]
fn segments_are_joined_in_time_with_gaps() {
    let parts = [
        (
            "a.hea",
            &b"a 2 10 2\na.d 80 200 8 0 0 1 0 x\na.d 80 200 8 0 0 3 0 y\n"[..],
        ),
        ("a.d", &[0x80, 0x81, 0x81, 0x82]),
        ("b.hea", b"b 1 10 1\nb.d 80 200 8 0 0 5 0 y\n"),
        ("b.d", &[0x85]),
        (
            "layout.hea",
            b"layout 2 10 0\n~ 0 200 8 0 0 0 0 x\n~ 0 200 8 0 0 0 0 y\n",
        ),
    ];
    let files = Files::from(parts);
    let fixed = read(b"r/3 2 10 5\na 2\n~ 1\na 2\n", &files).unwrap();
    assert_eq!(fixed.leads[0].samples, [0, 1, Lead::NO_SAMPLE, 0, 1]);
    let variable = read(b"r/3 2 10 3\nlayout 0\na 2\nb 1\n", &files).unwrap();
    assert_eq!(variable.leads[0].samples, [0, 1, Lead::NO_SAMPLE]);
    assert_eq!(variable.leads[1].samples, [1, 2, 5]);
    assert!(read(b"r/2 2 10 3\na 2\nb 1\n", &files).is_err());
    assert!(read(b"r/1 2 10 9\na 9\n", &files).is_err());
    assert!(read(b"r/1 2 11 2\na 2\n", &files).is_err());
    assert!(read(b"r/1 2 10 99999999999999\n~ 99999999999999\n", &files).is_err());
    assert!(read(b"r/2 2 10 3\na 2\n~ 99999999999999\n", &files).is_err());
}

#[test]
fn hostile_headers_are_refused() {
    let files = Files::from([("f", &[0_u8; 64][..])]);
    for header in [
        &b""[..],
        b"# only remarks\n",
        b"r\n",
        b"r x\n",
        b"r 1 0\nf 16\n",
        b"r 1 -5\nf 16\n",
        b"r 2\nf 16\n",
        b"r 65\n",
        b"r/99999 1\n",
        b"r/0 1\n",
        b"r 1 100 4000000000000\nf 16\n",
        b"r 1 100 2000000000\nf 16\n",
        b"r 1 100 33\nf 16\n",
        b"r 1 100 4\nf 17\n",
        b"r 1 100 4\nf 16x0\n",
        b"r 1 100 4\nf 16x9999\n",
        b"r 1 100 4\nf 16+18446744073709551616\n",
        b"r 1 100 4\nf 16+9999\n",
        b"r 1 100 4\nf 16:9999999\n",
        b"r 1 100 4\n../f 16\n",
        b"r 1 100 4\n/etc/passwd 16\n",
        b"r 1 100 4\ng 16\n",
        b"r 1 100 4\nf 16 1e99\n",
        b"r 1 100 4 99:99:99\nf 16\n",
        b"r 2 100 4\nf 16\nf 80\n",
        b"\xff\xfe",
    ] {
        assert!(
            read(header, &files).is_err(),
            "{:?}",
            String::from_utf8_lossy(header)
        );
    }
    assert_eq!(
        read(b"r 1 100 4\nf 17\n", &files).unwrap_err(),
        Error::Unsupported {
            what: "WFDB format",
            name: "17".into()
        }
    );
}

#[test]
fn annotations_keep_time_over_skips_and_fields() {
    let mut bytes = Vec::new();
    let mut word = |code: u16, low: u16| bytes.extend_from_slice(&(code << 10 | low).to_le_bytes());
    word(28, 18);
    word(63, 3);
    bytes.extend_from_slice(b"(N\0\0");
    let mut word = |code: u16, low: u16| bytes.extend_from_slice(&(code << 10 | low).to_le_bytes());
    word(1, 59);
    word(61, 2);
    word(62, 1);
    word(59, 0);
    bytes.extend_from_slice(&[1, 0, 0x70, 0x11]);
    let mut word = |code: u16, low: u16| bytes.extend_from_slice(&(code << 10 | low).to_le_bytes());
    word(5, 3);
    word(0, 0);
    let found = annotations(&bytes).unwrap();
    let seen: Vec<_> = found
        .iter()
        .map(|a| (a.sample, a.symbol(), a.subtype, a.channel, a.text.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (18, '+', 0, 0, "(N"),
            (77, 'N', 2, 1, ""),
            (77 + 0x1_1170 + 3, 'V', 0, 1, "")
        ]
    );
    assert!(found[1].is_beat() && !found[0].is_beat());
    for cut in 0..bytes.len() {
        assert!(annotations(&bytes[..cut]).is_err(), "{cut}");
    }
}

fn samples_folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ecg-wfdb");
    folder.is_dir().then_some(folder)
}

fn load(folder: &Path, record: &str) -> (Vec<u8>, BTreeMap<String, Vec<u8>>) {
    let header = std::fs::read(folder.join(format!("{record}.hea"))).unwrap();
    let beside = folder.join(record).parent().unwrap().to_owned();
    let mut files = BTreeMap::new();
    let mut wanted = Header::parse(&header).unwrap().files();
    while let Some(name) = wanted.pop() {
        let bytes = std::fs::read(beside.join(&name)).unwrap();
        if name.ends_with(".hea") {
            wanted.extend(Header::parse(&bytes).unwrap().files());
        }
        files.insert(name, bytes);
    }
    (header, files)
}

#[test]
fn real_records_equal_what_wfdb_python_reads() {
    let Some(folder) = samples_folder() else {
        println!("skipped: the ECG samples are not beside the repository");
        return;
    };
    let hex = |digest: [u8; 32]| -> String {
        digest.iter().take(16).map(|b| format!("{b:02x}")).collect()
    };
    let mut records: BTreeMap<String, Ecg> = BTreeMap::new();
    let mut compared = 0;
    for line in include_str!("vectors.txt").lines() {
        let columns: Vec<&str> = line.split(' ').collect();
        if columns[0] == "ann" {
            let bytes = std::fs::read(folder.join(format!("mitdb/{}.atr", columns[1]))).unwrap();
            let found = annotations(&bytes).unwrap();
            let row = |a: &Annotation| {
                format!(
                    "{} {} {} {} {} {}",
                    a.sample,
                    a.symbol(),
                    a.subtype,
                    a.channel,
                    a.number,
                    a.text
                )
            };
            let text = found.iter().map(row).collect::<Vec<_>>().join("\n");
            assert_eq!(
                (found.len().to_string(), hex(Sha256::digest(text).into())),
                (columns[2].into(), columns[3].into())
            );
            continue;
        }
        let ecg = records.entry(columns[0].to_owned()).or_insert_with(|| {
            let (header, files) = load(&folder, columns[0]);
            let files = files
                .iter()
                .map(|(name, bytes)| (name.as_str(), &bytes[..]))
                .collect();
            read(&header, &files).unwrap()
        });
        let lead = &ecg.leads[columns[1].parse::<usize>().unwrap()];
        let bytes: Vec<u8> = lead
            .samples
            .iter()
            .flat_map(|&s| missing_again(s, columns[0], lead))
            .collect();
        assert_eq!(lead.samples.len().to_string(), columns[2], "{line}");
        assert_eq!(Some(lead.gain), Decimal::parse(columns[3]), "{line}");
        assert_eq!(lead.baseline.to_string(), columns[4], "{line}");
        assert_eq!(hex(Sha256::digest(bytes).into()), columns[5], "{line}");
        compared += 1;
    }
    assert_eq!((records.len(), compared), (10, 52));
    let twelve = &records["ptbdb/s0010_re"];
    let stored = twelve.to_bytes();
    println!(
        "12-lead record: {} samples stored in {} bytes",
        15 * 38_400,
        stored.len()
    );
    assert_eq!(Ecg::from_bytes(&stored).as_ref(), Ok(twelve));
}

/// wfdb-python leaves missing samples as the format's lowest value: 212 in two of the records, else
/// the one that the lead is named for, or 16 bits.
fn missing_again(sample: i32, record: &str, lead: &Lead) -> [u8; 4] {
    let format = match record.split('/').next() {
        Some("mitdb" | "multi-segment") => Some("212"),
        _ => lead.name.rsplit(' ').next(),
    };
    let lowest = match format {
        Some("212") => -0x800,
        Some("310" | "311") => -0x200,
        Some("24" | "524") => -0x80_0000,
        Some("80" | "508") => -0x80,
        Some("32") => i32::MIN,
        _ => -0x8000,
    };
    if sample == Lead::NO_SAMPLE {
        lowest
    } else {
        sample
    }
    .to_le_bytes()
}

#[test]
fn a_flipped_bit_in_a_real_signal_is_named() {
    let Some(folder) = samples_folder() else {
        println!("skipped: the ECG samples are not beside the repository");
        return;
    };
    let (header, mut files) = load(&folder, "formats/binformats");
    files.get_mut("binformats.d4").unwrap()[100] ^= 0x10;
    let files = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), &bytes[..]))
        .collect();
    assert_eq!(
        read(&header, &files),
        Err(Error::Checksum {
            what: "WFDB signal",
            index: 4
        })
    );
}

proptest! {
    #[test]
    fn written_records_come_back(samples in prop::collection::vec(-32767_i32..32768, 1..200)) {
        let lead = Lead {
            name: "II".into(), unit: "mV".into(), gain: 1000.into(), baseline: -3, samples_per_frame: 1, samples,
        };
        let ecg = Ecg { frames_per_s: 360.into(), started: None, leads: vec![lead.clone(), lead], remarks: vec!["r".into()] };
        let (header, signal) = write_format_16("rec_1", &ecg).unwrap();
        prop_assert_eq!(read(header.as_bytes(), &Files::from([("rec_1.dat", &signal[..])])).unwrap(), ecg);
    }

    #[test]
    fn damaged_headers_and_random_files_never_panic(
        at in 0..60_usize, byte: u8, format in prop::sample::select(vec![8, 16, 24, 32, 61, 80, 160, 212, 310, 311, 508, 516, 524]),
        bytes: Vec<u8>, flac: bool
    ) {
        let mut header = format!("rec 2 100 9 1:2:3 4/5/2006\nf {format}x2 200(1)/mV 12 0 0 0 0 x\nf {format} 200\n").into_bytes();
        let flacs = [&b"fLaC"[..], &bytes].concat();
        let body = if flac { &flacs } else { &bytes };
        let files = Files::from([("f", &body[..]), ("rec.hea", &bytes[..])]);
        let _ = read(&header, &files);
        let at = at.min(header.len() - 1);
        header[at] = byte;
        let _ = read(&header, &files);
        let _ = read(&bytes, &files);
        let _ = annotations(&bytes);
    }
}
