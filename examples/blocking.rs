//! The same from synchronous code, and from inside an async runtime's worker.
//!
//! ```sh
//! cargo run --example blocking
//! ```
#![expect(clippy::expect_used, reason = "an example stops at what it does not expect")]

use chatkeep::part::{Markdown, Thinking, ToolCall};
use chatkeep::{RawJson, Result, blocking};

fn main() -> Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = blocking::ChatStore::open(folder.path())?;
    let chat = store.local().create(chatkeep::NewSession::titled("Parser"))?;

    let mut answer = chat.ask("Why does the parser loop?")?;
    answer.push(Thinking::new("The lexer is the likely cause."))?;
    let call = ToolCall::new("call-1", "read_file").arguments(RawJson::of("src/lexer.rs")?);
    let place = answer.push(call.clone())?;
    answer.replace(place, call.result(RawJson::of("fn next(&mut self) { … }")?))?;
    answer.append_text("Because the sentinel is never reached.")?;
    answer.complete()?;

    // A worker of a runtime may wait as well: the store's own threads do the work.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async { chat.record("And now?", [Markdown::new("It ends.")]).map(|_| ()) })?;

    let chat = store.local().open(chat.id())?;
    for turn in chat.model().turns() {
        println!("> {}", turn.request().text());
        for part in turn.response().parts() {
            println!("  {:<10} {}", part.kind(), part.fallback());
        }
    }
    assert_eq!(chat.model().turns().len(), 2);
    Ok(())
}
