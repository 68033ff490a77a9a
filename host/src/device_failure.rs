//! From a panic of a device's libraries to an error with its cure.
//!
//! Burn and CubeCL panic when a device is lost, runs out of memory or refuses a kernel; some of
//! that happens in threads of their own. The first message is the one that tells.

#![cfg_attr(
    not(any(feature = "cuda", feature = "wgpu")),
    allow(dead_code, reason = "kernels without a device, as in tests of their sources")
)]

use std::any::Any;
use std::panic::{
    AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind, set_hook, take_hook,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Pieces of work on a device that are under way in this process.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
/// What the first panic since then said.
static FIRST: Mutex<Option<Panic>> = Mutex::new(None);

/// What begins the messages of this crate's own panics about a device.
pub(crate) const OWN: &str = "the device ";

#[derive(Clone, Debug)]
struct Panic {
    message: String,
    /// Whether a library panicked, or this crate about its device; else it is a bug of ours.
    of_the_device: bool,
}

impl Panic {
    fn of(info: &PanicHookInfo<'_>) -> Self {
        let message = text(info.payload());
        let file = info.location().map(|location| location.file()).unwrap_or_default();
        let of_a_library = file.contains("/registry/src/") || file.contains("/vendor/");
        Self { of_the_device: of_a_library || message.starts_with(OWN), message }
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without words".to_owned())
}

/// Keeps what a device's libraries say in a panic from the terminal, for the error to tell; to be
/// called by a program, once.
pub fn install_hook() {
    let before = take_hook();
    set_hook(Box::new(move |info| {
        let panic = Panic::of(info);
        if UNDER_WAY.load(Ordering::SeqCst) == 0 || !panic.of_the_device {
            return before(info);
        }
        FIRST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
    }));
}

/// Does `work`, which computes on a device.
///
/// # Errors
/// The device or its libraries failed: what they said, in one line, with the cure.
///
/// # Panics
/// As `work` does, if that is no failure of the device.
pub(crate) fn caught<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    UNDER_WAY.fetch_add(1, Ordering::SeqCst);
    let result = catch_unwind(AssertUnwindSafe(work));
    UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
    let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner).take();
    result.or_else(|payload| match first {
        Some(panic) => Err(explained(&panic.message)),
        // Without the hook the payload alone tells.
        None if text(&*payload).starts_with(OWN) => Err(explained(&text(&*payload))),
        None => resume_unwind(payload),
    })
}

/// The line of a message that says most, and what to do about it.
fn explained(message: &str) -> String {
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    // wgpu lists its causes, the most particular last.
    let telling = if message.contains("Caused by:") { lines.next_back() } else { lines.next() };
    let said = telling.unwrap_or("nothing").to_owned();
    let lower = message.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let cure = if any(&[
        "out of memory",
        "outofmemory",
        "out_of_memory",
        "allocat",
        "too big",
        "exceeds",
        "limit",
    ]) {
        "it does not fit into the device's memory: take a smaller batch; `bissl plan` says what fits"
    } else if any(&["cuda installation", "nvrtc", "cuda_fp16", "could not open source file"]) {
        "install the CUDA toolkit's headers and NVRTC, or say where they are by CUDA_PATH"
    } else if any(&["lost", "unspecified launch failure", "illegal", "device removed"]) {
        "the device is lost: start again, a run goes on with --resume"
    } else {
        "a run goes on with --resume; `bissl verify` tells whether the device computes rightly"
    };
    format!("{said}: {cure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_device_is_an_error_and_a_bug_stays_a_panic() {
        let failed = caught(|| -> u32 { panic!("{OWN}did not finish its work: DeviceLost") });
        let message = failed.unwrap_err();
        assert!(message.contains("DeviceLost") && message.contains("--resume"), "{message}");
        let bug = catch_unwind(|| caught(|| -> u32 { panic!("index out of bounds") }));
        assert!(bug.is_err(), "a bug was taken for a failure of the device");
        assert_eq!(caught(|| 3), Ok(3));
    }

    #[test]
    fn the_cure_follows_from_what_was_said() {
        for (message, cure) in [
            ("wgpu error: Out of Memory\n\nCaused by:\n  Not enough memory left", "smaller batch"),
            ("CUDA installation not found", "CUDA_PATH"),
            ("Parent device is lost", "start again"),
            ("something else", "verify"),
        ] {
            let found = explained(message);
            assert!(found.contains(cure) && !found.contains('\n'), "{found}");
        }
    }
}
