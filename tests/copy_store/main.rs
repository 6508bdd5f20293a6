//! Moving everything from one storage to another, interrupted and resumed.

mod chats;
mod common;
mod interrupted;
mod limited;
mod pairs;
mod resumed;
mod trouble;
