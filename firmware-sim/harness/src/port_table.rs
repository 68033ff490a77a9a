//! The subcommands `ports` and `conformance`.

use std::io::Write;

use bissl_core::conformance;
use bissl_firmware::Blocked;
use bissl_firmware::{Lengths, Settings};
use bissl_firmware_sim::{
    BITS, Digits, FixedPoint, HypergradientError, Outcome, PortReport, check_laws, port_report,
};
use clap::{Args, value_parser};

/// For each width, the device is trained on the digits along both paths with matrix products of
/// block floating point, and its hypergradients are held against those of f32 in the same states,
/// after pretraining and warm-up in f32: relative distances of the whole hypergradient and of its
/// second-order correction alone. The last line of each width has the mean accuracies, and of the
/// other figures the root of the mean square.
#[derive(Debug, Args)]
pub(crate) struct Ports {
    /// Bits of an operand of a matrix product, its sign included
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [16, 12, 8])]
    #[arg(value_parser = value_parser!(u8).range(i64::from(*BITS.start())..=i64::from(*BITS.end())))]
    bits: Vec<u8>,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seeds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u64).range(1..))]
    count: u64,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

impl Ports {
    /// Runs the subcommand; returns the text for standard output.
    pub(crate) fn run(&self) -> anyhow::Result<String> {
        let settings = (self.seed..=self.seed.saturating_add(self.count - 1))
            .map(|seed| Settings::new(seed, Lengths::default()))
            .collect::<Result<Vec<_>, _>>()?;
        let reports = port_report(&Digits::embedded(), &self.bits, &settings)?;
        Ok(if self.json {
            format!("{}\n", serde_json::to_string(&reports)?)
        } else {
            text(&reports)
        })
    }
}

/// The lines that the image `conformance` of the boards prints of its kernels. A law that does not
/// hold ends the command with a failure; one that is unsupported was not measured.
#[derive(Debug, Args)]
pub(crate) struct Conformance {
    /// Check matrix products of so many bits an operand instead of the boards' f32 loops
    #[arg(long, value_name = "N")]
    #[arg(value_parser = value_parser!(u8).range(i64::from(*BITS.start())..=i64::from(*BITS.end())))]
    bits: Option<u8>,
    /// The most that identities may be off, relative
    #[arg(long, value_name = "X", default_value_t = conformance::Settings::DEFAULT.rounding)]
    rounding: f32,
    /// The most that a product may be off a difference of gradients, relative
    #[arg(long, value_name = "X", default_value_t = conformance::Settings::DEFAULT.product_differences)]
    product_differences: f32,
    /// The most that a gradient may be off a difference of losses, relative
    #[arg(long, value_name = "X", default_value_t = conformance::Settings::DEFAULT.loss_differences)]
    loss_differences: f32,
}

impl Conformance {
    /// Writes each line as soon as it is known; nothing is left for the caller to print.
    pub(crate) fn run(&self) -> anyhow::Result<String> {
        let Self { bits, rounding, product_differences, loss_differences } = *self;
        let tolerances = conformance::Settings {
            rounding,
            product_differences,
            loss_differences,
            ..conformance::Settings::DEFAULT
        };
        let digits = Digits::embedded();
        let print = |line: std::fmt::Arguments<'_>| {
            // The verdict does not depend on whether somebody reads the lines.
            let _ = writeln!(std::io::stdout(), "{line}");
        };
        let summary = match bits {
            None => check_laws(&digits, ("blocked", &mut Blocked), tolerances, print),
            Some(bits) => {
                let name = format!("fixed-point-{bits}");
                check_laws(&digits, (&name, &mut FixedPoint::new(bits)?), tolerances, print)
            }
        }?;
        if summary.broken > 0 {
            anyhow::bail!("{summary}");
        }
        Ok(String::new())
    }
}

fn text(reports: &[PortReport]) -> String {
    let mut text = format!(
        "{:<10} {:>5} {:>8} {:>8} {:>13} {:>13} {:>9} {:>9}\n",
        "operands",
        "seed",
        "aligned",
        "straight",
        "error of G",
        "of correction",
        "its share",
        "products"
    );
    for report in reports {
        let name = report.bits.map_or("f32".to_owned(), |bits| format!("{bits} bits"));
        for seed in &report.seeds {
            let [aligned, straight] =
                [seed.accuracies.aligned, seed.accuracies.conventional].map(|path| path.accuracy());
            text += &format!("{name:<10} {:>5} {aligned:>8.3} {straight:>8.3}", seed.seed);
            text += &match &seed.hypergradient {
                Some(error) => columns(error),
                None => "\n".to_owned(),
            };
        }
        text += &format!("{name:<10} {:>5} {}", "mean", means(report));
    }
    text
}

fn columns(error: &HypergradientError) -> String {
    let HypergradientError { whole, correction, share, products_exact, products } = error;
    let products = format!("{products}/{products_exact}");
    format!(" {whole:>13.2e} {correction:>13.2e} {share:>9.4} {products:>9}\n")
}

/// Means over the seeds; root mean squares for the errors.
fn means(report: &PortReport) -> String {
    let count = report.seeds.len() as f64;
    let accuracy = |path: fn(&bissl_firmware_sim::PortSeed) -> Outcome| {
        report.seeds.iter().map(|seed| path(seed).accuracy()).sum::<f64>() / count
    };
    let (aligned, straight) =
        (accuracy(|seed| seed.accuracies.aligned), accuracy(|seed| seed.accuracies.conventional));
    let mut line = format!("{aligned:>8.3} {straight:>8.3}");
    let errors: Vec<_> = report.seeds.iter().filter_map(|seed| seed.hypergradient).collect();
    if !errors.is_empty() {
        let rms = |of: fn(&HypergradientError) -> f32| {
            let squares = errors.iter().map(|error| f64::from(of(error)).powi(2));
            (squares.sum::<f64>() / errors.len() as f64).sqrt()
        };
        let (whole, correction, share) =
            (rms(|error| error.whole), rms(|error| error.correction), rms(|error| error.share));
        line += &format!(" {whole:>13.2e} {correction:>13.2e} {share:>9.4}");
    }
    line + "\n"
}
