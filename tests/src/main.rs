//! The project's one test command: every check in named steps, cheapest first, with the time of
//! each.
//!
//! `cargo run --release -p bissl-tests` runs all steps; `-- --list` names them. The package has no
//! default features, so starting it compiles nothing of the host.

mod bare_metal;
mod boards;
mod demo;
mod device;
mod options;
mod shell;
mod steps;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use options::{Command, Options};
use shell::Shell;
use steps::{STEPS, Step, Work};
use summary::{Outcome, Row};

/// Lines of a failed step's output that are shown; all of it is in its log.
const TAIL_LINES: usize = 60;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Run(options)) => options,
        Ok(Command::List) => {
            summary::print_steps(STEPS);
            return ExitCode::SUCCESS;
        }
        Ok(Command::Help) => {
            print!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("error: {message}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let rows: Vec<Row> = STEPS.iter().map(|step| run(step, &options)).collect();
    summary::print_table(&rows);
    let failed = rows.iter().any(|row| row.outcome == Outcome::Failed);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs one step unless it is left out; returns the result.
fn run(step: &Step, options: &Options) -> Row {
    if !options.takes(step.name) {
        return Row { name: step.name, outcome: Outcome::LeftOut, seconds: 0.0, tests: None };
    }
    summary::print_start(step.name);
    let started = Instant::now();
    let result = perform(step);
    let seconds = started.elapsed().as_secs_f64();
    let (outcome, tests) = match &result {
        Ok(done) => (Outcome::Passed, done.tests),
        Err(_) => (Outcome::Failed, None),
    };
    let row = Row { name: step.name, outcome, seconds, tests };
    summary::print_end(&row);
    match result {
        Ok(done) => print!("{}", done.table),
        Err(failure) => summary::print_failure(step.name, &failure),
    }
    row
}

/// Why a step failed, and the last lines that it printed.
#[derive(Debug)]
struct Failure {
    reason: String,
    tail: String,
    log: Option<PathBuf>,
}

/// The figures of a step that passed.
#[derive(Debug, Default)]
struct Done {
    /// Tests that passed, if the step consists of tests.
    tests: Option<u32>,
    /// What the step measured; printed below its line.
    table: String,
}

/// Does a step's work.
fn perform(step: &Step) -> Result<Done, Failure> {
    let mut shell = Shell::open(step.name, step.target).map_err(|reason| Failure {
        reason,
        tail: String::new(),
        log: None,
    })?;
    let result = match step.work {
        Work::Cargo(lines) => {
            lines.iter().try_for_each(|line| shell.cargo(line)).map(|()| Done::default())
        }
        Work::Tests(lines) => lines
            .iter()
            .try_for_each(|line| shell.cargo(line))
            .and_then(|()| summary::count_tests(&shell.output()?))
            .map(|tests| Done { tests: Some(tests), ..Done::default() }),
        Work::BareMetal => bare_metal::check(&mut shell).map(|()| Done::default()),
        Work::Boards => boards::check(&mut shell).map(|table| Done { table, ..Done::default() }),
        Work::Demo => demo::check(&mut shell).map(|()| Done::default()),
        Work::Device => device::check(&mut shell).and_then(|table| {
            let tests = Some(summary::count_tests(&shell.output()?)?);
            Ok(Done { tests, table })
        }),
    };
    result.map_err(|reason| Failure {
        reason,
        tail: shell.tail(TAIL_LINES),
        log: Some(shell.log().to_owned()),
    })
}
