//! JSON that is kept as it was written: raw values, numbers of any length, unknown fields.

mod number;
mod object;
mod raw;
mod scan;
#[cfg(test)]
pub(crate) mod schema;

pub use self::number::Number;
pub use self::object::{Extra, JsonMap};
pub(crate) use self::object::{
    Name, Object, Unknown, duplicate_field, in_field, is_default, json_object, write_extra,
};
pub use self::raw::RawJson;
pub(crate) use self::raw::shape;
pub(crate) use self::scan::numbers_are_exact;
