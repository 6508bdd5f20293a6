//! (being written)
pub struct FileStorage;
