//! Imports a session of Visual Studio Code or Theia, adds an answer that streams in, closes the
//! store, opens it again and shows that everything is still there.
//!
//! ```sh
//! cargo run --example quickstart                     # the session in examples/data
//! cargo run --example quickstart -- path/to/a/session.json
//! ```

use std::borrow::Cow;
use std::path::PathBuf;

use chatkeep::interop::{self, ImportReport, Outcome, ReadOptions};
use chatkeep::model::{Attachment, MessagePart};
use chatkeep::part::{Code, Markdown, ToolCall};
use chatkeep::{
    Budget, ChatModel, ChatStore, Clock as _, FileStorage, OwnerId, Part, PartRegistry, RandomIds,
    ResponsePart, ResponseState, Result, SystemClock, Turn, TurnId,
};
use semver::Version;
use serde::{Deserialize, Serialize};

/// A response part of this application's own.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Timing {
    step: String,
    milliseconds: Vec<u32>,
}

impl Part for Timing {
    const KIND: &'static str = "quickstart.timing";
    const VERSION: Version = Version::new(1, 0, 0);

    fn fallback(&self) -> Cow<'_, str> {
        format!("Timing of {}: {:?} ms", self.step, self.milliseconds).into()
    }
}

fn main() {
    if let Err(error) = pollster::block_on(run()) {
        eprintln!("{error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            eprintln!("  because: {error}");
            cause = error.source();
        }
        std::process::exit(1);
    }
}

async fn run() -> Result<()> {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/vscode-session.json");
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from(shipped), PathBuf::from);
    let folder = store_folder()?;
    let parts = PartRegistry::builtin().with::<Timing>()?;

    heading(&format!("1. Importing {}", path.display()));
    let options = ReadOptions::new(OwnerId::local(), SystemClock.now(), &RandomIds);
    let imported = interop::read_file(&path, &options.parts(parts.clone()))?;
    print_report(&imported.report);
    let store =
        ChatStore::builder(FileStorage::open(&folder).await?).parts(parts.clone()).build().await?;
    let chat = store.local().import(&imported.model).await?;
    let id = chat.id().clone();

    heading("2. Asking, while the answer streams in");
    let mut answer = chat.ask("How long does each step take now?").await?;
    for word in "Measured over three runs, the parser is now the fastest step:".split_inclusive(' ')
    {
        answer.append_text(word).await?;
    }
    answer.push(timing([12, 11, 12])).await?;
    answer.complete().await?;
    println!("added turn {} of session {id}", answer.turn());
    // The request is edited: a branch beside the first one, which stays.
    let mut edited = chat.edit(answer.turn(), "How long does each step take in release?").await?;
    edited.append_text("Three times as fast:").await?;
    edited.push(timing([4, 4, 4])).await?;
    edited.complete().await?;
    println!("and turn {} beside it", edited.turn());
    drop((answer, edited, chat, store));

    heading("3. Opening the store again");
    let store = ChatStore::builder(FileStorage::open(&folder).await?).parts(parts).build().await?;
    let chat = store.local().open(&id).await?;
    while chat.load_earlier(100).await? > 0 {}
    print_chat(&chat.model());
    drop((chat, store));

    heading("4. The same without the code of quickstart.timing");
    let store = ChatStore::open(&folder).await?;
    let chat = store.local().open(&id).await?;
    let model = chat.model();
    if let Some(turn) = model.turns().last() {
        print_turn(&model, turn, "");
    }

    heading("5. The chat goes on");
    chat.record("Thank you!", [Markdown::new("You are welcome.")]).await?;
    let context = chat.context(Budget::tokens(2_000)).await?;
    println!(
        "{} turns; the newest {} messages ({} tokens) fit a budget of 2,000 tokens{}",
        chat.model().turn_count(),
        context.messages().len(),
        context.tokens(),
        if context.is_complete() { "" } else { ", earlier ones do not" },
    );
    store.flush().await?;
    println!("\nThe files are in {}", folder.display());
    Ok(())
}

fn timing(milliseconds: [u32; 3]) -> Timing {
    Timing { step: "parse".to_owned(), milliseconds: milliseconds.to_vec() }
}

/// How much became what; in full where it is not simply in its place.
fn print_report(report: &ImportReport) {
    println!("{}, {} turns, {} parts", report.format(), report.turns(), report.parts());
    let outcomes =
        [Outcome::Mapped, Outcome::Kept, Outcome::Assumed, Outcome::Repaired, Outcome::Dropped];
    let counts: Vec<_> = outcomes.map(|what| format!("{what} {}", report.count(what))).into();
    println!("{}", counts.join(", "));
    for finding in report.findings() {
        if !matches!(finding.outcome, Outcome::Mapped | Outcome::Kept) {
            println!("  {} {}: {}", finding.outcome, finding.first, printable(&finding.detail));
        }
    }
}

/// A new folder for each run, so that the same file can be imported again.
fn store_folder() -> Result<PathBuf> {
    let folder = tempfile::Builder::new().prefix("chatkeep-quickstart-").tempdir();
    folder.map(tempfile::TempDir::keep).map_err(|e| {
        chatkeep::Error::new(chatkeep::ErrorKind::Unavailable, "no temporary folder").caused_by(e)
    })
}

fn heading(text: &str) {
    println!("\n{text}\n{}", "=".repeat(text.chars().count()));
}

fn print_chat(model: &ChatModel) {
    let title = if model.title().is_empty() { "(none)" } else { model.title() };
    println!("Title: {}", printable(title));
    for turn in model.turns() {
        print_turn(model, turn, "");
        // Where a request was edited or an answer regenerated, its other versions.
        for sibling in model.siblings(turn.id()).into_iter().filter(|id| *id != turn.id()) {
            println!("\n  (another version of turn {}:)", turn.id());
            print_branch(model, sibling);
        }
    }
}

fn print_branch(model: &ChatModel, from: TurnId) {
    if let Some(turn) = model.turn(from) {
        print_turn(model, turn, "  ");
    }
    for child in model.children(Some(from)) {
        print_branch(model, child);
    }
}

fn print_turn(model: &ChatModel, turn: &Turn, indent: &str) {
    let siblings = model.siblings(turn.id());
    let version = siblings.iter().position(|id| *id == turn.id()).unwrap_or(0) + 1;
    let versions =
        if siblings.len() > 1 { format!(" ({version}/{})", siblings.len()) } else { String::new() };
    println!("\n{indent}[{}]{versions} {}", turn.id(), turn.request().at);
    print_lines(indent, "> ", &turn.request().text());
    for part in &turn.request().message {
        if let MessagePart::Attachment(Attachment { name, .. }) = part {
            println!("{indent}> [attached: {}]", printable(name));
        }
    }
    let response = turn.response();
    for part in response.parts() {
        print_part(indent, part);
    }
    match (response.state(), &response.error) {
        (ResponseState::Complete, None) => {}
        (state, None) => println!("{indent}({state:?})"),
        (state, Some(error)) => {
            println!("{indent}({state:?}: {})", printable(&error.message));
        }
    }
}

fn print_part(indent: &str, part: &ResponsePart) {
    if let Some(timing) = part.downcast_ref::<Timing>() {
        let bars: String = timing.milliseconds.iter().map(|ms| format!(" {ms:>3} ms")).collect();
        println!("{indent}  ⏱ {}:{bars}", timing.step);
    } else if let Some(code) = part.downcast_ref::<Code>() {
        print_lines(indent, "  | ", &code.text);
    } else if let Some(call) = part.downcast_ref::<ToolCall>() {
        print_lines(indent, "  🔧 ", &part.fallback());
        println!("{indent}     {} {:?}", printable(&call.name), call.state);
    } else if part.unknown().is_some() {
        print_lines(indent, &format!("  ({}) ", printable(part.kind())), &part.fallback());
    } else {
        print_lines(indent, "  ", &part.fallback());
    }
}

fn print_lines(indent: &str, mark: &str, text: &str) {
    for line in text.lines() {
        println!("{indent}{mark}{}", printable(line));
    }
}

/// What others wrote must not steer this terminal.
fn printable(text: &str) -> String {
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}
