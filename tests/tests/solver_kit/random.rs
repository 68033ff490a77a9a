//! Random streams: published numbers, uniformity, independence.

use bissl_core::{Draws, Stream};

/// Random123's known answer for counter 0 and key 0, taken from the last word.
#[test]
fn the_first_draws_of_stream_zero_are_the_published_ones() {
    let mut draws = Stream::new(0, 0).at(0);
    let words: Vec<u32> = (0..4).map(|_| draws.next_u32()).collect();
    assert_eq!(words, [0x9b00_dbd8, 0xbc57_ac4c, 0xe169_c58d, 0x6627_e8d5]);
}

/// By `golden_draws.py`. Fixed so that no change of the layout of seed, domain, index and block
/// goes unnoticed: it would change every run.
#[test]
fn golden_draws() {
    let first = |seed, domain, index| Stream::new(seed, domain).at(index).next_u32();
    assert_eq!(
        [
            first(1, 0, 0),
            first(1 << 32, 0, 0),
            first(0, 1, 0),
            first(0, 0, 1),
            first(0, 0, 1 << 32),
            first(0x0123_4567_89ab_cdef, 0xfedc, 0x1122_3344_5566_7788),
        ],
        GOLDEN_FIRST
    );
    let mut draws = Stream::new(7, 3).at(11);
    let words: Vec<u32> = (0..9).map(|_| draws.next_u32()).collect();
    assert_eq!(words, GOLDEN_SUCCESSIVE);
    let mut draws = Stream::new(7, 3).at(11);
    assert_eq!(draws.uniform(), (GOLDEN_SUCCESSIVE[0] >> 8) as f32 / 16_777_216.0);
    let mut draws = Stream::new(7, 3).at(11);
    for expected in GOLDEN_NORMAL {
        assert!((f64::from(draws.normal()) - expected).abs() < 1e-6, "{expected}");
    }
}

const GOLDEN_FIRST: [u32; 6] = [3054873127, 3637861455, 686835133, 159317863, 122242227, 310448433];
const GOLDEN_SUCCESSIVE: [u32; 9] = [
    2020402558, 3254949500, 92564631, 1446035184, 4194300417, 3134869051, 415709403, 3599605760,
    2976901427,
];
const GOLDEN_NORMAL: [f64; 3] = [0.05560418144481789, -0.10815250715596067, -0.34521170360964715];

#[test]
fn draws_are_repeatable_and_can_be_put_aside() {
    let stream = Stream::new(5, 9);
    let mut draws = stream.at(4);
    for _ in 0..7 {
        draws.next_u32();
    }
    let text = serde_json::to_string(&draws).unwrap();
    let mut restored: Draws = serde_json::from_str(&text).unwrap();
    let mut copy = draws.clone();
    let mut again = stream.at(4);
    for _ in 0..7 {
        again.next_u32();
    }
    for _ in 0..50 {
        let word = draws.next_u32();
        assert_eq!([restored.next_u32(), copy.next_u32(), again.next_u32()], [word; 3]);
    }
}

/// The draws of neighbouring seeds, domains and indices, and successive ones, share no word.
#[test]
fn streams_do_not_overlap() {
    let mut words = Vec::new();
    for (seed, domain, index) in
        (0..6).flat_map(|s| (0..6).flat_map(move |d| (0..6).map(move |i| (s, d, i))))
    {
        let mut draws = Stream::new(seed, domain).at(index);
        words.extend((0..20).map(|_| draws.next_u32()));
    }
    let count = words.len();
    words.sort_unstable();
    words.dedup();
    assert!(count - words.len() <= 2, "{} of {count} words repeat", count - words.len());
}

/// Bits of related streams agree half of the time.
#[test]
fn related_streams_are_uncorrelated() {
    let pairs = [
        (Stream::new(1, 1).at(0), Stream::new(2, 1).at(0)),
        (Stream::new(1, 1).at(0), Stream::new(1, 2).at(0)),
        (Stream::new(1, 1).at(0), Stream::new(1, 1).at(1)),
    ];
    for (mut left, mut right) in pairs {
        let words = 5000;
        let agreeing: u32 =
            (0..words).map(|_| (!(left.next_u32() ^ right.next_u32())).count_ones()).sum();
        let deviation = f64::from(agreeing) - f64::from(words) * 16.0;
        assert!(deviation.abs() < 5.0 * (f64::from(words) * 8.0).sqrt(), "{deviation}");
    }
}

/// χ² of `counts` against equal counts, in standard deviations above its mean.
fn chi_squared_excess(counts: &[u32]) -> f64 {
    let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    let chi: f64 =
        counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
    let freedom = counts.len() as f64 - 1.0;
    (chi - freedom) / (2.0 * freedom).sqrt()
}

#[test]
fn below_is_unbiased_and_reaches_every_value() {
    for bound in [1u32, 2, 3, 5, 7, 10, 60] {
        let mut draws = Stream::new(3, 8).at(u64::from(bound));
        let mut counts = vec![0; bound as usize];
        for _ in 0..20_000 {
            counts[draws.below(bound) as usize] += 1;
        }
        assert!(bound == 1 || chi_squared_excess(&counts).abs() < 5.0, "{bound}: {counts:?}");
    }
    assert_eq!(Stream::new(3, 8).at(0).below(0), 0);
}

/// Three quarters of 2³²: without rejection one third of the values would come twice as often.
#[test]
fn below_is_unbiased_where_rejection_matters() {
    let bound = 3 << 30;
    let mut draws = Stream::new(4, 8).at(0);
    let mut counts = [0u32; 3];
    for _ in 0..30_000 {
        // In each third of the range, the residues modulo 3 show which words were kept.
        counts[(draws.below(bound) % 3) as usize] += 1;
    }
    assert!(chi_squared_excess(&counts).abs() < 5.0, "{counts:?}");
}

#[test]
fn uniform_draws_are_multiples_in_the_unit_interval_and_even() {
    let mut draws = Stream::new(6, 2).at(0);
    let mut counts = [0u32; 64];
    let mut correlation = 0.0;
    let mut last = 0.0;
    for _ in 0..64_000 {
        let x = draws.uniform();
        assert!((0.0..1.0).contains(&x));
        assert_eq!((x * 16_777_216.0).fract(), 0.0);
        counts[(x * 64.0) as usize] += 1;
        correlation += (f64::from(x) - 0.5) * last;
        last = f64::from(x) - 0.5;
    }
    assert!(chi_squared_excess(&counts).abs() < 5.0, "{counts:?}");
    assert!((correlation / 64_000.0).abs() < 5.0 / 12.0 / 64_000f64.sqrt());
}

#[test]
fn a_range_is_filled_from_its_lower_end_to_its_upper() {
    let mut draws = Stream::new(6, 3).at(0);
    let values: Vec<f32> = (0..4000).map(|_| draws.uniform_in(-3.0, 5.0)).collect();
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    assert!((-3.0..-2.95).contains(&low) && (4.95..5.0).contains(&high), "{low} {high}");
    let mean = values.iter().sum::<f32>() / 4000.0;
    assert!((mean - 1.0).abs() < 0.2, "{mean}");
}

#[test]
fn chances_come_as_often_as_they_say() {
    let mut draws = Stream::new(6, 4).at(0);
    for probability in [0.1f32, 0.5, 0.8] {
        let hits = (0..10_000).filter(|_| draws.chance(probability)).count() as f64;
        let expected = 10_000.0 * f64::from(probability);
        let deviation = (expected * (1.0 - f64::from(probability))).sqrt();
        assert!((hits - expected).abs() < 5.0 * deviation, "{probability}: {hits}");
    }
    assert!((0..1000).all(|_| !draws.chance(0.0) && draws.chance(1.0)));
    // The draw itself as probability: u < u never holds, however rare the case is.
    let probability = draws.clone().uniform();
    assert!(!draws.chance(probability));
}

#[test]
fn normal_draws_have_the_moments_and_tails_of_the_normal_distribution() {
    let mut draws = Stream::new(6, 5).at(0);
    let count = 40_000;
    let values: Vec<f64> = (0..count).map(|_| f64::from(draws.normal())).collect();
    let moment = |k: i32| values.iter().map(|x| x.powi(k)).sum::<f64>() / f64::from(count);
    // Deviations of the mean of xᵏ: √((2k−1)!! − …)/√n.
    for (k, expected, deviation) in [(1, 0.0, 1.0), (2, 1.0, 1.5), (3, 0.0, 3.9), (4, 3.0, 9.8)] {
        let error = (moment(k) - expected).abs();
        assert!(error < 5.0 * deviation / f64::from(count).sqrt(), "moment {k}: {}", moment(k));
    }
    let within = values.iter().filter(|x| x.abs() < 1.0).count() as f64 / f64::from(count);
    assert!((within - 0.6827).abs() < 0.012, "{within}");
    assert!(values.iter().all(|x| x.abs() < 6.0));
}
