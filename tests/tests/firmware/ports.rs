//! A port to short integers: its arithmetic, its determinism, and the laws of the conformance kit
//! that it obeys.

use std::collections::BTreeMap;

use bissl_core::conformance::Settings;
use bissl_firmware::{Compact, Kernels, Lengths, Matrix, MatrixMut};
use bissl_firmware_sim::{
    BitsOutOfRange, Digits, FixedPoint, PortReport, check_laws, compare_with, port_report,
};

use crate::support::{draws, random};

/// Tolerances for rounding to 16 bits. A product that is twice its right value would still be off
/// by 0.67.
const SIXTEEN: Settings =
    Settings { rounding: 1e-3, product_differences: 0.2, ..Settings::DEFAULT };

/// The result of each law by its name: the figure, and `true`, `false` or why it was not measured.
type Verdicts = BTreeMap<String, (f32, String)>;

fn verdicts<K: Kernels<f32>>(kernels: &mut K, tolerances: Settings) -> Verdicts {
    let mut verdicts = Verdicts::new();
    let print = |line: std::fmt::Arguments<'_>| {
        let line = line.to_string();
        let pairs: BTreeMap<_, _> =
            line.split(' ').filter_map(|pair| pair.split_once('=')).collect();
        let measured = pairs.get("measured").map_or(f32::NAN, |text| text.parse().unwrap());
        let verdict = (measured, pairs["holds"].to_owned());
        verdicts.insert(pairs["law"].to_owned(), verdict);
    };
    check_laws(&Digits::embedded(), ("port", kernels), tolerances, print).unwrap();
    verdicts
}

fn broken(verdicts: &Verdicts) -> Vec<&str> {
    let broken = verdicts.iter().filter(|(_, (_, holds))| holds == "false");
    broken.map(|(law, _)| law.as_str()).collect()
}

fn port(bits: u8) -> FixedPoint {
    FixedPoint::new(bits).unwrap()
}

#[test]
fn sixteen_bits_obey_every_law_at_tolerances_of_their_own() {
    let found = verdicts(&mut port(16), SIXTEEN);
    assert!(broken(&found).is_empty(), "{found:#?}");
    let held = found.values().filter(|(_, holds)| holds == "true").count();
    assert!(held >= 30, "{found:#?}");
    // They do not hold at the tolerances of f32; otherwise wider ones would not be needed.
    let found = verdicts(&mut port(16), Settings::DEFAULT);
    assert_eq!(broken(&found), ["linearity", "product-differences"]);
}

#[test]
fn fewer_bits_break_laws_of_precision_and_none_of_equality() {
    let mut last = 0.0;
    for bits in [16, 12, 8] {
        let found = verdicts(&mut port(bits), SIXTEEN);
        for law in [
            "zero",
            "copy",
            "dots-repeat",
            "lower-repeats",
            "upper-repeats",
            "product-repeats",
            "linearize-repeats",
            "product-preserves",
            "upper-preserves",
            "untouched",
            "hypergradient-repeats",
            "refused-reply",
            "same-replies",
        ] {
            assert_eq!(found[law], (0.0, "true".to_owned()), "{law} at {bits} bits");
        }
        // The unit depends on the largest element, so quantisation is not linear.
        let (linearity, _) = found["linearity"];
        assert!(linearity > 4.0 * last, "{linearity} at {bits} bits, {last} before");
        last = linearity;
    }
    let found = verdicts(&mut port(8), SIXTEEN);
    assert!(broken(&found).contains(&"product-differences"), "{found:#?}");
}

/// The port with one fault.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Sums are shifted by one bit too many.
    ForwardHalved,
    /// The accelerator accumulates onto the result of the last product.
    BackwardTwice,
    WeightsTwice,
    /// The sum replaces y instead of being added to it.
    Replaces,
    /// Every product is rounded differently: with dither from a counter.
    Dithers,
    /// The mask tests the wrong sign.
    MaskInverted,
}

struct Faulty {
    port: FixedPoint,
    fault: Fault,
    calls: u32,
}

impl Kernels<f32> for Faulty {
    fn multiply_transposed(
        &mut self,
        x: Matrix<'_, f32>,
        w: Matrix<'_, f32>,
        mut y: MatrixMut<'_, f32>,
    ) {
        self.calls += 1;
        for r in 0..y.rows() {
            let row = y.row(r).unwrap();
            match self.fault {
                Fault::ForwardHalved => row.iter_mut().for_each(|y| *y *= 2.0),
                Fault::Replaces => row.fill(0.0),
                Fault::Dithers => row[0] += 1e-4 * self.calls as f32,
                _ => {}
            }
        }
        self.port.multiply_transposed(x, w, y.reborrow());
        if matches!(self.fault, Fault::ForwardHalved) {
            for r in 0..y.rows() {
                y.row(r).unwrap().iter_mut().for_each(|y| *y *= 0.5);
            }
        }
    }

    fn multiply(&mut self, y: Matrix<'_, f32>, w: Matrix<'_, f32>, mut x: MatrixMut<'_, f32>) {
        if matches!(self.fault, Fault::BackwardTwice) {
            self.port.multiply(y, w, x.reborrow());
        }
        self.port.multiply(y, w, x);
    }

    fn outer(&mut self, y: Matrix<'_, f32>, x: Matrix<'_, f32>, mut w: MatrixMut<'_, f32>) {
        if matches!(self.fault, Fault::WeightsTwice) {
            self.port.outer(y, x, w.reborrow());
        }
        self.port.outer(y, x, w);
    }

    fn relu_mask(&mut self, y: &[f32], v: &mut [f32]) {
        if !matches!(self.fault, Fault::MaskInverted) {
            return self.port.relu_mask(y, v);
        }
        for (y, v) in y.iter().zip(v) {
            *v = if *y > 0.0 { 0.0 } else { *v };
        }
    }
}

#[test]
fn the_wider_tolerances_still_find_faults_of_a_port() {
    for (fault, expected) in [
        (Fault::ForwardHalved, "lower-differences"),
        (Fault::BackwardTwice, "lower-differences"),
        (Fault::WeightsTwice, "lower-differences"),
        (Fault::Replaces, "upper-head-differences"),
        (Fault::Dithers, "lower-repeats"),
        (Fault::MaskInverted, "lower-differences"),
    ] {
        let mut kernels = Faulty { port: port(16), fault, calls: 0 };
        let found = verdicts(&mut kernels, SIXTEEN);
        println!("{fault:?}: {:?}", broken(&found));
        assert!(broken(&found).contains(&expected), "{fault:?}: {found:#?}");
    }
}

/// Rows, columns (inner dimension of the first product) and outputs.
const SIZES: [(usize, usize, usize); 4] = [(3, 5, 4), (1, 64, 20), (20, 16, 10), (2, 1, 1)];

/// The three products of random matrices, added to random ones: by `kernels` in f32, and exactly in
/// f64, with the size of the terms of each sum.
fn products(
    kernels: &mut impl Kernels<f32>,
    (rows, columns, outputs): (usize, usize, usize),
    scale: f32,
) -> [Vec<(f32, f64, f64)>; 3] {
    let mut draws = draws(7);
    let mut vector = |floats| random::<f32>(&mut draws, floats);
    let scaled = |vector: Vec<f32>| vector.iter().map(|v| scale * v).collect::<Vec<_>>();
    let (x, w, y) =
        (scaled(vector(rows * columns)), vector(outputs * columns), scaled(vector(rows * outputs)));
    let matrix = |data, rows, columns| Matrix::new(data, rows, columns, columns);
    let (mut to_y, mut to_x, mut to_w) =
        (vec![0.0; y.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
    let (mx, mw, my) =
        (matrix(&x, rows, columns), matrix(&w, outputs, columns), matrix(&y, rows, outputs));
    kernels.multiply_transposed(mx, mw, MatrixMut::new(&mut to_y, rows, outputs, outputs));
    kernels.multiply(my, mw, MatrixMut::new(&mut to_x, rows, columns, columns));
    kernels.outer(my, mx, MatrixMut::new(&mut to_w, outputs, columns, columns));
    let largest = |v: &[f32]| v.iter().fold(0.0f64, |most, v| most.max(f64::from(v.abs())));
    let (lx, lw, ly) = (largest(&x), largest(&w), largest(&y));
    let exact = |count: usize, term: &dyn Fn(usize) -> (f32, f32)| -> f64 {
        (0..count)
            .map(|i| {
                let (a, b) = term(i);
                f64::from(a) * f64::from(b)
            })
            .sum()
    };
    let at = |r: usize, i: usize, columns: usize| r * columns + i;
    let mut found = [vec![], vec![], vec![]];
    for r in 0..rows {
        for o in 0..outputs {
            let sum = exact(columns, &|i| (x[at(r, i, columns)], w[at(o, i, columns)]));
            found[0].push((to_y[at(r, o, outputs)], sum, columns as f64 * lx * lw));
        }
        for i in 0..columns {
            let sum = exact(outputs, &|o| (y[at(r, o, outputs)], w[at(o, i, columns)]));
            found[1].push((to_x[at(r, i, columns)], sum, outputs as f64 * ly * lw));
        }
    }
    for o in 0..outputs {
        for i in 0..columns {
            let sum = exact(rows, &|r| (y[at(r, o, outputs)], x[at(r, i, columns)]));
            found[2].push((to_w[at(o, i, columns)], sum, rows as f64 * ly * lx));
        }
    }
    found
}

/// The error of an operand is at most a unit, which is at most 2^(2 − bits) of its largest
/// magnitude. It is at most half a unit except for the largest.
#[test]
fn products_are_off_by_no_more_than_their_operands_are() {
    for bits in 8..=16 {
        for size in SIZES {
            for (product, found) in products(&mut port(bits), size, 1.0).iter().enumerate() {
                let unit = f64::from(2 - i32::from(bits)).exp2();
                for (found, exact, terms) in found {
                    let error = (f64::from(*found) - exact).abs();
                    let most = terms * (2.0 * unit + unit * unit) + exact.abs() * 1e-7;
                    assert!(error <= most, "{bits} bits, product {product}: {found}, {exact}");
                }
            }
        }
    }
    // At the fewest bits the error is not zero.
    let [found, ..] = products(&mut port(8), SIZES[1], 1.0);
    assert!(found.iter().any(|(found, exact, _)| (f64::from(*found) - exact).abs() > 1e-3));
}

#[test]
fn a_power_of_two_more_changes_only_exponents() {
    for scale in [2.0f32.powi(40), 2.0f32.powi(-60)] {
        for size in SIZES {
            let [y, x, w] = products(&mut port(12), size, 1.0);
            let [scaled_y, scaled_x, scaled_w] = products(&mut port(12), size, scale);
            for (plain, scaled, factor) in
                [(y, scaled_y, scale), (x, scaled_x, scale), (w, scaled_w, scale * scale)]
            {
                for ((plain, ..), (scaled, ..)) in plain.iter().zip(&scaled) {
                    let (expected, found) = (plain * factor, *scaled);
                    assert!(expected == found || !expected.is_normal(), "{expected} {found}");
                }
            }
        }
    }
}

/// Sums do not depend on the order: with the columns of both operands exchanged, the bits are the
/// same.
#[test]
fn the_order_of_the_terms_changes_no_bit() {
    let mut draws = draws(3);
    let (x, w) = (random::<f32>(&mut draws, 64), random::<f32>(&mut draws, 64));
    let reversed = |v: &[f32]| v.iter().rev().copied().collect::<Vec<_>>();
    let (rx, rw) = (reversed(&x), reversed(&w));
    assert_eq!(dot(&mut port(16), &x, &w), dot(&mut port(16), &rx, &rw));
    let floats = [dot(&mut Compact, &x, &w), dot(&mut Compact, &rx, &rw)];
    assert_ne!(floats[0], floats[1], "these numbers show nothing");
}

/// The bits of `1/4 + x · w`.
fn dot(kernels: &mut impl Kernels<f32>, x: &[f32], w: &[f32]) -> u32 {
    let mut y = [0.25];
    kernels.multiply_transposed(row(x), row(w), MatrixMut::new(&mut y, 1, 1, 1));
    y[0].to_bits()
}

fn row(data: &[f32]) -> Matrix<'_, f32> {
    Matrix::new(data, 1, data.len(), data.len())
}

#[test]
fn rows_that_overlap_are_added_one_by_one() {
    // Overlapping windows of three small integers, each starting one float after the previous one:
    // exact in eight bits.
    let (y, w) = ([1.0f32, 2.0, 3.0], [4.0f32, 5.0, 6.0]);
    let mut x = [100.0f32, 0.0, 0.0, 0.0, 0.0];
    let windows = MatrixMut::new(&mut x, 3, 3, 1);
    port(8).multiply(Matrix::new(&y, 3, 1, 1), Matrix::new(&w, 1, 3, 3), windows);
    assert_eq!(x, [104.0, 13.0, 28.0, 27.0, 18.0]);
}

#[test]
fn what_is_not_finite_stays_visible() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (x, w) = ([1.0, bad], [1.0, 1.0]);
        for (x, w) in [(x, w), (w, x)] {
            let mut y = [0.0];
            port(16).multiply_transposed(row(&x), row(&w), MatrixMut::new(&mut y, 1, 1, 1));
            assert!(y[0].is_nan());
        }
    }
    // Zeros and subnormal numbers are handled as numbers.
    for small in [0.0, f32::from_bits(1), f32::from_bits(0x007f_ffff)] {
        let mut y = [0.5];
        port(16).multiply_transposed(row(&[small]), row(&[2.0]), MatrixMut::new(&mut y, 1, 1, 1));
        assert_eq!(y, [0.5]);
    }
}

#[test]
fn operands_have_eight_to_sixteen_bits() {
    for bits in [0, 7, 17, 255] {
        let error = FixedPoint::new(bits).unwrap_err();
        assert_eq!(error, BitsOutOfRange { found: bits });
        assert_eq!(
            error.to_string(),
            format!("bits of an operand: found {bits}, expected 8 to 16")
        );
    }
    assert_eq!((8..=16).map(|bits| port(bits).bits()).sum::<u8>(), 108);
}

/// Errors of hypergradients grow as the number of bits falls; the same arguments give the same
/// report.
#[test]
fn the_report_measures_what_bits_cost() {
    let digits = Digits::embedded();
    let lengths =
        Lengths { pretrain: 40, warm_up: 20, alternations: 2, finetune: 20, ..Lengths::default() };
    let settings = [bissl_firmware::Settings::new(1, lengths).unwrap()];
    let report = port_report(&digits, &[16, 8], &settings).unwrap();
    assert_eq!(report, port_report(&digits, &[16, 8], &settings).unwrap());
    let [PortReport { bits: None, seeds: exact }, fine, coarse] = &report[..] else {
        panic!("{report:#?}")
    };
    assert_eq!(exact[0].hypergradient, None);
    let expected = compare_with::<bissl_firmware::DigitsDevice, _>(
        &digits,
        Compact,
        settings[0],
        &mut |_, _| {},
    );
    assert_eq!(exact[0].accuracies, expected.unwrap());
    let [fine, coarse] = [fine, coarse].map(|report| report.seeds[0].hypergradient.unwrap());
    assert!(fine.products_exact > 0, "{fine:?}");
    assert!(fine.share > 0.01, "{fine:?}");
    assert!(fine.whole > 0.0 && fine.whole < 2e-3, "{fine:?}");
    assert!(coarse.whole > 20.0 * fine.whole, "{coarse:?} {fine:?}");
    assert!(coarse.correction > 20.0 * fine.correction, "{coarse:?} {fine:?}");
}
