//! One image, one model: probabilities, warnings, and where the network looked.

use image::{Rgb, RgbImage, Rgba, RgbaImage};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::calibration::Warning;
use crate::metrics::decide;
use crate::model::Model;
use crate::picture::Picture;
use crate::train::{Engine, Judge};

/// Share of the heat colour where the network looked most.
const OPACITY: f32 = 0.5;
/// Width and height of a heat map, pixels, at least.
const OVERLAY_PX: u32 = 256;

/// What a model says of one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The most likely class.
    pub class: String,
    /// Probability of each class in the model's order; they add up to 1.
    pub probabilities: Vec<Probability>,
    /// Why not to rely on it; empty is no promise.
    pub warnings: Vec<Warning>,
}

/// One class and how likely it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probability {
    /// The class.
    pub class: String,
    /// In 0..1.
    pub probability: f32,
}

/// A model on an engine.
#[derive(Debug)]
pub struct Predictor<'a> {
    model: &'a Model,
    judge: Judge<'a>,
}

impl<'a> Predictor<'a> {
    /// Loads a model's weights.
    pub fn new(model: &'a Model, engine: &Engine) -> Self {
        Self {
            model,
            judge: Judge::new(&model.blueprint, &model.weights, engine),
        }
    }

    /// Decodes an encoded image as this model's input.
    pub fn picture(&self, bytes: &[u8]) -> Result<Picture, Error> {
        let network = &self.model.config.network;
        Picture::decode(bytes, network.channels, network.size_px)
    }

    /// Judges an image.
    pub fn predict(&self, picture: &Picture) -> Result<Prediction, Error> {
        let network = &self.model.config.network;
        let expected = usize::from(network.channels) * usize::from(network.size_px).pow(2);
        if picture.planes.len() != expected {
            return Err(Error::Image(
                "the image does not have the model's size".into(),
            ));
        }
        let judged = self.judge.judge(&[picture.planes.as_slice()])?;
        let judged = judged
            .first()
            .ok_or_else(|| Error::Device("no result".into()))?;
        let calibration = &self.model.config.calibration;
        let probabilities = calibration.probabilities(&judged.scores);
        let named = network.classes.iter().zip(&probabilities);
        Ok(Prediction {
            class: network.classes[decide(&probabilities)].clone(),
            warnings: calibration.warnings(picture, judged, &probabilities),
            probabilities: named
                .map(|(class, p)| Probability {
                    class: class.clone(),
                    probability: *p,
                })
                .collect(),
        })
    }

    /// A PNG of the image with the regions that spoke for its most likely class (Grad-CAM, Selvaraju
    /// et al. 2017) laid over it, blue for little and red for much.
    pub fn heat_map(&self, picture: &Picture) -> Result<Vec<u8>, Error> {
        let judged = self.judge.judge(&[picture.planes.as_slice()])?;
        let class = judged.first().map_or(0, |j| decide(&j.scores));
        let attention = self.judge.attention(&picture.planes, class)?;
        let scale = OVERLAY_PX.div_ceil(picture.side as u32).max(1);
        let side = picture.side as u32 * scale;
        let plane = picture.side * picture.side;
        let overlay = RgbImage::from_fn(side, side, |x, y| {
            let at = (y / scale) as usize * picture.side + (x / scale) as usize;
            let heat = sample(
                &attention.map,
                attention.side,
                x as f32 / side as f32,
                y as f32 / side as f32,
            );
            let [r, g, b] = colour(heat);
            let share = OPACITY * heat;
            let own = |c: usize| {
                f32::from(picture.planes[at + if picture.channels == 3 { c * plane } else { 0 }])
            };
            Rgb([(0, r), (1, g), (2, b)]
                .map(|(c, heat)| (own(c) * (1.0 - share) + heat * share) as u8))
        });
        png(|out| overlay.write_to(out, image::ImageFormat::Png))
    }

    /// A PNG of those regions alone, to be laid over the image in its own size: clear where the network
    /// did not look, opaque where it looked most.
    pub fn heat_layer(&self, picture: &Picture) -> Result<Vec<u8>, Error> {
        let judged = self.judge.judge(&[picture.planes.as_slice()])?;
        let class = judged.first().map_or(0, |j| decide(&j.scores));
        let attention = self.judge.attention(&picture.planes, class)?;
        let layer = RgbaImage::from_fn(OVERLAY_PX, OVERLAY_PX, |x, y| {
            let heat = sample(
                &attention.map,
                attention.side,
                x as f32 / OVERLAY_PX as f32,
                y as f32 / OVERLAY_PX as f32,
            );
            let [r, g, b] = colour(heat).map(|c| c as u8);
            Rgba([r, g, b, (heat.clamp(0.0, 1.0) * 255.0) as u8])
        });
        png(|out| layer.write_to(out, image::ImageFormat::Png))
    }
}

fn png(
    write: impl FnOnce(&mut std::io::Cursor<Vec<u8>>) -> image::ImageResult<()>,
) -> Result<Vec<u8>, Error> {
    let mut out = std::io::Cursor::new(Vec::new());
    write(&mut out).map_err(|e| Error::Image(e.to_string()))?;
    Ok(out.into_inner())
}

/// A map at a place in 0..1, bilinear.
fn sample(map: &[f32], side: usize, x: f32, y: f32) -> f32 {
    let last = side.saturating_sub(1);
    let place = |v: f32| (v * side as f32 - 0.5).clamp(0.0, last as f32);
    let (x, y) = (place(x), place(y));
    let (x0, y0) = (x as usize, y as usize);
    let (x1, y1) = ((x0 + 1).min(last), (y0 + 1).min(last));
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let at = |x: usize, y: usize| map.get(y * side + x).copied().unwrap_or(0.0);
    let top = at(x0, y0) * (1.0 - fx) + at(x1, y0) * fx;
    let bottom = at(x0, y1) * (1.0 - fx) + at(x1, y1) * fx;
    top * (1.0 - fy) + bottom * fy
}

/// From blue through green and yellow to red, each 0..255.
fn colour(heat: f32) -> [f32; 3] {
    let ramp = |centre: f32| (1.5 - 4.0 * (heat - centre).abs()).clamp(0.0, 1.0) * 255.0;
    [ramp(0.75), ramp(0.5), ramp(0.25)]
}
