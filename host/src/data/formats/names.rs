//! Class names that a data set keeps in a file of its own, one a line.

use std::path::Path;

use super::reader::read_text;
use crate::data::DataError;

/// The `count` names in a file; the numbers from `first` on where it does not exist.
pub(super) fn class_names(path: &Path, count: u32, first: u32) -> Result<Vec<String>, DataError> {
    if !path.exists() {
        return Ok((first..first + count).map(|class| class.to_string()).collect());
    }
    let text = read_text(path, "class names")?;
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.len() != count as usize {
        let found = names.len();
        return Err(DataError::damaged(
            path,
            format!("found {found} class names, expected {count}"),
        ));
    }
    Ok(names)
}
