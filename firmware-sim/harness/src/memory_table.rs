//! The subcommand `memory`.

use bissl_firmware::{
    Configuration, ConvolutionalDigitsDevice, DigitsDevice, LargeDigitsDevice, Model, Plan,
    Program, SmallDigitsDevice, WatchDevice, parameters,
};
use clap::Args;
use serde::Serialize;

/// Each device of the firmware library, and the one for digits with other batches, solvers and
/// products: trained parameters and those in flash, batches, and the bytes of the whole state.
#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    trained: usize,
    in_flash: usize,
    views: u16,
    product_views: u16,
    downstream_batch: u16,
    kept_vectors: u8,
    bytes: usize,
}

/// Bytes of a program apart from its array of floats.
fn rest() -> usize {
    Program::<DigitsDevice>::BYTES - 4 * DigitsDevice::PLAN.floats
}

fn row(name: &'static str, model: &Model) -> Row {
    Row {
        name,
        trained: model.trained_parameters(),
        in_flash: parameters(model.in_flash()),
        views: 2 * model.pretext_batch,
        product_views: 2 * model.product_batch,
        downstream_batch: model.downstream_batch,
        kept_vectors: model.basis + model.basis_products,
        bytes: 4 * Plan::new(model).floats + rest(),
    }
}

impl Memory {
    /// Runs the subcommand; returns the text for standard output.
    pub(crate) fn run(&self) -> anyhow::Result<String> {
        let digits = DigitsDevice::MODEL;
        let rows = [
            row("small-digits, cg", &SmallDigitsDevice::MODEL),
            row("digits, cg", &digits),
            row("large-digits, cg", &LargeDigitsDevice::MODEL),
            row("convolutional-digits, cg", &ConvolutionalDigitsDevice::MODEL),
            row("watch, cg", &WatchDevice::MODEL),
            row(
                "digits, recycled-cg, 4 directions",
                &Model { basis: 4, basis_products: 4, ..digits },
            ),
            row("digits, mfac, 4 gradients", &Model { basis: 4, ..digits }),
            row("digits, products on 4 frames", &Model { product_batch: 4, ..digits }),
            row(
                "digits, pretext batch of 4",
                &Model { pretext_batch: 4, product_batch: 4, ..digits },
            ),
            row("digits, nothing shared", &Model { shared: false, ..digits }),
        ];
        if self.json {
            return Ok(format!("{}\n", serde_json::to_string(&rows)?));
        }
        let mut text = format!(
            "{:<36} {:>8} {:>9} {:>6} {:>14} {:>11} {:>6} {:>8}\n",
            "device, solver",
            "trained",
            "in flash",
            "views",
            "product views",
            "downstream",
            "kept",
            "bytes"
        );
        for row in &rows {
            text += &format!(
                "{:<36} {:>8} {:>9} {:>6} {:>14} {:>11} {:>6} {:>8}\n",
                row.name,
                row.trained,
                row.in_flash,
                row.views,
                row.product_views,
                row.downstream_batch,
                row.kept_vectors,
                row.bytes
            );
        }
        Ok(text)
    }
}
