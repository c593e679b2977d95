//! The development route's session: says everything back, on the very transport that the chat uses, so that anybody can
//! point a conformance suite at it.

use super::connection::{Session, Timing};
use super::frame::{FrameLimits, binary_frame, text_frame};
use super::{Settings, upgrade};
use crate::hub::outbox::{CLOSE_WITHIN, Outbox, OutboxLimits};
use axum::extract::Request;
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;

/// A suite may send a few megabytes before it starts to read; for the rest it meets the usual limits.
const OUTBOX: OutboxLimits =
    OutboxLimits { bytes_max: 8 << 20, age_max: Duration::from_secs(10), close_within: CLOSE_WITHIN };

/// Says back what it hears.
pub(super) struct Echo {
    pub(super) outbox: Arc<Outbox>,
}

impl Session for Echo {
    async fn on_text(&mut self, text: &str) {
        self.outbox.send(text_frame(text.as_bytes()));
    }

    async fn on_binary(&mut self, payload: &[u8]) {
        self.outbox.send(binary_frame(payload));
    }
}

/// `GET /dev/echo`, in development only.
pub(crate) async fn echo(mut request: Request) -> Response {
    let settings = Settings { outbox: OUTBOX, timing: Timing::default(), frames: FrameLimits::default() };
    upgrade(&mut request, settings, |outbox| Echo { outbox })
}
