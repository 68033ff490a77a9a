//! What the page promises, whatever the input.

mod markup;

use super::accuracy::verdict;
use super::picture::base64;
use super::statistics::Sample;
use super::*;
use markup::{check, decode_base64, text_of};

/// A report with every part filled, and `text` wherever a text is possible.
fn sample(text: &str) -> Report {
    let method = |shift: f64| Method {
        name: text.to_owned(),
        seeds: vec![1, 2, 3],
        accuracy: vec![0.5 + shift, 0.55 + shift, 0.53 + 2.0 * shift],
        knn: vec![0.4, 0.41, f64::NAN],
        probe: vec![],
    };
    let series = |slope: f64| Series {
        name: text.to_owned(),
        points: (0..700).map(|step| (f64::from(step), 9.0 + slope * f64::from(step))).collect(),
    };
    let chart = |log_y| Chart {
        title: text.to_owned(),
        x_label: text.to_owned(),
        y_label: text.to_owned(),
        series: vec![series(-0.01), series(0.5)],
        log_y,
    };
    let neighbour = |same_class| Neighbour { picture: picture(5, 4), same_class };
    Report {
        title: text.to_owned(),
        command: text.to_owned(),
        summary: vec![(text.to_owned(), text.to_owned())],
        accuracy: vec![method(0.0), method(0.01)],
        curves: vec![chart(false), chart(true)],
        solves: (0..16).map(|index| solve(index, text)).collect(),
        neighbours: vec![NeighbourRow {
            query: picture(50, 50),
            class: text.to_owned(),
            before: vec![neighbour(false), neighbour(true)],
            after: vec![neighbour(true), neighbour(true)],
        }],
        config: text.to_owned(),
    }
}

fn solve(index: u32, termination: &str) -> Solve {
    Solve {
        index,
        alternation: index / 8,
        termination: termination.to_owned(),
        products: 3,
        residual: (!index.is_multiple_of(4)).then_some(1e-3),
        correction: Some(0.1),
        cosine: Some(0.99),
        solution_ratio: Some(1.0),
        rayleigh_max: Some(4.0 + index as f32),
    }
}

fn picture(width: u32, height: u32) -> Picture {
    let rgb = (0..width * height * 3).map(|index| (index * 37 % 251) as u8).collect();
    Picture { width, height, rgb }
}

fn page(report: &Report) -> String {
    let html = report.to_html().expect("the report is consistent");
    if let Err(fault) = check(&html) {
        panic!("{fault}");
    }
    assert!(!html.contains("NaN") && !html.contains("inf\""), "a number is not finite");
    html
}

#[test]
fn the_page_is_well_formed_with_each_part_present_or_absent() {
    let full = sample("plain");
    for parts in 0..128 {
        let mut report = full.clone();
        let clear = |part: u32| parts >> part & 1 == 1;
        if clear(0) {
            report.summary.clear();
        }
        if clear(1) {
            report.accuracy.clear();
        }
        if clear(2) {
            report.curves.clear();
        }
        if clear(3) {
            report.solves.clear();
        }
        if clear(4) {
            report.neighbours.clear();
        }
        if clear(5) {
            report.config.clear();
        }
        if clear(6) {
            report.command.clear();
        }
        let html = page(&report);
        assert_eq!(html.contains("Linear solves"), !report.solves.is_empty());
        assert_eq!(html.contains("Training"), !report.curves.is_empty());
        assert_eq!(html.contains("Accuracy"), !report.accuracy.is_empty());
    }
    page(&Report::default());
}

#[test]
fn parts_may_be_empty_inside() {
    let mut report = sample("plain");
    report.accuracy = vec![Method { name: "nothing".into(), ..Method::default() }];
    report.curves =
        vec![Chart::default(), Chart { series: vec![Series::default()], ..Chart::default() }];
    report.solves = vec![Solve::default()];
    report.neighbours[0].before.clear();
    report.neighbours[0].after.clear();
    let html = page(&report);
    assert_eq!(html.matches("No values to draw.").count(), 2);
    assert!(!html.contains("Accuracy"));
    let missing = "Not reported by these solves: relative residual, correction of second order, \
                   alignment with b";
    assert!(text_of(&html).contains(missing), "{}", text_of(&html));
}

#[test]
fn every_text_is_escaped() {
    let hostile = "</style><script>alert('1')</script>&amp;\"<!-- \u{1b}[31m\0";
    let html = page(&sample(hostile));
    assert!(!html.contains("<script") && !html.contains("<!--"));
    assert!(!html.contains('\u{1b}') && !html.contains('\0'));
    let shown = hostile.replace(['\u{1b}', '\0'], "\u{fffd}");
    assert!(text_of(&html).matches(&shown).count() >= 15, "texts must be shown as given");
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let html = page(&sample("plain"));
    for forbidden in ["http:", "https:", "src=\"/", "href=", "url(", "@import", "<script", "<link"]
    {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert_eq!(
        html.matches("src=\"").count(),
        html.matches("src=\"data:image/png;base64,").count()
    );
    assert!(html.contains("default-src &#39;none&#39;"));
}

#[test]
fn equal_reports_give_equal_bytes() {
    let report = sample("plain");
    assert_eq!(page(&report), page(&report.clone()));
}

#[test]
fn values_that_cannot_be_drawn_are_counted_not_drawn() {
    let points = |values: &[f64]| values.iter().enumerate().map(|(x, &y)| (x as f64, y)).collect();
    let chart = |values: &[f64], log_y| Chart {
        series: vec![Series { name: String::new(), points: points(values) }],
        log_y,
        ..Chart::default()
    };
    let mut report = Report {
        curves: vec![chart(&[1.0, f64::NAN, f64::INFINITY, 2.0], false)],
        ..Report::default()
    };
    assert!(text_of(&page(&report)).contains("Not drawn: 2 values not finite."));
    report.curves = vec![chart(&[1.0, 0.0, -1.0, f64::NAN, 5.0], true)];
    assert!(text_of(&page(&report)).contains("Not drawn: 3 values not finite or not positive."));
    report.curves = vec![chart(&[f64::NAN; 3], false), chart(&[f64::MAX, f64::MIN, 1e99], false)];
    assert!(text_of(&page(&report)).contains("No values to draw."));
    report.curves = vec![chart(&[f64::MIN_POSITIVE, 1e-99, 1e99], true), chart(&[0.0; 4], false)];
    page(&report);
}

#[test]
fn a_single_seed_and_a_single_method_claim_no_interval() {
    let method = |name: &str, accuracy| Method {
        name: name.into(),
        seeds: vec![7],
        accuracy: vec![accuracy],
        ..Method::default()
    };
    let alone = Report { accuracy: vec![method("plain", 0.5)], ..Report::default() };
    assert!(!text_of(&page(&alone)).contains("Paired difference"));
    let pair = Report {
        accuracy: vec![method("plain", 0.5), method("aligned", 0.625)],
        ..Report::default()
    };
    let text = text_of(&page(&pair));
    assert!(text.contains("+12.50 percentage points on the only paired seed"), "{text}");
    assert!(!text.contains("contain zero"));
}

#[test]
fn a_seed_without_result_is_a_dash_and_out_of_the_statistics() {
    let mut report = sample("plain");
    report.accuracy[0].accuracy[2] = f64::NAN;
    let text = text_of(&page(&report));
    assert!(text.contains("+1.00 percentage points on each of 2 paired seeds"), "{text}");
    report.accuracy[0].accuracy = vec![f64::NAN; 3];
    let text = text_of(&page(&report));
    assert!(text.contains("so they are not compared") && text.contains("no result"), "{text}");
}

#[test]
fn the_verdict_claims_a_gain_only_where_the_interval_lies_above_zero() {
    let mut seen = [false; 3];
    for number in 0..500u64 {
        let value = |salt: u64| ((number * 7 + salt) * 2_654_435 % 1000) as f64 / 1000.0 - 0.4;
        let differences = [value(1), value(2) + 0.5, value(3) + 0.5];
        let sample = Sample::of(&differences).expect("three values");
        let interval = sample.interval.expect("three values");
        let text = verdict("Accuracy", ("first", "last"), Some(&sample));
        let gain = text.contains("last was the more accurate");
        let loss = text.contains("last was the less accurate");
        let open = text.contains("do not show which");
        assert_eq!(
            [gain, loss, open],
            [interval.low > 0.0, interval.high < 0.0, interval.contains(0.0)]
        );
        seen[0] |= gain;
        seen[1] |= loss;
        seen[2] |= open;
    }
    assert!(seen[0] && seen[2], "the differences must cover both cases: {seen:?}");
    let lower = Sample::of(&[-0.1, -0.11, -0.12]);
    assert!(verdict("Accuracy", ("a", "b"), lower.as_ref()).contains("b was the less accurate"));
}

#[test]
fn terminations_and_neighbours_are_counted() {
    let mut report = sample("plain");
    report.solves =
        (0..10).map(|index| solve(index, if index < 7 { "converged" } else { "limit" })).collect();
    let text = text_of(&page(&report));
    for expected in
        ["converged: 7", "limit: 3", "10 solves in 2 alternations, with 30 products (3.0"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.contains("1 of 2 before, 2 of 2 after"), "{text}");
    assert!(text.contains("Not drawn: 3 values absent"), "{text}");
}

#[test]
fn a_picture_comes_back_from_its_uri_pixel_by_pixel() {
    for (width, height) in [(1, 1), (5, 4), (32, 32), (97, 3)] {
        let picture = picture(width, height);
        let uri = picture.data_uri("here").expect("the size fits");
        let png = decode_base64(uri.strip_prefix("data:image/png;base64,").expect("a PNG"));
        let decoded = image::load_from_memory(&png).expect("a PNG").into_rgb8();
        assert_eq!(decoded.dimensions(), (width, height));
        assert_eq!(decoded.into_raw(), picture.rgb);
    }
}

#[test]
fn base64_agrees_with_the_vectors_of_rfc_4648() {
    let vectors = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
    for (length, expected) in vectors.into_iter().enumerate() {
        assert_eq!(base64(&b"foobar"[..length]), expected);
    }
    assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
}

#[test]
fn only_what_is_scaled_up_keeps_square_pixels() {
    let html = page(&sample("plain"));
    assert_eq!(html.matches("<img class=\"crisp\"").count(), 4);
    assert_eq!(html.matches("<img class=\"smooth\"").count(), 1);
}

#[test]
fn contradictions_are_refused_by_name() {
    let refused = |change: fn(&mut Report)| {
        let mut report = sample("plain");
        change(&mut report);
        report.to_html().expect_err("a contradiction").to_string()
    };
    let text = refused(|report| {
        report.neighbours[0].after[1].picture.rgb.pop();
    });
    assert!(
        text.starts_with("neighbours, row 0 (plain), after, neighbour 1: a picture of 5 × 4"),
        "{text}"
    );
    assert!(text.contains("59 bytes"), "{text}");
    let text = refused(|report| report.neighbours[0].query = Picture::default());
    assert!(text.contains("query: a picture of 0 × 0"), "{text}");
    let huge = Picture { width: u32::MAX, height: u32::MAX, rgb: vec![0; 3] };
    assert!(huge.data_uri("here").is_err());
    let text = refused(|report| {
        report.accuracy[1].knn.pop();
    });
    assert!(text.contains("knn has 2 values; expected one for each of 3 seeds"), "{text}");
    let text = refused(|report| report.accuracy[1].seeds[0] = 9);
    assert!(
        text.contains("has seeds [9, 2, 3]; expected those of method plain, [1, 2, 3]"),
        "{text}"
    );
    let text = refused(|report| report.accuracy[0].accuracy[1] = 61.0);
    assert!(text.contains("accuracy of seed 2 is 61; expected 0 to 1"), "{text}");
}
