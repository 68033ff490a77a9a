//! Axes: the position of values, and which values are labelled.

use super::number;

/// How an axis spaces its values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
}

/// The values that may get a tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Grain {
    /// Any value.
    Real,
    /// Whole numbers only: steps, counts.
    Whole,
}

/// A labelled value.
#[derive(Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

/// An axis over the values from low to high.
#[derive(Debug)]
pub(super) struct Axis {
    scale: Scale,
    /// In the scale's own unit: a decimal logarithm on a logarithmic axis.
    low: f64,
    high: f64,
    pub(super) ticks: Vec<Tick>,
}

impl Axis {
    /// An axis that shows all of `low` to `high`, with `padding` times that span added on both
    /// sides.
    ///
    /// Both must be finite, and positive on a logarithmic axis. There are about `tick_count` ticks,
    /// at most half as many again.
    pub(super) fn new(
        (low, high): (f64, f64),
        scale: Scale,
        grain: Grain,
        padding: f64,
        tick_count: usize,
    ) -> Self {
        let (low, high) = match scale {
            Scale::Linear => (low, high),
            Scale::Logarithmic => (low.log10(), high.log10()),
        };
        let (low, high) = widen(low, high, scale, grain, padding);
        let ticks = match scale {
            Scale::Linear => linear_ticks(low, high, grain, tick_count),
            Scale::Logarithmic => logarithmic_ticks(low, high, tick_count),
        };
        Self { scale, low, high, ticks }
    }

    /// The position of a value: 0 at the low end, 1 at the high end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = if self.scale == Scale::Logarithmic { value.log10() } else { value };
        (value - self.low) / (self.high - self.low)
    }

    /// Characters of the longest label.
    pub(super) fn label_length(&self) -> usize {
        self.ticks.iter().map(|tick| tick.label.chars().count()).max().unwrap_or(0)
    }
}

/// Adds room around the values, more if they are all the same.
fn widen(low: f64, high: f64, scale: Scale, grain: Grain, padding: f64) -> (f64, f64) {
    let size = low.abs().max(high.abs());
    // Spans below this are the rounding of f32 telemetry, not information.
    if high - low > 1e-7 * size {
        let room = padding * (high - low);
        return (low - room, high + room);
    }
    let room = match (scale, grain) {
        (Scale::Logarithmic, _) => 0.5,
        (_, Grain::Whole) => f64::max(1.0, 0.1 * size),
        _ if size > 0.0 => 0.1 * size,
        _ => 1.0,
    };
    (low - room, high + room)
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear_ticks(low: f64, high: f64, grain: Grain, tick_count: usize) -> Vec<Tick> {
    let mut step = round_step((high - low) / tick_count.max(1) as f64);
    if grain == Grain::Whole {
        step = step.max(1.0);
    }
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    let largest = low.abs().max(high.abs());
    (first..=last)
        .map(|index| {
            let value = index as f64 * step;
            Tick { value, label: linear_label(value, step, largest) }
        })
        .collect()
}

/// The one of 1, 2, 5, 10 times a power of ten whose ratio to `span` is nearest to 1; `span` must
/// be positive.
fn round_step(span: f64) -> f64 {
    let unit = 10f64.powi(span.log10().floor() as i32);
    // The borders are the geometric means of neighbours: √2, √10, √50.
    let factor = match span / unit {
        ratio if ratio < 1.414 => 1.0,
        ratio if ratio < 3.162 => 2.0,
        ratio if ratio < 7.071 => 5.0,
        _ => 10.0,
    };
    factor * unit
}

/// A label with enough decimals to tell neighbouring ticks apart.
fn linear_label(value: f64, step: f64, largest: f64) -> String {
    let step_exponent = (step.log10() + 1e-9).floor() as i32;
    if value == 0.0 {
        return "0".to_owned();
    }
    if (1e-4..1e6).contains(&largest) {
        return number::fixed(value, (-step_exponent).max(0) as usize);
    }
    let exponent = largest.log10().floor() as i32;
    let mantissa = value / 10f64.powi(exponent);
    let decimals = (exponent - step_exponent).max(0) as usize;
    format!("{}×{}", number::fixed(mantissa, decimals), number::power_of_ten(exponent))
}

/// Powers of ten; on a short axis also their multiples by 2 and 5; on a very short axis linear
/// ticks. `low` and `high` are decimal logarithms.
fn logarithmic_ticks(low: f64, high: f64, tick_count: usize) -> Vec<Tick> {
    let (first, last) = (low.ceil() as i32, high.floor() as i32);
    let decades = (last - first + 1).max(0) as usize;
    if decades >= 3 {
        let stride = decades.div_ceil(tick_count.max(1)).max(1);
        let plain = low >= -3.5 && high <= 4.0;
        return (first..=last)
            .step_by(stride)
            .map(|exponent| {
                let value = 10f64.powi(exponent);
                let label = if plain {
                    number::fixed(value, (-exponent).max(0) as usize)
                } else {
                    number::power_of_ten(exponent)
                };
                Tick { value, label }
            })
            .collect();
    }
    let multiples: Vec<(f64, i32)> = (low.floor() as i32..=last)
        .flat_map(|exponent| [1.0, 2.0, 5.0].map(|factor| (factor, exponent)))
        .filter(|&(factor, exponent)| {
            let place = f64::from(exponent) + f64::log10(factor);
            (low..=high).contains(&place)
        })
        .collect();
    if multiples.len() < 3 {
        return linear_ticks(10f64.powf(low), 10f64.powf(high), Grain::Real, tick_count)
            .into_iter()
            .filter(|tick| tick.value > 0.0)
            .collect();
    }
    multiples
        .into_iter()
        .map(|(factor, exponent)| {
            let value = factor * 10f64.powi(exponent);
            let label = match exponent {
                -4..=4 => number::fixed(value, (-exponent).max(0) as usize),
                _ => format!("{factor}×{}", number::power_of_ten(exponent)),
            };
            Tick { value, label }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranges of all sizes, some of width 0.
    fn ranges() -> impl Iterator<Item = (f64, f64)> {
        (-30..30).flat_map(|exponent| {
            let unit = 10f64.powi(exponent);
            [(0.0, 1.0), (0.3, 0.7), (-2.0, 5.0), (9.7, 9.8), (1.0, 1.0), (1.0, 1.0 + 1e-9)]
                .map(|(low, high)| (low * unit, high * unit))
        })
    }

    fn check(axis: &Axis, what: &str) {
        assert!(!axis.ticks.is_empty() && axis.ticks.len() <= 12, "{what}: {:?}", axis.ticks);
        for pair in axis.ticks.windows(2) {
            assert!(pair[0].value < pair[1].value, "{what}: {pair:?}");
            assert_ne!(pair[0].label, pair[1].label, "{what}");
        }
        for tick in &axis.ticks {
            assert!((-1e-6..=1.0 + 1e-6).contains(&axis.place(tick.value)), "{what}: {tick:?}");
            assert!(tick.label.chars().count() <= 14, "{what}: {tick:?}");
        }
    }

    #[test]
    fn linear_ticks_are_few_distinct_ordered_and_inside() {
        for (low, high) in ranges() {
            for padding in [0.0, 0.05] {
                let axis = Axis::new((low, high), Scale::Linear, Grain::Real, padding, 5);
                check(&axis, &format!("{low} to {high}"));
                assert!((0.0..=1.0).contains(&axis.place(low)), "{low} to {high}");
                assert!((0.0..=1.0).contains(&axis.place(high)), "{low} to {high}");
            }
        }
    }

    #[test]
    fn logarithmic_ticks_are_few_distinct_ordered_and_inside() {
        for (low, high) in ranges().map(|(low, high)| (low.abs().max(1e-40), high)) {
            let (low, high) = (low.min(high), low.max(high));
            let axis = Axis::new((low, high), Scale::Logarithmic, Grain::Real, 0.05, 5);
            check(&axis, &format!("{low} to {high}"));
        }
    }

    #[test]
    fn whole_values_get_no_fractions_between_them() {
        let axis = Axis::new((1.0, 3.0), Scale::Linear, Grain::Whole, 0.05, 5);
        let labels: Vec<&str> = axis.ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["1", "2", "3"]);
    }

    #[test]
    fn equal_whole_values_of_any_size_get_a_width() {
        for exponent in 0..100 {
            let value = 10f64.powi(exponent);
            let axis = Axis::new((value, value), Scale::Linear, Grain::Whole, 0.0, 5);
            check(&axis, &format!("{value}"));
        }
    }

    #[test]
    fn decades_are_labelled_as_powers_where_plain_numbers_get_long() {
        let labels = |range| {
            let axis = Axis::new(range, Scale::Logarithmic, Grain::Real, 0.0, 5);
            axis.ticks.into_iter().map(|tick| tick.label).collect::<Vec<_>>()
        };
        assert_eq!(labels((0.01, 100.0)), ["0.01", "0.1", "1", "10", "100"]);
        assert_eq!(labels((1e-6, 1e-2)), ["10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³", "10⁻²"]);
        assert_eq!(labels((1.0, 20.0)), ["1", "2", "5", "10", "20"]);
    }
}
