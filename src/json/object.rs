//! Objects whose unknown fields are kept, and whose known ones are never defaulted when they do
//! not parse.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::RawJson;

/// The fields of an object that this version of the crate does not know, in their order, kept
/// token for token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extra(Vec<(Box<str>, RawJson)>);

impl Extra {
    /// No fields.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields' names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawJson)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// A field's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RawJson> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Takes a field out.
    pub(crate) fn take(&mut self, name: &str) -> Option<RawJson> {
        let at = self.0.iter().position(|(known, _)| **known == *name)?;
        Some(self.0.remove(at).1)
    }

    /// Sets a field, or removes it. A new one goes to the end.
    pub fn set(&mut self, name: &str, value: Option<RawJson>) {
        let place = self.0.iter().position(|(known, _)| **known == *name);
        match (place, value) {
            (Some(at), Some(value)) => self.0[at].1 = value,
            (Some(at), None) => {
                self.0.remove(at);
            }
            (None, Some(value)) => self.0.push((name.into(), value)),
            (None, None) => {}
        }
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// An object's fields, to be taken out one by one.
#[derive(Debug)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Takes a field's raw value; `null` counts as absent.
    pub(crate) fn take_raw(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.0.remove(at);
        (value.get() != "null").then_some(value)
    }

    /// Takes a field whose value may be any JSON, `null` as well.
    pub(crate) fn take_json<E: serde::de::Error>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<RawJson>, E> {
        let Some(at) = self.0.iter().position(|(known, _)| known == name) else { return Ok(None) };
        let json = RawJson::from_raw(self.0.remove(at).1);
        json.map(Some).map_err(|e| E::custom(format_args!("field `{name}`: {e}")))
    }

    /// Takes an optional field.
    pub(crate) fn take<T: Deserialize<'a>, E: serde::de::Error>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, E> {
        self.take_raw(name)
            .map(|raw| serde_json::from_str(raw.get()))
            .transpose()
            .map_err(|e| E::custom(format_args!("field `{name}`: {e}")))
    }

    /// Takes a field that must be there.
    pub(crate) fn require<T: Deserialize<'a>, E: serde::de::Error>(
        &mut self,
        name: &'static str,
    ) -> Result<T, E> {
        self.take(name)?.ok_or_else(|| E::missing_field(name))
    }

    /// The fields that nobody took.
    pub(crate) fn rest<E: serde::de::Error>(self) -> Result<Extra, E> {
        let keep = |(name, raw): (Cow<'_, str>, &RawValue)| {
            RawJson::from_raw_whole(raw).map(|value| (name.into(), value)).map_err(E::custom)
        };
        self.0.into_iter().map(keep).collect::<Result<_, E>>().map(Extra)
    }

    /// The fields that nobody took, borrowed.
    pub(crate) fn into_fields(self) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        self.0
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                match duplicate(&fields) {
                    Some(name) => Err(duplicate_field(name)),
                    None => Ok(Object(fields)),
                }
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// The fields of an object that its reader does not know, while it is being read.
#[derive(Default)]
pub(crate) struct Unknown(Vec<(Box<str>, RawJson)>);

impl Unknown {
    /// Keeps the value of the field whose name was read last.
    pub(crate) fn keep<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let raw: &RawValue = map.next_value()?;
        self.0.push((name.into(), RawJson::from_raw_whole(raw).map_err(A::Error::custom)?));
        Ok(())
    }

    pub(crate) fn finish<E: serde::de::Error>(self) -> Result<Extra, E> {
        match duplicate(&self.0) {
            Some(name) => Err(duplicate_field(name)),
            None => Ok(Extra(self.0)),
        }
    }
}

pub(crate) fn duplicate_field<E: serde::de::Error>(name: &str) -> E {
    E::custom(format_args!("duplicate field `{name}`"))
}

/// Says in which field something is wrong.
pub(crate) fn in_field<E: serde::de::Error>(name: &str, error: E) -> E {
    E::custom(format_args!("field `{name}`: {error}"))
}

/// A name that occurs twice.
fn duplicate<V>(fields: &[(impl AsRef<str>, V)]) -> Option<&str> {
    /// Up to here comparing all pairs is faster than sorting.
    const FEW: usize = 24;
    let name = |at: usize| fields[at].0.as_ref();
    if fields.len() <= FEW {
        let twice = |at: &usize| (0..*at).any(|before| name(before) == name(*at));
        return (0..fields.len()).find(twice).map(name);
    }
    let mut names: Vec<&str> = (0..fields.len()).map(name).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// A name, borrowed unless it holds an escape.
pub(crate) struct Name<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
        Borrowed::deserialize(deserializer).map(|name| Self(name.0))
    }
}

/// Named JSON values in the order of their names. Reading a name twice is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonMap(BTreeMap<String, RawJson>);

impl Deref for JsonMap {
    type Target = BTreeMap<String, RawJson>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for JsonMap {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Serialize for JsonMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Object::deserialize(deserializer)?.into_fields();
        let keep = |(name, raw): (Cow<'_, str>, &RawValue)| {
            let value = RawJson::from_raw(raw).map_err(D::Error::custom)?;
            Ok((name.into_owned(), value))
        };
        fields.into_iter().map(keep).collect::<Result<_, _>>().map(Self)
    }
}

/// Writes the fields that this version does not know. One that is named like a known one is an
/// error: what was written could not be read again.
pub(crate) fn write_extra<M: serde::ser::SerializeMap>(
    map: &mut M,
    extra: &Extra,
    known: &[&str],
) -> Result<(), M::Error> {
    use serde::ser::Error as _;
    for (name, value) in extra.iter() {
        if known.contains(&name) {
            return Err(M::Error::custom(format_args!(
                "the unknown field `{name}` has the name of a known one"
            )));
        }
        map.serialize_entry(name, value)?;
    }
    Ok(())
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Writes `Serialize` and `Deserialize` for a struct with an `extra: Extra` field.
///
/// Each field is `required`, `optional` (an `Option`), `default` (left out when it is at its
/// default), `json` or `optional_json` (a `RawJson`, or an `Option` of one, of which `null` is a
/// value too), or `apart` (neither written nor read here: its serializer puts it beside the others
/// and finds it among the unknown ones). Fields are written in this order, then the unknown ones.
macro_rules! json_object {
    ($type:ident { $($mode:ident $field:ident),* $(,)? }) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let mut map = serializer.serialize_map(None)?;
                $($crate::json::json_object!(@write $mode, self, map, $field);)*
                $crate::json::write_extra(&mut map, &self.extra, &[$(stringify!($field)),*])?;
                map.end()
            }
        }

        $crate::json::json_object!(read $type { $($mode $field),* });

        #[cfg(test)]
        impl $crate::json::schema::Schema for $type {
            fn schema(defs: &mut $crate::json::schema::Defs) -> serde_json::Value {
                defs.object(stringify!($type), |_defs| vec![$((
                    stringify!($field),
                    stringify!($mode),
                    $crate::json::schema::of_field(_defs, |object: &Self| &object.$field),
                )),*])
            }
        }
    };
    // Reading alone.
    (read $type:ident { $($mode:ident $field:ident),* $(,)? }) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;

                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<$type, A::Error> {
                        $($crate::json::json_object!(@declare $mode, $field);)*
                        let mut unknown = $crate::json::Unknown::default();
                        while let Some($crate::json::Name(name)) = map.next_key()? {
                            $($crate::json::json_object!(@read $mode, name, map, $field);)*
                            unknown.keep(&name, &mut map)?;
                        }
                        Ok($type {
                            $($field: $crate::json::json_object!(@made $mode, A, $field),)*
                            extra: unknown.finish()?,
                        })
                    }
                }

                deserializer.deserialize_map(Fields)
            }
        }
    };
    (@write required, $self:ident, $map:ident, $field:ident) => {
        $map.serialize_entry(stringify!($field), &$self.$field)?;
    };
    (@write optional, $self:ident, $map:ident, $field:ident) => {
        if let Some(value) = &$self.$field {
            $map.serialize_entry(stringify!($field), value)?;
        }
    };
    (@write default, $self:ident, $map:ident, $field:ident) => {
        if !$crate::json::is_default(&$self.$field) {
            $map.serialize_entry(stringify!($field), &$self.$field)?;
        }
    };
    (@write json, $self:ident, $map:ident, $field:ident) => {
        $map.serialize_entry(stringify!($field), &$self.$field)?;
    };
    (@write optional_json, $self:ident, $map:ident, $field:ident) => {
        if let Some(value) = &$self.$field {
            $map.serialize_entry(stringify!($field), value)?;
        }
    };
    (@write apart, $self:ident, $map:ident, $field:ident) => {};
    (@declare apart, $field:ident) => {};
    (@declare $mode:ident, $field:ident) => { let mut $field = None; };
    (@read apart, $name:ident, $map:ident, $field:ident) => {};
    (@read $mode:ident, $name:ident, $map:ident, $field:ident) => {
        if $name == stringify!($field) {
            if $field.is_some() {
                return Err($crate::json::duplicate_field(stringify!($field)));
            }
            let value = $crate::json::json_object!(@value $mode, $map);
            $field = Some(value.map_err(|e| $crate::json::in_field(stringify!($field), e))?);
            continue;
        }
    };
    // `null` is a value of JSON kept as it is, and nothing anywhere else.
    (@value json, $map:ident) => { $map.next_value::<$crate::json::RawJson>() };
    (@value optional_json, $map:ident) => { $map.next_value::<$crate::json::RawJson>() };
    (@value $mode:ident, $map:ident) => { $map.next_value::<Option<_>>() };
    (@made apart, $map:ident, $field:ident) => { Default::default() };
    (@made json, $map:ident, $field:ident) => {
        $field.ok_or_else(|| <$map::Error as serde::de::Error>::missing_field(stringify!($field)))?
    };
    (@made optional_json, $map:ident, $field:ident) => { $field };
    (@made required, $map:ident, $field:ident) => {
        $field
            .flatten()
            .ok_or_else(|| <$map::Error as serde::de::Error>::missing_field(stringify!($field)))?
    };
    (@made optional, $map:ident, $field:ident) => { $field.flatten() };
    (@made default, $map:ident, $field:ident) => { $field.flatten().unwrap_or_default() };
}

pub(crate) use json_object;
