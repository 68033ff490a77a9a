//! Where frames go: the emulator's standard output. What a person reads goes to standard error
//! then.

use semihosting::io::{Write, stdout};

/// Writes a piece of a frame.
pub fn write(bytes: &[u8]) {
    let written = stdout().and_then(|mut out| out.write_all(bytes));
    // A log with holes would be taken for the whole one.
    if written.is_err() {
        semihosting::eprintln!("cannot write the log to standard output");
        semihosting::process::exit(1)
    }
}

pub use semihosting::eprintln as println;
