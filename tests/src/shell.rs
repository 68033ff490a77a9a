//! Runs the commands of a step and writes all output to its log.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::steps::Target;

/// The commands of one step. They run one after the other in the workspace's root.
#[derive(Debug)]
pub(crate) struct Shell {
    log: PathBuf,
    file: File,
    target: PathBuf,
}

impl Shell {
    /// Starts the log of the step `name`.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(crate) fn open(name: &str, target: Target) -> Result<Self, String> {
        let logs = target_directory().join("steps");
        let log = logs.join(format!("{name}.log"));
        let file = fs::create_dir_all(&logs)
            .and_then(|()| File::create(&log))
            .map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        let target = match target {
            Target::Main => target_directory(),
            Target::Light => target_directory().join("light"),
            Target::BareMetal => target_directory().join("bare-metal"),
        };
        Ok(Self { log, file, target })
    }

    /// The log.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Where this step's commands build.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// A call of cargo with the arguments of `line`, which is split at spaces.
    pub(crate) fn cargo_command(&self, line: &str) -> Command {
        let mut command = Command::new(cargo());
        command
            .args(line.split_whitespace())
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_TERM_COLOR", "never")
            .env("RUSTDOCFLAGS", "-D warnings");
        command
    }

    /// Runs cargo with the arguments of `line`.
    ///
    /// # Errors
    /// The command does not start or does not succeed; the error names it.
    pub(crate) fn cargo(&mut self, line: &str) -> Result<(), String> {
        let mut command = self.cargo_command(line);
        self.run(&mut command)
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// The command does not start or does not succeed; the error names it.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<(), String> {
        let line = described(command);
        self.note(&format!("$ {line}"))?;
        let output = |file: &File| file.try_clone().map(Stdio::from);
        let status = output(&self.file)
            .and_then(|stdout| Ok((stdout, output(&self.file)?)))
            .and_then(|(stdout, stderr)| {
                command.current_dir(workspace()).stdin(Stdio::null());
                command.stdout(stdout).stderr(stderr).status()
            })
            .map_err(|error| format!("`{line}` did not start: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("`{line}` ended with {status}")) }
    }

    /// Runs a command and returns its output; its standard error goes to the log.
    ///
    /// # Errors
    /// The command does not start; the error names it.
    pub(crate) fn capture(&mut self, command: &mut Command) -> Result<Output, String> {
        let output = self.start(command)?;
        self.note(&String::from_utf8_lossy(&output.stdout))?;
        self.note(&String::from_utf8_lossy(&output.stderr))?;
        Ok(output)
    }

    /// Like [`capture`](Self::capture), for binary output, of which the log only states the length.
    ///
    /// # Errors
    /// The command does not start; the error names it.
    pub(crate) fn capture_bytes(&mut self, command: &mut Command) -> Result<Output, String> {
        let output = self.start(command)?;
        self.note(&format!("{} bytes", output.stdout.len()))?;
        self.note(&String::from_utf8_lossy(&output.stderr))?;
        Ok(output)
    }

    /// Runs a command and keeps its output.
    fn start(&mut self, command: &mut Command) -> Result<Output, String> {
        let line = described(command);
        self.note(&format!("$ {line}"))?;
        command
            .current_dir(workspace())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("`{line}` did not start: {error}"))
    }

    /// Writes a line of the runner itself to the log.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(crate) fn note(&mut self, text: &str) -> Result<(), String> {
        writeln!(self.file, "{}", text.trim_end())
            .map_err(|error| format!("cannot write {}: {error}", self.log.display()))
    }

    /// All output so far.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn output(&self) -> Result<String, String> {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|error| format!("cannot read {}: {error}", self.log.display()))
    }

    /// The last `count` lines of the output.
    pub(crate) fn tail(&self, count: usize) -> String {
        match self.output() {
            Ok(output) => {
                let lines: Vec<&str> = output.lines().collect();
                lines[lines.len().saturating_sub(count)..].join("\n")
            }
            Err(message) => message,
        }
    }
}

/// The folder with the workspace's manifest.
pub(crate) fn workspace() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// The cargo that started this program, or the one on the path.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}

/// Cargo's target directory, as the caller set it.
fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(given) => workspace().join(given),
        None => workspace().join("target"),
    }
}

/// A command as one would type it.
fn described(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words: Vec<_> =
        std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}
