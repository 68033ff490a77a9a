//! The paired comparison: the whole pipeline with and without the bilevel stage, over several
//! seeds.

use std::path::Path;
use std::time::Instant;

use super::announce::{Stage, announce};
use super::opening::{known, open, warn};
use super::solves::SolveSummary;
use crate::config::{Metric, RunConfig};
use crate::data::Dataset;
use crate::error::{Result, fail};
use crate::kernels::Kernels;
use crate::machine;
use crate::model;
use crate::progress::duration;
use crate::report::statistics::{Sample, paired_difference};
use crate::report::{self, Chart, Method, Neighbour, NeighbourRow, Picture, Report, Series, Table};
use crate::run::{Record, RunFolder, Solve, read_records, write_atomic};
use crate::stage::recording::Splits;
use crate::stage::{self, Evaluation, Frozen, Needs, Session, Task, View, Weights, metric};
use crate::text::shown;

const BASELINE: &str = "pretrain → fine-tune";
const ALIGNED: &str = "pretrain → align → fine-tune";

/// Test pictures whose nearest training pictures the report shows.
const QUERIES: usize = 9;
/// Neighbours shown of each.
const NEIGHBOURS: usize = 5;

/// The command `demo`.
pub(super) fn demo<B: Kernels>(
    folder: RunFolder,
    config: RunConfig,
    accept_changed: bool,
    view: View,
    device: B::Device,
) -> Result<()> {
    let begin = Instant::now();
    if config.windows() {
        fail!(
            "bissl demo shows pictures: data.pretext.format is windows, expected a set of images"
        );
    }
    let known = known(&folder, None, accept_changed)?;
    let task = Task::<B>::continued(config, Needs::Both, &[], &known, device)?;
    warn(&task, &view, &["pretrain", "warm_up", "align", "finetune"])?;
    let metric = task.metric()?;
    let stages = [Stage::Pretrain, Stage::Align, Stage::Finetune];
    announce(&task, &stages, folder.path(), view.verbosity);
    let mut session = open(folder, &task, Splits::Several, view)?;
    let mut methods = [method(BASELINE), method(ALIGNED)];
    let mut neighbours = Vec::new();
    let mut seconds = Vec::new();
    let first = format!("s{}-", task.config.seed);
    for offset in 0..task.config.demo.seeds {
        let seed = task.config.seed.wrapping_add(u64::from(offset));
        let task = Task { prefix: format!("s{seed}-"), ..task.with_seed(seed)? };
        let pair = compare(&mut session, &task, &mut seconds)?;
        for (method, result) in methods.iter_mut().zip([&pair.baseline, &pair.aligned]) {
            method.seeds.push(seed);
            method.accuracy.push(result.accuracy);
            method.knn.push(result.frozen.knn);
            method.probe.push(result.frozen.probe);
        }
        if offset == 0 {
            neighbours = grid(&task, [&pair.baseline.backbone, &pair.aligned.backbone])?;
        }
    }
    record(&mut session, &methods, metric)?;
    let summary = summary(&task, &seconds, begin);
    print_table(&methods, &summary, metric);
    let metrics = session.folder().metrics_path();
    print!("{}", SolveSummary::read(&metrics, &format!("{first}align"))?);
    let pretext_label = model::pretext(&task.config).loss_label();
    let (curves, solves) = telemetry(&metrics, &first, pretext_label)?;
    let report = Report {
        title: "bissl demo: pretraining, alignment, fine-tuning".to_owned(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        summary,
        accuracy: methods.into(),
        curves,
        solves,
        neighbours,
        config: task.config.to_toml(),
    };
    let path = session.folder().report_path();
    write_atomic(&path, report.to_html()?.as_bytes())?;
    println!("report: {}", shown(&path));
    Ok(())
}

fn method(name: &str) -> Method {
    Method {
        name: name.to_owned(),
        seeds: Vec::new(),
        accuracy: Vec::new(),
        knn: Vec::new(),
        probe: Vec::new(),
    }
}

/// Writes the results behind the last checkpoint's metrics: a resumed demo measures finished seeds
/// again, and would write them twice anywhere else.
fn record(session: &mut Session, methods: &[Method; 2], metric: Metric) -> Result<()> {
    for (method, path) in methods.iter().zip(["baseline", "aligned"]) {
        let test = metric::result_name(metric);
        let measures = [(test, &method.accuracy), ("knn", &method.knn), ("probe", &method.probe)];
        for (name, values) in measures {
            for (seed, value) in method.seeds.iter().zip(values) {
                session.result(&format!("s{seed}-finetune-{path}"), name, *value)?;
            }
        }
    }
    Ok(())
}

/// What one path of one seed came to.
struct PathResult {
    backbone: Weights,
    accuracy: f64,
    frozen: Frozen,
}

struct Pair {
    baseline: PathResult,
    aligned: PathResult,
}

/// Both paths from one pretrained backbone, with the same labels, batches and initial head.
fn compare<B: Kernels>(
    session: &mut Session,
    task: &Task<B>,
    seconds: &mut Vec<(&'static str, f64)>,
) -> Result<Pair> {
    let mut last = Instant::now();
    let mut lap = |name| {
        seconds.push((name, last.elapsed().as_secs_f64()));
        last = Instant::now();
    };
    let pretrained = stage::pretrain(task, session)?;
    lap("pretrain");
    let warmed = stage::warm_up(task, &pretrained.backbone, session)?;
    lap("warm-up");
    let aligned = stage::align(task, &pretrained, &warmed, session)?;
    lap("align");
    let (metric, split) = (task.metric()?, &task.split);
    let mut path = |name: &str, backbone: Weights| -> Result<PathResult> {
        let tuned = stage::finetune_as(task, &format!("finetune-{name}"), &backbone, session)?;
        let (start, head) = (&tuned.network.backbone, &tuned.network.head);
        let scores = stage::scores(task, start, head, &split.test)?;
        let accuracy = stage::metric_of(task, metric, &scores, &split.test)?;
        let frozen = stage::frozen(task, &backbone, &split.train, &split.test)?;
        Ok(PathResult { backbone, accuracy, frozen })
    };
    let baseline = path("baseline", pretrained.backbone)?;
    let aligned = path("aligned", aligned)?;
    lap("fine-tune and evaluate (both)");
    Ok(Pair { baseline, aligned })
}

/// The nearest training pictures of a few test pictures, by both backbones' frozen features.
fn grid<B: Kernels>(task: &Task<B>, backbones: [&Weights; 2]) -> Result<Vec<NeighbourRow>> {
    let (set, split) = (task.images.downstream(), &task.split);
    let queries = one_of_each_class(set, &split.test);
    let measure = |weights: &Weights, items: &[u32]| -> Result<Evaluation> {
        Ok(stage::features(task, weights, items)?.normalized())
    };
    let mut found = Vec::new();
    for weights in backbones {
        let bank = measure(weights, &split.train)?;
        let of = measure(weights, &queries)?;
        let rows: Vec<Vec<usize>> = of
            .features
            .chunks(of.width)
            .map(|query| stage::nearest(&bank, query, NEIGHBOURS))
            .collect();
        found.push(rows);
    }
    let neighbours = |query: u32, positions: &[usize]| -> Result<Vec<Neighbour>> {
        positions
            .iter()
            .map(|position| {
                let item = split.train[*position];
                let shows = |class| set.present(query).contains(class);
                let same_class = set.present(item).iter().any(shows);
                Ok(Neighbour { picture: picture(set, item)?, same_class })
            })
            .collect()
    };
    queries
        .iter()
        .enumerate()
        .map(|(row, query)| {
            let class = set.present(*query).first().map_or("", |&c| &set.classes()[c as usize]);
            Ok(NeighbourRow {
                query: picture(set, *query)?,
                class: class.to_owned(),
                before: neighbours(*query, &found[0][row])?,
                after: neighbours(*query, &found[1][row])?,
            })
        })
        .collect()
}

/// The first item of every class, in the order of the classes.
fn one_of_each_class(set: &Dataset, items: &[u32]) -> Vec<u32> {
    (0..set.classes().len() as u32)
        .filter_map(|class| items.iter().copied().find(|item| set.present(*item).contains(&class)))
        .take(QUERIES)
        .collect()
}

fn picture(set: &Dataset, item: u32) -> Result<Picture> {
    let image = set.image(item)?;
    let (width, height) = image.dimensions();
    Ok(Picture { width, height, rgb: image.as_raw().clone() })
}

fn summary<B: Kernels>(
    Task { config, images, networks, .. }: &Task<B>,
    seconds: &[(&'static str, f64)],
    begin: Instant,
) -> Vec<(String, String)> {
    let pretext = images.pretext();
    let downstream = images.downstream();
    let labels = match config.data.downstream.labels_per_class {
        Some(labels) => format!("{labels} labels a class"),
        None => "all training labels".to_owned(),
    };
    let mut rows = vec![
        ("pretext images".to_owned(), format!("{} ({})", pretext.len(), pretext.name())),
        (
            "downstream images".to_owned(),
            format!(
                "{} ({}), {} classes, {labels}",
                downstream.len(),
                downstream.name(),
                downstream.classes().len()
            ),
        ),
        (
            "network".to_owned(),
            format!(
                "{} width {}, {} backbone parameters, {} px",
                config.network.architecture,
                config.network.width,
                networks.backbone.parameters().len(),
                config.image.size
            ),
        ),
    ];
    let mut stages: Vec<(&str, f64)> = Vec::new();
    for (name, time) in seconds {
        match stages.iter_mut().find(|(stage, _)| stage == name) {
            Some((_, sum)) => *sum += time,
            None => stages.push((name, *time)),
        }
    }
    for (stage, time) in stages {
        rows.push((format!("time: {stage}"), duration(time)));
    }
    rows.push(("time: all".to_owned(), duration(begin.elapsed().as_secs_f64())));
    if let Some(memory) = machine::memory_peak() {
        rows.push(("peak memory".to_owned(), format!("{} MB", memory / 1_000_000)));
    }
    rows
}

fn print_table(methods: &[Method; 2], summary: &[(String, String)], metric: Metric) {
    for (label, value) in summary {
        println!("{label:<36}{value}");
    }
    println!();
    let percent = |values: &[f64]| match Sample::of(values) {
        Some(Sample { mean, deviation: Some(deviation), .. }) => {
            format!("{:.1} ± {:.1}", 100.0 * mean, 100.0 * deviation)
        }
        Some(Sample { mean, .. }) => format!("{:.1}", 100.0 * mean),
        None => "–".to_owned(),
    };
    let accuracy = if metric == Metric::Top1 { "accuracy" } else { metric::words(metric) };
    let held_out = format!("held-out {accuracy}, %");
    let mut table = Table::new([held_out.as_str(), "fine-tuned", "probe", "k-NN", "seeds"]);
    for method in methods {
        let seeds: Vec<_> = method.accuracy.iter().map(|a| format!("{:.1}", 100.0 * a)).collect();
        table.row([
            method.name.clone(),
            percent(&method.accuracy),
            percent(&method.probe),
            percent(&method.knn),
            seeds.join(" "),
        ]);
    }
    print!("{table}");
    let Some(paired) = paired_difference(&methods[0].accuracy, &methods[1].accuracy) else {
        return;
    };
    print!("difference, paired by seed: {:+.1} points", 100.0 * paired.mean);
    match paired.interval {
        Some(interval) => {
            println!(
                " (95 % interval {:+.1} to {:+.1})",
                100.0 * interval.low,
                100.0 * interval.high
            );
        }
        None => println!(" (one seed: no interval)"),
    }
}

/// Loss curves and solves of the stages whose names begin with `prefix`, from the metrics; L^P on
/// an axis of that label.
fn telemetry(
    metrics: &Path,
    prefix: &str,
    pretext_label: &str,
) -> Result<(Vec<Chart>, Vec<report::Solve>)> {
    let (mut pretrain, mut lower, mut upper_p, mut upper_d) = (vec![], vec![], vec![], vec![]);
    let (mut deviation, mut rank) = (vec![], vec![]);
    let (mut distance, mut baseline, mut aligned, mut solves) = (vec![], vec![], vec![], vec![]);
    for record in read_records(metrics) {
        match record? {
            Record::Step { stage, index, loss, distance: d, .. } => {
                let point = (f64::from(index), f64::from(loss));
                match stage.strip_prefix(prefix) {
                    Some("pretrain") => pretrain.push(point),
                    Some("align") => {
                        lower.push(point);
                        distance.extend(d.map(|d| (f64::from(index), f64::from(d))));
                    }
                    Some("finetune-baseline") => baseline.push(point),
                    Some("finetune-aligned") => aligned.push(point),
                    _ => {}
                }
            }
            Record::UpperStep {
                stage,
                index,
                alternation,
                loss_at_lower,
                loss_at_upper,
                solve,
                ..
            } if stage.strip_prefix(prefix) == Some("align") => {
                upper_p.push((f64::from(index), f64::from(loss_at_lower)));
                upper_d.extend(loss_at_upper.map(|loss| (f64::from(index), f64::from(loss))));
                solves.push(reported(index, alternation, &solve));
            }
            Record::Spread { stage, index, deviation: d, effective_rank: r }
                if stage.strip_prefix(prefix) == Some("pretrain") =>
            {
                deviation.push((f64::from(index), d));
                rank.push((f64::from(index), r));
            }
            _ => {}
        }
    }
    let series = |name: &str, points| Series { name: name.to_owned(), points };
    let chart = |title: &str, x: &str, y: &str, series| Chart {
        title: title.to_owned(),
        x_label: x.to_owned(),
        y_label: y.to_owned(),
        series,
        log_y: false,
    };
    let charts = vec![
        chart("Pretraining", "step", pretext_label, vec![series("pretext loss", pretrain)]),
        chart(
            "Spread of the pretext features",
            "step",
            "deviation, 0 = collapsed",
            vec![series("standard deviation", deviation)],
        ),
        chart(
            "Effective rank of the pretext features",
            "step",
            "(Σλ)² / Σλ²",
            vec![series("effective rank", rank)],
        ),
        chart("Lower level", "lower step", pretext_label, vec![series("pretext loss", lower)]),
        chart(
            "Upper level",
            "upper step",
            "cross entropy, nats",
            vec![
                series("at the lower backbone θ_P", upper_p),
                series("at the upper backbone θ_D", upper_d),
            ],
        ),
        chart(
            "Distance of the backbones",
            "lower step",
            "‖θ_P − θ_D‖",
            vec![series("distance", distance)],
        ),
        chart(
            "Fine-tuning",
            "step",
            "cross entropy, nats",
            vec![series(BASELINE, baseline), series(ALIGNED, aligned)],
        ),
    ];
    Ok((charts, solves))
}

fn reported(index: u32, alternation: u32, solve: &Solve) -> report::Solve {
    report::Solve {
        index,
        alternation,
        termination: solve.termination_name(),
        products: solve.products,
        residual: solve.residual,
        correction: solve.correction,
        cosine: solve.cosine,
        solution_ratio: solve.solution_ratio,
        rayleigh_max: solve.rayleigh_max,
    }
}
