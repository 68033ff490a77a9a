//! A bilevel stage of the host, replayed through the core on the board.
//!
//! The machine is fed the replies that the host's tensors gave (`build/trace.rs`) and must make the
//! same requests as there, byte for byte. It prints one line, `key=value` separated by blanks: the
//! number of equal requests and of the events between them. The exit status is 0 if the machine
//! ended together with the trace, 1 with a message otherwise.
#![no_std]
#![no_main]

#[path = "../stack.rs"]
mod stack;
#[path = "../trap.rs"]
mod trap;

use bissl_core::{Alternation, Completion, Machine, Pending, Reply};
use semihosting::println;
use semihosting::process::exit;

static TRACE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/trace.bin"));

/// Scalars of the longest reply.
const SCALARS: usize = 64;

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    stack::paint();
    trap::guard();
    match replay() {
        Ok((requests, events)) => {
            println!(
                "requests={requests} events={events} bytes={} stack={} stack_limit={} static={}",
                TRACE.len(),
                stack::used(),
                stack::limit(),
                stack::statics()
            );
            exit(0)
        }
        Err((requests, what)) => {
            println!("after {requests} requests: {what}");
            exit(1)
        }
    }
}

/// The numbers of requests and events; on failure, the number of equal requests and what differed
/// then.
fn replay() -> Result<(u32, u32), (u32, &'static str)> {
    let (mut requests, mut events) = (0, 0);
    let read = postcard::take_from_bytes::<Alternation>(TRACE);
    let (mut machine, mut rest) = read.map_err(|_| (0, "the trace has no machine"))?;
    let mut scalars = [0.0; SCALARS];
    loop {
        match machine.pending() {
            Pending::Request(ticket, request) => {
                let short = (requests, "the trace ends before the machine");
                let (length, behind) = rest.split_first().ok_or(short)?;
                let (expected, behind) =
                    behind.split_at_checked(usize::from(*length)).ok_or(short)?;
                let mut buffer = [0; 256];
                let found = postcard::to_slice(&request, &mut buffer)
                    .map_err(|_| (requests, "a request has no stored form"))?;
                if *found != *expected {
                    return Err((requests, "the machine asks for something else than on the host"));
                }
                let (reply, behind) =
                    postcard::take_from_bytes::<Reply>(behind).map_err(|_| short)?;
                let count = match reply {
                    Reply::Ack => 0,
                    Reply::Scalars(count) => count as usize,
                };
                let (bytes, behind) = behind.split_at_checked(4 * count).ok_or(short)?;
                for (scalar, bits) in scalars.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *scalar = f32::from_bits(u32::from_le_bytes(*bits));
                }
                machine
                    .step(ticket, reply, &mut scalars)
                    .map_err(|_| (requests, "the machine refuses the host's reply"))?;
                rest = behind;
                requests += 1;
            }
            Pending::Event(ticket, _) => {
                machine
                    .step(ticket, Reply::Ack, &mut scalars)
                    .map_err(|_| (requests, "the machine refuses an acknowledgement"))?;
                events += 1;
            }
            Pending::Done(Completion::Finished) if rest.is_empty() => {
                return Ok((requests, events));
            }
            Pending::Done(_) => return Err((requests, "the machine ends before the trace")),
        }
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("{info}");
    exit(101)
}
