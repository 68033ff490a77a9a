//! The loop and the two drivers: what they pass on, and how they fail.

use bissl_core::{
    Bank, CgSettings, ConjugateGradient, Descent, DescentSettings, DriveError, Driver, Evaluation,
    Group, Linear, Machine, Optimizer, Pairs, Pending, Progress, Register, Reply, Request,
    Schedule, Training, UnexpectedReply, drive,
};

use crate::dense::{DenseDriver, DenseError, linear};
use crate::matrix::{Matrix, dot};
use crate::protocol::{LARS, small};
use crate::systems::positive_definite;

fn perform<P>(
    driver: &mut DenseDriver<P>,
    request: Request,
    scalars: &mut [f32],
) -> Result<Reply, DriveError<DenseError>>
where
    for<'a> Linear<'a, DenseDriver<P>>: Driver<Error = DriveError<DenseError>>,
{
    Linear(driver).perform(&request, scalars)
}

const BASIS: [Register; 3] = [
    Register::Banked(Bank::Basis, 0),
    Register::Banked(Bank::Basis, 1),
    Register::Banked(Bank::Basis, 2),
];

fn with_basis() -> DenseDriver<Matrix> {
    let driver = linear(Matrix::new(2, 2, |_, _| 1.0), vec![3.0, -1.0]);
    BASIS
        .into_iter()
        .zip([[1.0, 2.0], [0.5, 0.0], [0.0, -4.0]])
        .fold(driver, |driver, (name, v)| driver.with(name, v.to_vec()))
}

#[test]
fn basis_dots_are_the_dots_with_each_kept_vector() {
    let mut driver = with_basis();
    let mut scalars = [f32::NAN; 4];
    let request = Request::BasisDots {
        pairs: Pairs::NONE,
        bank: Bank::Basis,
        count: 3,
        x: Register::Residual,
    };
    assert_eq!(perform(&mut driver, request, &mut scalars), Ok(Reply::Scalars(3)));
    assert_eq!(scalars[..3], [1.0, 1.5, 4.0]);
    assert!(scalars[3].is_nan(), "only the reply is written");
}

#[test]
fn combinations_add_the_kept_vectors_to_what_was_there() {
    let combine =
        |b, count| Request::Combine { bank: Bank::Basis, count, b, y: Register::Residual };
    let mut driver = with_basis();
    let mut scalars = [2.0, -2.0, 0.25, f32::NAN];
    assert_eq!(perform(&mut driver, combine(10.0, 3), &mut scalars), Ok(Reply::Ack));
    assert_eq!(driver.read(Register::Residual), [31.0, -7.0]);
    // A factor of 0 reads neither the old contents nor, here, any kept vector.
    let mut driver = with_basis().with(Register::Residual, vec![f64::NAN; 2]);
    assert_eq!(perform(&mut driver, combine(0.0, 1), &mut scalars), Ok(Reply::Ack));
    assert_eq!(driver.read(Register::Residual), [2.0, 4.0]);
    assert_eq!(perform(&mut driver, combine(0.5, 0), &mut scalars), Ok(Reply::Ack));
    assert_eq!(driver.read(Register::Residual), [1.0, 2.0]);
}

#[test]
fn vector_requests_do_what_they_say() {
    use Register::{Direction, Product, Residual, Solution};
    let mut driver = linear(Matrix::new(2, 2, |i, j| (i + 2 * j) as f64), vec![3.0, -1.0]);
    let mut scalars = [f32::NAN; 4];
    let mut ack = |request| {
        assert_eq!(perform(&mut driver, request, &mut scalars), Ok(Reply::Ack), "{request:?}");
    };
    ack(Request::Zero { dst: Solution });
    ack(Request::Copy { src: Residual, dst: Direction });
    ack(Request::Axpby { a: 2.0, x: Direction, b: -1.0, y: Residual });
    ack(Request::Apply { src: Direction, dst: Product });
    assert_eq!(driver.read(Solution), [0.0, 0.0]);
    assert_eq!(driver.read(Direction), [3.0, -1.0]);
    assert_eq!(driver.read(Residual), [3.0, -1.0]);
    assert_eq!(driver.read(Product), [-2.0, 0.0]);
    let pairs = Pairs::new([(Direction, Product), (Product, Product), (Direction, Direction)]);
    let reply = perform(&mut driver, Request::Dots { pairs }, &mut scalars);
    assert_eq!((reply, &scalars[..3]), (Ok(Reply::Scalars(3)), &[-6.0f32, 4.0, 10.0][..]));
    let sketch = |index| Request::Sketch { dst: Solution, index };
    assert_eq!(perform(&mut driver, sketch(1), &mut scalars), Ok(Reply::Ack));
    let first = driver.read(Solution).to_vec();
    perform(&mut driver, sketch(2), &mut scalars).unwrap();
    assert_ne!(driver.read(Solution), first);
    perform(&mut driver, sketch(1), &mut scalars).unwrap();
    assert_eq!(driver.read(Solution), first);
}

#[test]
fn a_linear_driver_refuses_what_only_training_has() {
    let mut driver = with_basis();
    let (src, dst) = (Register::Direction, Register::Product);
    for request in [
        Request::Linearize { index: 0 },
        Request::Product { src, dst },
        Request::CrossProduct { src, dst },
        Request::Gradient { evaluation: Evaluation::Lower, index: 0, backbone: None, head: dst },
    ] {
        let result = perform(&mut driver, request, &mut [0.0; 4]);
        assert_eq!(result, Err(DriveError::Unsupported(request)));
    }
    let apply = Request::Apply { src, dst };
    let result = Training(&mut small(0)).perform(&apply, &mut [0.0; 4]);
    assert_eq!(result, Err(DriveError::Unsupported(apply)));
}

#[test]
fn a_workspace_that_is_too_short_is_reported_and_not_overrun() {
    let pair = (Register::Residual, Register::Residual);
    let mut driver = with_basis();
    for (request, needed) in [
        (Request::Dots { pairs: Pairs::new([pair, pair]) }, 2),
        (Request::Dots { pairs: Pairs::new([pair; 4]) }, 4),
        (Request::BasisDots { pairs: Pairs::NONE, bank: Bank::Basis, count: 3, x: pair.0 }, 3),
        (
            Request::BasisDots {
                pairs: Pairs::new([pair]),
                bank: Bank::Basis,
                count: 3,
                x: pair.0,
            },
            4,
        ),
        (Request::Combine { bank: Bank::Basis, count: 3, b: 1.0, y: pair.0 }, 3),
    ] {
        for found in 0..needed {
            let result = perform(&mut driver, request, &mut vec![0.0; found]);
            assert_eq!(result, Err(DriveError::ShortWorkspace { needed, found }));
        }
        assert!(perform(&mut driver, request, &mut vec![0.0; needed]).is_ok());
    }
    let head = Register::PretextHeadGradient;
    let gradient =
        Request::Gradient { evaluation: Evaluation::Lower, index: 0, backbone: None, head };
    let result = Training(&mut small(0)).perform(&gradient, &mut []);
    assert_eq!(result, Err(DriveError::ShortWorkspace { needed: 1, found: 0 }));
}

#[test]
fn segment_dots_are_grouped_by_pair() {
    let p = Register::Parameter(Group::LowerBackbone);
    let mut driver = small(1).with(Register::Residual, vec![1.0, 2.0, 3.0, 4.0, 5.0]);
    let parameter = driver.read(p).to_vec();
    let pairs = Pairs::new([(p, p), (Register::Residual, Register::Residual)]);
    let mut scalars = [f32::NAN; 6];
    let reply = Training(&mut driver).perform(&Request::SegmentDots { pairs }, &mut scalars);
    assert_eq!(reply, Ok(Reply::Scalars(4)));
    let expected = [&parameter[..2], &parameter[2..]].map(|part| dot(part, part) as f32);
    assert_eq!(scalars[..2], expected);
    assert_eq!(scalars[2..4], [5.0, 50.0]);
}

#[test]
fn a_failing_problem_ends_the_loop_and_leaves_the_machine_at_its_request() {
    let system = positive_definite(1, 3);
    let mut driver = DenseDriver::new(system.a).with(Register::Residual, system.b);
    let mut machine = ConjugateGradient::new(CgSettings::new(0.0, 3).unwrap());
    let before = machine;
    let error = drive(&mut machine, &mut Linear(&mut driver), &mut [0.0; 4]).unwrap_err();
    assert_eq!(error, DriveError::Problem(DenseError::Missing(Register::Solution)));
    assert_eq!(machine, before);
}

/// A driver that always acknowledges.
struct Careless;

impl Driver for Careless {
    type Error = DriveError<DenseError>;

    fn perform(&mut self, _: &Request, _: &mut [f32]) -> Result<Reply, Self::Error> {
        Ok(Reply::Ack)
    }
}

#[test]
fn a_driver_that_answers_wrongly_is_refused() {
    let mut machine = ConjugateGradient::new(CgSettings::new(0.0, 3).unwrap());
    let error = drive(&mut machine, &mut Careless, &mut [0.0; 4]).unwrap_err();
    let expected = UnexpectedReply::WrongReply { expected: Reply::Scalars(1), found: Reply::Ack };
    assert_eq!(error, DriveError::Reply(expected));
}

/// LARS with a workspace shorter than two scalars a segment: refused, not half done.
#[test]
fn lars_needs_two_scalars_for_each_segment() {
    let schedule = Schedule::constant(0.1, 1).unwrap();
    let settings = DescentSettings::new(Evaluation::Lower, LARS, schedule, None).unwrap();
    let error = |length: usize| {
        let (mut machine, mut driver) = (Descent::new(settings), small(1));
        drive(&mut machine, &mut Training(&mut driver), &mut vec![0.0; length]).err()
    };
    let expected =
        UnexpectedReply::WrongReply { expected: Reply::Scalars(2), found: Reply::Scalars(0) };
    assert_eq!(error(3), Some(DriveError::Reply(expected)));
    assert_eq!(error(4), None);
}

/// An event is acknowledged when it is returned: the stored machine goes on after it.
#[test]
fn a_machine_stored_at_an_event_goes_on_after_it() {
    let schedule = Schedule::constant(0.1, 3).unwrap();
    let optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 };
    let settings = DescentSettings::new(Evaluation::Lower, optimizer, schedule, None).unwrap();
    let (mut machine, mut driver) = (Descent::new(settings), small(2));
    let mut seen = Vec::new();
    let mut scalars = [0.0; 6];
    while let Progress::Event(bissl_core::Event::Step(record)) =
        drive(&mut machine, &mut Training(&mut driver), &mut scalars).unwrap()
    {
        seen.push(record.index);
        assert!(!matches!(machine.pending(), Pending::Event(..)));
    }
    assert_eq!(seen, [0, 1, 2]);
    assert!(matches!(machine.pending(), Pending::Done(_)));
    let again = drive(&mut machine, &mut Training(&mut driver), &mut scalars);
    assert!(matches!(again, Ok(Progress::Done(_))), "the end can be asked for twice");
}
