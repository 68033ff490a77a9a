//! How far the features of different items lie apart while a backbone is pretrained.
//!
//! A method of self-supervision can end where all items have the same features: its loss may even
//! look well then. A few items, always the same, go through the backbone in evaluation mode now and
//! then; nothing that is trained is written to.

use bissl_core::{Group, Register};

use super::measured::{Keep, Measured};
use super::task::Task;
use crate::data::evaluation_images;
use crate::driver::{Problem, download, upload};
use crate::error::Result;
use crate::kernels::Kernels;
use crate::run::Record;

/// Items at most.
const ITEMS: u32 = 64;
/// Steps between two measures at least, so that they cost little beside the steps.
const STEPS: u32 = 100;
/// Features whose deviation is below this are the same in all but rounding.
const LEAST_DEVIATION: f64 = 0.01;

/// Which items are measured, and when.
pub(super) struct SpreadProbe<'a, B: Kernels> {
    task: &'a Task<B>,
    items: Vec<u32>,
    every: u32,
    steps: u32,
}

/// What was measured, over the rows of a matrix of features.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    deviation: f64,
    effective_rank: f64,
}

impl<'a, B: Kernels> SpreadProbe<'a, B> {
    /// At the end of the stage's `steps`, and of epochs before it, [`STEPS`] or more apart; `None`
    /// where there are not two items to compare.
    pub(super) fn new(task: &'a Task<B>, steps_per_epoch: u32, steps: u32) -> Option<Self> {
        let all = task.images.pretext().all_items();
        let count = (all.len() as u32).min(ITEMS) as usize;
        // Spread over the whole set, whose order may be that of its classes.
        let items = (0..count).map(|i| all[i * all.len() / count]).collect();
        let epochs = STEPS.div_ceil(steps_per_epoch.max(1));
        let every = steps_per_epoch.max(1).saturating_mul(epochs);
        (count > 1).then_some(Self { task, items, every, steps })
    }

    /// The measure after step `index`, where one is due.
    pub(super) fn measure(
        &self,
        stage: &str,
        problem: &mut Problem<'_, B>,
        index: u32,
    ) -> Result<Option<Measured>> {
        if !(index + 1).is_multiple_of(self.every) && index + 1 != self.steps {
            return Ok(None);
        }
        let Task { images, networks, device, .. } = self.task;
        let parameters = problem.registers.get(Register::Parameter(Group::LowerBackbone))?;
        let statistics = problem.statistics.lower_backbone.clone();
        let (mut values, mut width) = (Vec::new(), 0);
        for chunk in
            evaluation_images(images.pretext(), &self.items, &images.recipe, ITEMS as usize)
        {
            let chunk = chunk?;
            let [channels, height, columns] = chunk.shape;
            let shape = [chunk.batch as usize, channels, height, columns];
            let x = upload::<B, 4>(chunk.images, shape, device);
            let y = networks.backbone.evaluate(&parameters, &statistics, x);
            width = y.dims()[1];
            values.extend(download(&y));
        }
        let Spread { deviation, effective_rank } = spread(&values, width);
        let stage = stage.to_owned();
        let record = Record::Spread { stage, index, deviation, effective_rank };
        Ok(Some(Measured { metric: "spread", value: deviation, record, keep: Keep::Nothing }))
    }
}

/// What a person should know of a measure; `None` where there is nothing to say.
pub(super) fn collapse(record: &Record) -> Option<String> {
    match record {
        Record::Spread { stage, index, deviation, .. } if *deviation < LEAST_DEVIATION => {
            Some(format!(
                "{stage}: after step {index} the features of different images are the same \
                 (deviation {deviation:.1e}, expected at least {LEAST_DEVIATION}): they have \
                 collapsed, or the images do not differ; look at the images (`bissl data check`), \
                 lower the learning rate, or choose another `pretrain.method`"
            ))
        }
        _ => None,
    }
}

/// Deviation and effective rank of rows of `width` features; both 0 where all rows are the same.
///
/// The deviation is that of the rows divided by their norms, mean over the features, times √width:
/// 1 for directions that are distributed evenly. The effective rank is (Σλ)²/Σλ² over the
/// eigenvalues λ of the features' covariance: n where n directions vary alike.
fn spread(values: &[f32], width: usize) -> Spread {
    let rows: Vec<Vec<f64>> =
        values.chunks_exact(width).map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect();
    let unit: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| {
            let norm = dot(row, row).sqrt();
            row.iter().map(|v| if norm == 0.0 { 0.0 } else { v / norm }).collect()
        })
        .collect();
    let unit = centred(&unit);
    let count = rows.len() as f64;
    let mean_deviation: f64 = (0..width)
        .map(|j| (unit.iter().map(|row| row[j] * row[j]).sum::<f64>() / count).sqrt())
        .sum::<f64>()
        / width as f64;
    // The eigenvalues of the rows' inner products are those of the covariance, but for a factor.
    let rows = centred(&rows);
    let (mut trace, mut square) = (0.0, 0.0);
    for row in &rows {
        trace += dot(row, row);
        square += rows.iter().map(|other| dot(row, other).powi(2)).sum::<f64>();
    }
    let effective_rank = if square == 0.0 { 0.0 } else { trace * trace / square };
    Spread { deviation: mean_deviation * (width as f64).sqrt(), effective_rank }
}

fn centred(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let Some(first) = rows.first() else { return Vec::new() };
    let share = 1.0 / rows.len() as f64;
    let mean: Vec<f64> =
        (0..first.len()).map(|j| rows.iter().map(|row| row[j]).sum::<f64>() * share).collect();
    rows.iter().map(|row| row.iter().zip(&mean).map(|(v, m)| v - m).collect()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bissl_core::Stream;

    #[test]
    fn rows_that_are_the_same_have_no_spread() {
        let row = [0.5, 2.0, 0.0, 1.25];
        let found = spread(&row.repeat(9), 4);
        assert!(found.deviation < 1e-12 && found.effective_rank < 9.0, "{found:?}");
        assert_eq!(spread(&[0.0; 12], 4), Spread { deviation: 0.0, effective_rank: 0.0 });
    }

    #[test]
    fn directions_that_vary_alike_are_counted() {
        let stream = Stream::new(1, 2);
        let draw = |i: usize| stream.at(i as u64).normal();
        let (items, width) = (2000, 8);
        let whole: Vec<f32> = (0..items * width).map(draw).collect();
        let found = spread(&whole, width);
        assert!((found.deviation - 1.0).abs() < 0.02, "{found:?}");
        assert!((found.effective_rank - 8.0).abs() < 0.2, "{found:?}");
        // Three of the eight vary; the rest is constant.
        let three: Vec<f32> =
            (0..items * width).map(|i| if i % width < 3 { draw(i) } else { 1.0 }).collect();
        let found = spread(&three, width);
        assert!((found.effective_rank - 3.0).abs() < 0.1, "{found:?}");
        // Scaled rows are the same directions.
        let scaled: Vec<f32> = whole.iter().map(|v| 1e3 * v).collect();
        assert!((spread(&scaled, width).deviation - spread(&whole, width).deviation).abs() < 1e-6);
    }

    #[test]
    fn only_features_without_spread_are_worth_a_word() {
        let record = |deviation| Record::Spread {
            stage: "pretrain".to_owned(),
            index: 7,
            deviation,
            effective_rank: 1.0,
        };
        assert_eq!(collapse(&record(0.3)), None);
        let text = collapse(&record(1e-6)).unwrap();
        assert!(text.contains("step 7") && text.contains("learning rate"), "{text}");
    }
}
