//! Packs a folder of small images, one sub-folder per class, into the form that `bissl` embeds.
//!
//! How the packs in `assets/` were made, from the 32-pixel images that `assets/ATTRIBUTION.md`
//! describes:
//!
//! ```text
//! cargo run --release --example pack_assets -- twitter assets/twemoji.pack
//! cargo run --release --example pack_assets -- google assets/noto-emoji.pack
//! ```

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use bissl::data::{Dataset, Labels, Pack, PackEntry};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out] = arguments.as_slice() else {
        bail!("expected two arguments: a folder of class folders, and the pack to write");
    };
    let set = Dataset::folder(Path::new(folder), Labels::FromFolders)?;
    let mut files = Vec::new();
    for item in set.all_items() {
        let path = set.item_name(item).into_owned();
        let bytes = fs::read(&path).with_context(|| format!("reading {path}"))?;
        files.push((path, bytes));
    }
    let mut entries = Vec::new();
    for (label, (path, bytes)) in set.labels(&set.all_items())?.into_iter().zip(&files) {
        let name = Path::new(path).file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{path}: expected a file name in UTF-8"))?;
        entries.push(PackEntry { class: u16::try_from(label)?, name, bytes });
    }
    let classes = set.classes().iter().map(String::as_str).collect();
    let pack = Pack { classes, entries };
    fs::write(out, pack.write(out)?).with_context(|| format!("writing {out}"))?;
    println!("{out}: {} images, {} classes", pack.entries.len(), pack.classes.len());
    Ok(())
}
