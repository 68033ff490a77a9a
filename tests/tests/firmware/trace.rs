//! What was recorded can be replayed, and every difference is found at its line.

use bissl_core::Completion;
use bissl_firmware_sim::{Digits, RecordError, ReplayError, record, replay};

use crate::support::{short, start};

fn recorded() -> String {
    let digits = Digits::embedded();
    let mut bytes = Vec::new();
    record(&mut start(&digits, short(1)), &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn recorded_stage_is_replayed_to_its_end() {
    let trace = recorded();
    let report = replay(trace.as_bytes()).unwrap();
    assert_eq!(report.requests as usize, trace.lines().count() - 1);
    // Two alternations of three lower and two upper steps, and the alternations' own events.
    assert_eq!((report.events, report.completion), (2 * (3 + 2 + 1), Some(Completion::Finished)));
}

#[test]
fn recording_does_not_disturb_the_device() {
    let digits = Digits::embedded();
    let mut device = start(&digits, short(1));
    record(&mut device, std::io::sink()).unwrap();
    assert_eq!(crate::support::finish(device), crate::support::train(&digits, short(1)));
}

#[test]
fn every_prefix_is_a_trace() {
    let trace = recorded();
    let lines: Vec<&str> = trace.lines().collect();
    for count in [1, 2, lines.len() / 2, lines.len() - 1] {
        let report = replay(lines[..count].join("\n").as_bytes()).unwrap();
        assert_eq!((report.requests as usize, report.completion), (count - 1, None));
    }
}

#[test]
fn one_flipped_bit_of_a_scalar_is_noticed() {
    let trace = recorded();
    let mut lines: Vec<String> = trace.lines().map(str::to_owned).collect();
    // The curvature of the first solve: it determines α, and α is in the next request.
    let at = lines.iter().position(|l| l.contains("Product\"") && l.contains("Dots")).unwrap();
    let mut line: serde_json::Value = serde_json::from_str(&lines[at]).unwrap();
    let bits = line["scalars"][0].as_u64().unwrap();
    line["scalars"][0] = (bits ^ 1).into();
    lines[at] = line.to_string();
    match replay(lines.join("\n").as_bytes()) {
        Err(ReplayError::RequestDiffers { line, .. }) => assert_eq!(line as usize, at + 2),
        other => panic!("{other:?}"),
    }
}

#[test]
fn departures_are_named() {
    let trace = recorded();
    let lines: Vec<String> = trace.lines().map(str::to_owned).collect();
    let with = |edit: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        edit(&mut lines);
        replay(lines.join("\n").as_bytes()).unwrap_err()
    };
    let broken = |line: &str| line.to_owned();
    assert!(matches!(replay(&b""[..]), Err(ReplayError::Empty)));
    assert!(matches!(with(&|l| l[0] = broken("{}")), ReplayError::Format { line: 1, .. }));
    assert!(matches!(with(&|l| l[3] = broken("{\"reply\"")), ReplayError::Format { line: 4, .. }));
    assert!(matches!(with(&|l| l.swap(2, 3)), ReplayError::RequestDiffers { line: 3, .. }));
    assert!(matches!(with(&|l| drop(l.remove(1))), ReplayError::RequestDiffers { line: 2, .. }));
    let error = with(&|l| l.push(l[1].clone()));
    assert!(matches!(error, ReplayError::Ended { .. }), "{error}");

    // Line 2 holds a gradient's reply: one scalar, the loss.
    let (head, _) = lines[1].split_once("\"scalars\"").unwrap();
    let no_scalars = format!("{head}\"scalars\":[]}}");
    let error = with(&|l| l[1] = no_scalars.clone());
    assert!(
        matches!(error, ReplayError::ScalarCount { line: 2, expected: 1, found: 0 }),
        "{error}"
    );
    let acknowledged = no_scalars.replace("{\"Scalars\":1}", "\"Ack\"");
    let error = with(&|l| l[1] = acknowledged.clone());
    assert!(matches!(error, ReplayError::Refused { line: 2, .. }), "{error}");
}

#[test]
fn device_without_bilevel_stage_has_no_trace() {
    let digits = Digits::embedded();
    let mut device = start(&digits, short(1).without_alignment());
    let error = record(&mut device, std::io::sink()).unwrap_err();
    assert!(matches!(error, RecordError::NoAlignment));
}
