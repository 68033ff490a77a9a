//! What the runner prints.

use std::io::Write as _;

use crate::Failure;
use crate::steps::Step;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// Left out on request.
    LeftOut,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::LeftOut => "left out",
        }
    }
}

/// One line of the final table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) seconds: f64,
    /// Tests that passed in it, if it consists of tests.
    pub(crate) tests: Option<u32>,
}

/// Prints the names of the steps.
pub(crate) fn print_steps(steps: &[Step]) {
    for step in steps {
        println!("{:<12} {}", step.name, step.about);
    }
}

/// Prints that a step begins; [`print_end`] completes the line.
pub(crate) fn print_start(name: &str) {
    print!("{name:<12} ");
    // If flushing fails, the name only appears when the step ends.
    let _ = std::io::stdout().flush();
}

/// Prints how a step ended.
pub(crate) fn print_end(row: &Row) {
    println!("{:<8} {:>8.1} s", row.outcome.word(), row.seconds);
}

/// Prints why a step failed.
pub(crate) fn print_failure(name: &str, failure: &Failure) {
    println!("--- {name}: {}", failure.reason);
    if !failure.tail.is_empty() {
        println!("{}", failure.tail);
    }
    match &failure.log {
        Some(log) => println!("--- {name}: the whole output is in {}", log.display()),
        None => println!("--- {name}: there is no output"),
    }
}

/// Prints the table of all steps, and the sums as the last line.
pub(crate) fn print_table(rows: &[Row]) {
    println!("\n{:<12} {:<8} {:>10} {:>8}", "step", "outcome", "seconds", "tests");
    for row in rows {
        let tests = row.tests.map_or_else(String::new, |count| count.to_string());
        let line =
            format!("{:<12} {:<8} {:>10.1} {tests:>8}", row.name, row.outcome.word(), row.seconds);
        println!("{}", line.trim_end());
    }
    println!("{:<21} {:>10.1}", "total", rows.iter().map(|row| row.seconds).sum::<f64>());
    let count = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    println!("\n{} passed, {} failed", count(Outcome::Passed), count(Outcome::Failed));
}

/// The sum of passed tests in the output of `cargo test`.
///
/// # Errors
/// There were none: a filter or a feature left the step without tests.
pub(crate) fn count_tests(output: &str) -> Result<u32, String> {
    let count = output
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. "))
        .filter_map(|rest| rest.split(' ').next()?.parse::<u32>().ok())
        .sum();
    if count == 0 { Err("not one test was run".to_owned()) } else { Ok(count) }
}

#[cfg(test)]
mod tests {
    use super::count_tests;

    #[test]
    fn passed_tests_are_summed_over_binaries() {
        let output = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 1 ignored\nnoise\n\
                      test result: ok. 0 passed; 0 failed\ntest result: ok. 40 passed; 0 failed";
        assert_eq!(count_tests(output), Ok(42));
    }

    #[test]
    fn a_step_without_tests_fails() {
        assert!(count_tests("test result: ok. 0 passed; 0 failed").is_err());
        assert!(count_tests("").is_err());
    }
}
