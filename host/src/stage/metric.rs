//! What a classifier is judged by: scores of every class for every image in, one number out.

use crate::error::{Result, fail};

use crate::config::Metric;
use crate::data::{Presence, Targets, Task};

/// One score for each image and class; the larger, the likelier.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// `[image, class]`, row-major.
    pub values: Vec<f32>,
    /// Scores of an image.
    pub classes: usize,
}

/// The metric that a setting means for labels of a kind.
///
/// # Errors
/// It needs one label an image, and there are several.
pub(super) fn chosen(setting: Metric, task: Task) -> Result<Metric> {
    match (setting, task) {
        (Metric::Auto, Task::MultiLabel) => Ok(Metric::Map11),
        (Metric::Auto, _) => Ok(Metric::Top1),
        (Metric::Top1 | Metric::Top5 | Metric::MeanPerClass, Task::MultiLabel) => fail!(
            "evaluate.metric: {setting} needs one label an image, found a set with several, \
             expected \"{}\" or \"{}\"",
            Metric::Auto,
            Metric::Map11
        ),
        _ => Ok(setting),
    }
}

/// The metrics that are reported, the chosen one among them.
pub(super) fn reported(chosen: Metric, task: Task, classes: usize) -> Vec<Metric> {
    let all = match task {
        Task::MultiLabel => vec![Metric::Map11],
        _ => vec![Metric::Top1, Metric::Top5, Metric::MeanPerClass, Metric::Map11],
    };
    let says_something = |metric: &Metric| match metric {
        // Among five classes it is always 1.
        Metric::Top5 => classes > 5 || *metric == chosen,
        Metric::Map11 => *metric == chosen,
        _ => true,
    };
    all.into_iter().filter(says_something).collect()
}

/// In words, for tables.
pub(crate) fn words(metric: Metric) -> &'static str {
    match metric {
        Metric::Auto => "accuracy",
        Metric::Top1 => "top-1",
        Metric::Top5 => "top-5",
        Metric::MeanPerClass => "mean per class",
        Metric::Map11 => "11-point mAP",
    }
}

/// Name of a result on test images in the metrics of a run.
pub(crate) fn result_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Auto | Metric::Top1 => "test_accuracy",
        Metric::Top5 => "test_top_5",
        Metric::MeanPerClass => "test_mean_per_class",
        Metric::Map11 => "test_map_11",
    }
}

/// The value of a metric, in `[0, 1]`; `None` where nothing counts, where a score is not a number,
/// or where it needs one label an image and there are several.
pub fn value(metric: Metric, scores: &Scores, targets: &Targets) -> Option<f64> {
    if scores.values.iter().any(|score| score.is_nan()) {
        return None;
    }
    match (metric, targets) {
        (Metric::Auto | Metric::Top1, Targets::Classes(labels)) => top(1, scores, labels),
        (Metric::Top5, Targets::Classes(labels)) => top(5, scores, labels),
        (Metric::MeanPerClass, Targets::Classes(labels)) => mean_per_class(scores, labels),
        (Metric::Auto | Metric::Map11, _) => map_11(scores, targets),
        (Metric::Top1 | Metric::Top5 | Metric::MeanPerClass, Targets::Sets(_)) => None,
    }
}

impl Scores {
    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks(self.classes)
    }
}

/// How many classes of a row come before `class`: those with a larger score, and of equal ones the
/// earlier.
fn rank(row: &[f32], class: u32) -> usize {
    let class = class as usize;
    let before = |(other, score): (usize, &f32)| {
        *score > row[class] || (*score == row[class] && other < class)
    };
    row.iter().enumerate().filter(|(other, score)| before((*other, score))).count()
}

/// Share of images whose class is among the `k` with the largest scores.
fn top(k: usize, scores: &Scores, labels: &[u32]) -> Option<f64> {
    let hits = scores.rows().zip(labels).filter(|(row, label)| rank(row, **label) < k).count();
    (!labels.is_empty()).then(|| hits as f64 / labels.len() as f64)
}

/// Mean of the top-1 accuracies of every class that has images.
fn mean_per_class(scores: &Scores, labels: &[u32]) -> Option<f64> {
    let mut hits = vec![(0u32, 0u32); scores.classes];
    for (row, &label) in scores.rows().zip(labels) {
        let (right, all) = &mut hits[label as usize];
        *right += u32::from(rank(row, label) < 1);
        *all += 1;
    }
    let accuracies = hits.iter().filter(|(_, all)| *all > 0);
    mean(accuracies.map(|(right, all)| f64::from(*right) / f64::from(*all)))
}

/// Mean over the classes of the 11-point interpolated average precision, of classes that some image
/// shows.
///
/// Everingham et al. (2010), section 4.2, as the VOC 2007 development kit computes it: at each
/// recall 0, 0.1, …, 1 the largest precision at that recall or a higher one, 0 where there is none;
/// the mean of the eleven. Images with difficult objects of the class alone are left out. Of equal
/// scores the earlier image comes first.
fn map_11(scores: &Scores, targets: &Targets) -> Option<f64> {
    let classes = 0..scores.classes as u32;
    mean(classes.filter_map(|class| average_precision(scores, targets, class)))
}

fn average_precision(scores: &Scores, targets: &Targets, class: u32) -> Option<f64> {
    let mut ranked: Vec<(f32, bool)> = scores
        .rows()
        .enumerate()
        .filter_map(|(item, row)| match targets.presence(item, class) {
            Presence::Present => Some((row[class as usize], true)),
            Presence::Absent => Some((row[class as usize], false)),
            Presence::Difficult => None,
        })
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = ranked.iter().filter(|(_, present)| *present).count();
    if positives == 0 {
        return None;
    }
    // Recall t/10 is met with `found` positives where 10 found ≥ t positives: exact, as t/10 is
    // not.
    let mut best = [0.0f64; 11];
    let mut found = 0;
    for (position, (_, present)) in (1usize..).zip(&ranked) {
        found += usize::from(*present);
        let precision = found as f64 / position as f64;
        for (tenths, best) in best.iter_mut().enumerate() {
            if 10 * found >= tenths * positives {
                *best = best.max(precision);
            }
        }
    }
    mean(best.into_iter())
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::LabelSet;

    fn scores(rows: &[&[f32]]) -> Scores {
        Scores { values: rows.concat(), classes: rows[0].len() }
    }

    fn near(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
    }

    /// Scores of one class beside a second one that nothing shows.
    fn one_class(column: &[f32]) -> Scores {
        let values = column.iter().flat_map(|&score| [score, 0.0]).collect();
        Scores { values, classes: 2 }
    }

    /// `+` shows class 0, `?` shows difficult objects of it alone.
    fn shown(marks: &str) -> Targets {
        let set = |mark| match mark {
            '+' => LabelSet::new(vec![0], vec![]),
            '?' => LabelSet::new(vec![], vec![0]),
            _ => LabelSet::default(),
        };
        Targets::Sets(marks.chars().map(set).collect())
    }

    #[test]
    fn top_1_and_top_5_by_hand() {
        let falling: &[f32] = &[6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        let scores = scores(&[falling, falling, falling, falling]);
        let targets = Targets::Classes(vec![0, 1, 4, 5]);
        near(value(Metric::Top1, &scores, &targets), 0.25);
        near(value(Metric::Auto, &scores, &targets), 0.25);
        near(value(Metric::Top5, &scores, &targets), 0.75);
    }

    #[test]
    fn of_equal_scores_the_first_class_counts_and_what_is_not_a_number_has_no_rank() {
        let targets = Targets::Classes(vec![0, 1]);
        near(value(Metric::Top1, &scores(&[&[1.0, 1.0], &[1.0, 1.0]]), &targets), 0.5);
        for metric in [Metric::Top1, Metric::MeanPerClass, Metric::Map11] {
            let diverged = scores(&[&[f32::NAN, 1.0], &[0.0, 1.0]]);
            assert_eq!(value(metric, &diverged, &targets), None);
        }
    }

    #[test]
    fn mean_per_class_weighs_classes_and_not_images() {
        // Class 0: two of three; class 1: none of one; class 2 has no image.
        let yes: &[f32] = &[3.0, 1.0, 0.0];
        let no: &[f32] = &[1.0, 2.0, 3.0];
        let scores = scores(&[yes, yes, no, yes]);
        let targets = Targets::Classes(vec![0, 0, 0, 1]);
        near(value(Metric::MeanPerClass, &scores, &targets), (2.0 / 3.0 + 0.0) / 2.0);
        near(value(Metric::Top1, &scores, &targets), 0.5);
    }

    #[test]
    fn eleven_points_by_hand() {
        // Ranks +, −, +, −, −, +: recalls 1/3, 2/3, 1 with precisions 1, 2/3, 1/2. Points 0 to 0.3
        // see 1, 0.4 to 0.6 see 2/3, 0.7 to 1 see 1/2.
        let falling = one_class(&[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
        let expected = (4.0 * 1.0 + 3.0 * (2.0 / 3.0) + 4.0 * 0.5) / 11.0;
        near(value(Metric::Map11, &falling, &shown("+-+--+")), expected);
        near(value(Metric::Map11, &falling, &shown("++++++")), 1.0);
        near(value(Metric::Map11, &falling, &shown("-----+")), 1.0 / 6.0);
    }

    #[test]
    fn a_recall_of_three_tenths_is_met_by_three_of_ten() {
        // 3/10 < 3 · 0.1 in binary. Three at the top, then ten others, then the other seven: points
        // 0 to 0.3 see 1, the rest sees the precision at full recall, 10/20.
        let column: Vec<f32> = (0..20).map(|i| -(i as f32)).collect();
        let marks = format!("+++{}+++++++", "-".repeat(10));
        let expected = (4.0 * 1.0 + 7.0 * 0.5) / 11.0;
        near(value(Metric::Map11, &one_class(&column), &shown(&marks)), expected);
    }

    #[test]
    fn difficult_images_are_left_out_of_the_ranking() {
        let all = one_class(&[6.0, 5.0, 4.0, 3.0]);
        let without = one_class(&[6.0, 4.0, 3.0]);
        let expected = value(Metric::Map11, &without, &shown("-+-")).unwrap();
        near(value(Metric::Map11, &all, &shown("-?+-")), expected);
        assert_eq!(value(Metric::Map11, &all, &shown("-?--")), None);
    }

    #[test]
    fn the_mean_is_over_classes_that_some_image_shows() {
        // Class 0 is ranked perfectly, class 1 second of two, class 2 is shown by nothing.
        let scores = scores(&[&[1.0, 0.0, 5.0], &[0.0, 1.0, 5.0]]);
        let targets =
            Targets::Sets(vec![LabelSet::new(vec![0, 1], vec![]), LabelSet::new(vec![], vec![])]);
        near(value(Metric::Map11, &scores, &targets), (1.0 + 0.5) / 2.0);
        let labels = Targets::Classes(vec![0, 1]);
        near(value(Metric::Map11, &scores, &labels), 1.0);
    }

    #[test]
    fn metrics_fit_their_labels() {
        use Metric::{Auto, Map11, MeanPerClass, Top1, Top5};
        assert_eq!(chosen(Auto, Task::SingleLabel).unwrap(), Top1);
        assert_eq!(chosen(Auto, Task::MultiLabel).unwrap(), Map11);
        assert_eq!(chosen(Map11, Task::SingleLabel).unwrap(), Map11);
        let error = chosen(Top1, Task::MultiLabel).unwrap_err().to_string();
        assert!(error.contains("top-1") && error.contains("map-11"), "{error}");
        assert_eq!(reported(Top1, Task::SingleLabel, 5), [Top1, MeanPerClass]);
        assert_eq!(reported(Map11, Task::SingleLabel, 6), [Top1, Top5, MeanPerClass, Map11]);
        assert_eq!(reported(Map11, Task::MultiLabel, 20), [Map11]);
        assert_eq!(value(Top1, &one_class(&[1.0]), &shown("+")), None);
    }
}
