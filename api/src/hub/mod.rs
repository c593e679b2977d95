//! The hub of one node: which connections want what, and what each has yet to be sent.

pub(crate) mod outbox;
