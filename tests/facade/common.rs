//! Stores, clocks, children, and waits that end.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chatkeep::{
    Change, Changes, ChatModel, ChatSession, ChatStore, Clock, MemoryStorage, Result, SessionId,
};
use jiff::Timestamp;

/// Nothing here takes longer unless it hangs.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn block<T>(future: impl Future<Output = Result<T>>) -> T {
    pollster::block_on(future).unwrap()
}

/// Runs a test on a thread of its own and fails if it hangs.
pub(crate) fn within(time: Duration, test: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match ended.recv_timeout(time) {
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => thread.join().unwrap(),
    }
}

pub(crate) fn id(id: &str) -> SessionId {
    SessionId::new(id).unwrap()
}

pub(crate) async fn memory() -> (MemoryStorage, ChatStore) {
    let storage = MemoryStorage::new();
    let store = ChatStore::builder(storage.clone()).build().await.unwrap();
    (storage, store)
}

/// Request and response texts of the branch that is shown.
pub(crate) fn texts(model: &ChatModel) -> Vec<(String, String)> {
    let turn = |turn: &chatkeep::Turn| (turn.request().text().into_owned(), turn.response().text());
    model.turns().map(turn).collect()
}

pub(crate) fn last_text(chat: &ChatSession) -> String {
    chat.model().all_turns().last().unwrap().response().text()
}

pub(crate) fn last_state(chat: &ChatSession) -> chatkeep::ResponseState {
    chat.model().last_state().unwrap()
}

/// The next change if it comes in time.
pub(crate) fn next(changes: &mut Changes, time: Duration) -> Option<Change> {
    use futures_util::future::{Either, select};
    let (done, timeout) = futures_channel::oneshot::channel::<()>();
    let (parked, unpark) = channel::<()>();
    std::thread::spawn(move || {
        let _ = unpark.recv_timeout(time);
        drop(done);
    });
    let change = match pollster::block_on(select(std::pin::pin!(changes.next()), timeout)) {
        Either::Left((change, _)) => change,
        Either::Right(_) => None,
    };
    drop(parked);
    change
}

/// Waits for something that a change of the session brings about.
pub(crate) fn wait_until(chat: &ChatSession, mut so: impl FnMut(&ChatModel) -> bool) {
    let mut changes = chat.subscribe();
    let end = std::time::Instant::now() + LONG;
    while !so(&chat.model()) {
        assert!(std::time::Instant::now() < end, "it does not come");
        let _ = next(&mut changes, Duration::from_secs(1));
    }
}

/// A clock that a test sets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hands(Arc<AtomicI64>);

impl Hands {
    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(1_767_225_600_000 + self.0.load(Ordering::SeqCst)).unwrap()
    }
}

pub(crate) static ROLE: LazyLock<Option<String>> =
    LazyLock::new(|| std::env::var("CHATKEEP_FACADE_ROLE").ok());

pub(crate) fn root() -> std::path::PathBuf {
    std::env::var("CHATKEEP_FACADE_ROOT").unwrap().into()
}

/// This test binary as another process that runs one test.
pub(crate) struct Other {
    pub(crate) child: Child,
    pub(crate) lines: Lines<BufReader<ChildStdout>>,
}

impl Other {
    pub(crate) fn start(test: &str, role: &str, root: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env("CHATKEEP_FACADE_ROLE", role)
            .env("CHATKEEP_FACADE_ROOT", root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that begins with a word, without it.
    pub(crate) fn line(&mut self, word: &str) -> String {
        loop {
            let line = self.lines.next().expect("the child ended").unwrap();
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        use std::io::Write as _;
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    /// Kills it; the whole lines that it had printed.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut rest: Vec<_> = self.lines.map_while(std::result::Result::ok).collect();
        // The last may be cut off.
        rest.pop();
        rest
    }

    pub(crate) fn finish(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

/// In a child: the next line that the parent says.
pub(crate) fn heard() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim().to_owned()
}
