//! `Option` in TOML, which has no null: a number, or the string `"none"`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serialize, Serializer};

/// A number that may be absent.
pub(crate) trait Number: Sized + Serialize {
    fn from_i64(value: i64) -> Option<Self>;
    fn from_f64(value: f64) -> Option<Self>;
}

impl Number for usize {
    fn from_i64(value: i64) -> Option<Self> {
        value.try_into().ok()
    }

    fn from_f64(_: f64) -> Option<Self> {
        None
    }
}

impl Number for f32 {
    fn from_i64(value: i64) -> Option<Self> {
        Some(value as f32)
    }

    fn from_f64(value: f64) -> Option<Self> {
        Some(value as f32)
    }
}

impl Number for f64 {
    fn from_i64(value: i64) -> Option<Self> {
        Some(value as f64)
    }

    fn from_f64(value: f64) -> Option<Self> {
        Some(value)
    }
}

pub(crate) fn serialize<N: Number, S: Serializer>(
    value: &Option<N>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => value.serialize(serializer),
        None => serializer.serialize_str("none"),
    }
}

pub(crate) fn deserialize<'de, N: Number, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<N>, D::Error> {
    deserializer.deserialize_any(NumberOrNone(PhantomData))
}

struct NumberOrNone<N>(PhantomData<N>);

impl<N: Number> Visitor<'_> for NumberOrNone<N> {
    type Value = Option<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or \"none\"")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        let unexpected = serde::de::Unexpected::Signed(value);
        N::from_i64(value).map(Some).ok_or_else(|| E::invalid_value(unexpected, &self))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        let unexpected = serde::de::Unexpected::Float(value);
        N::from_f64(value).map(Some).ok_or_else(|| E::invalid_value(unexpected, &self))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        let unexpected = serde::de::Unexpected::Str(value);
        if value == "none" { Ok(None) } else { Err(E::invalid_value(unexpected, &self)) }
    }
}
