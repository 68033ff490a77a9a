//! The words of `bissl bench data` and `bissl data check`, and what the latter prints.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::error::{Error, Place, Result};
use clap::Args;

use super::words::{Output, named};
use crate::bench::DataJob;
use crate::data::{
    self, CheckFailed, CheckReport, Corpus, Dataset, Embedded, Format, ImageSettings, Same,
};
use crate::progress::{Progress, Verbosity};
use crate::report::{self, Table};
use crate::text::shown;

/// The arguments of `bench data`.
#[derive(Clone, Debug, Args)]
pub(super) struct BenchDataArguments {
    /// Folder of images.
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
    /// The job that they describe, and how its result is printed.
    pub(super) fn job(self) -> (DataJob, report::Format) {
        let Self { path, images, size, views, repeats, threads, output } = self;
        let threads = usize::from(threads);
        (DataJob { path, images, size, views, repeats, threads }, output.format())
    }
}

/// The arguments of `data check`.
#[derive(Clone, Debug, Args)]
pub(super) struct CheckArguments {
    /// Folder or split file of a data set, or embedded:twemoji, embedded:noto-emoji.
    path: PathBuf,
    /// What lies there.
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = named::<Format>(Format::IMAGES))]
    format: Format,
    /// Most pixels of an image; a larger one counts as broken.
    #[arg(long, value_name = "N", default_value_t = ImageSettings::default().pixels_max, value_parser = clap::value_parser!(u64).range(1..=268_435_456))]
    pixels_max: u64,
    /// Threads; 0 = one for each core.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=4096))]
    threads: u16,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    output: Output,
}

/// Looks at every image; what is to be printed, and whether the set is fit to be trained on.
///
/// # Errors
/// Nothing that can be listed lies there; the system has no threads left.
pub(super) fn check(arguments: &CheckArguments) -> Result<(String, Result<(), CheckFailed>)> {
    let CheckArguments { path, format, pixels_max, threads, quiet, output } = arguments;
    let set = match path.to_str() {
        Some("embedded:twemoji") => Dataset::embedded(Embedded::Twemoji),
        Some("embedded:noto-emoji") => Dataset::embedded(Embedded::NotoEmoji),
        _ => Dataset::open(path, *format, Corpus::All),
    }?;
    let settings = ImageSettings { pixels_max: *pixels_max, ..ImageSettings::default() };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(usize::from(*threads))
        .build()
        .map_err(Error::failed)
        .at("cannot start the threads of --threads")?;
    let verbosity = if *quiet { Verbosity::Quiet } else { Verbosity::Progress };
    let mut progress = Progress::new("data check", set.len().into(), 0, verbosity);
    let report = pool.install(|| {
        data::check(&set, &settings, |more| (0..more).for_each(|_| progress.step(None)))
    });
    progress.finish();
    let text = match output.format() {
        report::Format::Json => report::json_text(&report)?,
        report::Format::Text => text(&report),
    };
    Ok((text, report.verdict()))
}

/// How many broken images, and how many groups of the same pictures, are shown.
const SHOWN: usize = 20;

fn text(report: &CheckReport) -> String {
    let CheckReport { name, images, broken, classes, unlabelled, .. } = report;
    let mut text = format!(
        "{}: {images} images, {} broken, {} classes",
        shown(name),
        broken.len(),
        classes.len()
    );
    if *unlabelled > 0 {
        let _ = write!(text, ", {unlabelled} without a label");
    }
    text += "\n\n";
    let parts: Vec<&str> = report.parts.keys().copied().collect();
    let heading = |part: &&str| if *part == "none" { "no part" } else { part }.to_owned();
    let headings = ["class".to_owned(), "images".to_owned()].into_iter();
    let mut table = Table::new(headings.chain(parts.iter().map(heading)));
    for class in classes {
        let count = |part: &&str| class.parts.get(part).copied().unwrap_or(0).to_string();
        let cells = [class.class.clone(), class.images.to_string()].into_iter();
        table.row(cells.chain(parts.iter().map(count)));
    }
    let total: u32 = report.parts.values().sum();
    let cells = ["all that decode".to_owned(), total.to_string()].into_iter();
    table.row(cells.chain(report.parts.values().map(u32::to_string)));
    let _ = writeln!(text, "{table}");
    if let Some(imbalance) = report.imbalance {
        let _ = writeln!(text, "largest class over smallest: {imbalance:.2}\n");
    }
    if let (Some(width), Some(height)) = (report.width, report.height) {
        let mut table = Table::new(["pixels", "least", "median", "most"]);
        for (name, range) in [("width", width), ("height", height)] {
            let range = [range.least, range.median, range.most].map(|value| value.to_string());
            table.row([name.to_owned()].into_iter().chain(range));
        }
        let _ = writeln!(text, "{table}");
    }
    let mut table = Table::new(["stored as", "images"]);
    for (kind, images) in &report.stored {
        table.row([(*kind).to_owned(), images.to_string()]);
    }
    let _ = writeln!(text, "{table}");
    let broken: Vec<String> = broken.iter().map(ToString::to_string).collect();
    list(&mut text, "broken images", &broken);
    for line in report.overlooked.lines() {
        text += &line;
        text.push('\n');
    }
    let chosen = |choose: fn(&Same) -> bool| -> Vec<String> {
        let same = report.same.iter().filter(|same| choose(same));
        let named = |same: &Same| {
            same.images.iter().map(|image| shown(image).to_string()).collect::<Vec<_>>().join(" = ")
        };
        same.map(named).collect()
    };
    list(&mut text, "pictures in more than one part", &chosen(|same| same.leaks));
    list(&mut text, "same pictures with different labels", &chosen(|same| same.labels_differ));
    let others = chosen(|same| !same.leaks && !same.labels_differ);
    list(&mut text, "other pictures that are there more than once", &others);
    text
}

/// A number and the first few, each on a line of its own.
fn list(text: &mut String, what: &str, lines: &[String]) {
    let _ = writeln!(text, "{what}: {}", lines.len());
    for line in lines.iter().take(SHOWN) {
        let _ = writeln!(text, "  {line}");
    }
    if lines.len() > SHOWN {
        let _ = writeln!(text, "  and {} more; --json lists all", lines.len() - SHOWN);
    }
}
