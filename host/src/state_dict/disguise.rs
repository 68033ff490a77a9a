//! Files that are something else than their name says.

/// How much of a file is looked at.
const LOOKED_AT: usize = 1024;

/// Beginnings of files that are often given in place of weights, and what they are.
const BEGINNINGS: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "compressed by gzip; unpack it first"),
    (b"BZh", "compressed by bzip2; unpack it first"),
    (b"\xfd7zXZ", "compressed by xz; unpack it first"),
    (b"\x89HDF", "an HDF5 file, as Keras writes, expected a file of torch.save or safetensors"),
    (b"\x93NUMPY", "an array of numpy, expected a file of torch.save or safetensors"),
    (b"GGUF", "a GGUF file, expected a file of torch.save or safetensors"),
];

/// Beginnings of texts, in lower case, and what they are.
const TEXTS: &[(&str, &str)] = &[
    ("<!doctype html", HTML),
    ("<html", HTML),
    ("<head", HTML),
    ("<?xml", "an XML text: a server's answer in place of the weights; download them again"),
    ("{", "a JSON text: a server's answer or an index in place of the weights"),
];

const HTML: &str = "an HTML page: a server's answer, such as a question for a login, in place of \
                    the weights; download them again";

/// What a file is that holds no weights, where its beginning tells.
pub(super) fn disguise(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some("an empty file".to_owned());
    }
    for (beginning, what) in BEGINNINGS {
        if bytes.starts_with(beginning) {
            return Some((*what).to_owned());
        }
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Some("a tar archive; unpack it first".to_owned());
    }
    let start = &bytes[..bytes.len().min(LOOKED_AT)];
    let text = String::from_utf8_lossy(start);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with("version https://git-lfs.github.com/spec/") {
        let size = text.lines().find_map(|line| line.strip_prefix("size ")?.parse::<u64>().ok());
        let size = size.map_or_else(String::new, |size| format!(" of {size} bytes"));
        return Some(format!(
            "a Git LFS pointer in place of a file{size}: fetch it with `git lfs pull`"
        ));
    }
    let lower = text.to_lowercase();
    let known = TEXTS.iter().find(|(beginning, _)| lower.starts_with(beginning));
    known.map(|(_, what)| (*what).to_owned())
}
