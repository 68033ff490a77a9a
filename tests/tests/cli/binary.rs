//! Builds the binary once and runs it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// The binary, built in the release profile with its default features, or with those of the device
/// tests.
pub(crate) fn bissl() -> Command {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PATH.get_or_init(build))
}

/// The features of the device tests: those that their own library is built with.
const FEATURES: &[&str] = if cfg!(feature = "wgpu") {
    &["--no-default-features", "--features", "wgpu,ndarray"]
} else {
    &[]
};

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--locked", "-p", "bissl", "--bin", "bissl"])
        .args(FEATURES)
        .arg("--message-format=json")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo build -p bissl failed");
    let messages = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let path = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_ours = message["target"]["name"] == "bissl";
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    });
    path.expect("cargo names the binary")
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs `bissl` with these arguments until it ends.
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Ended {
    bissl().args(arguments).output().expect("the binary runs").into()
}

/// The same of a command that succeeds.
pub(crate) fn succeed<S: AsRef<std::ffi::OsStr> + std::fmt::Debug>(arguments: &[S]) -> Ended {
    let ended = run(arguments);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    ended
}

#[allow(dead_code, reason = "the device tests need none")]
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A process that may be ended from outside.
pub(crate) struct Running {
    child: Child,
    stderr: mpsc::Receiver<String>,
}

impl Running {
    /// Starts `bissl` with these arguments.
    pub(crate) fn start(arguments: &[String]) -> Self {
        let mut child = bissl()
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut pipe = child.stderr.take().expect("the pipe was asked for");
        let (sender, stderr) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // Reads as much as possible; the end of the process is waited for elsewhere.
            let _ = pipe.read_to_end(&mut bytes);
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        });
        Self { child, stderr }
    }

    /// Waits for the process to end, at most `limit`; `None` if it still runs.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<Ended> {
        match self.stderr.recv_timeout(limit) {
            Ok(stderr) => {
                let code = self.child.wait().expect("the process can be waited for").code();
                Some(Ended { code, stdout: String::new(), stderr })
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("waited for the same process twice"),
        }
    }

    /// Sends SIGKILL: the process gets no chance to clean up.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("the process can be waited for");
    }

    /// Sends a signal by its name; Ctrl-C sends `INT`.
    #[allow(dead_code, reason = "the device tests send none")]
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let flag = format!("-{name}");
        let status = Command::new("kill").args([&flag, &id]).status().expect("kill runs");
        assert!(status.success(), "kill {flag} {id}");
    }
}
