//! Work on threads of its own, as long as the machine has any.

use std::panic::resume_unwind;
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Work that was begun.
#[derive(Debug)]
pub(crate) enum Task<'scope, T> {
    Running(ScopedJoinHandle<'scope, T>),
    /// Done by the caller, since no thread could be started.
    Done(T),
}

impl<'scope, T: Send + 'scope> Task<'scope, T> {
    /// Begins work on a thread of this name. If none can be started it is done here and now.
    pub(crate) fn begin(
        name: &str,
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce() -> T + Clone + Send + 'scope,
    ) -> Self {
        Self::begin_on(Builder::new().name(name.to_owned()), scope, work)
    }

    fn begin_on(
        thread: Builder,
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce() -> T + Clone + Send + 'scope,
    ) -> Self {
        match thread.spawn_scoped(scope, work.clone()) {
            Ok(thread) => Self::Running(thread),
            Err(error) => {
                tracing::warn!(%error, "no thread could be started: its work is done without it");
                Self::Done(work())
            }
        }
    }

    /// What has come of the work. A panic in it goes on here.
    pub(crate) fn join(self) -> T {
        match self {
            Self::Running(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Self::Done(done) => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{current, scope};

    use super::*;

    #[test]
    fn work_is_done_without_a_thread_where_none_can_be_started() {
        let here = current().id();
        // No machine has memory for such a stack.
        let impossible = || Builder::new().stack_size(usize::MAX / 2);
        let id = || current().id();
        assert_eq!(scope(|scope| Task::begin_on(impossible(), scope, id).join()), here);
        assert_ne!(scope(|scope| Task::begin("chatkeep-test", scope, id).join()), here);
    }

    #[test]
    #[should_panic(expected = "an adopter's code")]
    fn a_panic_goes_on_where_the_work_is_waited_for() {
        let work = || panic!("an adopter's code");
        scope(|scope| Task::<()>::begin("chatkeep-test", scope, work).join());
    }
}
