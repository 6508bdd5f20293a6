//! Two types that were declared under one name, which only a program of its own can hold.
#![cfg(feature = "typetag")]

use std::any::Any;
use std::borrow::Cow;

use chatkeep::{ErrorKind, PartRegistry, TypetagPart};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct One;

#[derive(Debug, Serialize, Deserialize)]
struct Two;

#[typetag::serde(name = "acme.same")]
impl TypetagPart for One {
    fn fallback(&self) -> Cow<'_, str> {
        "".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[typetag::serde(name = "acme.same")]
impl TypetagPart for Two {
    fn fallback(&self) -> Cow<'_, str> {
        "".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn a_name_that_was_declared_twice_is_refused() {
    let error = PartRegistry::builtin().with_typetag().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.context("kind"), Some("acme.same"));
}
