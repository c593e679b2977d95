//! Every metric that Hubbub exports, with its labels and unit, and what it tells an operator.
//!
//! Labels take few values: never a room, a person or an address.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Open sockets of this node. Labels: `dialect`.
pub const CONNECTIONS: &str = "hubbub_connections";
/// Frames handed to sockets. Labels: `dialect`.
pub const DELIVERIES: &str = "hubbub_deliveries_total";
/// From the acceptance of an event in the log to the write on its sockets, per event and node.
pub const DELIVERY_LATENCY: &str = "hubbub_delivery_latency_seconds";
/// Attempts to append to the log. Labels: `outcome` (ok, again, stale, or the refusal's code).
pub const APPENDS: &str = "hubbub_appends_total";
/// Messages and likes of this node on their way into the log, of at most LIMIT_APPENDS_IN_FLIGHT.
pub const APPENDS_IN_FLIGHT: &str = "hubbub_appends_in_flight";
/// Messages accepted. Labels: `dialect`.
pub const MESSAGES: &str = "hubbub_messages_total";
/// Likes given and taken back. Labels: `target` (message, session).
pub const LIKES: &str = "hubbub_likes_total";
/// Distinct viewers over all nodes, as last announced by the node that counts them.
pub const VIEWERS: &str = "hubbub_viewers";
/// Requests and frames refused. Labels: `code` (unauthorized, rate_limited, ...).
pub const REFUSALS: &str = "hubbub_refusals_total";
/// Entries of a partition's log that a group has not done yet. Labels: `partition`, `group`.
pub const LOG_LAG_ENTRIES: &str = "hubbub_log_lag_entries";
/// Age of the oldest entry that a group has not done yet. Labels: `partition`, `group`.
pub const LOG_LAG_SECONDS: &str = "hubbub_log_lag_seconds";
/// 1 when the two lags above are true, 0 when they could not be read. Labels: `partition`, `group`.
pub const LOG_LAG_KNOWN: &str = "hubbub_log_lag_known";
/// Transactions that several partitions shared. Labels: `outcome` (ok, or failed: then each stored by itself).
pub const SHARED_TRANSACTIONS: &str = "hubbub_shared_transactions_total";
/// From the acceptance of an event in the log to the commit of its rows.
pub const PERSIST_DELAY: &str = "hubbub_persist_delay_seconds";
/// Connections closed by the node. Labels: `reason` (slow_reader, drain, expired, ...).
pub const OUTBOX_CLOSES: &str = "hubbub_outbox_closes_total";
/// Entries parked because they cannot be stored.
pub const DEAD_LETTERS: &str = "hubbub_dead_letters_total";
/// Partitions that this process may work on now. Labels: `group`.
pub const LEASES_HELD: &str = "hubbub_leases_held";
/// Bytes that wait for slow readers.
pub const OUTBOX_QUEUED: &str = "hubbub_outbox_queued_bytes";
/// Tokens that were not believed. Labels: `reason` (expired, signature, ...).
pub const TOKENS_REFUSED: &str = "hubbub_auth_refused_total";
/// Fetches of issuers' keys. Labels: `issuer`, `ok`.
pub const KEY_FETCHES: &str = "hubbub_auth_key_fetches_total";

/// Upper bounds of the latency buckets, in seconds: 100 us to 10 s, about three a decade.
pub const LATENCY_BUCKETS: [f64; 16] =
    [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Gives the recorder units and texts.
pub(super) fn describe() {
    describe_gauge!(CONNECTIONS, Unit::Count, "Open sockets by dialect");
    describe_counter!(DELIVERIES, Unit::Count, "Frames handed to sockets by dialect");
    describe_histogram!(DELIVERY_LATENCY, Unit::Seconds, "From accept in the log to the socket write");
    describe_counter!(APPENDS, Unit::Count, "Appends to the log by outcome");
    describe_gauge!(APPENDS_IN_FLIGHT, Unit::Count, "Messages and likes on their way into the log");
    describe_counter!(MESSAGES, Unit::Count, "Messages accepted by dialect");
    describe_counter!(LIKES, Unit::Count, "Likes given by kind of target");
    describe_gauge!(VIEWERS, Unit::Count, "Distinct viewers over all nodes");
    describe_counter!(REFUSALS, Unit::Count, "Requests and frames refused by code");
    describe_gauge!(LOG_LAG_ENTRIES, Unit::Count, "Entries a group has not done yet, by partition");
    describe_gauge!(LOG_LAG_SECONDS, Unit::Seconds, "Age of the oldest entry a group has not done yet");
    describe_gauge!(LOG_LAG_KNOWN, Unit::Count, "1 when the lag could be read, 0 when not");
    describe_histogram!(PERSIST_DELAY, Unit::Seconds, "From accept in the log to the commit of the rows");
    describe_counter!(
        SHARED_TRANSACTIONS,
        Unit::Count,
        "Transactions that several partitions shared, by outcome"
    );
    describe_counter!(OUTBOX_CLOSES, Unit::Count, "Connections closed by the node, by reason");
    describe_counter!(DEAD_LETTERS, Unit::Count, "Entries parked because they cannot be stored");
    describe_gauge!(LEASES_HELD, Unit::Count, "Partitions this process may work on now, by group");
    describe_gauge!(OUTBOX_QUEUED, Unit::Bytes, "Bytes that wait for slow readers");
    describe_counter!(TOKENS_REFUSED, Unit::Count, "Tokens that were not believed, by reason");
    describe_counter!(KEY_FETCHES, Unit::Count, "Fetches of issuers' keys");
}
