//! Claims about files that PyTorch and safetensors wrote, and about damaged ones.

use bissl::state_dict::{StateDict, decode_state_dict as decode};
use bissl_core::Stream;

/// Written by `tests/peers/run interchange files`.
macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("files/", $name)).as_slice()
    };
}

const SMALL: [&[u8]; 3] =
    [file!("small.pth"), file!("small-legacy.pth"), file!("small.safetensors")];

/// Name, shape and values of the small files' tensors, prefix first.
fn assert_small(found: &StateDict, prefix: &str) {
    let numbers = |places: &[i32]| places.iter().map(|i| *i as f32 / 8.0 - 1.0).collect();
    let expected: [(&str, &[usize], Vec<f32>); 9] = [
        ("single", &[2, 3], numbers(&[0, 1, 2, 6, 7, 8])),
        ("half", &[5], vec![1.0, -2.5, 65504.0, 2f32.powi(-24), 2f32.powi(-14)]),
        ("brain", &[4], vec![1.0, -2.5, f32::from_bits(0x7f62_0000), 2f32.powi(-130)]),
        ("double", &[3], vec![0.1, -0.0, 2f32.powi(60)]),
        ("parameter", &[2], vec![0.5, 0.25]),
        ("part", &[2, 3], numbers(&[8, 9, 10, 14, 15, 16])),
        ("transposed", &[2, 4], numbers(&[0, 6, 12, 18, 1, 7, 13, 19])),
        ("scalar", &[], vec![7.5]),
        ("empty", &[0, 3], vec![]),
    ];
    assert_eq!(found.tensors.len(), expected.len(), "{:?}", found.tensors.keys());
    for (name, shape, values) in expected {
        let tensor = &found.tensors[&format!("{prefix}{name}")];
        assert_eq!(tensor.shape, shape, "{name}");
        assert_eq!(tensor.values, values, "{name}");
    }
}

#[test]
fn every_container_gives_the_same_tensors() {
    for bytes in SMALL {
        let found = decode(bytes, None).unwrap();
        assert_small(&found, "");
        assert_eq!(found.notices, ["1 tensors of float64 are rounded to float32"]);
    }
}

#[test]
fn a_checkpoint_gives_what_it_holds_under_the_usual_or_the_given_name() {
    let bytes = file!("checkpoint.pth");
    let found = decode(bytes, None).unwrap();
    assert_small(&found, "module.");
    assert_eq!(found.notices[0], "the state dict is what the file holds under `state_dict`");
    assert_small(&decode(bytes, Some("state_dict")).unwrap(), "module.");
    let refused = decode(bytes, Some("weights")).unwrap_err();
    assert_eq!(refused, "no dictionary `weights`, expected one of: state_dict");
}

#[test]
fn what_is_no_state_dict_is_refused_by_what_it_is() {
    for (bytes, expected) in [
        (file!("module.pth"), "a whole object of torch.nn.modules.linear.Linear, expected"),
        (file!("script.pth"), "a TorchScript program, expected a state dict"),
        (b"".as_slice(), "an empty file"),
        (b"short".as_slice(), "neither a file of torch.save nor a sound safetensors file"),
        (b"PK\x05\x06".as_slice(), "a damaged zip archive"),
        (b"\x80\x02K\x01.".as_slice(), "pickle, byte 0: "),
        (b"\x80\x02K\x01.\x80\x02K\x01.".as_slice(), "a pickle of another program"),
        (b"\x80\x02cos\nsystem\nU\x02ls\x85R.".as_slice(), "pickle, byte 0: "),
    ] {
        let refused = decode(bytes, None).unwrap_err();
        assert!(refused.starts_with(expected), "{refused}");
    }
}

#[test]
fn a_flipped_bit_of_a_zip_archive_is_found() {
    let bytes = file!("small.pth");
    let sound = decode(bytes, None).unwrap();
    let mut draws = Stream::new(1, 0).at(0);
    let mut found = 0;
    for _ in 0..2000 {
        let mut damaged = bytes.to_vec();
        let at = draws.below(damaged.len() as u32) as usize;
        damaged[at] ^= 1 << draws.below(8);
        // The flipped bit is either noticed, or it was padding and nothing changed.
        match decode(&damaged, None) {
            Err(_) => found += 1,
            Ok(read) => assert_eq!(read.tensors, sound.tensors, "byte {at}"),
        }
    }
    assert!(found > 200, "{found}");
}

/// With random lengths, opcodes and numbers the result is an error or tensors, never a panic, and
/// never more values than the file has bytes.
#[test]
fn damaged_files_are_refused_or_read_but_never_panic() {
    let mut draws = Stream::new(2, 0).at(0);
    let mut below = |limit: usize| draws.below(limit as u32) as usize;
    for round in 0..6000 {
        let mut bytes = match round % 4 {
            3 => file!("checkpoint.pth"),
            which => SMALL[which],
        }
        .to_vec();
        for _ in 0..=below(4) {
            let at = below(bytes.len());
            match below(4) {
                0 => bytes[at] = below(256) as u8,
                1 => bytes[at] = [0, 0xff, 0x7f, 0x80, b'.', b'(', b'R', b'Q'][below(8)],
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let (from, len) = (below(bytes.len()), 1 + below(16));
                    let part: Vec<u8> = bytes[from..].iter().take(len).copied().collect();
                    bytes.splice(at..at, part);
                }
            }
        }
        if let Ok(read) = decode(&bytes, None) {
            let values: usize = read.tensors.values().map(|tensor| tensor.values.len()).sum();
            assert!(values <= bytes.len(), "round {round}: {values}");
        }
    }
}
