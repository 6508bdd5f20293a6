//! An editor: two workspaces, two windows as two processes, drafts, and everything back after one
//! of the windows was killed in the middle of an answer.
//!
//! ```sh
//! cargo run --example editor
//! ```
#![expect(clippy::expect_used, reason = "an example stops at what it does not expect")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use chatkeep::model::{Draft, Workspace};
use chatkeep::{Change, ChatStore, ListQuery, NewSession, ResponseState, Result, WorkspaceId};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, folder] = arguments.as_slice()
        && role == "window"
    {
        return pollster::block_on(second_window(Path::new(folder)));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    pollster::block_on(first_window(folder.path()))
}

fn workspace(id: &str) -> Result<Workspace> {
    Ok(Workspace::new(WorkspaceId::new(id)?).uri(format!("file:///home/kim/{id}")))
}

async fn first_window(folder: &Path) -> Result<()> {
    let store = ChatStore::open(folder).await?;
    let me = store.local();
    let parser =
        me.create(NewSession::titled("Why it loops").workspace(workspace("parser")?)).await?;
    me.create(NewSession::titled("Fonts").workspace(workspace("website")?)).await?;
    parser.set_draft(Some(Draft::from("What if the input is empt"))).await?;
    let mut changes = parser.subscribe();

    // The second window is another process on the same files. It answers, and is killed.
    let program = std::env::current_exe().expect("this program");
    let mut window = Command::new(program)
        .args(["window".as_ref(), folder.as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second window");
    let output = window.stdout.take().expect("its output");
    for line in BufReader::new(output).lines() {
        let line = line.expect("a line");
        println!("second window: {line}");
        if line.starts_with("flushed") {
            break;
        }
    }
    loop {
        match changes.next().await {
            Some(Change::Text { text, .. }) => println!("first window sees: {text:?}"),
            Some(Change::Part { turn, part }) => {
                println!("first window sees part {part} of turn {turn}");
                break;
            }
            Some(change) => println!("first window sees: {change:?}"),
            None => break,
        }
    }
    window.kill().expect("the second window is killed");
    window.wait().expect("the second window is gone");
    drop((changes, parser, me, store));

    // The host starts again: what was open in the workspace comes back.
    let store = ChatStore::open(folder).await?;
    let resumed = store.local().resume(WorkspaceId::new("parser")?).await?;
    for chat in &resumed.chats {
        let model = chat.model();
        println!("\nrestored {:?}", model.title());
        for turn in model.turns() {
            println!("> {}", turn.request().text());
            println!("  {} ({:?})", turn.response().text(), turn.response().state());
            assert_eq!(turn.response().state(), ResponseState::Interrupted);
        }
        println!("draft: {:?}", model.session().draft.as_ref().map(|draft| &draft.text));
        let mut answer = chat.ask("Go on, please.").await?;
        answer.append_text("Where was I? The lexer.").await?;
        answer.complete().await?;
    }
    assert_eq!((resumed.chats.len(), resumed.failed.len()), (1, 0));

    let all = store.local().list(ListQuery::new()).await?;
    println!("\nall workspaces:");
    for session in all {
        let workspace = session.head.fields.workspace.clone();
        println!("- {:?} in {:?}", session.title(), workspace);
    }
    Ok(())
}

async fn second_window(folder: &Path) -> Result<()> {
    let store = ChatStore::open(folder).await?;
    for chat in store.local().resume(WorkspaceId::new("parser")?).await?.chats {
        let mut answer = chat.ask("Why does the parser loop?").await?;
        println!("asked turn {}", answer.turn());
        answer.append_text("Because the lexer ").await?;
        chat.flush().await?;
        println!("flushed");
        // It goes on thinking until it is killed.
        std::thread::park();
        answer.complete().await?;
    }
    Ok(())
}
