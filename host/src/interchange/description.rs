//! What `bissl inspect` says about a file of another program's weights.

use std::path::Path;

use super::reading::{Reading, Wanted, reading};
use crate::run::RunError;
use crate::state_dict::{TensorFile, read_weights, shown, some};

/// What a file holds.
#[derive(Clone, Debug)]
pub struct FileDescription {
    /// What wrote it.
    pub container: String,
    /// Every tensor: keys and name joined by dots, shape, type of elements.
    pub tensors: Vec<(String, Vec<usize>, String)>,
    /// What `import` would do: a line each.
    pub import: Vec<String>,
}

/// Lists the tensors of a file, and says what `import` would make of it.
///
/// # Errors
/// The file cannot be read, or is of no kind that is read.
pub fn describe_file(path: &Path) -> Result<FileDescription, RunError> {
    let bytes = read_weights(path)?;
    let file = TensorFile::decode(&bytes).map_err(|reason| RunError::unfit(path, reason))?;
    let mut tensors = Vec::new();
    for dictionary in file.dictionaries() {
        let location = dictionary.location();
        for name in dictionary.names() {
            let shape = dictionary.shape(name).unwrap_or_default().to_vec();
            let element = dictionary.element(name).unwrap_or_default();
            let dot = if location.is_empty() { "" } else { "." };
            tensors.push((format!("{}{dot}{}", shown(&location), shown(name)), shape, element));
        }
    }
    let mut import = Vec::new();
    if let Some(root) = file.dictionaries().first() {
        let others = some(root.others().map(|(name, class)| match class {
            Some(class) => format!("{name} ({class})"),
            None => name.to_owned(),
        }));
        if !others.is_empty() {
            import.push(format!("at the top, beside tensors: {others}"));
        }
    }
    match reading(&file, Wanted::default()) {
        Ok(Reading { settings, notices, .. }) => {
            import.extend(notices);
            let (architecture, width, stem) =
                (settings.architecture, settings.width, settings.stem);
            import.push(format!("bissl import reads {architecture} width {width} stem {stem}"));
        }
        Err(reason) => import.push(format!("bissl import refuses it: {reason}")),
    }
    Ok(FileDescription { container: file.container().to_owned(), tensors, import })
}
