//! A hash as 16 hexadecimal digits, for `#[serde(with = …)]`: JSON's numbers end at 2⁵³.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(super) fn serialize<S: Serializer>(hash: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format!("{hash:016x}"))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    u64::from_str_radix(&text, 16)
        .map_err(|_| D::Error::custom(format!("hash: found {text:?}, expected 16 hex digits")))
}
