//! (being written)
pub struct MemoryStorage;
