//! The comparison: figures first, then the conclusion that they allow, then every value.

use super::Method;
use super::html::{Attributes, Html};
use super::measures::{MEASURES, Measure};
use super::number;
use super::pairs;
use super::statistics::{Interval, Sample};

/// With more methods, only the table shows them.
const TILES_MAX: usize = 4;

/// The section; writes nothing if no method has a value.
pub(super) fn render(html: &mut Html, methods: &[Method]) {
    let measured: Vec<Measure> =
        MEASURES.into_iter().filter(|measure| measure.is_measured(methods)).collect();
    let Some(main) = measured.first() else { return };
    html.element("section", &[], |html| {
        html.text_element("h2", &[], "Accuracy");
        if methods.len() <= TILES_MAX {
            tiles(html, methods, main);
        }
        if let [first, .., last] = methods {
            let difference = Sample::of(&main.differences(methods));
            let text = verdict(main.name, (&first.name, &last.name), difference.as_ref());
            html.text_element("p", &[("class", "verdict")], &text);
        }
        html.element("div", &[("class", "figures")], |html| {
            pairs::values(html, methods, main);
            pairs::differences(html, methods, &measured);
        });
        for measure in &measured {
            table(html, methods, measure);
        }
        let caption = "± is the standard deviation over seeds (n − 1). Intervals: 95 %, Student’s t \
                       with n − 1 degrees of freedom. Both describe how seeds vary within this \
                       setting, not how data sets do.";
        html.text_element("p", &[("class", "note")], caption);
    });
    html.line();
}

fn tiles(html: &mut Html, methods: &[Method], measure: &Measure) {
    html.element("div", &[("class", "tiles")], |html| {
        for method in methods {
            let sample = Sample::of((measure.values)(method));
            let value = sample.map_or("–".to_owned(), |sample| number::percent(sample.mean));
            tile(html, &method.name, &value, &spread(sample.as_ref()));
        }
        if let Some(difference) = Sample::of(&measure.differences(methods)) {
            let below = match difference.interval {
                Some(interval) => format!("points, 95 %: {}", point_range(interval, 1)),
                None => format!("points, {}", number::counted(difference.count, "paired seed")),
            };
            let value = number::points(difference.mean, 1);
            tile(html, "Paired difference, last − first", &value, &below);
        }
    });
}

fn tile(html: &mut Html, label: &str, value: &str, below: &str) {
    html.element("div", &[("class", "tile")], |html| {
        html.text_element("span", &[("class", "label")], label);
        html.text_element("strong", &[], value);
        html.text_element("span", &[("class", "below")], below);
    });
}

fn spread(sample: Option<&Sample>) -> String {
    match sample {
        None => "no result".to_owned(),
        Some(Sample { count, deviation: None, .. }) => number::counted(*count, "seed"),
        Some(Sample { count, deviation: Some(deviation), .. }) => {
            format!("± {}, {}", number::percent(*deviation), number::counted(*count, "seed"))
        }
    }
}

/// What the paired difference allows one to say, and no more.
pub(super) fn verdict(
    measure: &str,
    (first, last): (&str, &str),
    difference: Option<&Sample>,
) -> String {
    let Some(Sample { count, mean, deviation, interval }) = difference else {
        return format!(
            "No seed has a result of both {first} and {last}, so they are not compared."
        );
    };
    let mean_points = number::points(*mean, 2);
    let opening = format!("{measure} of {last} against {first}: {mean_points} percentage points");
    let (Some(deviation), Some(interval)) = (deviation, interval) else {
        return format!(
            "{opening} on the only paired seed. One seed gives no interval, so nothing follows for \
             others."
        );
    };
    let seeds = number::counted(*count, "paired seed");
    // If all differences are equal, the deviation is only the rounding of their mean.
    if *deviation < 1e-12 {
        return format!(
            "{opening} on each of {seeds}. Without spread the interval has no width and says nothing \
             about other seeds."
        );
    }
    let conclusion = match interval {
        _ if interval.contains(0.0) => {
            "contains zero: these seeds do not show which of the two is more accurate.".to_owned()
        }
        Interval { low, .. } if *low > 0.0 => {
            format!("does not contain zero: here {last} was the more accurate.")
        }
        _ => format!("does not contain zero: here {last} was the less accurate."),
    };
    let range = point_range(*interval, 2);
    format!("{opening} on average over {seeds}. The 95 % interval, {range}, {conclusion}")
}

fn point_range(interval: Interval, decimals: usize) -> String {
    let (low, high) = (interval.low, interval.high);
    format!("{} to {}", number::points(low, decimals), number::points(high, decimals))
}

fn table(html: &mut Html, methods: &[Method], measure: &Measure) {
    let seeds = methods.first().map_or(&[][..], |method| &method.seeds);
    html.text_element("h3", &[], measure.name);
    html.text_element("p", &[("class", "about")], measure.about);
    html.element("div", &[("class", "scroll")], |html| {
        html.element("table", &[], |html| {
            html.element("thead", &[], |html| {
                html.element("tr", &[], |html| {
                    for label in ["Method", "Mean", "95 % interval"] {
                        html.text_element("th", &[("scope", "col")], label);
                    }
                    for seed in seeds {
                        let label = format!("Seed {seed}");
                        html.text_element("th", &[("scope", "col")], &label);
                    }
                });
            });
            html.element("tbody", &[], |html| {
                for method in methods {
                    method_row(html, method, (measure.values)(method));
                }
                difference_row(html, &measure.differences(methods), seeds.len());
            });
        });
    });
    html.line();
}

fn method_row(html: &mut Html, method: &Method, values: &[f64]) {
    let sample = Sample::of(values);
    let mean = match sample {
        None => "–".to_owned(),
        Some(Sample { mean, deviation: None, .. }) => number::percent(mean),
        Some(Sample { mean, deviation: Some(deviation), .. }) => {
            format!("{:.1} ± {}", mean * 100.0, number::percent(deviation))
        }
    };
    let interval = sample.and_then(|sample| sample.interval).map_or("–".to_owned(), |interval| {
        format!("{:.1} to {}", interval.low * 100.0, number::percent(interval.high))
    });
    let of_seed = |index| number::percent(values.get(index).copied().unwrap_or(f64::NAN));
    let cells = (0..method.seeds.len()).map(of_seed);
    row(html, &[], &method.name, [mean, interval].into_iter().chain(cells));
}

fn difference_row(html: &mut Html, differences: &[f64], seeds: usize) {
    let Some(sample) = Sample::of(differences) else { return };
    let mean = match sample.deviation {
        None => number::points(sample.mean, 1),
        Some(deviation) => {
            format!("{} ± {:.1}", number::points(sample.mean, 1), deviation * 100.0)
        }
    };
    let interval = sample.interval.map_or("–".to_owned(), |interval| point_range(interval, 1));
    let cells = (0..seeds).map(|index| number::points(differences[index], 1));
    let label = "Last − first, points";
    row(html, &[("class", "difference")], label, [mean, interval].into_iter().chain(cells));
}

fn row(
    html: &mut Html,
    attributes: &Attributes<'_>,
    label: &str,
    cells: impl Iterator<Item = String>,
) {
    html.element("tr", attributes, |html| {
        html.text_element("th", &[("scope", "row")], label);
        cells.for_each(|cell| html.text_element("td", &[], &cell));
    });
}
