//! `bissl export --to firmware`: a pretrained encoder as a flash image.

use std::path::Path;

use crate::error::{Place, Result, fail};

use super::flash_image::{FlashImage, InputChannel};
use crate::config::{Family, RunConfig};
use crate::data::{Channels, DEVIATION, MEAN};
use crate::model::{architecture, networks, pretext};
use crate::run::{NamedTensor, Origin, write_atomic};
use crate::stage::images::kept_channels;
use crate::stage::origin::{Pretrained, Stored};
use crate::text::shown;

/// Of a pixel, whose stored integer is 0 to 255 and whose physical value is 0 to 1.
const PIXEL_PER_UNIT: f32 = 255.0;

/// Writes encoder, pretext head and the inputs' normalisation. Returns a line about it.
///
/// # Errors
/// The network is not one of layers, or its method has a predictor; there is no valid checkpoint
/// with both networks; the file cannot be written.
pub(super) fn export(from: &Origin, out: &Path) -> Result<String> {
    let config: RunConfig = from.config()?;
    if config.network.architecture != Family::Layers {
        fail!(
            "network.architecture is {}, expected layers: a device has no batch norm",
            config.network.architecture
        );
    }
    if pretext(&config).target_decay().is_some() {
        fail!(
            "pretext.method is {}, expected one without a target network: a device has none",
            config.pretext.method
        );
    }
    let stored = Stored::open(from, &config)?;
    let (name, path) = (architecture(&config), &stored.path);
    let Pretrained { backbone: encoder, head: projector } =
        stored.pretrained(&networks(&config, 1))?;
    let channels = channels(&config, stored.tensors()).at_with(|| shown(path).to_string())?;
    let (layers, widths) = (&config.network.layers, &config.network.projector);
    let image = FlashImage::new(
        (layers, config.input()),
        channels,
        &encoder.parameters,
        widths,
        &projector.parameters,
    );
    let bytes = image.to_bytes();
    write_atomic(out, &bytes)?;
    let (length, weights, from) = (bytes.len(), image.weights(), shown(path));
    Ok(format!("{}: {name}, {weights} weights, {length} bytes of {from}\n", shown(&out)))
}

fn channels(config: &RunConfig, tensors: &[NamedTensor]) -> Result<Vec<InputChannel>> {
    let channel = |(scale, offset, per_unit): (f32, f32, f32)| {
        let scale = (f64::from(scale) / f64::from(per_unit)) as f32;
        InputChannel { scale, offset, per_unit }
    };
    if !config.windows() {
        let normalised = MEAN.iter().zip(DEVIATION);
        let pixel = |(mean, deviation): (&f32, f32)| {
            channel((1.0 / deviation, -mean / deviation, PIXEL_PER_UNIT))
        };
        return Ok(normalised.map(pixel).collect());
    }
    let Some(Channels { scale, offset, per_unit }) = kept_channels(tensors) else {
        fail!("it holds no normalisation of its channels, expected that of a run on windows");
    };
    let parts = scale.into_iter().zip(offset).zip(per_unit);
    Ok(parts.map(|((scale, offset), per_unit)| channel((scale, offset, per_unit))).collect())
}
