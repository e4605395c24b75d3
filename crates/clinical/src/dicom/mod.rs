//! DICOM files (PS3.10): who and what, the pixels, and ECG waveforms.
//!
//! ```text
//!   bytes ──File::open──> meta information, data set (inflated if need be)
//!         ──data_set──> elements, borrowed ──> Metadata | Pixels | Ecg
//! ```
//!
//! Transfer syntaxes: implicit and explicit little-endian, big-endian, deflated, RLE, JPEG (8-bit
//! DCT and lossless), JPEG-LS, JPEG 2000, High-Throughput JPEG 2000. What does not decode is an
//! [`Error::Unsupported`] that names the transfer syntax, or an error of the codec.

mod charset;
mod codestream;
mod element;
mod jpeg_ls;
mod pixels;
mod rle;
mod waveform;

use self::charset::Charset;
use self::element::{DataSet, File, PIXEL_DATA, Tag};
use crate::Result;
use crate::ecg::Ecg;

/// Bounds on one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest file, in bytes, also after inflating.
    pub bytes: usize,
    /// Most memory for the decoded pixels of all frames, in bytes.
    pub decoded_bytes: usize,
}

impl Default for Limits {
    /// 1 GiB of file, 1 GiB of pixels: a long CT series in one enhanced object.
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            decoded_bytes: 1 << 30,
        }
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Pixel data.
    Image,
    /// Waveforms, for example an ECG.
    Waveform,
    /// A structured report.
    Report,
    /// The directory of a set of files.
    Directory,
    /// Anything else, for example a radiotherapy plan.
    Other,
}

/// What the file says about its patient and itself. Its `Debug` shows no patient data.
#[derive(Clone, PartialEq, Eq)]
pub struct Metadata {
    /// What it holds.
    pub content: Content,
    /// UID of the transfer syntax.
    pub transfer_syntax: String,
    /// UID of the SOP class.
    pub sop_class: Option<String>,
    /// UID of the object.
    pub sop_instance: Option<String>,
    /// UID of the study.
    pub study: Option<String>,
    /// UID of the series.
    pub series: Option<String>,
    /// `Family^Given^…`, further writings after `=`.
    pub patient_name: Option<String>,
    /// Patient ID.
    pub patient_id: Option<String>,
    /// `YYYYMMDD`.
    pub patient_birth_date: Option<String>,
    /// `M`, `F` or `O`.
    pub patient_sex: Option<String>,
    /// For example `CT`.
    pub modality: Option<String>,
    /// For example `CHEST`.
    pub body_part: Option<String>,
    /// `YYYYMMDD`.
    pub study_date: Option<String>,
    /// Study description.
    pub description: Option<String>,
    /// Rows of the image.
    pub rows: Option<u16>,
    /// Columns of the image.
    pub columns: Option<u16>,
    /// Frames of the image.
    pub frames: Option<u32>,
    /// Records of a directory.
    pub directory_records: usize,
}

impl core::fmt::Debug for Metadata {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Metadata")
            .field("content", &self.content)
            .field("transfer_syntax", &self.transfer_syntax)
            .finish_non_exhaustive()
    }
}

/// Decoded frames. Its `Debug` shows no samples.
#[derive(Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Rows of a frame.
    pub rows: u16,
    /// Columns of a frame.
    pub columns: u16,
    /// Number of frames.
    pub frames: u32,
    /// 1, or 3 for colour.
    pub samples_per_pixel: u8,
    /// Bits of a sample in `data`: 8, 16 or 32.
    pub bits_allocated: u8,
    /// Bits that count.
    pub bits_stored: u8,
    /// Whether samples are two's complement.
    pub signed: bool,
    /// Photometric interpretation of `data`: `MONOCHROME1` (low is bright), `MONOCHROME2`, `RGB`,
    /// `PALETTE COLOR` (indices), ...
    pub photometric: String,
    /// Frames, rows, columns, samples; little-endian.
    pub data: Vec<u8>,
}

impl core::fmt::Debug for Pixels {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pixels")
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

/// Reads what a file says about itself; every element of it is walked, so a cut or broken file is an
/// error here too.
pub fn inspect(bytes: &[u8], limits: &Limits) -> Result<Metadata> {
    let file = File::open(bytes, limits.bytes)?;
    let set = file.data_set()?;
    let charset = charset(&set)?;
    let name = |tag: Tag| {
        let text = charset.decode(set.bytes(tag)?);
        // Empty writings at the end of a name say nothing.
        let text = text.trim_matches([' ', '\0']).trim_end_matches('=');
        (!text.is_empty()).then(|| text.to_owned())
    };
    let records = set.items((0x0004, 0x1220)).len();
    let modality = set.text((0x0008, 0x0060));
    let sop_class = set.text((0x0008, 0x0016)).or(file.class.clone());
    let content = if set.get(PIXEL_DATA).is_some() {
        Content::Image
    } else if !set.items((0x5400, 0x0100)).is_empty() {
        Content::Waveform
    } else if sop_class.as_deref() == Some("1.2.840.10008.1.3.10") {
        Content::Directory
    } else if modality.as_deref() == Some("SR") {
        Content::Report
    } else {
        Content::Other
    };
    Ok(Metadata {
        content,
        transfer_syntax: file.syntax.clone(),
        sop_class,
        sop_instance: set.text((0x0008, 0x0018)),
        study: set.text((0x0020, 0x000d)),
        series: set.text((0x0020, 0x000e)),
        patient_name: name((0x0010, 0x0010)),
        patient_id: name((0x0010, 0x0020)),
        patient_birth_date: set.text((0x0010, 0x0030)),
        patient_sex: set.text((0x0010, 0x0040)),
        modality,
        body_part: set.text((0x0018, 0x0015)),
        study_date: set.text((0x0008, 0x0020)),
        description: name((0x0008, 0x1030)),
        rows: set.u16((0x0028, 0x0010)),
        columns: set.u16((0x0028, 0x0011)),
        frames: set.number((0x0028, 0x0008)),
        directory_records: records,
    })
}

/// Decodes all frames.
pub fn pixels(bytes: &[u8], limits: &Limits) -> Result<Pixels> {
    let file = File::open(bytes, limits.bytes)?;
    pixels::read(&file.data_set()?, &file.syntax, limits)
}

/// Reads the waveforms, one [`Ecg`] for each multiplex group; none if the file has none.
pub fn waveforms(bytes: &[u8], limits: &Limits) -> Result<Vec<Ecg>> {
    let file = File::open(bytes, limits.bytes)?;
    let set = file.data_set()?;
    waveform::read(&set, &charset(&set)?)
}

fn charset(set: &DataSet<'_>) -> Result<Charset> {
    let declared = set
        .bytes((0x0008, 0x0005))
        .and_then(|b| core::str::from_utf8(b).ok());
    Charset::declared(declared.map(|d| d.trim_matches(['\0', ' '])))
}

#[cfg(test)]
mod tests;
