//! The words of `bissl bench data`.

use std::path::PathBuf;

use clap::Args;

use super::args::Output;
use crate::measure::DataJob;

/// The arguments of `bench data`.
#[derive(Clone, Debug, Args)]
pub(super) struct BenchDataArguments {
    /// Folder of JPEG and PNG files.
    path: PathBuf,
    /// Images at most, the first ones by path.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    /// Side of the views in pixels.
    #[arg(long, value_name = "PIXELS", default_value_t = 96, value_parser = clap::value_parser!(u32).range(8..=1024))]
    size: u32,
    /// Views of each image: 1 (view A) or 2 (A and B).
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    views: u8,
    /// Passes over the images; medians are printed.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Threads.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    threads: u16,
    #[command(flatten)]
    output: Output,
}

impl BenchDataArguments {
    /// The job that they describe.
    pub(super) fn job(self) -> DataJob {
        let Self { path, images, size, views, repeats, threads, output } = self;
        let (threads, format) = (usize::from(threads), output.format());
        DataJob { path, images, size, views, repeats, threads, format }
    }
}
