//! Parts and data that older versions of an application wrote, read by a newer one, and the other
//! way round.
//!
//! ```sh
//! cargo run --example migrate
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use chatkeep::migration::Migrations;
use chatkeep::{
    ChatStore, DataRegistry, Error, ErrorKind, MemoryStorage, NewSession, Part, PartRegistry,
    ResponsePart, Result, Storage,
};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The application as it was.
mod old {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Chart {
        pub(crate) name: String,
        pub(crate) points: Vec<f64>,
    }

    impl Part for Chart {
        const KIND: &'static str = "acme.chart";
        const VERSION: Version = Version::new(1, 0, 0);

        fn fallback(&self) -> Cow<'_, str> {
            format!("Chart: {}", self.name).into()
        }
    }

    pub(crate) fn data() -> Result<DataRegistry> {
        DataRegistry::new().with::<Vec<String>>("acme.todos")
    }
}

/// The application as it is: two versions on, each step frozen in a function of its own.
mod new {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Chart {
        pub(crate) title: String,
        pub(crate) series: Vec<Vec<f64>>,
    }

    impl Part for Chart {
        const KIND: &'static str = "acme.chart";
        const VERSION: Version = Version::new(3, 0, 0);

        fn fallback(&self) -> Cow<'_, str> {
            format!("Chart: {}", self.title).into()
        }

        fn migrations() -> Migrations {
            Migrations::new().step("1.0.0", "2.0.0", name_becomes_title).step(
                "2.0.0",
                "3.0.0",
                points_become_series,
            )
        }
    }

    fn name_becomes_title(chart: Value) -> Result<Value> {
        Ok(json!({ "title": chart["name"], "points": chart["points"] }))
    }

    fn points_become_series(chart: Value) -> Result<Value> {
        if !chart["points"].is_array() {
            return Err(Error::new(ErrorKind::Invalid, "the chart has no points"));
        }
        Ok(json!({ "title": chart["title"], "series": [chart["points"]] }))
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Todo {
        pub(crate) text: String,
        pub(crate) done: bool,
    }

    pub(crate) fn data() -> Result<DataRegistry> {
        let steps = Migrations::new().step("1.0.0", "2.0.0", |todos| {
            let todos = todos.as_array().cloned().unwrap_or_default();
            let todo = |text: Value| json!({ "text": text, "done": false });
            Ok(todos.into_iter().map(todo).collect())
        });
        DataRegistry::new().with_version::<Vec<Todo>>("acme.todos", Version::new(2, 0, 0), steps)
    }
}

fn main() -> Result<()> {
    pollster::block_on(run())
}

async fn run() -> Result<()> {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let parts = PartRegistry::builtin().with::<old::Chart>()?;
    let store =
        ChatStore::builder_on(Arc::clone(&storage)).parts(parts).data(old::data()?).build().await?;
    let chat = store.local().create(NewSession::titled("Sales")).await?;
    let chart = old::Chart { name: "Sales".to_owned(), points: vec![1.0, 2.0] };
    chat.record("How did we do?", [ResponsePart::new(chart)?]).await?;
    chat.set_data("acme.todos", &vec!["ask for May".to_owned()]).await?;
    let (id, before) = (chat.id().clone(), chat.to_document().await?);
    drop((chat, store));

    // The new application reads what the old one wrote.
    let parts = PartRegistry::builtin().with::<new::Chart>()?;
    let store =
        ChatStore::builder_on(Arc::clone(&storage)).parts(parts).data(new::data()?).build().await?;
    let chat = store.local().open(&id).await?;
    let model = chat.model();
    let chart = model.turns().next().and_then(|turn| turn.response().parts().first().cloned());
    let chart = chart.as_ref().and_then(|part| part.downcast_ref::<new::Chart>());
    println!("the chart now: {chart:?}");
    println!("the todos now: {:?}", chat.data::<Vec<new::Todo>>("acme.todos")?);
    assert_eq!(chart.map(|chart| chart.series.clone()), Some(vec![vec![1.0, 2.0]]));
    // Reading changed nothing of what is kept.
    assert_eq!(chat.to_document().await?, before);

    // What the new one writes, the old one shows by its fallback and keeps as it is.
    let newer = new::Chart { title: "May".to_owned(), series: vec![vec![3.0]] };
    chat.record("And May?", [ResponsePart::new(newer)?]).await?;
    drop((chat, store));
    let parts = PartRegistry::builtin().with::<old::Chart>()?;
    let store = ChatStore::builder_on(storage).parts(parts).build().await?;
    let chat = store.local().open(&id).await?;
    let model = chat.model();
    let part = model.turns().last().and_then(|turn| turn.response().parts().first().cloned());
    let part = part.ok_or_else(|| Error::new(ErrorKind::NotFound, "the second chart"))?;
    let why = part.unknown().map(|unknown| unknown.reason().to_string()).unwrap_or_default();
    println!("the old application shows {:?}: {why}", part.fallback());
    assert!(part.downcast_ref::<old::Chart>().is_none());
    Ok(())
}
