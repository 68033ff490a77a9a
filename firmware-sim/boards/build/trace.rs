//! The host's trace as bytes that a board reads without allocating.
//!
//! First the machine before its first reply, in serialised form (postcard). Then, for each
//! exchange, a byte with the length of the request, request and reply in serialised form, and the
//! scalars, four bytes each, little-endian.

use std::fs;
use std::path::Path;

use bissl_core::{Alternation, Reply, Request};
use serde::Deserialize;

const TRACE: &str = "../harness/data/host-trace.jsonl";

#[derive(Deserialize)]
struct Header {
    machine: Alternation,
}

#[derive(Deserialize)]
struct Line {
    request: Request,
    reply: Reply,
    scalars: Vec<u32>,
}

/// Writes `trace.bin`.
pub fn write(out: &Path) {
    let text = fs::read_to_string(TRACE).unwrap_or_else(|error| panic!("{TRACE}: {error}"));
    let mut lines = text.lines();
    let first = lines.next().expect("a trace has a first line");
    let Header { machine } = serde_json::from_str(first).expect("the machine");
    let mut bytes = postcard::to_allocvec(&machine).expect("machines have a stored form");
    for line in lines {
        let Line { request, reply, scalars } = serde_json::from_str(line).expect("an exchange");
        let request = postcard::to_allocvec(&request).expect("requests have a stored form");
        bytes.push(u8::try_from(request.len()).expect("a request of at most 255 bytes"));
        bytes.extend(request);
        bytes.extend(postcard::to_allocvec(&reply).expect("replies have a stored form"));
        bytes.extend(scalars.iter().flat_map(|bits| bits.to_le_bytes()));
    }
    super::write(&out.join("trace.bin"), &bytes);
}
