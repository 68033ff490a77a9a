//! The subcommand `decode-log`.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bissl_firmware_sim::decode_log;
use clap::Args;

/// An image that is built with its feature `log` writes frames of defmt to standard output; only
/// the image itself knows their text. Prints one line a record.
#[derive(Debug, Args)]
pub(crate) struct DecodeLog {
    /// The ELF file whose run left the frames
    #[arg(long, value_name = "ELF")]
    image: PathBuf,
    /// The frames; `-`, which is the default, for standard input
    #[arg(default_value = "-")]
    frames: PathBuf,
}

impl DecodeLog {
    /// Runs the subcommand; returns the text for standard output.
    pub(crate) fn run(&self) -> anyhow::Result<String> {
        let image = read(&self.image)?;
        let frames = if self.frames == Path::new("-") {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut bytes);
            read.context("cannot read standard input")?;
            bytes
        } else {
            read(&self.frames)?
        };
        decode_log(&image, &frames).with_context(|| {
            format!("frames {} of image {}", self.frames.display(), self.image.display())
        })
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
