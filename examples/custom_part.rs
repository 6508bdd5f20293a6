//! Response parts of one's own, registered in both ways: explicitly, and where they are declared.
//!
//! ```sh
//! cargo run --example custom_part --features typetag
//! ```

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use chatkeep::migration::Migrations;
use chatkeep::{
    ChatStore, MemoryStorage, NewSession, Part, PartRegistry, ResponsePart, Result, Storage,
    TypetagPart,
};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Registered explicitly. Its first version called the numbers `data`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Chart {
    title: String,
    series: Vec<f64>,
}

impl Part for Chart {
    const KIND: &'static str = "acme.chart";
    const VERSION: Version = Version::new(2, 0, 0);

    fn fallback(&self) -> Cow<'_, str> {
        format!("Chart: {}", self.title).into()
    }

    fn migrations() -> Migrations {
        Migrations::new().step("1.0.0", "2.0.0", rename_data_to_series)
    }
}

fn rename_data_to_series(mut chart: Value) -> Result<Value> {
    if let Some(fields) = chart.as_object_mut()
        && let Some(series) = fields.remove("data")
    {
        fields.insert("series".to_owned(), series);
    }
    Ok(chart)
}

/// Registered where it is declared, by the linker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Map {
    place: String,
}

#[typetag::serde(name = "acme.map")]
impl TypetagPart for Map {
    fn fallback(&self) -> Cow<'_, str> {
        format!("Map of {}", self.place).into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn main() -> Result<()> {
    pollster::block_on(run())
}

async fn run() -> Result<()> {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let parts = PartRegistry::builtin().with::<Chart>()?.with_typetag()?;
    println!("kinds: {}", parts.kinds().collect::<Vec<_>>().join(", "));

    let store = ChatStore::builder_on(Arc::clone(&storage)).parts(parts.clone()).build().await?;
    let chat = store.local().create(NewSession::titled("Sales")).await?;
    let mut answer = chat.ask("How did we do, and where?").await?;
    answer.push(Chart { title: "Sales".to_owned(), series: vec![1.0, 2.5] }).await?;
    answer.push(ResponsePart::from_typetag(Map { place: "Oslo".to_owned() })?).await?;
    answer.complete().await?;

    // The code is there: the parts are of their types.
    let model = chat.model();
    let response = model.turns().next().map(|turn| turn.response().clone());
    let kept = response.as_ref().map_or(&[][..], |response| response.parts());
    let chart = kept.iter().find_map(|part| part.downcast_ref::<Chart>());
    let map = kept.iter().find_map(|part| part.downcast_ref::<Map>());
    println!("with the code:    {chart:?}, {map:?}");
    assert!(chart.is_some() && map.is_some());
    let id = chat.id().clone();
    drop((answer, chat, store));

    // The code is gone: nothing is lost, and the fallback shows.
    let store = ChatStore::builder_on(Arc::clone(&storage)).build().await?;
    let chat = store.local().open(&id).await?;
    for turn in chat.model().turns() {
        for part in turn.response().parts() {
            let why = part.unknown().map(|unknown| unknown.reason().to_string());
            println!("without the code: {} ({})", part.fallback(), why.unwrap_or_default());
        }
    }

    // A chart of the first version is migrated when it is read.
    let old = chatkeep::RawJson::parse(
        r#"{"kind":"acme.chart","version":"1.0.0","fallback":"Chart: Old","data":{"title":"Old","data":[3]}}"#,
    )?;
    let part = ResponsePart::from_envelope(&old, &parts)?;
    println!("migrated:         {:?}", part.downcast_ref::<Chart>());
    assert_eq!(part.downcast_ref::<Chart>().map(|chart| chart.series.clone()), Some(vec![3.0]));
    Ok(())
}
