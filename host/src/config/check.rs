//! Checks a merged tree against [`KEYS`], then the relations between settings.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::kind::{Interval, Kind, LAYERS_MAX, OPTIMIZERS, TEXTS_MAX};
use super::names::{AugmentOn, Family, SolverName};
use super::places::Places;
use super::schema::{AUGMENT, KEYS, Key};
use super::settings::RunConfig;
use crate::data::Format;
use crate::kernels::Precision;
use crate::network::{Curvature, LayerSpec, layered_features};

/// Rejects unknown keys, wrong types and values out of range.
pub(super) fn keys(tree: &DeTable<'_>, places: &Places<'_>) -> Result<(), ConfigError> {
    table("", tree, places)
}

fn table(section: &str, tree: &DeTable<'_>, places: &Places<'_>) -> Result<(), ConfigError> {
    for (key, value) in tree {
        let name = join(section, key.get_ref());
        if name == AUGMENT {
            continue;
        }
        if let Some(known) = Key::find(&name) {
            check_value(known, value, places)?;
        } else if KEYS.iter().any(|key| is_inside(&key.name, &name)) {
            let DeValue::Table(inner) = value.get_ref() else {
                let expected = format!("a section [{name}]");
                return Err(invalid(&name, value, expected, places));
            };
            table(&name, inner, places)?;
        } else {
            return Err(ConfigError::UnknownKey {
                place: places.place(key.span()),
                expected: names_in(section),
                key: name,
            });
        }
    }
    Ok(())
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// Whether `key` is in section `section` or in one of its subsections.
fn is_inside(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| section.is_empty() || rest.starts_with('.'))
}

/// The keys and sections directly in `section`, for messages.
fn names_in(section: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for key in KEYS.iter().filter(|key| is_inside(&key.name, section)) {
        let rest = key.name[section.len()..].trim_start_matches('.');
        let name = rest.split('.').next().unwrap_or(rest);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if section.is_empty() {
        names.push(AUGMENT);
    }
    format!("one of {}", names.join(", "))
}

fn invalid(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    expected: String,
    places: &Places<'_>,
) -> ConfigError {
    ConfigError::Invalid {
        place: places.place(value.span()),
        key: key.to_owned(),
        found: places.found(value.span()).trim().to_owned(),
        expected,
    }
}

fn check_value(
    key: &Key,
    value: &Spanned<DeValue<'_>>,
    places: &Places<'_>,
) -> Result<(), ConfigError> {
    if key.kind == Kind::Optimizer {
        return optimizer(&key.name, value, places);
    }
    if fits(&key.kind, value.get_ref()) {
        Ok(())
    } else {
        Err(invalid(&key.name, value, key.kind.to_string(), places))
    }
}

fn fits(kind: &Kind, value: &DeValue<'_>) -> bool {
    match *kind {
        Kind::Integer { min, max } => integer(value).is_some_and(|n| (min..=max).contains(&n)),
        Kind::IntegerOrNone { min, max } => {
            is_none(value) || fits(&Kind::Integer { min, max }, value)
        }
        Kind::Number(interval) => number(value).is_some_and(|x| interval.contains(x)),
        Kind::NumberOrNone(interval) => is_none(value) || fits(&Kind::Number(interval), value),
        Kind::Switch => value.as_bool().is_some(),
        Kind::Name(names) => value.as_str().is_some_and(|name| names.contains(&name)),
        Kind::Folder => value.as_str().is_some_and(|path| !path.is_empty()),
        Kind::Data(names) => value.as_str().is_some_and(|path| {
            !path.is_empty() && (!path.starts_with("embedded:") || names.contains(&path))
        }),
        Kind::Widths { min, max } => value.as_array().is_some_and(|list| {
            (1..=8).contains(&list.len())
                && list.iter().all(|width| fits(&Kind::Integer { min, max }, width.get_ref()))
        }),
        Kind::Texts => value.as_array().is_some_and(|list| {
            let is_text = |text: &str| !text.is_empty();
            list.len() <= TEXTS_MAX
                && list.iter().all(|text| text.get_ref().as_str().is_some_and(is_text))
        }),
        Kind::Layers => value.as_array().is_some_and(|list| {
            let is_layer = |text: &str| text.parse::<LayerSpec>().is_ok();
            list.len() <= LAYERS_MAX
                && list.iter().all(|layer| layer.get_ref().as_str().is_some_and(is_layer))
        }),
        // The coefficients inside have places of their own.
        Kind::Optimizer => value.is_table(),
    }
}

fn is_none(value: &DeValue<'_>) -> bool {
    value.as_str() == Some("none")
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n as f64)
        }
        DeValue::Float(float) => float.as_str().parse().ok(),
        _ => None,
    }
}

impl Interval {
    /// Whether it contains `value`, both as given and rounded to f32.
    fn contains(&self, value: f64) -> bool {
        [value, f64::from(value as f32)].into_iter().all(|x| {
            (x > self.min || (self.min_allowed && x == self.min))
                && (x < self.max || (self.max_allowed && x == self.max))
        })
    }
}

fn optimizer(
    name: &str,
    value: &Spanned<DeValue<'_>>,
    places: &Places<'_>,
) -> Result<(), ConfigError> {
    let wrong = || invalid(name, value, Kind::Optimizer.to_string(), places);
    let tree = value.get_ref().as_table().ok_or_else(wrong)?;
    let mut entries = tree.iter();
    let (Some((kind, coefficients)), None) = (entries.next(), entries.next()) else {
        return Err(wrong());
    };
    let known = OPTIMIZERS.iter().find(|(known, _)| kind.get_ref() == known);
    let (known, fields) = known.ok_or_else(|| ConfigError::UnknownKey {
        place: places.place(kind.span()),
        key: join(name, kind.get_ref()),
        expected: Kind::Optimizer.to_string(),
    })?;
    let name = join(name, known);
    let names: Vec<_> = fields.iter().map(|(field, _)| *field).collect();
    let all = format!("all of {}", names.join(", "));
    let tree = coefficients.get_ref().as_table();
    let tree = tree.ok_or_else(|| invalid(&name, coefficients, all.clone(), places))?;
    if let Some(key) = tree.keys().find(|key| !names.contains(&key.get_ref().as_ref())) {
        let place = places.place(key.span());
        return Err(ConfigError::UnknownKey {
            place,
            key: join(&name, key.get_ref()),
            expected: all,
        });
    }
    for (field, kind) in *fields {
        let found =
            tree.get(*field).ok_or_else(|| invalid(&name, coefficients, all.clone(), places))?;
        if !fits(kind, found.get_ref()) {
            return Err(invalid(&join(&name, field), found, kind.to_string(), places));
        }
    }
    Ok(())
}

/// Rejects settings that are valid one by one but not together.
pub(super) fn relations(
    config: &RunConfig,
    tree: &DeTable<'_>,
    places: &Places<'_>,
) -> Result<(), ConfigError> {
    if let Err(error) = config.augment.checked() {
        return Err(augment(&error, tree, places));
    }
    let at_most = |key: &str, value: u64, limit: u64, what: &str| {
        if value <= limit {
            return Ok(());
        }
        let span = find(tree, key).map_or(0..0, Spanned::span);
        let expected = format!("at most {what} = {limit}");
        let (place, found) = (places.place(span), value.to_string());
        Err(ConfigError::Invalid { place, key: key.to_owned(), found, expected })
    };
    for (section, path, format) in [
        ("pretext", &config.data.pretext.path, config.data.pretext.format),
        ("downstream", &config.data.downstream.path, config.data.downstream.format),
    ] {
        if path.starts_with("embedded:") && format != Format::Auto {
            let key = format!("data.{section}.format");
            let place = places.place(find(tree, &key).map_or(0..0, Spanned::span));
            let (found, expected) =
                (format.to_string(), format!("auto: {path} has its own format"));
            return Err(ConfigError::Invalid { place, key, found, expected });
        }
    }
    kinds(config, tree, places)?;
    if config.precision != Precision::F32 && !config.backend.on_device() {
        let place = places.place(find(tree, "precision").map_or(0..0, Spanned::span));
        let expected = format!("f32: the backend `{}` rounds nothing", config.backend);
        let (key, found) = ("precision".to_owned(), config.precision.to_string());
        return Err(ConfigError::Invalid { place, key, found, expected });
    }
    augment_on(config, tree, places)?;
    if config.network.architecture == Family::Layers
        && let Err(reason) = layered_features(&config.network.layers, config.input())
    {
        let place = places.place(find(tree, "network.layers").map_or(0..0, Spanned::span));
        let message = format!("`network.layers`: {reason}");
        return Err(ConfigError::Section { place, message });
    }
    let (pretrain, align) = (&config.pretrain, &config.align);
    at_most(
        "pretrain.warm_up_epochs",
        pretrain.warm_up_epochs.into(),
        pretrain.epochs.into(),
        "pretrain.epochs",
    )?;
    if align.solver == SolverName::Mfac {
        at_most(
            "align.mfac_gradients",
            align.mfac_gradients() as u64,
            u64::from(align.lower_steps).min(255),
            "align.lower_steps, and 255",
        )?;
    }
    let semidefinite = align.solver().is_ok_and(|solver| solver.facts().needs_semidefinite);
    if semidefinite && align.curvature != Curvature::GaussNewton {
        let span = find(tree, "align.curvature").map_or(0..0, Spanned::span);
        let (place, found) = (places.place(span), align.curvature.to_string());
        let expected = format!("gauss-newton: {} needs a semi-definite operator", align.solver);
        return Err(ConfigError::Invalid {
            place,
            key: "align.curvature".to_owned(),
            found,
            expected,
        });
    }
    for (level, name, steps) in
        [(&align.lower, "lower", align.lower_steps), (&align.upper, "upper", align.upper_steps)]
    {
        let total = u64::from(align.alternations) * u64::from(steps);
        let limit = u64::from(u32::MAX) / u64::from(steps);
        at_most("align.alternations", align.alternations.into(), limit, "2^32 steps of a level")?;
        at_most(
            &format!("align.{name}.warm_up_steps"),
            level.warm_up_steps.into(),
            total,
            &format!("align.alternations * align.{name}_steps"),
        )?;
    }
    Ok(())
}

/// Rejects images together with windows, and windows for a network that expects three channels.
fn kinds(config: &RunConfig, tree: &DeTable<'_>, places: &Places<'_>) -> Result<(), ConfigError> {
    let refused = |key: &str, found: String, expected: String| {
        let place = places.place(find(tree, key).map_or(0..0, Spanned::span));
        Err(ConfigError::Invalid { place, key: key.to_owned(), found, expected })
    };
    let (pretext, downstream) = (config.data.pretext.format, config.data.downstream.format);
    match (pretext == Format::Windows, downstream == Format::Windows) {
        (true, false) => {
            let expected = format!("{pretext}, the same as data.pretext.format");
            refused("data.downstream.format", downstream.to_string(), expected)
        }
        (false, true) => {
            let expected = format!("{downstream}, the same as data.downstream.format");
            refused("data.pretext.format", pretext.to_string(), expected)
        }
        (true, true) if config.network.architecture != Family::Layers => {
            let found = config.network.architecture.to_string();
            let expected = "layers: windows are not images of three channels".to_owned();
            refused("network.architecture", found, expected)
        }
        _ => Ok(()),
    }
}

/// Rejects augmentation on a device that cannot do it, and augmentation of windows on any device.
fn augment_on(
    config: &RunConfig,
    tree: &DeTable<'_>,
    places: &Places<'_>,
) -> Result<(), ConfigError> {
    let expected = match config.image.augment_on {
        AugmentOn::Device if !config.backend.on_device() => {
            format!("host: the backend `{}` computes on the host", config.backend)
        }
        AugmentOn::Device if config.windows() => {
            "host: windows are always augmented there".to_owned()
        }
        AugmentOn::Device | AugmentOn::Host => return Ok(()),
    };
    let key = "image.augment_on".to_owned();
    let place = places.place(find(tree, &key).map_or(0..0, Spanned::span));
    let found = config.image.augment_on.to_string();
    Err(ConfigError::Invalid { place, key, found, expected })
}

/// Turns an error of `[augment]` into one with the place of its key.
fn augment(
    error: &bissl_core::ConfigError,
    tree: &DeTable<'_>,
    places: &Places<'_>,
) -> ConfigError {
    let (name, expected) = match *error {
        bissl_core::ConfigError::OutOfRange { name, range, .. } => (name, range),
        bissl_core::ConfigError::Zero { name } => (name, "at least 1"),
        bissl_core::ConfigError::NeedsProximity { solver } => (solver, "a coupling by proximity"),
    };
    let key = join(AUGMENT, name);
    match find(tree, &key) {
        Some(value) => invalid(&key, value, expected.to_owned(), places),
        None => ConfigError::Section { place: places.place(0..0), message: error.to_string() },
    }
}

/// The value of a key.
pub(super) fn find<'t, 'i>(tree: &'t DeTable<'i>, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    let (section, rest) = match key.split_once('.') {
        Some((section, rest)) => (section, Some(rest)),
        None => (key, None),
    };
    let value = tree.get(section)?;
    match rest {
        Some(rest) => find(value.get_ref().as_table()?, rest),
        None => Some(value),
    }
}
