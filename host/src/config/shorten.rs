//! A preset's warm-up in a shorter run: its share of the run stays.

use super::settings::RunConfig;

/// A warm-up and what it is a part of, in the same unit.
struct WarmUp {
    key: &'static str,
    length: fn(&mut RunConfig) -> &mut u32,
    whole: fn(&RunConfig) -> u64,
    unit: &'static str,
}

const WARM_UPS: [WarmUp; 3] = [
    WarmUp {
        key: "pretrain.warm_up_epochs",
        length: |config| &mut config.pretrain.warm_up_epochs,
        whole: |config| config.pretrain.epochs.into(),
        unit: "epochs",
    },
    WarmUp {
        key: "align.lower.warm_up_steps",
        length: |config| &mut config.align.lower.warm_up_steps,
        whole: |config| u64::from(config.align.alternations) * u64::from(config.align.lower_steps),
        unit: "steps",
    },
    WarmUp {
        key: "align.upper.warm_up_steps",
        length: |config| &mut config.align.upper.warm_up_steps,
        whole: |config| u64::from(config.align.alternations) * u64::from(config.align.upper_steps),
        unit: "steps",
    },
];

/// Shortens the warm-ups of `base` that are longer than what `config` makes them a part of; says
/// which. `from_base` tells which keys nobody has set since.
pub(super) fn shorten(
    config: &mut RunConfig,
    base: impl FnOnce() -> Option<RunConfig>,
    from_base: impl Fn(&str) -> bool,
) -> Vec<String> {
    let too_long = |config: &mut RunConfig, warm_up: &WarmUp| {
        u64::from(*(warm_up.length)(config)) > (warm_up.whole)(config) && from_base(warm_up.key)
    };
    if !WARM_UPS.iter().any(|warm_up| too_long(config, warm_up)) {
        return Vec::new();
    }
    let Some(mut base) = base() else { return Vec::new() };
    let mut notes = Vec::new();
    for warm_up in &WARM_UPS {
        if too_long(config, warm_up) {
            let (old, of) = (*(warm_up.length)(&mut base), (warm_up.whole)(&base));
            let whole = (warm_up.whole)(config);
            let length = (u64::from(old) * whole / of.max(1)).min(whole);
            *(warm_up.length)(config) = length as u32;
            let WarmUp { key, unit, .. } = warm_up;
            notes.push(format!(
                "{key}: {length} instead of {old}, the same share of {whole} {unit} instead of {of}"
            ));
        }
    }
    notes
}
