//! What a person reads when something is refused.

use bissl_core::{
    CgSettings, ConfigError, ConjugateGradient, DriveError, Machine, Pending, Register, Reply,
    Request, Ticket, UnexpectedReply,
};

use crate::dense::DenseError;

#[test]
fn a_setting_is_named_with_what_was_found_and_expected() {
    let error = ConfigError::OutOfRange { name: "damping", value: -2.5, range: "[0, ∞)" };
    assert_eq!(error.to_string(), "damping is -2.5, expected [0, ∞)");
    let error = ConfigError::Zero { name: "iterations" };
    assert_eq!(error.to_string(), "iterations is 0, expected at least 1");
}

#[test]
fn a_refused_reply_is_named_with_what_was_expected() {
    let mut machine = ConjugateGradient::new(CgSettings::new(0.1, 1).unwrap());
    let Pending::Request(ticket, _) = machine.pending() else { panic!("nothing asked") };
    let error = machine.step(ticket.next().next(), Reply::Ack, &mut []).unwrap_err();
    assert_eq!(error.to_string(), "reply to request 2, expected 0");
    let error = machine.step(ticket, Reply::Scalars(3), &mut []).unwrap_err();
    assert_eq!(error.to_string(), "reply Scalars(3), expected Ack");
    let error = UnexpectedReply::ShortWorkspace { needed: 4, found: 1 };
    assert_eq!(error.to_string(), "workspace of 1 scalars, needed 4");
    assert_eq!(UnexpectedReply::Ended.to_string(), "reply after the end");
    assert_eq!(ticket, Ticket::default());
}

#[test]
fn a_failing_drive_says_which_part_failed() {
    let texts = [
        DriveError::Problem(DenseError::NoSuchOperation),
        DriveError::Unsupported(Request::Linearize { index: 3 }),
        DriveError::ShortWorkspace { needed: 4, found: 2 },
        DriveError::Reply(UnexpectedReply::Ended),
    ]
    .map(|error: DriveError<DenseError>| error.to_string());
    let missing = DenseError::Missing(Register::Solution).to_string();
    assert_eq!(
        texts,
        [
            "NoSuchOperation",
            "request not supported here: Linearize { index: 3 }",
            "workspace of 2 scalars, needed 4",
            "reply after the end",
        ]
    );
    assert_eq!(missing, "Missing(Solution)");
}
