//! `settings!`: defines a section of the configuration by one table with a row per setting.

use super::flags::Flag;
use super::kind::Kind;

/// A setting as described by its row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) flags: &'static [Flag],
}

/// The rows of a section, followed by its subsections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// Why the defaults are what they are, or an empty text.
    pub(super) note: &'static str,
    pub(super) rows: &'static [Row],
    pub(super) sections: &'static [(&'static str, Table)],
}

/// A struct of settings.
pub(super) trait Section {
    const TABLE: Table;
}

/// Defines a struct of settings, its defaults (those of the preset `default`), and its [`Table`].
///
/// A row is `name: type = default, help, kind, [flags];`. If a value may be `"none"`, the row
/// begins with `#[serde(with = "optional")]`. Subsections follow as `[name]: type, help;`. With
/// `for TYPE` the struct is defined elsewhere and rows have no type.
macro_rules! settings {
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@flags) => { &[] };
    (@flags $flags:expr) => { &$flags };
    (
        $(#[$meta:meta])*
        $struct:ident $(, $note:literal)? {
            $(
                $(#[$row_meta:meta])*
                $name:ident: $type:ty = $default:expr, $help:literal, $kind:expr $(, $flags:expr)?;
            )*
            $( [$section:ident]: $inner:ty $(= $inner_default:expr)?, $about:literal; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $struct {
            $( #[doc = concat!($help, ".")] $(#[$row_meta])* pub $name: $type, )*
            $( #[doc = concat!($about, ".")] pub $section: $inner, )*
        }

        settings! {
            for $struct $(, $note)? {
                $( $name = $default, $help, $kind $(, $flags)?; )*
                $( [$section]: $inner $(= $inner_default)?; )*
            }
        }
    };
    (
        for $struct:ident $(, $note:literal)? {
            $( $name:ident = $default:expr, $help:literal, $kind:expr $(, $flags:expr)?; )*
            $( [$section:ident]: $inner:ty $(= $inner_default:expr)?; )*
        }
    ) => {
        impl Default for $struct {
            fn default() -> Self {
                Self {
                    $( $name: $default, )*
                    $( $section: settings!(@default $($inner_default)?), )*
                }
            }
        }

        impl Section for $struct {
            const TABLE: Table = Table {
                note: concat!("" $(, $note)?),
                rows: &[$( Row {
                    name: stringify!($name),
                    kind: $kind,
                    help: $help,
                    flags: settings!(@flags $($flags)?),
                }, )*],
                sections: &[$( (stringify!($section), <$inner as Section>::TABLE), )*],
            };
        }
    };
}

pub(super) use settings;
