//! `events.out.tfevents.bissl`: the numbers of `metrics.jsonl` for TensorBoard.
//!
//! The file is a sequence of TFRecords (length, its checksum, bytes, their checksum), each a
//! protocol buffer `Event`; the first one states the version. After it there is one event for each
//! line of the metrics, so the file can be truncated or extended to match a number of lines.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::RunError;
use super::disk::Disk;

/// Name of the file; TensorBoard looks for `tfevents`.
const NAME: &str = "events.out.tfevents.bissl";
const VERSION: &[u8] = b"brain.Event:2";

/// Appends the events of a run's metrics.
#[derive(Debug)]
pub(super) struct EventsWriter {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    bytes: u64,
}

impl EventsWriter {
    /// The events of the run in folder `run` whose metrics are `metrics`. Events of its lines are
    /// kept, those after them are removed, and missing ones are written with the current time.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(super) fn open(disk: Arc<dyn Disk>, run: &Path, metrics: &[u8]) -> Result<Self, RunError> {
        let path = run.join(NAME);
        let found = if disk.exists(&path) {
            disk.read(&path).map_err(RunError::io("read", &path))?
        } else {
            Vec::new()
        };
        let lines: Vec<&[u8]> = metrics.split_inclusive(|byte| *byte == b'\n').collect();
        let ends: Vec<usize> = record_ends(&found).take(1 + lines.len()).collect();
        let mut missing = Vec::new();
        if ends.is_empty() {
            missing.extend(record(&event(now(), 0, 3, VERSION)));
        }
        for line in &lines[ends.len().saturating_sub(1)..] {
            // Whoever reads the metrics reports damaged lines.
            let metric = serde_json::from_slice(line).unwrap_or_default();
            missing.extend(record(&scalars(now(), &metric)));
        }
        let kept = ends.last().copied().unwrap_or(0) as u64;
        let bytes = kept + missing.len() as u64;
        disk.write_at(&path, kept, &missing)
            .and_then(|()| disk.cut(&path, bytes))
            .map_err(RunError::io("write", &path))?;
        Ok(Self { disk, path, bytes })
    }

    /// Appends the event of one line of the metrics.
    ///
    /// # Errors
    /// The event cannot be written. If part of it was written, that part is removed when the run is
    /// resumed.
    pub(super) fn append(&mut self, line: &[u8]) -> Result<(), RunError> {
        let metric = serde_json::from_slice(line).unwrap_or_default();
        let bytes = record(&scalars(now(), &metric));
        self.disk
            .write_at(&self.path, self.bytes, &bytes)
            .map_err(RunError::io("write", &self.path))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The ends of the whole records at the beginning of a file.
fn record_ends(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (length, rest) = bytes.get(at..)?.split_first_chunk::<8>()?;
        let (length_sum, rest) = rest.split_first_chunk::<4>()?;
        let size = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (data, rest) = rest.split_at_checked(size)?;
        let data_sum = rest.first_chunk::<4>()?;
        let whole = masked_sum(length) == u32::from_le_bytes(*length_sum)
            && masked_sum(data) == u32::from_le_bytes(*data_sum);
        at += 16 + size;
        whole.then_some(at)
    })
}

/// A TFRecord.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let (length_sum, data_sum) = (masked_sum(&length), masked_sum(data));
    [&length[..], &length_sum.to_le_bytes(), data, &data_sum.to_le_bytes()].concat()
}

/// CRC-32C, rotated and shifted: otherwise the checksum of a file that contains checksums would be
/// weak.
fn masked_sum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// An `Event` with wall time (field 1), step (2), and one field of bytes.
fn event(wall_time: f64, step: u64, field: u8, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![1 << 3 | 1];
    message.extend(wall_time.to_le_bytes());
    message.push(2 << 3);
    varint(step, &mut message);
    delimited(field, bytes, &mut message);
    message
}

/// The `Event` of a metric, with a `Summary` (field 5) of all its numbers.
///
/// The tag of a number is `STAGE/KIND/NAME`, that of a result `STAGE/result/NAME`. The step is the
/// metric's index or epoch.
fn scalars(wall_time: f64, metric: &Value) -> Vec<u8> {
    let text = |key: &str| metric[key].as_str().unwrap_or_default();
    let step = metric["index"].as_u64().or(metric["epoch"].as_u64()).unwrap_or(0);
    let mut values = Vec::new();
    let prefix = format!("{}/{}", text("stage"), text("kind"));
    let mut summary = Vec::new();
    if text("kind") == "result" {
        values.extend(metric["value"].as_f64().map(|x| (format!("{prefix}/{}", text("name")), x)));
    } else {
        numbers(&prefix, metric, &mut values);
    }
    for (tag, value) in values {
        // A `Value`: tag (field 1), simple value (2).
        let mut message = Vec::new();
        delimited(1, tag.as_bytes(), &mut message);
        message.push(2 << 3 | 5);
        message.extend((value as f32).to_le_bytes());
        delimited(1, &message, &mut summary);
    }
    event(wall_time, step, 5, &summary)
}

/// Every number in `value`, except for those that count steps, with its path.
fn numbers(path: &str, value: &Value, found: &mut Vec<(String, f64)>) {
    match value {
        Value::Number(number) => found.extend(number.as_f64().map(|x| (path.to_owned(), x))),
        Value::Object(fields) => {
            for (name, value) in fields {
                if !["index", "epoch"].contains(&name.as_str()) {
                    numbers(&format!("{path}/{name}"), value, found);
                }
            }
        }
        _ => {}
    }
}

/// A field of bytes.
fn delimited(field: u8, bytes: &[u8], message: &mut Vec<u8>) {
    message.push(field << 3 | 2);
    varint(bytes.len() as u64, message);
    message.extend_from_slice(bytes);
}

/// Seven bits per byte, the lowest first.
fn varint(mut value: u64, message: &mut Vec<u8>) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::super::disk::system;
    use super::*;

    /// The step, and the numbers with their tags.
    type Scalars = (u64, Vec<(String, f32)>);

    /// CRC-32C bit by bit, as RFC 3720 defines it.
    fn plain_sum(bytes: &[u8]) -> u32 {
        let step = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
        let sum = bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step));
        !sum
    }

    /// The fields of a message: each has its number, and its bytes or its fixed or variable number.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>, u64)> {
        let take = |count: usize, bytes: &mut &[u8]| {
            let (taken, rest) = bytes.split_at(count);
            *bytes = rest;
            taken.to_vec()
        };
        let number = |bytes: &mut &[u8]| {
            let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
            let (taken, rest) = bytes.split_at(end);
            *bytes = rest;
            taken.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
        };
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let key = number(&mut bytes);
            let (value, variable) = match key & 7 {
                0 => (Vec::new(), number(&mut bytes)),
                1 => (take(8, &mut bytes), 0),
                2 => {
                    let length = number(&mut bytes) as usize;
                    (take(length, &mut bytes), 0)
                }
                5 => (take(4, &mut bytes), 0),
                other => panic!("wire type {other}"),
            };
            found.push((key >> 3, value, variable));
        }
        found
    }

    /// Decodes a file without using the writer's code.
    fn decode(mut bytes: &[u8]) -> Vec<Scalars> {
        let mut events = Vec::new();
        let mut first = true;
        while !bytes.is_empty() {
            let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let sum = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let masked = |part: &[u8]| {
                let sum = plain_sum(part);
                sum.rotate_right(15).wrapping_add(0xa282_ead8)
            };
            assert_eq!(sum(8), masked(&bytes[..8]), "checksum of a length");
            assert_eq!(sum(12 + size), masked(&bytes[12..12 + size]), "checksum of an event");
            let event = fields(&bytes[12..12 + size]);
            bytes = &bytes[16 + size..];
            let of = |number: u64| event.iter().find(|field| field.0 == number);
            let time = f64::from_le_bytes(of(1).unwrap().1[..].try_into().unwrap());
            assert!(time > 1.5e9, "{time}");
            if first {
                assert_eq!(of(3).unwrap().1, b"brain.Event:2");
                first = false;
                continue;
            }
            let scalars = fields(&of(5).unwrap().1).into_iter().map(|(number, value, _)| {
                assert_eq!(number, 1);
                let value = fields(&value);
                let simple = f32::from_le_bytes(value[1].1[..].try_into().unwrap());
                assert_eq!((value[0].0, value[1].0), (1, 2));
                (String::from_utf8(value[0].1.clone()).unwrap(), simple)
            });
            events.push((of(2).unwrap().2, scalars.collect()));
        }
        events
    }

    const LINES: [&str; 4] = [
        r#"{"kind":"step","stage":"pretrain","index":0,"loss":4.5,"learning_rate":0.1}"#,
        r#"{"kind":"upper_step","stage":"align","index":300,"loss":null,"solve":{"termination":"converged","products":3}}"#,
        r#"{"kind":"validation","stage":"finetune","epoch":7,"accuracy":0.25}"#,
        r#"{"kind":"result","stage":"finetune","name":"test_accuracy","value":0.5}"#,
    ];

    fn metrics(lines: &[&str]) -> Vec<u8> {
        lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
    }

    fn scalar(step: u64, values: &[(&str, f32)]) -> Scalars {
        (step, values.iter().map(|(tag, value)| ((*tag).to_owned(), *value)).collect())
    }

    fn expected() -> [Scalars; 4] {
        [
            scalar(0, &[("pretrain/step/learning_rate", 0.1), ("pretrain/step/loss", 4.5)]),
            scalar(300, &[("align/upper_step/solve/products", 3.0)]),
            scalar(7, &[("finetune/validation/accuracy", 0.25)]),
            scalar(0, &[("finetune/result/test_accuracy", 0.5)]),
        ]
    }

    #[test]
    fn every_number_is_an_event_with_its_name_and_step() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventsWriter::open(system(), folder.path(), b"").unwrap();
        for line in LINES {
            events.append(line.as_bytes()).unwrap();
        }
        assert_eq!(decode(&std::fs::read(folder.path().join(NAME)).unwrap()), expected());
    }

    #[test]
    fn after_a_resume_no_step_is_there_twice_and_none_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut events = EventsWriter::open(system(), folder.path(), b"").unwrap();
        for line in LINES {
            events.append(line.as_bytes()).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        // Truncated at any byte by a power cut, then resumed after its second line.
        for length in (0..=whole.len()).chain([whole.len()]) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let kept = metrics(&LINES[..2]);
            let mut events = EventsWriter::open(system(), folder.path(), &kept).unwrap();
            assert_eq!(decode(&std::fs::read(&path).unwrap()), expected()[..2], "cut to {length}");
            events.append(LINES[2].as_bytes()).unwrap();
            assert_eq!(decode(&std::fs::read(&path).unwrap()), expected()[..3]);
        }
        let mut damaged = whole.clone();
        damaged[40] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        EventsWriter::open(system(), folder.path(), &metrics(&LINES)).unwrap();
        assert_eq!(decode(&std::fs::read(&path).unwrap()), expected());
    }

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(plain_sum(&[0xff; 32]), 0x62a8_ab43);
    }
}
