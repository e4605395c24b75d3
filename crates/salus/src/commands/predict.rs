//! `salus predict`: what a trained model says of images, where the images are.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use salus_imaging::model::Model;
use salus_imaging::predict::{Prediction, Predictor};
use salus_imaging::train::Engine;
use serde::Serialize;

use crate::output::{Exit, Output};

/// Largest image file that is read, bytes.
const IMAGE_LIMIT_BYTES: u64 = salus_imaging::picture::FILE_LIMIT_BYTES;

/// Judge images with a trained model.
///
/// Decision support for research; not a medical device. Input unlike the training images gets a
/// warning.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  salus predict --model runs/federated film.png --json --heatmap film-heat.png")]
pub(crate) struct Arguments {
    /// The folder that `salus federated` wrote: model.safetensors and config.json.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// PNG, JPEG or DICOM images.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,

    /// Write the image with the regions that mattered (Grad-CAM): a PNG for one image, a folder for
    /// several.
    #[arg(long, value_name = "OUT")]
    heatmap: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Line {
    image: String,
    #[serde(flatten)]
    prediction: Prediction,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let model = Model::open(&arguments.model)
        .with_context(|| format!("cannot open the model in {}", arguments.model.display()))?;
    let predictor = Predictor::new(&model, &Engine::cpu());
    for image in &arguments.images {
        let name = image.display().to_string();
        let bytes = read(image)?;
        let picture = predictor
            .picture(&bytes)
            .with_context(|| format!("cannot read {name}"))?;
        let prediction = predictor.predict(&picture)?;
        if let Some(target) = &arguments.heatmap {
            let target = heat_map_path(target, image, arguments.images.len() > 1)?;
            std::fs::write(&target, predictor.heat_map(&picture)?)
                .with_context(|| format!("cannot write {}", target.display()))?;
        }
        output.report(
            &Line {
                image: name,
                prediction,
            },
            words,
        )?;
    }
    Ok(Exit::Done)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let named = || format!("cannot read {}", path.display());
    let length = std::fs::metadata(path).with_context(named)?.len();
    anyhow::ensure!(
        length <= IMAGE_LIMIT_BYTES,
        "{} is larger than {IMAGE_LIMIT_BYTES} bytes",
        path.display()
    );
    std::fs::read(path).with_context(named)
}

fn heat_map_path(target: &Path, image: &Path, several: bool) -> anyhow::Result<PathBuf> {
    if !several {
        return Ok(target.to_path_buf());
    }
    std::fs::create_dir_all(target)
        .with_context(|| format!("cannot make the folder {}", target.display()))?;
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    Ok(target.join(format!("{stem}-heat.png")))
}

fn words(line: &Line) -> String {
    let each = line.prediction.probabilities.iter();
    let each: Vec<String> = each
        .map(|p| format!("{} {:.1} %", p.class, p.probability * 100.0))
        .collect();
    let mut text = format!(
        "{}: {} ({})",
        line.image,
        line.prediction.class,
        each.join(", ")
    );
    for warning in &line.prediction.warnings {
        text.push_str(&format!("\n  warning: {}", explain(*warning)));
    }
    text
}

fn explain(warning: salus_imaging::calibration::Warning) -> &'static str {
    use salus_imaging::calibration::Warning;
    match warning {
        Warning::Uncalibrated => "the probabilities are not calibrated",
        Warning::WrongModality => {
            "this does not look like the kind of picture the model was trained on"
        }
        Warning::OutOfDistribution => "the model has seen nothing like this image",
        Warning::Unsure => "the model is not sure",
    }
}
