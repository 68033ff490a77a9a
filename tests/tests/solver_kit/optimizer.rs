//! The scalar parts of the optimisers.

use bissl_core::{AdamCoefficients, Optimizer, clip_factor, lars_ratio};

use crate::matrix::draws;
use crate::precision::{SCALAR, close};

#[test]
fn the_clip_factor_brings_a_norm_down_to_the_limit_and_never_up() {
    assert_eq!(clip_factor(5.0, None), 1.0);
    assert_eq!(clip_factor(5.0, Some(10.0)), 1.0);
    assert_eq!(clip_factor(10.0, Some(10.0)), 1.0);
    assert_eq!(clip_factor(20.0, Some(10.0)), 0.5);
    assert_eq!(clip_factor(0.0, Some(10.0)), 1.0);
}

#[test]
fn the_lars_ratio_is_one_where_a_norm_is_zero() {
    assert!(close(lars_ratio(0.001, 9.0, 4.0).into(), 0.0015, SCALAR, 0.0));
    for (parameter_sq, gradient_sq) in [(0.0, 4.0), (9.0, 0.0), (0.0, 0.0)] {
        assert_eq!(lars_ratio(0.001, parameter_sq, gradient_sq), 1.0);
    }
}

#[test]
fn adam_updates_one_element_by_its_equations() {
    let mut draws = draws(1, 60);
    for _ in 0..200 {
        let mut next = || draws.uniform_in(0.1, 0.9);
        let coefficients = AdamCoefficients {
            clip: next(),
            beta1: next(),
            beta2: next(),
            decay: next(),
            rate: next(),
            second_scale: next(),
            epsilon: next(),
        };
        let (gradient, before) = (next() - 0.5, [next() - 0.5, next() - 0.5, next()]);
        let [mut parameter, mut first, mut second] = before;
        coefficients.update(gradient, &mut parameter, &mut first, &mut second);

        let wide = before.map(f64::from);
        let AdamCoefficients { clip, beta1, beta2, decay, rate, second_scale, epsilon } =
            coefficients;
        let g = f64::from(clip) * f64::from(gradient);
        let m = f64::from(beta1) * wide[1] + (1.0 - f64::from(beta1)) * g;
        let v = f64::from(beta2) * wide[2] + (1.0 - f64::from(beta2)) * g * g;
        let scale = v.sqrt() * f64::from(second_scale) + f64::from(epsilon);
        let p = f64::from(decay) * wide[0] - f64::from(rate) * m / scale;
        for (found, expected) in [(parameter, p), (first, m), (second, v)] {
            assert!(close(found.into(), expected, SCALAR, 1.0), "{found} {expected}");
        }
    }
}

#[test]
fn only_adamw_keeps_a_second_moment() {
    use crate::protocol::{ADAMW, LARS, SGD};
    assert_eq!([SGD, LARS, ADAMW].map(|o| o.has_second_moment()), [false, false, true]);
}

/// As it stands in a configuration file.
#[test]
fn optimizers_are_written_in_lower_case_and_unknown_keys_are_refused() {
    let text = r#"{"sgd":{"momentum":0.5,"weight_decay":0.25}}"#;
    let sgd = Optimizer::Sgd { momentum: 0.5, weight_decay: 0.25 };
    assert_eq!(serde_json::from_str::<Optimizer>(text).unwrap(), sgd);
    assert_eq!(serde_json::to_string(&sgd).unwrap(), text);
    let unknown = r#"{"sgd":{"momentum":0.5,"weight_decay":0.25,"nesterov":1}}"#;
    assert!(serde_json::from_str::<Optimizer>(unknown).is_err());
}
