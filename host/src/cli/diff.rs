//! `bissl config diff`: what differs between two configurations.

use std::path::Path;

use serde_json::json;

use crate::config::{ConfigError, Layers, Preset, RunConfig, differences};
use crate::report::Format;
use crate::report::Table;
use crate::run::Origin;

/// The differences between what `names` stand for, a line or a JSON object each.
pub(super) fn describe(names: &[String; 2], format: Format) -> crate::error::Result<String> {
    let [first, second] = [named(&names[0])?, named(&names[1])?];
    let differences = differences(&[&first, &second]);
    if format == Format::Json {
        let object = |(key, values): (String, Vec<String>)| json!({ "key": key, "first": values[0], "second": values[1] });
        let objects: Vec<_> = differences.into_iter().map(object).collect();
        return Ok(format!("{}\n", serde_json::to_string(&objects)?));
    }
    if differences.is_empty() {
        return Ok("no setting differs\n".to_owned());
    }
    let mut table = Table::new(["", &names[0], &names[1]]);
    for (key, values) in differences {
        table.row([key].into_iter().chain(values));
    }
    Ok(table.to_string())
}

/// A preset, the settings of a run, or a file.
fn named(name: &str) -> crate::error::Result<RunConfig> {
    let path = Path::new(name);
    if path.is_dir() {
        return Ok(Origin::of(path)?.config()?);
    }
    if path.is_file() {
        // A complete file differs from what stands in it; one that leaves keys out is over the
        // default.
        let layers = Layers::preset(Preset::Default).file(path)?;
        return Ok(layers.resolve()?);
    }
    let preset =
        Preset::named(name).map_err(|_| ConfigError::Settings { name: name.to_owned() })?;
    Ok(preset.config())
}
