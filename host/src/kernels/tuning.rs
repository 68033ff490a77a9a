//! Chooses the fastest of several ways to compute the same bits: measured once for each shape, and
//! kept in a file.
//!
//! Every way gives the same bits (see `cube::gemm`), so neither timings nor a lost file can change
//! a run.

#![cfg_attr(not(feature = "cube"), allow(dead_code, reason = "a CPU has one way"))]

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::ConvShape;

/// How a way is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// By the shape alone, without measuring.
    #[default]
    Rule,
    /// By measured time when a shape is first met; choices are read from the file and added to it.
    Measure(PathBuf),
    /// Always this way, for tests; the last one if there are fewer.
    Fixed(usize),
}

/// One choice, a line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    kernel: String,
    shape: String,
    precision: String,
    chosen: usize,
    /// Seconds of every way; `None` if it was not tried.
    seconds: Vec<Option<f64>>,
}

#[derive(Debug, Default)]
struct State {
    policy: Policy,
    choices: HashMap<(&'static str, ConvShape), usize>,
    records: HashMap<(String, String, String), usize>,
    file: Option<File>,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

fn with_state<R>(f: impl FnOnce(&mut State) -> R) -> R {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    f(state.get_or_insert_default())
}

/// Chooses by `policy` from now on, in this process.
///
/// # Errors
/// The file of [`Policy::Measure`] cannot be read or created. A truncated line is skipped: its
/// shape is measured again.
pub fn choose_by(policy: Policy) -> io::Result<()> {
    let mut state = State { policy, ..State::default() };
    if let Policy::Measure(path) = &state.policy {
        state.records = read(path)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        state.file = Some(OpenOptions::new().create(true).append(true).open(path)?);
    }
    with_state(|current| *current = state);
    Ok(())
}

fn read(path: &Path) -> io::Result<HashMap<(String, String, String), usize>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(error),
    };
    let records = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
    Ok(records.map(|r| ((r.kernel, r.shape, r.precision), r.chosen)).collect())
}

/// The shape in words, with everything that determines the work.
fn words(s: &ConvShape) -> String {
    format!("{} images of {s}, padding {}", s.batch, s.padding)
}

/// One of `count` ways for a convolution: `rule` unless the policy says otherwise.
///
/// `seconds` measures a way. It returns `None` if the way is not worth trying, or if it failed.
pub(super) fn choose(
    kernel: &'static str,
    s: &ConvShape,
    count: usize,
    rule: usize,
    mut seconds: impl FnMut(usize) -> Option<f64>,
) -> usize {
    let key = (kernel, *s);
    let known = with_state(|state| match &state.policy {
        Policy::Rule => Some(rule),
        Policy::Fixed(way) => Some((*way).min(count - 1)),
        Policy::Measure(_) => state.choices.get(&key).copied().or_else(|| {
            let of = (kernel.to_owned(), words(s), s.precision.to_string());
            let chosen = state.records.get(&of).copied().filter(|way| *way < count)?;
            state.choices.insert(key, chosen);
            Some(chosen)
        }),
    });
    if let Some(way) = known {
        return way;
    }
    // The state is not borrowed meanwhile: measuring launches kernels, which may choose.
    let measured: Vec<Option<f64>> = (0..count).map(&mut seconds).collect();
    let fastest = measured.iter().enumerate().filter_map(|(way, s)| s.map(|s| (way, s)));
    let fastest = fastest.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(way, _)| way);
    let chosen = fastest.unwrap_or(rule);
    let record = Record {
        kernel: kernel.to_owned(),
        shape: words(s),
        precision: s.precision.to_string(),
        chosen,
        seconds: measured,
    };
    with_state(|state| {
        state.choices.insert(key, chosen);
        if fastest.is_some()
            && let Some(file) = &mut state.file
            && let Ok(line) = serde_json::to_string(&record)
        {
            // One write, so that lines of several processes do not mix. If the file can no longer
            // be written, the next process has to measure again.
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    });
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_choices_is_read_but_for_a_line_that_is_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("choices.jsonl");
        let record = Record {
            kernel: "conv".to_owned(),
            shape: "2 images".to_owned(),
            precision: "f32".to_owned(),
            chosen: 3,
            seconds: vec![None, Some(0.5)],
        };
        let line = serde_json::to_string(&record).unwrap();
        fs::write(&path, format!("{line}\n{}", &line[..20])).unwrap();
        let found = read(&path).unwrap();
        let key = ("conv".to_owned(), "2 images".to_owned(), "f32".to_owned());
        assert_eq!(found, HashMap::from([(key, 3)]));
        assert_eq!(read(&folder.path().join("missing")).unwrap(), HashMap::new());
    }
}
