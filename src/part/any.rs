//! The object-safe side of a part.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;

use super::Part;

/// A part of any type.
pub(crate) trait AnyPart: erased_serde::Serialize + fmt::Debug + Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
    fn fallback_text(&self) -> Cow<'_, str>;
}

impl<P: Part> AnyPart for P {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn fallback_text(&self) -> Cow<'_, str> {
        self.fallback()
    }
}
