//! What the serializers promise, over arbitrary models and for every way in which bytes can be
//! wrong.

mod arbitrary;
mod errors;
mod example;
mod parts;
mod properties;
mod schema;

use semver::Version;

use self::arbitrary::Chart;
use super::{ChatModelSerializer as _, JsonChatModelSerializer, info};
use crate::log::{Entry, FORMAT, LogInfo};
use crate::model::ChatModel;
use crate::part::{DataRegistry, PartRegistry};

fn serializer(parts: PartRegistry) -> JsonChatModelSerializer {
    JsonChatModelSerializer::new(parts, DataRegistry::new())
}

/// One that knows the adopter's kind as well.
fn knowing() -> JsonChatModelSerializer {
    serializer(PartRegistry::builtin().with::<Chart>().unwrap())
}

fn log_of(model: &ChatModel) -> LogInfo {
    LogInfo {
        format: FORMAT,
        serializer: info(&knowing()),
        owner: model.session().owner.clone(),
        session: model.id().clone(),
        extra: crate::json::Extra::new(),
    }
}

/// A record's kind and body.
type Written = (String, String);

fn write(json: &JsonChatModelSerializer, entry: &Entry) -> Written {
    let body = json.write_event(&entry.event).unwrap();
    (entry.event.kind().to_owned(), body.get().to_owned())
}

fn read(json: &JsonChatModelSerializer, entry: &Entry, written: &Written) -> Entry {
    let event = json.read_event(&written.0, &written.1, &Version::new(1, 0, 0)).unwrap();
    Entry { turn: entry.turn, at: entry.at, event }
}
