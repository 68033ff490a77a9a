//! Image packs: many small encoded images in one file that can be embedded in the program.
//!
//! Layout, little endian, no padding:
//!
//! | bytes | content |
//! |---|---|
//! | 8 | magic `BISSLPAK` |
//! | 4 | version, 1 |
//! | 4 + 4 | number of classes, number of images |
//! | per class | length (2), name (UTF-8) |
//! | per image | class (2), name length (2), name (UTF-8), offset (4), length (4) |
//! | rest | the encoded images; offsets count from here; equal images are stored once |

use std::collections::HashMap;

use super::DataError;

const MAGIC: &[u8; 8] = b"BISSLPAK";
const VERSION: u32 = 1;

/// One image of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackEntry<'a> {
    /// Index into the pack's classes.
    pub class: u16,
    /// File name within the class.
    pub name: &'a str,
    /// The encoded image (PNG or JPEG).
    pub bytes: &'a [u8],
}

/// A pack that was read: class names and images, in the order they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack<'a> {
    /// Class names.
    pub classes: Vec<&'a str>,
    /// The images.
    pub entries: Vec<PackEntry<'a>>,
}

impl<'a> Pack<'a> {
    /// Reads a pack without copying its images; `name` is for error messages.
    ///
    /// # Errors
    /// [`DataError::Pack`] for anything but a whole, consistent pack of this version.
    pub fn read(name: &str, bytes: &'a [u8]) -> Result<Self, DataError> {
        Self::parse(bytes)
            .map_err(|reason| DataError::Pack { name: name.into(), reason: reason.into() })
    }

    fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let mut reader = Reader { rest: bytes };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err("wrong magic, expected `BISSLPAK`");
        }
        if reader.u32()? != VERSION {
            return Err("unknown version, expected 1");
        }
        let (class_count, entry_count) = (reader.u32()?, reader.u32()?);
        // No capacity is reserved from counts that the file only claims.
        let mut classes = Vec::new();
        for _ in 0..class_count {
            classes.push(reader.string()?);
        }
        let mut index = Vec::new();
        for _ in 0..entry_count {
            let class = reader.u16()?;
            if usize::from(class) >= classes.len() {
                return Err("an image names a class that the pack does not have");
            }
            index.push((class, reader.string()?, reader.u32()? as usize, reader.u32()? as usize));
        }
        let blobs = reader.rest;
        let mut entries = Vec::with_capacity(index.len());
        for (class, name, offset, length) in index {
            let end = offset.checked_add(length).ok_or("an image ends beyond the file")?;
            let bytes = blobs.get(offset..end).ok_or("an image ends beyond the file")?;
            entries.push(PackEntry { class, name, bytes });
        }
        Ok(Self { classes, entries })
    }

    /// The pack as bytes that [`Pack::read`] takes.
    ///
    /// # Errors
    /// [`DataError::Pack`] where a name, a count or the whole is too long for the layout's fields.
    pub fn write(&self, name: &str) -> Result<Vec<u8>, DataError> {
        self.encode().ok_or_else(|| DataError::Pack {
            name: name.into(),
            reason: "too large to pack".into(),
        })
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&u32::try_from(self.classes.len()).ok()?.to_le_bytes());
        out.extend_from_slice(&u32::try_from(self.entries.len()).ok()?.to_le_bytes());
        for class in &self.classes {
            put_string(&mut out, class)?;
        }
        let mut blobs: Vec<u8> = Vec::new();
        let mut stored: HashMap<&[u8], u32> = HashMap::new();
        for entry in &self.entries {
            let offset = match stored.get(entry.bytes) {
                Some(&offset) => offset,
                None => {
                    let offset = u32::try_from(blobs.len()).ok()?;
                    blobs.extend_from_slice(entry.bytes);
                    stored.insert(entry.bytes, offset);
                    offset
                }
            };
            out.extend_from_slice(&entry.class.to_le_bytes());
            put_string(&mut out, entry.name)?;
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&u32::try_from(entry.bytes.len()).ok()?.to_le_bytes());
        }
        out.extend_from_slice(&blobs);
        Some(out)
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    Some(())
}

/// Takes fields off the front of a byte slice.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or("the file is cut short")?;
        self.rest = rest;
        Ok(head)
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn string(&mut self) -> Result<&'a str, &'static str> {
        let length = self.u16()?;
        std::str::from_utf8(self.take(usize::from(length))?).map_err(|_| "a name is not UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack() -> Pack<'static> {
        let entry = |class, name, bytes| PackEntry { class, name, bytes };
        Pack {
            classes: vec!["cats", "dögs"],
            entries: vec![
                entry(0, "a.png", b"first"),
                entry(1, "b.png", b"second"),
                entry(1, "c.png", b"first"),
            ],
        }
    }

    #[test]
    fn reading_gives_back_what_was_written() {
        let bytes = pack().write("test").unwrap();
        assert_eq!(Pack::read("test", &bytes).unwrap(), pack());
        let blobs = bytes.len() - bytes.windows(5).position(|w| w == b"first").unwrap();
        assert_eq!(blobs, b"firstsecond".len(), "equal images are stored once");
    }

    #[test]
    fn every_cut_and_every_other_magic_or_version_is_refused() {
        let bytes = pack().write("test").unwrap();
        for cut in 0..bytes.len() {
            let error = Pack::read("cut.pack", &bytes[..cut]).unwrap_err();
            assert!(error.to_string().starts_with("cut.pack: "), "{error}");
        }
        for position in [0, 7, 8, 11] {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            assert!(Pack::read("test", &changed).is_err(), "byte {position}");
        }
    }

    #[test]
    fn an_image_of_an_unknown_class_is_refused() {
        let mut wrong = pack();
        wrong.entries[1].class = 2;
        assert!(Pack::read("test", &wrong.write("test").unwrap()).is_err());
    }
}
