//! Adopters' data and preferences of a session.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::session::{ChatSession, check_turn, no_such_turn};
use super::writer::Outcome;
use crate::error::Result;
use crate::id::TurnId;
use crate::json::RawJson;
use crate::log::{DataEvent, DataLevel, Event};
use crate::model::{DataEntry, DataMap, SessionChange};

impl ChatSession {
    /// Keeps adopters' data under its registered id.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if the id is not registered,
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is registered as another type.
    pub fn set_data<T: Serialize + 'static>(
        &self,
        id: &str,
        value: &T,
    ) -> impl Future<Output = Result<()>> + Send {
        let entry = self.shared.core.serializer.data().encode(id, value);
        async move { self.put(TurnId::SESSION, DataLevel::Session, id, Some(entry?)).await }
    }

    /// The adopters' data of an id; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Those of [`DataRegistry::decode`](crate::DataRegistry::decode).
    pub fn data<T: DeserializeOwned + 'static>(&self, id: &str) -> Result<Option<T>> {
        let model = self.model();
        self.decode(&model.session().data, id)
    }

    /// Removes adopters' data, of whatever version and whether its id is registered or not.
    ///
    /// # Errors
    ///
    /// Those of every change.
    pub async fn remove_data(&self, id: &str) -> Result<()> {
        self.put(TurnId::SESSION, DataLevel::Session, id, None).await
    }

    /// Keeps adopters' data with a turn's request.
    ///
    /// # Errors
    ///
    /// Those of [`set_data`](Self::set_data), and [`NotFound`](crate::ErrorKind::NotFound) if
    /// there is no such turn.
    pub fn set_request_data<T: Serialize + 'static>(
        &self,
        turn: TurnId,
        id: &str,
        value: &T,
    ) -> impl Future<Output = Result<()>> + Send {
        let entry = self.shared.core.serializer.data().encode(id, value);
        async move { self.put(turn, DataLevel::Request, id, Some(entry?)).await }
    }

    /// The adopters' data of a turn's request.
    ///
    /// # Errors
    ///
    /// Those of [`data`](Self::data); `NotFound` if the turn is not there or not loaded.
    pub fn request_data<T: DeserializeOwned + 'static>(
        &self,
        turn: TurnId,
        id: &str,
    ) -> Result<Option<T>> {
        let model = self.model();
        let turn = model.turn(turn).ok_or_else(|| no_such_turn(turn))?;
        self.decode(&turn.request().data, id)
    }

    /// Keeps adopters' data with a turn's response.
    ///
    /// # Errors
    ///
    /// Those of [`set_request_data`](Self::set_request_data).
    pub fn set_response_data<T: Serialize + 'static>(
        &self,
        turn: TurnId,
        id: &str,
        value: &T,
    ) -> impl Future<Output = Result<()>> + Send {
        let entry = self.shared.core.serializer.data().encode(id, value);
        async move { self.put(turn, DataLevel::Response, id, Some(entry?)).await }
    }

    /// The adopters' data of a turn's response.
    ///
    /// # Errors
    ///
    /// Those of [`request_data`](Self::request_data).
    pub fn response_data<T: DeserializeOwned + 'static>(
        &self,
        turn: TurnId,
        id: &str,
    ) -> Result<Option<T>> {
        let model = self.model();
        let turn = model.turn(turn).ok_or_else(|| no_such_turn(turn))?;
        self.decode(&turn.response().data, id)
    }

    /// Keeps data that is never written: it is gone with the last handle.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it cannot be written as JSON,
    /// [`NotFound`](crate::ErrorKind::NotFound) if the session was deleted.
    pub fn set_transient<T: Serialize>(&self, id: &str, value: Option<&T>) -> Result<()> {
        let value = value.map(RawJson::of).transpose()?;
        self.shared.check_present()?;
        let mut live = self.shared.lock();
        live.fold_mut().set_transient(id, value);
        live.tell(&super::Change::Session);
        Ok(())
    }

    /// Data that is never written.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it has another shape.
    pub fn transient<T: DeserializeOwned>(&self, id: &str) -> Result<Option<T>> {
        let model = self.model();
        model.session().data.transient(id).map(|json| json.read()).transpose()
    }

    /// Sets or removes one of the session's preferences.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the value cannot be written as JSON.
    pub fn set_preference<T: Serialize>(
        &self,
        name: &str,
        value: Option<&T>,
    ) -> impl Future<Output = Result<()>> + Send {
        let value = value.map(RawJson::of).transpose();
        async move { self.change([SessionChange::Preference(name.to_owned(), value?)]).await }
    }

    /// One of the session's preferences.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it has another shape.
    pub fn preference<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let model = self.model();
        model.session().preferences.get(name).map(|json| json.read()).transpose()
    }

    fn decode<T: DeserializeOwned + 'static>(&self, map: &DataMap, id: &str) -> Result<Option<T>> {
        let registry = self.shared.core.serializer.data();
        // A mistyped id is an error, not an absence.
        registry.check::<T>(id)?;
        map.get(id).map(|entry| registry.decode(id, entry)).transpose()
    }

    async fn put(
        &self,
        turn: TurnId,
        on: DataLevel,
        id: &str,
        entry: Option<DataEntry>,
    ) -> Result<()> {
        let event = DataEvent { on, id: id.to_owned(), entry };
        self.run(move |plan| {
            if turn != TurnId::SESSION {
                check_turn(plan, turn)?;
            } else if on != DataLevel::Session {
                return Err(no_such_turn(turn));
            }
            plan.emit(turn, Event::Data(event.clone()))?;
            Ok(Outcome::default())
        })
        .await?;
        Ok(())
    }
}
