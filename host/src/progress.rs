//! What a person sees while a stage runs, and how they stop it.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::text;

/// Whether a person asked to stop (Ctrl-C, SIGTERM), or for a checkpoint (SIGUSR1). Clones share
/// the answer.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
    checkpoint: Arc<AtomicBool>,
}

/// Exit code after an interruption, as shells report SIGINT.
pub const INTERRUPTED: u8 = 130;

impl Interrupt {
    /// Catches the signals; a second one ends the process at once, with code 130.
    ///
    /// # Errors
    /// A handler is installed already.
    pub fn install() -> Result<Self, ctrlc::Error> {
        let interrupt = Self::default();
        let requested = Arc::clone(&interrupt.requested);
        ctrlc::set_handler(move || {
            if requested.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(INTERRUPTED));
            }
            eprintln!("\nstopping after this step; once more to stop at once");
        })?;
        #[cfg(unix)]
        signal_hook::flag::register(
            signal_hook::consts::SIGUSR1,
            Arc::clone(&interrupt.checkpoint),
        )
        .map_err(ctrlc::Error::System)?;
        Ok(interrupt)
    }

    /// Asks to stop, as Ctrl-C does.
    pub fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
    }

    /// Whether a checkpoint was asked for since the last time that this was asked.
    pub fn take_checkpoint_request(&self) -> bool {
        self.checkpoint.swap(false, Ordering::SeqCst)
    }

    /// Whether to stop.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }
}

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Nothing but warnings and results.
    Quiet,
    /// Progress: a bar on a terminal, else a line now and then.
    Progress,
}

/// Tells a person what a run should not pass over in silence, on the standard error stream.
pub fn warn(text: &str) {
    eprintln!("{}", text::message(text));
}

/// Without a terminal, a line after this long.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Progress of one stage, on the standard error stream.
#[derive(Debug)]
pub struct Progress {
    label: String,
    total: u64,
    first: u64,
    done: u64,
    loss: Option<f32>,
    started: Instant,
    view: View,
}

#[derive(Debug)]
enum View {
    Bar(ProgressBar),
    Lines { last: Instant },
    Hidden,
}

impl Progress {
    /// Stage `label` of `total` steps, `done` of which were done before it was resumed.
    pub fn new(label: &str, total: u64, done: u64, verbosity: Verbosity) -> Self {
        let now = Instant::now();
        let view = match verbosity {
            Verbosity::Quiet => View::Hidden,
            Verbosity::Progress if std::io::stderr().is_terminal() => {
                View::Bar(bar(label, total, done))
            }
            Verbosity::Progress => View::Lines { last: now },
        };
        let label = label.to_owned();
        Self { label, total, first: done, done, loss: None, started: now, view }
    }

    /// One step more; `loss` is shown from now on, if given.
    pub fn step(&mut self, loss: Option<f32>) {
        self.done += 1;
        self.loss = loss.or(self.loss);
        match &mut self.view {
            View::Bar(bar) => {
                bar.inc(1);
                if let Some(loss) = self.loss {
                    bar.set_message(format!("loss {loss:.4}"));
                }
            }
            View::Lines { last } if last.elapsed() >= LINE_INTERVAL => {
                *last = Instant::now();
                eprintln!("{}", self.line(self.started.elapsed()));
            }
            View::Lines { .. } | View::Hidden => {}
        }
    }

    /// A line above the bar: a warning, or something that happened.
    pub fn note(&self, text: &str) {
        match &self.view {
            View::Bar(bar) => bar.suspend(|| eprintln!("{text}")),
            View::Lines { .. } | View::Hidden => eprintln!("{text}"),
        }
    }

    /// Leaves the last state on the screen.
    pub fn finish(self) {
        match &self.view {
            View::Bar(bar) => bar.abandon(),
            View::Lines { .. } => eprintln!("{}", self.line(self.started.elapsed())),
            View::Hidden => {}
        }
    }

    /// `pretrain     120/600   20 %  12.3 steps/s  39 s left  loss 4.2100`.
    fn line(&self, elapsed: Duration) -> String {
        let Self { label, total, done, .. } = self;
        let percent = if *total == 0 { 100 } else { 100 * done / total };
        let mut line = format!("{label:<12} {done:>6}/{total} {percent:>3} %");
        let (steps, seconds) = ((done - self.first) as f64, elapsed.as_secs_f64());
        if steps > 0.0 && seconds > 0.0 {
            let rate = steps / seconds;
            let left = total.saturating_sub(*done) as f64 / rate;
            line += &format!("  {rate:.1} steps/s  {} left", duration(left));
        }
        match self.loss {
            Some(loss) => line + &format!("  loss {loss:.4}"),
            None => line,
        }
    }
}

fn bar(label: &str, total: u64, done: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix:<12} {bar:24} {pos:>6}/{len} {percent:>3} %  {per_sec}  {eta} left  {msg}",
    )
    .expect("the template is constant: a test draws it");
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
        .with_style(style)
        .with_prefix(label.to_owned())
        .with_position(done);
    bar.reset_eta();
    bar
}

/// `0.4 s`, `39 s`, `4 min 10 s`, `2 h 5 min`, `3 d 7 h`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 9.5 {
        return format!("{} s", (10.0 * seconds).round() / 10.0);
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours @ 0..48, minutes, _) => format!("{hours} h {minutes} min"),
        (hours, ..) => format!("{} d {} h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_rate_and_time_left_of_this_session() {
        let mut progress = Progress::new("pretrain", 600, 100, Verbosity::Quiet);
        assert_eq!(progress.line(Duration::ZERO), "pretrain        100/600  16 %");
        for _ in 0..20 {
            progress.step(Some(4.21));
        }
        progress.step(None);
        assert_eq!(
            progress.line(Duration::from_secs(7)),
            "pretrain        121/600  20 %  3.0 steps/s  2 min 40 s left  loss 4.2100"
        );
        progress.finish();
    }

    #[test]
    fn the_bar_can_be_drawn() {
        let bar = bar("align", 10, 3);
        bar.inc(1);
        assert_eq!((bar.position(), bar.length()), (4, Some(10)));
        bar.abandon();
    }

    #[test]
    fn durations_are_short() {
        assert_eq!([0.0, 0.44, 3.0, 9.6].map(duration), ["0 s", "0.4 s", "3 s", "10 s"]);
        assert_eq!(duration(61.0), "1 min 1 s");
        assert_eq!(duration(7500.0), "2 h 5 min");
        assert_eq!(duration(172_799.4), "47 h 59 min");
        assert_eq!(duration(285_000.0), "3 d 7 h");
    }

    #[test]
    fn clones_of_an_interrupt_share_the_answer() {
        let interrupt = Interrupt::default();
        let other = interrupt.clone();
        assert!(!other.requested());
        interrupt.request();
        assert!(other.requested());
    }
}
