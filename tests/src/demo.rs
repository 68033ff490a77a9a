//! The README's first command on a small budget.

use std::fs;

use crate::shell::Shell;

/// The command; the output folder is added.
const COMMAND: &str = "run --release -p bissl -- demo --seeds 1 --epochs 2 --alternations 1 \
                       --set warm_up.epochs=1 --set finetune.epochs=1 --out";

/// The file that the command leaves in its output folder.
const REPORT: &str = "report.html";

/// Runs the demo into an empty folder and checks its report.
///
/// # Errors
/// The command fails, or the report is missing or empty.
pub(crate) fn check(shell: &mut Shell) -> Result<(), String> {
    let folder = shell.target().join("demo-step");
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("cannot empty {}: {error}", folder.display()));
        }
        _ => {}
    }
    let mut command = shell.cargo_command(COMMAND);
    shell.run(command.arg(&folder))?;
    let report = folder.join(REPORT);
    match fs::metadata(&report) {
        Ok(found) if found.len() > 0 => Ok(()),
        Ok(_) => Err(format!("{} is empty, expected the demo's report", report.display())),
        Err(error) => Err(format!("{}: {error}, expected the demo's report", report.display())),
    }
}
