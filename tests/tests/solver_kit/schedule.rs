//! Learning rates against the formula of their documentation.

use bissl_core::Schedule;

use crate::precision::{SCALAR, close};

fn formula(peak: f64, warm_up: u32, steps: u32, floor: f64, index: u32) -> f64 {
    if index < warm_up {
        peak * f64::from(index + 1) / f64::from(warm_up)
    } else {
        let progress = f64::from(index - warm_up) / f64::from(steps - warm_up);
        peak * (floor + (1.0 - floor) * (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0)
    }
}

#[test]
fn every_rate_is_the_formula() {
    for (peak, warm_up, steps, floor) in [
        (1.0f32, 0, 1, 0.0f32),
        (1.0, 1, 1, 0.0),
        (4.8, 10, 500, 0.001),
        (0.3, 7, 7, 0.5),
        (0.3, 0, 160, 0.0),
        (2.0, 3, 4, 1.0),
    ] {
        let schedule = Schedule::new(peak, warm_up, steps, floor).unwrap();
        assert_eq!(schedule.steps(), steps);
        for index in 0..steps {
            let expected = formula(peak.into(), warm_up, steps, floor.into(), index);
            let found = f64::from(schedule.rate(index));
            assert!(close(found, expected, SCALAR, peak.into()), "{schedule:?} {index}: {found}");
        }
    }
}

#[test]
fn training_starts_at_the_first_value_of_the_warm_up_and_peaks_at_its_last() {
    let schedule = Schedule::new(1.0, 10, 100, 0.001).unwrap();
    assert_eq!((schedule.rate(0), schedule.rate(9), schedule.rate(10)), (0.1, 1.0, 1.0));
    let rates: Vec<f32> = (0..100).map(|index| schedule.rate(index)).collect();
    assert!(rates[..10].windows(2).all(|pair| pair[0] < pair[1]));
    assert!(rates[10..].windows(2).all(|pair| pair[0] > pair[1]));
}

#[test]
fn past_the_end_the_rate_is_the_floor() {
    let schedule = Schedule::new(2.0, 4, 40, 0.25).unwrap();
    assert!(schedule.rate(39) > 0.5);
    for index in [40, 41, 1000, u32::MAX] {
        assert_eq!(schedule.rate(index), 0.5);
    }
    let only_warm_up = Schedule::new(2.0, 4, 4, 0.25).unwrap();
    assert_eq!((only_warm_up.rate(3), only_warm_up.rate(4)), (2.0, 0.5));
}

#[test]
fn a_constant_schedule_is_constant() {
    let schedule = Schedule::constant(0.3, 5).unwrap();
    assert_eq!(schedule.steps(), 5);
    assert!((0..9).all(|index| schedule.rate(index) == 0.3));
}
