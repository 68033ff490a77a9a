//! The binary `bissl`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bissl::cli::main()
}
