//! Kinds that register themselves.
#![cfg(feature = "typetag")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::any::Any;
use std::borrow::Cow;

use chatkeep::{ErrorKind, Part, PartRegistry, RawJson, ResponsePart, TypetagPart};
use semver::Version;
use serde::{Deserialize, Serialize};

macro_rules! tagged {
    ($type:ident, $name:literal, $version:expr) => {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct $type {
            text: String,
        }

        #[typetag::serde(name = $name)]
        impl TypetagPart for $type {
            fn fallback(&self) -> Cow<'_, str> {
                self.text.as_str().into()
            }

            fn as_any(&self) -> &dyn Any {
                self
            }

            fn version(&self) -> Version {
                $version
            }
        }
    };
}

tagged!(Map, "acme.map", Version::new(2, 1, 0));
tagged!(Chart, "acme.chart", Version::new(1, 0, 0));

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Plain {
    text: String,
}

impl Part for Plain {
    const KIND: &'static str = "acme.plain";
    const VERSION: Version = Version::new(1, 0, 0);

    fn fallback(&self) -> Cow<'_, str> {
        self.text.as_str().into()
    }
}

/// Takes the name of a declared one.
#[derive(Debug, Serialize, Deserialize)]
struct Thief;

impl Part for Thief {
    const KIND: &'static str = "acme.map";
    const VERSION: Version = Version::new(1, 0, 0);

    fn fallback(&self) -> Cow<'_, str> {
        "".into()
    }
}

fn read(envelope: &str, parts: &PartRegistry) -> ResponsePart {
    let envelope = RawJson::parse(envelope).unwrap();
    let part = ResponsePart::from_envelope(&envelope, parts).unwrap();
    let _ = (part.fallback(), part.unknown());
    assert_eq!(part.to_envelope().unwrap(), envelope);
    part
}

#[test]
fn both_ways_of_registering_stand_side_by_side() {
    let parts = PartRegistry::builtin().with::<Plain>().unwrap().with_typetag().unwrap();
    let own: Vec<&str> = parts.kinds().filter(|kind| kind.contains('.')).collect();
    assert_eq!(own, ["acme.chart", "acme.map", "acme.plain"]);
    let map = ResponsePart::from_typetag(Map { text: "Oslo".to_owned() }).unwrap();
    let written = map.to_envelope().unwrap();
    assert_eq!(
        written.get(),
        r#"{"kind":"acme.map","version":"2.1.0","fallback":"Oslo","data":{"text":"Oslo"}}"#
    );
    let map = read(written.get(), &parts);
    assert_eq!(map.downcast_ref::<Map>(), Some(&Map { text: "Oslo".to_owned() }));
    let plain = ResponsePart::new(Plain { text: "p".to_owned() }).unwrap();
    let plain = read(plain.to_envelope().unwrap().get(), &parts);
    assert_eq!(plain.downcast_ref::<Plain>(), Some(&Plain { text: "p".to_owned() }));
}

#[test]
fn a_name_is_registered_once() {
    let thief = PartRegistry::builtin().with::<Thief>().unwrap();
    let error = thief.with_typetag().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.context("kind"), Some("acme.map"));
    let parts = PartRegistry::builtin().with_typetag().unwrap();
    assert_eq!(parts.clone().with::<Thief>().unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(parts.with_typetag().unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn other_versions_and_unknown_kinds_are_kept() {
    let parts = PartRegistry::builtin().with_typetag().unwrap();
    let version = |version: &str| {
        let data = r#"{"text":"a","n":1.50}"#;
        read(&format!(r#"{{"kind":"acme.map","version":"{version}","data":{data}}}"#), &parts)
    };
    assert!(version("2.0.0").downcast_ref::<Map>().is_some());
    for other in ["1.0.0", "2.2.0", "3.0.0"] {
        assert!(version(other).unknown().is_some(), "{other}");
    }
    assert!(read(r#"{"kind":"acme.map","version":"2.1.0","data":5}"#, &parts).unknown().is_some());
    assert!(read(r#"{"kind":"nobody","data":{"acme.map":{}}}"#, &parts).unknown().is_some());
}

#[test]
fn nothing_changes_for_those_who_do_not_ask_for_it() {
    let parts = PartRegistry::builtin();
    assert!(parts.kinds().all(|kind| !kind.contains('.')));
    let map = read(r#"{"kind":"acme.map","fallback":"f","data":{"text":"a"}}"#, &parts);
    assert!(map.unknown().is_some());
    assert_eq!(map.fallback(), "f");
}
