//! Which test notices that which guard is missing. The same table stands in docs/decisions/planted-bugs.md.

use shared::planted::Bug;

/// A guard that is taken away, and who must notice.
pub(crate) struct Case {
    pub(crate) bug: Bug,
    pub(crate) caught_by: Test,
}

/// One test by its binary and its name there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Test {
    /// The library whose unit test it is, or `suites`.
    pub(crate) binary: &'static str,
    pub(crate) name: &'static str,
}

const fn case(bug: Bug, binary: &'static str, name: &'static str) -> Case {
    Case { bug, caught_by: Test { binary, name } }
}

/// A case for each bug.
pub(crate) const CASES: [Case; 12] = [
    case(Bug::SyncedEverySecond, "suites", "log::epochs::also_when_its_disk_is_slow"),
    case(
        Bug::WatermarkApart,
        "suites",
        "log::persister::a_session_that_ends_before_its_commit_takes_the_watermark_back_with_it",
    ),
    case(
        Bug::CappedLog,
        "suites",
        "log::epochs::a_log_that_was_killed_under_load_has_everything_that_it_acked",
    ),
    case(Bug::NoncesForgotten, "suites", "contract::live_chat::ten_tries_at_once_are_one_message"),
    case(
        Bug::FenceUnchecked,
        "suites",
        "log::owners::of_two_owners_the_older_stores_nothing_and_steps_down_every_time",
    ),
    case(
        Bug::LivenessUnchecked,
        "suites",
        "nodes::inboxes::a_node_that_was_frozen_past_its_lease_wakes_under_a_new_name_and_hears_everything",
    ),
    case(
        Bug::PostgresFirst,
        "api",
        "chat::tests::reading::a_message_that_is_stored_while_a_page_is_read_is_on_the_page",
    ),
    case(
        Bug::InboxNumbersUnchecked,
        "suites",
        "nodes::inboxes::entries_that_vanish_from_an_inbox_are_fetched_from_the_log",
    ),
    case(
        Bug::SeedsOfAnyEpoch,
        "suites",
        "log::script::a_seed_counts_only_while_nothing_can_have_happened_that_it_does_not_know_of",
    ),
    case(
        Bug::OutboxClearedEarly,
        "suites",
        "log::members::a_change_leaves_the_outbox_with_the_rows_of_its_entry_and_not_before",
    ),
    case(
        Bug::RestrictionsUntold,
        "api",
        "chat::tests::members::a_permission_from_before_a_removal_opens_no_room",
    ),
    case(Bug::OpeningUnguarded, "suites", "log::epochs::an_opening_that_comes_late_changes_nothing"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_its_test_and_stands_in_the_docs() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/decisions/planted-bugs.md");
        let page = std::fs::read_to_string(docs).expect("the page is there");
        for bug in Bug::ALL {
            let case = CASES.iter().find(|case| case.bug == bug);
            let case = case.unwrap_or_else(|| panic!("{bug:?} has no test"));
            let row = page.lines().find(|line| line.contains(&format!("`{}`", bug.name())));
            let row = row.unwrap_or_else(|| panic!("{bug:?} is not in the docs"));
            assert!(row.contains(&format!("`{}`", case.caught_by.name)), "{row}");
        }
    }
}
