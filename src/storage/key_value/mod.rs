//! (being written)
pub struct KeyValueStorage;
pub trait KeyValue {}
