//! The list of all cases, from which both the table and the tests are made.

use std::pin::Pin;

use super::bench::{Bench, Verdict};
use super::cases;

type Running<'a> = Pin<Box<dyn Future<Output = Verdict> + 'a>>;

/// One case.
pub(super) struct Case {
    /// Its group and name.
    pub(super) name: &'static str,
    pub(super) run: for<'a> fn(&'a Bench) -> Running<'a>,
}

/// Gives all cases to a macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __chatkeep_conformance_list {
    ($make:ident) => {
        $crate::$make! {
            append {
                a_session_begins, batches_follow_each_other, bodies_come_back_as_they_were,
                an_id_in_use_is_refused, what_is_not_there_is_not_found,
                another_revision_is_a_conflict, another_life_is_not_found,
                an_older_epoch_is_fenced, fenced_comes_before_conflict,
                a_bad_batch_is_refused, a_body_over_the_limit_is_refused,
                the_durability_achieved_is_told, a_head_stays_until_it_is_changed,
            }
            retry {
                lands_once, lands_once_after_further_appends, of_a_first_batch_lands_once,
                comes_before_every_refusal, of_a_lost_answer_lands_once,
                of_a_failed_write_lands, of_a_lost_first_answer_lands_once,
            }
            read {
                after_every_revision, newest_turns, newest_reaches_the_checkpoint,
                before_pages_back_to_the_beginning, a_long_log_comes_in_pages, many_small_records,
            }
            race {
                one_winner_per_revision, one_session_of_one_id, deletion_against_writers,
                fences_let_one_writer_through, every_read_is_a_prefix,
            }
            compact {
                keeps_revision_and_tail, readers_below_the_base_start_anew, a_stale_guard_is_refused,
                a_retry_after_it_does_not_land_twice, writers_go_on, twice, bad_records_are_refused,
                of_everything, a_long_beginning_is_read_whole,
            }
            purge {
                removes_everything, a_deleted_id_stays_deleted, a_stale_writer_is_refused,
                an_import_begins_the_next_life, lives_do_not_mix, is_of_one_session_only,
                leaves_no_bytes, a_lost_answer_is_no_resurrection,
            }
            blob {
                comes_back, are_listed, of_any_size, wrong_hash_is_refused, needs_a_session, is_of_its_session,
                is_gone_with_its_session, put_twice, survives_compaction,
            }
            document {
                comes_back, compare_and_swap, one_winner, counted_by_many, expires,
                scopes_are_apart, names_by_prefix, many_names, removal, any_name,
            }
            list {
                every_filter, every_order, ties_are_broken_by_id, pages_do_not_repeat_or_skip,
                pages_are_stable_under_inserts, a_foreign_cursor_is_refused, limits_are_checked,
                count_is_of_all_pages, shows_changes_at_once, owners_in_order, owners_come_and_go,
            }
            isolation {
                same_id_under_two_owners, a_foreign_session_is_not_found, unusual_ids_are_apart,
                unusual_owners_are_apart,
            }
            watch {
                hears_of_own_handle, hears_of_other_handles, hears_only_what_it_asked_for,
            }
            writer {
                handles_have_marks, lives_until_dropped,
            }
            reopen {
                everything_is_kept, tombstones_are_kept,
            }
            upkeep {
                a_sound_session_verifies, an_index_can_be_rebuilt,
            }
            search {
                finds_words, finds_every_script, is_restricted_by_list_filters, pages_newest_first,
                ranks_by_relevance, gives_the_text_back, bad_questions_are_refused,
                forgets_deleted_sessions, looks_only_where_asked, forgets_what_was_replaced,
                outlives_compaction, counts_turns,
            }
            model {
                seed_1, seed_2, seed_3, seed_4,
            }
        }
    };
}

/// One `#[test]` per case of the suite; see [the module](crate::storage::conformance).
///
/// - `tests!(MyEngine::for_tests)`: a function that gives an empty
///   [`KeyValue`](crate::storage::KeyValue) engine whose clones share its data.
/// - `tests!(storage: MyStorage::for_tests)`: a function that gives an empty
///   [`Storage`](crate::storage::Storage) whose clones share its data.
/// - `tests!(fixture: my_fixture)`: a function that gives a
///   [`Fixture`](crate::storage::conformance::Fixture).
///
/// It makes one module per group of cases where it stands: put it into a module of its own.
#[doc(hidden)]
#[macro_export]
macro_rules! __chatkeep_conformance {
    (storage: $new:expr) => {
        $crate::storage::conformance::tests! {
            fixture: || $crate::storage::conformance::of_storage(($new)())
        }
    };
    (fixture: $new:expr) => {
        #[cfg(test)]
        fn conformance_fixture() -> impl $crate::storage::conformance::Fixture {
            ($new)()
        }
        $crate::__chatkeep_conformance_list!(__chatkeep_conformance_tests);
    };
    ($new:expr) => {
        $crate::storage::conformance::tests! {
            fixture: || $crate::storage::conformance::of_key_value(
                ($new)(),
                ::core::option::Option::None,
            )
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __chatkeep_conformance_tests {
    ($($group:ident { $($case:ident),+ $(,)? })+) => {
        $(#[cfg(test)]
        mod $group {
            $(#[test]
            fn $case() {
                $crate::storage::conformance::check(
                    concat!(stringify!($group), "::", stringify!($case)),
                    super::conformance_fixture(),
                );
            })+
        })+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __chatkeep_conformance_table {
    ($($group:ident { $($case:ident),+ $(,)? })+) => {
        &[$($(Case {
            name: concat!(stringify!($group), "::", stringify!($case)),
            run: |bench| Box::pin(cases::$group::$case(bench)),
        },)+)+]
    };
}

pub(super) const CASES: &[Case] = crate::__chatkeep_conformance_list!(__chatkeep_conformance_table);
