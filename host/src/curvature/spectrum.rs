//! `spectrum`: the ends of the pretext loss's curvature along a run's checkpoints.
//!
//! The operator is that of the bilevel stage: the backbone block on one pretext batch in training
//! mode, without λ and δ. The batch is the stage's first product batch. The report also has λ + δ:
//! the ratio of the largest eigenvalue to it decides how many products a solve needs, and its sum
//! with the smallest eigenvalue decides whether the system is definite.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Place, Result, fail};
use bissl_core::Stream;
use num_traits::Float;
use serde::Serialize;

use super::lanczos::{Growth, Lanczos, Ritz, Symmetric};
use crate::backend::{Work, dispatch};
use crate::config::RunConfig;
use crate::data::{TwoViews, streams};
use crate::driver::{Networks, upload, upload_inputs};
use crate::kernels::{Kernels, Real, Tensor};
use crate::model::{architecture, method, networks};
use crate::network::{Curvature, Linearization, TowerParameters};
use crate::progress::{Interrupt, Progress, Verbosity, warn};
use crate::report::{Chart, Series, Table};
use crate::run::Origin;
use crate::stage::images::{Images, Needs};
use crate::stage::origin::{Pretrained, Stored};
use crate::stage::record::Known;
use crate::stage::tensors::Weights;
use crate::text::shown;

/// The checkpoints of a run to analyse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointSelection {
    /// Every valid checkpoint with a pretext network, oldest first.
    All,
    /// The newest of these.
    Last,
}

/// The job of `spectrum`.
#[derive(Debug)]
pub struct SpectrumJob {
    /// The run or one of its checkpoints.
    pub origin: Origin,
    /// The checkpoints to analyse.
    pub checkpoints: CheckpointSelection,
    /// Number of eigenvalues at each end, at least 1.
    pub eigenvalues: usize,
    /// Products per checkpoint, at least twice `eigenvalues`. The memory is this many vectors of
    /// the backbone's length.
    pub iterations: usize,
    /// The curvature operator.
    pub curvature: Curvature,
    /// The run's settings. The batch has `align.product_batch` images.
    pub config: RunConfig,
    /// How much is shown during the computation.
    pub verbosity: Verbosity,
    /// Checked between products.
    pub interrupt: Interrupt,
}

/// An eigenvalue estimate with its error bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Eigenvalue {
    /// Estimate of Lanczos' method.
    pub value: f64,
    /// Upper bound of the distance between `value` and the nearest eigenvalue, up to the rounding
    /// of the products.
    pub bound: f64,
}

impl From<Ritz> for Eigenvalue {
    fn from(Ritz { value, bound }: Ritz) -> Self {
        Self { value, bound }
    }
}

/// The ends of the spectrum at one checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckpointSpectrum {
    /// Stage of the checkpoint.
    pub stage: String,
    /// Completed steps of the stage.
    pub step: u64,
    /// L^P on the batch, nats.
    pub loss: f64,
    /// Number of products; fewer than requested if more could not add information.
    pub products: usize,
    /// Largest first.
    pub largest: Vec<Eigenvalue>,
    /// Smallest first; a negative one makes the operator indefinite.
    pub smallest: Vec<Eigenvalue>,
}

/// The report that `spectrum` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpectrumReport {
    /// The run.
    pub run: String,
    /// Backbone, width, stem and projector.
    pub network: String,
    /// Name of the backend.
    pub backend: String,
    /// `hessian` or `gauss-newton`.
    pub curvature: String,
    /// Images, two views each.
    pub batch: usize,
    /// Width and height of the images in pixels.
    pub size: usize,
    /// Seed of the batch and of the start vector.
    pub seed: u64,
    /// Number of the backbone's parameters.
    pub parameters: usize,
    /// λ of the run's bilevel stage.
    pub proximity: f32,
    /// δ of the run's bilevel stage.
    pub damping: f32,
    /// Oldest first.
    pub checkpoints: Vec<CheckpointSpectrum>,
}

/// Computes the spectra; `None` after an interruption.
///
/// # Errors
/// Data or checkpoints cannot be read, no checkpoint has a pretext network, or a product is not
/// finite.
pub fn spectrum(job: SpectrumJob) -> Result<Option<SpectrumReport>> {
    dispatch(job.config.backend, job)?
}

/// A checkpoint's pretext network.
struct Pretext {
    stage: String,
    step: u64,
    online: Pretrained,
    /// Backbone and projector of the target network, if the method has one.
    target: Option<(Weights, Weights)>,
}

impl Pretext {
    /// `None` for a checkpoint from a stage without a pretext network.
    fn read(path: &Path, config: &RunConfig, networks: &Networks) -> Result<Option<Self>> {
        let stored = Stored::read(path.to_owned(), config)?;
        let Some(online) = stored.pretext(networks)? else { return Ok(None) };
        let target = stored.target(networks)?;
        if networks.target_head.is_some() && target.is_none() {
            fail!("{}: found no target network, expected one with θ_P", shown(path));
        }
        let (stage, step) = stored.position();
        Ok(Some(Self { stage: stage.to_owned(), step, online, target }))
    }
}

/// The folders of the checkpoints, oldest first.
fn paths(origin: &Origin) -> Result<Vec<PathBuf>> {
    if let Origin::Checkpoint(path) = origin {
        return Ok(vec![path.clone()]);
    }
    let (mut entries, damaged) = origin.checkpoints().entries()?;
    for error in damaged {
        warn(&format!("warning: {error}"));
    }
    entries.reverse();
    Ok(entries.into_iter().map(|entry| entry.path).collect())
}

/// The pretext networks of a run, oldest first. Skips a damaged checkpoint with a warning.
fn pretexts(job: &SpectrumJob, networks: &Networks) -> Result<Vec<Pretext>> {
    let mut paths = paths(&job.origin)?;
    if job.checkpoints == CheckpointSelection::Last {
        paths.reverse();
    }
    let mut found = Vec::new();
    for path in &paths {
        match Pretext::read(path, &job.config, networks) {
            Ok(pretext) => found.extend(pretext),
            Err(error) if paths.len() > 1 => warn(&format!("warning: {error}")),
            Err(error) => return Err(error),
        }
        if job.checkpoints == CheckpointSelection::Last && !found.is_empty() {
            break;
        }
    }
    if found.is_empty() {
        fail!(
            "{}: found {} checkpoints, expected one with a backbone and its projector, \
             of stage pretrain or align",
            run_name(&job.origin),
            paths.len()
        );
    }
    Ok(found)
}

fn run_name(origin: &Origin) -> String {
    match origin {
        Origin::Run(path) | Origin::Checkpoint(path) => shown(path).to_string(),
    }
}

impl Work for SpectrumJob {
    type Output = Result<Option<SpectrumReport>>;

    fn run<B: Kernels>(self, device: B::Device) -> Result<Option<SpectrumReport>> {
        let (config, align) = (&self.config, &self.config.align);
        let networks = networks(config, 1);
        let pretexts = pretexts(&self, &networks)?;
        let images = Images::load(config, Needs::Pretext, &[], &Known::default())?;
        images.warnings.iter().for_each(|warning| warn(warning));
        let domains = (streams::ALIGN_PRODUCT_ORDER, streams::ALIGN_PRODUCT_VIEW);
        let batch = align.product_batch();
        let views = images.pretext_batches(batch, config.seed, domains)?.make(0)?;
        let total = (pretexts.len() * self.iterations) as u64;
        let mut progress = Progress::new("spectrum", total, 0, self.verbosity);
        let mut checkpoints = Vec::new();
        for pretext in &pretexts {
            match self.ends::<B>(&networks, pretext, &views, &mut progress, &device)? {
                Some(ends) => checkpoints.push(ends),
                None => {
                    progress.finish();
                    return Ok(None);
                }
            }
        }
        progress.finish();
        Ok(Some(SpectrumReport {
            run: run_name(&self.origin),
            network: architecture(config),
            backend: config.backend.name().to_owned(),
            curvature: self.curvature.name().to_owned(),
            batch,
            size: config.image.size,
            seed: config.seed,
            parameters: networks.backbone.parameters().len(),
            proximity: align.proximity,
            damping: align.damping,
            checkpoints,
        }))
    }
}

impl SpectrumJob {
    /// The spectrum at one checkpoint; `None` after an interruption.
    fn ends<B: Kernels>(
        &self,
        networks: &Networks,
        at: &Pretext,
        views: &TwoViews,
        progress: &mut Progress,
        device: &B::Device,
    ) -> Result<Option<CheckpointSpectrum>> {
        let flat = |values: &[f32]| upload::<B, 1>(values.to_vec(), [values.len()], device);
        let TwoViews { views, batch, shape } = views.clone();
        let views = upload_inputs::<B, 2>(views, batch, shape, device).to_vec();
        let both = |backbone: &Weights, head: &Weights| TowerParameters {
            backbone: flat(&backbone.parameters),
            head: flat(&head.parameters),
        };
        let tower = networks.pretext_tower();
        let parameters = both(&at.online.backbone, &at.online.head);
        let target = at.target.as_ref().map(|(backbone, head)| both(backbone, head));
        let loss = method::<B>(&self.config)
            .loss_beside(networks.target_tower().zip(target.as_ref()), &views);
        let linearization = Linearization::new(tower, parameters, views, loss, self.curvature);
        let loss = linearization.value();
        let operator = Block { at: linearization };
        let whose = || format!("stage {}, step {}", at.stage, at.step);
        let stream = Stream::new(self.config.seed, streams::SPECTRUM);
        let length = networks.backbone.parameters().len();
        let start: Vec<f32> = (0..length).map(|i| stream.at(i as u64).normal()).collect();
        let mut lanczos =
            Lanczos::new(&operator, flat(&start)).map_err(Error::failed).at_with(whose)?;
        let mut products = 0;
        while products < self.iterations.min(length) {
            if self.interrupt.requested() {
                return Ok(None);
            }
            let growth = lanczos.step(&operator).map_err(Error::failed).at_with(whose)?;
            products += 1;
            progress.step(Some(loss as f32));
            if growth == Growth::Complete {
                break;
            }
        }
        let ritz = lanczos.ritz();
        let count = self.eigenvalues;
        Ok(Some(CheckpointSpectrum {
            stage: at.stage.clone(),
            step: at.step,
            loss,
            products,
            largest: ritz.iter().rev().take(count).copied().map(Eigenvalue::from).collect(),
            smallest: ritz.iter().take(count).copied().map(Eigenvalue::from).collect(),
        }))
    }
}

/// The curvature of the backbone block on a linearised batch.
struct Block<'n, B: Kernels> {
    at: Linearization<'n, B>,
}

impl<B: Kernels> Symmetric for Block<'_, B> {
    type Vector = Tensor<B, 1>;

    fn rounding(&self) -> f64 {
        // About a hundred roundings per layer and twenty layers, with random signs.
        100.0 * <B::FloatElem as Float>::epsilon().wide()
    }

    fn product(&self, v: &Tensor<B, 1>) -> Tensor<B, 1> {
        self.at.product(v)
    }

    fn dots(&self, basis: &[Tensor<B, 1>], w: &Tensor<B, 1>) -> Vec<f64> {
        let [length] = w.dims();
        let pairs: Vec<_> = basis.iter().map(|v| (v, w)).collect();
        B::segment_dots(&pairs, &[0, length])
    }

    fn scaled(&self, a: f64, v: Tensor<B, 1>) -> Tensor<B, 1> {
        let x = v.clone();
        B::axpby(a, &x, 0.0, v)
    }

    fn plus(&self, y: Tensor<B, 1>, a: f64, x: &Tensor<B, 1>) -> Tensor<B, 1> {
        B::axpby(a, x, 1.0, y)
    }

    fn norm(&self, v: &Tensor<B, 1>) -> f64 {
        let [length] = v.dims();
        B::segment_dots(&[(v, v)], &[0, length]).into_iter().sum::<f64>().sqrt()
    }
}

/// Ranks from the largest eigenvalue that the table and the chart show.
const SHOWN: [(usize, &str); 5] = [(0, "largest"), (1, "2nd"), (2, "3rd"), (4, "5th"), (9, "10th")];

impl SpectrumReport {
    /// λ + δ.
    fn shift(&self) -> f64 {
        f64::from(self.proximity) + f64::from(self.damping)
    }

    /// Eigenvalues over the checkpoints, one line per rank.
    pub fn chart(&self) -> Chart {
        let line = |name: &str, value: &dyn Fn(&CheckpointSpectrum) -> Option<f64>| Series {
            name: name.to_owned(),
            points: self
                .checkpoints
                .iter()
                .enumerate()
                .filter_map(|(index, checkpoint)| Some(((index + 1) as f64, value(checkpoint)?)))
                .collect(),
        };
        let mut series: Vec<Series> = SHOWN
            .iter()
            .map(|(rank, name)| line(name, &|at| at.largest.get(*rank).map(|x| x.value)))
            .collect();
        series.push(line("smallest", &|at| at.smallest.first().map(|x| x.value)));
        series.push(line("λ + δ", &|_| Some(self.shift())));
        series.retain(|series| !series.points.is_empty());
        Chart {
            title: format!("Eigenvalues of the {} of the pretext loss", self.curvature),
            x_label: match (self.checkpoints.first(), self.checkpoints.last()) {
                (Some(first), Some(last)) if self.checkpoints.len() > 1 => format!(
                    "checkpoint, from {} {} to {} {}",
                    first.stage, first.step, last.stage, last.step
                ),
                (Some(first), _) => format!("checkpoint {} {}", first.stage, first.step),
                _ => "checkpoint".to_owned(),
            },
            y_label: "eigenvalue".to_owned(),
            series,
            log_y: false,
        }
    }
}

impl fmt::Display for SpectrumReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}, {} parameters", self.run, self.network, self.parameters)?;
        writeln!(
            f,
            "{} of the pretext loss, {} images of {} px in two views, seed {}, {}",
            self.curvature, self.batch, self.size, self.seed, self.backend
        )?;
        let shift = self.shift();
        writeln!(f, "λ + δ = {} + {}\n", self.proximity, self.damping)?;
        let shown = |at: &CheckpointSpectrum| {
            SHOWN.iter().filter(|(rank, _)| *rank < at.largest.len()).count()
        };
        let ranks = &SHOWN[..self.checkpoints.iter().map(shown).max().unwrap_or(0)];
        let mut headings = vec!["stage", "step", "products", "loss"];
        headings.extend(ranks.iter().map(|(_, name)| *name));
        headings.extend(["smallest", "bound", "largest/(λ + δ)"]);
        let mut table = Table::new(headings);
        for at in &self.checkpoints {
            let mut cells = vec![at.stage.clone(), at.step.to_string(), at.products.to_string()];
            cells.push(format!("{:.4}", at.loss));
            let value = |x: Option<&Eigenvalue>| x.map_or("-".to_owned(), |x| short(x.value));
            cells.extend(ranks.iter().map(|(rank, _)| value(at.largest.get(*rank))));
            cells.push(value(at.smallest.first()));
            let shown = ranks.iter().filter_map(|(rank, _)| at.largest.get(*rank));
            let bounds = shown.chain(at.smallest.first()).map(|x| x.bound);
            cells.push(short(bounds.fold(0.0, f64::max)));
            cells.push(at.largest.first().map_or("-".to_owned(), |x| short(x.value / shift)));
            table.row(cells);
        }
        write!(f, "{table}")?;
        writeln!(f, "bound: an eigenvalue is no farther than this from each one shown")
    }
}

/// Four significant digits.
fn short(value: f64) -> String {
    if value == 0.0 || (1e-3..1e5).contains(&value.abs()) {
        let digits = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
        format!("{value:.*}", (3 - digits).clamp(0, 6) as usize)
    } else {
        format!("{value:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> SpectrumReport {
        let ends = |values: &[f64]| {
            values.iter().map(|value| Eigenvalue { value: *value, bound: 0.001 }).collect()
        };
        let checkpoint = |stage: &str, step, top: f64| CheckpointSpectrum {
            stage: stage.to_owned(),
            step,
            loss: 3.5,
            products: 8,
            largest: ends(&[top, 7.0, 3.0]),
            smallest: ends(&[-4.0, -1.0, 0.0]),
        };
        SpectrumReport {
            run: "runs/x".to_owned(),
            network: "resnet-small width 16".to_owned(),
            backend: "flex".to_owned(),
            curvature: "hessian".to_owned(),
            batch: 64,
            size: 32,
            seed: 1,
            parameters: 1000,
            proximity: 0.1,
            damping: 9.9,
            checkpoints: vec![checkpoint("pretrain", 12, 200.0), checkpoint("align", 80, 50.0)],
        }
    }

    #[test]
    fn the_table_sets_the_largest_eigenvalue_against_the_shift() {
        let text = report().to_string();
        assert!(text.contains("λ + δ = 0.1 + 9.9"), "{text}");
        let row = text.lines().find(|line| line.starts_with("align")).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        let expected = [
            "align", "80", "8", "3.5000", "50.00", "7.000", "3.000", "-4.000", "0.001000", "5.000",
        ];
        assert_eq!(cells, expected, "{text}");
    }

    #[test]
    fn the_drawing_has_a_line_for_every_rank_that_there_is() {
        let chart = report().chart();
        let names: Vec<&str> = chart.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["largest", "2nd", "3rd", "smallest", "λ + δ"]);
        assert_eq!(chart.series[0].points, [(1.0, 200.0), (2.0, 50.0)]);
        assert_eq!(chart.x_label, "checkpoint, from pretrain 12 to align 80");
        let svg = chart.to_svg();
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{svg}");
        assert!(svg.contains("10th") == names.contains(&"10th") && svg.contains("λ + δ"), "{svg}");
    }

    #[test]
    fn numbers_have_four_digits() {
        for (value, expected) in [
            (0.0, "0.000"),
            (123.456, "123.5"),
            (-0.5, "-0.5000"),
            (1e-7, "1.00e-7"),
            (2e6, "2.00e6"),
        ] {
            assert_eq!(short(value), expected);
        }
    }
}
