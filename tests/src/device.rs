//! The device path on a software device: Mesa's llvmpipe, which provides Vulkan on any processor.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bare_metal;
use crate::shell::{Shell, workspace};

/// Where Debian's package puts the driver.
const DRIVERS: &str = "/usr/share/vulkan/icd.d";

/// One binary of the tests and one of the program, built from one library.
const TESTS: &str = "test --no-fail-fast --release -p bissl-tests --no-default-features \
                     --features wgpu,ndarray --test network --test device";
/// The library's tests that use a device; the steps of the CPU backends run the others.
const LIBRARY: &str = "test --no-fail-fast --release -p bissl --lib --no-default-features \
                       --features wgpu,ndarray -- kernels:: cli::device device_failure";
/// The program that the tests run.
const PROGRAM: &str = "build --release -p bissl --no-default-features --features wgpu,ndarray";

/// The sources of the kernels for CUDA, on the CPU: each operation against f64.
const EMULATED: &str = "test --no-fail-fast --release -p bissl-tests --no-default-features \
                        --features cuda-emulation,ndarray --test network -- device::";

/// Runs the tests of the device, then the kernels' CUDA sources on the CPU, then the GPU campaign
/// at toy size; says what was left out.
///
/// # Errors
/// No driver is available, or a test failed.
pub(crate) fn check(shell: &mut Shell) -> Result<String, String> {
    let variables = driver(shell)?;
    let with = |mut command: Command| {
        command.envs(variables.iter().cloned());
        command
    };
    let program = with(shell.cargo_command(PROGRAM));
    run(shell, program)?;
    for line in [TESTS, LIBRARY] {
        let tests = with(shell.cargo_command(line));
        run(shell, tests)?;
    }
    let mut left_out = String::new();
    if starts(shell, "g++", &["--version"])? {
        let emulated = shell.cargo_command(EMULATED);
        run(shell, emulated)?;
    } else {
        left_out += "left out: the kernels' CUDA sources, for want of g++\n";
    }
    let recent = "import sys; sys.exit(sys.version_info < (3, 11))";
    if !starts(shell, "python3", &["-c", recent])? {
        left_out += "left out: the GPU campaign's dry run, for want of a Python 3.11\n";
        return Ok(left_out);
    }
    let out = shell.target().join("gpu-campaign");
    let mut campaign = with(Command::new("bash"));
    campaign
        .arg(workspace().join("tests/gpu/run"))
        // The campaign's own limit is for a machine with nothing else to do.
        .args(["--dry-run", "--backend", "wgpu", "--minutes", "6"])
        .arg(&out)
        .env("BISSL_BIN", shell.target().join("release/bissl"));
    run(shell, campaign)?;
    Ok(left_out)
}

/// Whether a program exists and accepts its arguments.
fn starts(shell: &mut Shell, program: &str, arguments: &[&str]) -> Result<bool, String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Ok(output.status.success()),
        Err(error) => shell.note(&format!("{program}: {error}")).map(|()| false),
    }
}

fn run(shell: &mut Shell, mut command: Command) -> Result<(), String> {
    shell.run(&mut command)
}

/// The environment variables with which a program finds the software device and no other.
fn driver(shell: &mut Shell) -> Result<Vec<(String, String)>, String> {
    let mut variables = match installed() {
        Some(driver) => {
            let driver = driver.display().to_string();
            ["VK_ICD_FILENAMES", "VK_DRIVER_FILES"]
                .map(|name| (name.to_owned(), driver.clone()))
                .to_vec()
        }
        None => fetched(shell)?,
    };
    // Mesa asks for a folder of the user's session, which a service does not have.
    let runtime = shell.target().join("device-runtime");
    fs::create_dir_all(&runtime)
        .map_err(|error| format!("cannot make {}: {error}", runtime.display()))?;
    variables.push(("XDG_RUNTIME_DIR".to_owned(), runtime.display().to_string()));
    Ok(variables)
}

/// The software driver of this machine, if its loader is installed too.
fn installed() -> Option<PathBuf> {
    let loader = Command::new("ldconfig").arg("-p").output().ok()?;
    if !String::from_utf8_lossy(&loader.stdout).contains("libvulkan.so.1") {
        return None;
    }
    let entries = fs::read_dir(Path::new(DRIVERS)).ok()?;
    entries.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lvp_icd"))
    })
}

fn fetched(shell: &mut Shell) -> Result<Vec<(String, String)>, String> {
    let prefix = bare_metal::prefix()?;
    let script = workspace().join("tests/src/mesa.sh");
    shell.run(Command::new("bash").arg(script).arg(&prefix)).map_err(|reason| {
        format!(
            "no software Vulkan device: {DRIVERS} has none, and {reason} \
             (`--no-device` knowingly leaves this step out)"
        )
    })?;
    let file = prefix.join("vulkan.env");
    let text = fs::read_to_string(&file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}
