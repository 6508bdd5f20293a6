//! The suite itself is tested: each of these broken engines and storages must fail it.
#![cfg(feature = "conformance")]

mod mutant_storage;

use std::ops::Range;
use std::panic::catch_unwind;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chatkeep::Result;
use chatkeep::storage::conformance::{self, Fixture, Outcome};
use chatkeep::storage::key_value::{Committed, KeyValue, MemoryKeyValue, Order, WriteBatch};

use self::mutant_storage::{Mutant, Mutation};

/// What is wrong with an engine.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    IgnoresConditions,
    ChecksBeforeItWrites,
    WritesInSpiteOfConditions,
    LiesAboutFailure,
    WritesHalf,
    WritesOneByOne,
    ForgetsDeletes,
    ScansTheEnd,
    IgnoresOrder,
    SkipsTheFirst,
    LosesConditionsOfAbsence,
}

use Wrong::*;

#[derive(Clone)]
struct Broken {
    engine: MemoryKeyValue,
    wrong: Wrong,
}

#[async_trait]
impl KeyValue for Broken {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.engine.get(key).await
    }

    async fn scan(
        &self,
        range: Range<Bytes>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        let (mut range, mut order) = (range, order);
        match self.wrong {
            ScansTheEnd => range.end = [&range.end[..], &[0]].concat().into(),
            IgnoresOrder => order = Order::Ascending,
            _ => {}
        }
        let skipped = usize::from(self.wrong == SkipsTheFirst && limit > 1);
        Ok(self.engine.scan(range, limit, order).await?.into_iter().skip(skipped).collect())
    }

    async fn commit(&self, batch: WriteBatch) -> Result<Committed> {
        let mut batch = batch;
        let conditions = batch.conditions.clone();
        let mut unconditional = batch.clone();
        unconditional.conditions.clear();
        match self.wrong {
            IgnoresConditions => {
                thread::sleep(Duration::from_millis(1));
                batch = unconditional;
            }
            LosesConditionsOfAbsence => {
                batch.conditions.retain(|condition| condition.value.is_some());
                thread::sleep(Duration::from_millis(1));
            }
            WritesHalf => drop(batch.puts.pop()),
            ForgetsDeletes => batch.deletes.clear(),
            ChecksBeforeItWrites => {
                for (place, condition) in conditions.iter().enumerate() {
                    if self.engine.get(&condition.key).await? != condition.value {
                        return Ok(Committed::Failed(place));
                    }
                }
                // Long enough for another thread to come between.
                thread::sleep(Duration::from_millis(1));
                batch = unconditional;
            }
            WritesInSpiteOfConditions => {
                thread::sleep(Duration::from_millis(1));
                let outcome = self.engine.commit(batch).await?;
                self.engine.commit(unconditional).await?;
                return Ok(outcome);
            }
            LiesAboutFailure => {
                thread::sleep(Duration::from_millis(1));
                self.engine.commit(batch).await?;
                return Ok(Committed::Done);
            }
            WritesOneByOne => {
                let mut check = batch.clone();
                (check.puts, check.deletes) = (Vec::new(), batch.deletes);
                if let failed @ Committed::Failed(_) = self.engine.commit(check).await? {
                    return Ok(failed);
                }
                for (key, value) in batch.puts {
                    self.engine.commit(WriteBatch::new(batch.durability).put(key, value)).await?;
                    thread::sleep(Duration::from_micros(50));
                }
                return Ok(Committed::Done);
            }
            _ => {}
        }
        self.engine.commit(batch).await
    }
}

/// Whether this case fails on that fixture. Its panic's message goes to the test's output.
fn fails(case: &str, fixture: impl Fixture) -> bool {
    let fixture = std::panic::AssertUnwindSafe(fixture);
    catch_unwind(move || {
        let fixture = fixture;
        conformance::check(case, fixture.0);
    })
    .is_err()
}

fn engine_fails(wrong: Wrong, case: &str) -> bool {
    let engine = Broken { engine: MemoryKeyValue::new(), wrong };
    fails(case, conformance::of_key_value(engine, None))
}

#[test]
fn a_sound_engine_passes_every_case_and_a_report_says_so() {
    let sound = || Broken { engine: MemoryKeyValue::new(), wrong: Nothing };
    let report = conformance::run(|| conformance::of_key_value(sound(), None));
    assert!(report.is_passed(), "{report}");
    let skipped = |(_, outcome): &&(&str, Outcome)| matches!(outcome, Outcome::Skipped(_));
    let skipped: Vec<_> = report.cases.iter().filter(skipped).map(|(name, _)| *name).collect();
    assert_eq!(
        skipped,
        [
            "watch::hears_of_other_handles",
            "writer::lives_until_dropped",
            "reopen::everything_is_kept",
            "reopen::tombstones_are_kept",
            "search::finds_words",
            "search::finds_every_script",
            "search::is_restricted_by_list_filters",
            "search::pages_newest_first",
            "search::ranks_by_relevance",
            "search::gives_the_text_back",
            "search::bad_questions_are_refused",
            "search::forgets_deleted_sessions",
            "search::looks_only_where_asked",
            "search::forgets_what_was_replaced",
            "search::outlives_compaction",
            "search::counts_turns",
        ]
    );
}

#[test]
fn broken_engines_fail() {
    let survivors: Vec<_> = [
        (IgnoresConditions, "race::one_winner_per_revision"),
        (IgnoresConditions, "document::one_winner"),
        (ChecksBeforeItWrites, "race::one_winner_per_revision"),
        (ChecksBeforeItWrites, "document::counted_by_many"),
        (WritesInSpiteOfConditions, "race::one_winner_per_revision"),
        (LiesAboutFailure, "race::one_session_of_one_id"),
        (WritesHalf, "append::batches_follow_each_other"),
        (WritesOneByOne, "race::every_read_is_a_prefix"),
        (ForgetsDeletes, "purge::removes_everything"),
        (ForgetsDeletes, "compact::keeps_revision_and_tail"),
        (ScansTheEnd, "read::before_pages_back_to_the_beginning"),
        (IgnoresOrder, "read::newest_turns"),
        (SkipsTheFirst, "read::after_every_revision"),
        (SkipsTheFirst, "list::every_filter"),
        (LosesConditionsOfAbsence, "race::one_session_of_one_id"),
        (LosesConditionsOfAbsence, "document::one_winner"),
    ]
    .into_iter()
    .filter(|(wrong, case)| !engine_fails(*wrong, case))
    .collect();
    assert!(survivors.is_empty(), "the suite misses {survivors:?}");
}

#[test]
fn broken_storages_fail() {
    use Mutation::*;
    let survivors: Vec<_> = [
        (SkipsTheOwner, "isolation::same_id_under_two_owners"),
        (SkipsTheOwner, "isolation::a_foreign_session_is_not_found"),
        (ForgetsTombstones, "purge::a_deleted_id_stays_deleted"),
        (ForgetsRetries, "retry::lands_once"),
        (IgnoresEpochs, "append::an_older_epoch_is_fenced"),
        (RestartsCursors, "list::pages_are_stable_under_inserts"),
        (KeepsQuiet, "watch::hears_of_own_handle"),
        (IgnoresFilters, "list::every_filter"),
        (IgnoresExpiry, "document::expires"),
        (FollowsTheBase, "compact::readers_below_the_base_start_anew"),
        (ReadsEverything, "read::newest_turns"),
        (IgnoresGuards, "compact::a_stale_guard_is_refused"),
        (TrustsHashes, "blob::wrong_hash_is_refused"),
    ]
    .into_iter()
    .filter(|(mutation, case)| !fails(case, conformance::of_storage(Mutant::new(*mutation))))
    .collect();
    assert!(survivors.is_empty(), "the suite misses {survivors:?}");
}
