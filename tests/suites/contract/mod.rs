//! What every dialect promises, asked of each in the same words: whatever a client speaks, its messages are durable, there once, in
//! one order and on every node; it can come back for what it missed, is told why it is refused, and is let go for a reason.
//!
//! The words are those of `harness::dialect`. A scenario knows no frame, no path and no status but those of the contract.

mod deleted;
mod drain;
mod durable;
mod nodes;
mod once;
mod order;
mod pages;
mod rate;
mod refusals;
mod resume;
mod sign_ins;
mod slow_reader;

use harness::dialect::{Dialect, Spoken};
use harness::stack::Stack;

/// The scenarios, each a test of its own in each dialect.
macro_rules! promises {
    ($dialect:ident: $($file:ident::$scenario:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$file::$scenario(harness::dialect::Dialect::$dialect).await;
            }
        )*
    };
}

macro_rules! contract {
    ($($name:ident: $dialect:ident),*) => {
        $(
            mod $name {
                promises! {
                    $dialect:
                    durable::accepted_is_durable,
                    once::a_retry_is_the_same_message,
                    once::ten_tries_at_once_are_one_message,
                    order::many_senders_on_three_nodes_make_one_order,
                    nodes::what_is_said_is_heard_and_read_on_every_node,
                    resume::who_comes_back_hears_exactly_what_was_missed,
                    resume::a_place_that_can_not_be_served_is_told,
                    slow_reader::a_slow_reader_is_cut_off_and_the_others_do_not_notice,
                    refusals::s21_bad_input_is_told_by_a_code_and_loses_nothing,
                    refusals::s17_a_message_over_64_kib_ends_the_socket,
                    refusals::without_the_log_people_are_told_to_try_again,
                    rate::too_fast_is_told_how_long_to_wait,
                    pages::s01_a_foreign_page_gets_neither_an_answer_nor_a_socket,
                    sign_ins::who_has_no_sign_in_that_holds_is_kept_out,
                    sign_ins::s06_a_socket_ends_with_its_token,
                    sign_ins::s07_signing_out_closes_every_socket_on_every_node_within_two_seconds,
                    drain::a_node_that_is_told_to_stop_sends_its_people_elsewhere_and_loses_nothing,
                    deleted::what_was_taken_back_is_in_no_later_answer,
                }
            }
        )*

        const ASKED: &[Dialect] = &[$(Dialect::$dialect),*];
    };
}

harness::for_each_dialect!(contract);

/// Waits until everything is stored; all that is stored is what was said, in that order.
async fn rows_are(stack: &Stack, said: &[Spoken]) {
    stack.stored().await;
    let rows = stack.said().await;
    let rows: Vec<_> = rows.iter().map(|row| (row.position, row.text.as_str())).collect();
    let said: Vec<_> = said.iter().map(|spoken| (spoken.position, spoken.text.as_str())).collect();
    assert_eq!(rows, said, "rows");
}

#[test]
fn no_dialect_is_left_out() {
    assert_eq!(ASKED, Dialect::ALL);
}
