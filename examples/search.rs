//! Finds turns in chats that came from elsewhere and in one of its own, and opens one at a hit.
//!
//! ```sh
//! cargo run --example search -- 'pars* role:assistant'
//! ```

use chatkeep::interop::{self, ReadOptions};
use chatkeep::part::{Code, Markdown};
use chatkeep::{
    ChatStore, Clock as _, ListQuery, MemoryStorage, NewSession, OwnedStore, OwnerId, Query,
    RandomIds, Result, SystemClock, TextOrder,
};

fn main() -> Result<()> {
    pollster::block_on(async {
        let me = ChatStore::builder(MemoryStorage::new()).build().await?.local();
        fill(&me).await?;
        let typed: Vec<String> = std::env::args().skip(1).collect();
        let queries = if typed.is_empty() { EXAMPLES.map(str::to_owned).into() } else { typed };
        for query in queries {
            find(&me, &query).await?;
        }
        open_at_a_hit(&me).await
    })
}

const EXAMPLES: [&str; 7] = [
    "list",
    "\"end of the input\"",
    "pars* -tests role:assistant",
    "HashMap<String> kind:code",
    "loop in:title",
    "loop tag:own before:2026-02-30",
    "loop rol:user",
];

/// Chats of two editors, and one of this program.
async fn fill(me: &OwnedStore) -> Result<()> {
    let options = ReadOptions::new(OwnerId::local(), SystemClock.now(), &RandomIds);
    let sessions: [&[u8]; 2] =
        [include_bytes!("data/vscode-session.json"), include_bytes!("data/theia-session.json")];
    for session in sessions {
        me.import(&interop::read(session, &options)?.model).await?;
    }
    let chat = me.create(NewSession::titled("A loop of our own").tag("own")).await?;
    let mut answer = chat.ask("Which map holds the *names* of the parser's tokens?").await?;
    answer.push(Markdown::new("The one in `parse_config`:")).await?;
    answer.push(Code::new("rust", "fn parse_config(names: &HashMap<String, Token>)")).await?;
    answer.complete().await
}

async fn find(me: &OwnedStore, text: &str) -> Result<()> {
    println!("\n» {text}");
    let query = match Query::parse(text) {
        Ok(query) => query.limit(4),
        Err(error) => {
            println!("{error}");
            return Ok(());
        }
    };
    let hits = me.search(query).await?;
    for hit in &hits {
        // A title is as little to be trusted as the text: snippets can be printed as they are.
        println!("  {} · turn {} · {}", hit.session.title().escape_debug(), hit.turn, hit.kind);
        println!("    {}", hit.snippet.marked("\u{1b}[1m", "\u{1b}[0m"));
    }
    if hits.next.is_some() {
        println!("  …");
    }
    Ok(())
}

/// What a click on a hit does: the chat is opened, and loaded back to that turn.
async fn open_at_a_hit(me: &OwnedStore) -> Result<()> {
    let sessions = ListQuery::new().tag("own");
    let query = Query::text("parse_config")?.sessions(sessions).order(TextOrder::Relevance);
    for hit in me.search(query).await? {
        let chat = me.open(hit.session.id()).await?;
        if !chat.load_to(hit.turn).await? {
            chat.switch_to(hit.turn).await?;
        }
        assert!(chat.model().turns().any(|turn| turn.id() == hit.turn));
        println!("\nopened “{}” at turn {}", chat.model().title(), hit.turn);
    }
    Ok(())
}
