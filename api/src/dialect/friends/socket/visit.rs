//! One socket from its upgrade to its end: says who is here, joins the person's conversations, then reads what the client says,
//! a frame at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::error::{Code, Error, Refusal};
use shared::event::Origin;
use shared::id::{AccountId, MessageId, Position, RoomId};
use uuid::Uuid;

use crate::app::Shared;
use crate::chat::{direct, friends, send};
use crate::dialect::Encoding;
use crate::dialect::door::{Guest, tell};
use crate::dialect::friends::wire::{FrameIn, FrameOut, SocketQuery};
use crate::dialect::friends::{count_message, draft, frame_of};
use crate::dialect::wire::nonce;
use crate::hub::outbox::{CloseReason, Outbox};
use crate::hub::people::Arrival;
use crate::hub::{Answer, Connection, online, people, typing};
use crate::json_check::JsonLimits;
use crate::limits::{Bucket, SocketPlace};
use crate::transport::websocket::connection::Session;

/// How long a client that wants to resume may take to say where it was.
const RESUME_WITHIN: Duration = Duration::from_secs(5);

/// Somebody's stay.
pub(super) struct Visit {
    app: Shared,
    connection: Arc<Connection>,
    /// Held until the visit ends: dropping it ends what the socket hears.
    arrival: Option<Arc<Waiting>>,
    /// What this socket has left of its frames a second.
    frames: Bucket,
    /// How many messages it has sent.
    sends: u32,
    _place: SocketPlace,
}

/// A socket that has come, and may still have to say where it was.
struct Waiting {
    arrival: Arrival,
    is_live: tokio::sync::Mutex<bool>,
}

impl Waiting {
    /// Whether the socket may still say where it was.
    fn waits(&self) -> bool {
        // Who holds the lock is letting the socket hear right now.
        self.is_live.try_lock().is_ok_and(|is_live| !*is_live)
    }

    /// Lets the socket hear everything from here on, unless it does already.
    async fn go_live(&self, after: Option<&HashMap<RoomId, Position>>) -> Result<bool, Error> {
        let mut is_live = self.is_live.lock().await;
        let was_live = std::mem::replace(&mut *is_live, true);
        if !was_live {
            self.arrival.go_live(after).await?;
        }
        Ok(!was_live)
    }
}

impl Visit {
    pub(super) fn new(app: Shared, guest: Guest, query: SocketQuery, outbox: Arc<Outbox>) -> Self {
        let Guest { caller, place } = guest;
        let connection = Arc::new(Connection {
            origin: app.hub.draw_origin(),
            account: caller.account,
            outbox,
            encoding: Encoding::Friends(query.caps),
            expires_at: caller.expires_at,
            resumes: query.resume,
            ends_at: None,
        });
        Self { app, connection, arrival: None, frames: Bucket::new(Instant::now()), sends: 0, _place: place }
    }

    fn me(&self) -> AccountId {
        self.connection.account.id
    }

    /// Comes in: from here on nothing passes the socket by.
    async fn arrive(&mut self) -> Result<(), Error> {
        let arrival = people::arrive(&self.app, self.connection.clone()).await?;
        let online = friends::online_friends(&self.app, self.me()).await?;
        arrival.greet(online, |online| {
            let friends = online.iter().map(|friend| friend.0).collect();
            [FrameOut::established(self.me()), FrameOut::OnlineFriends { friends }]
                .map(|frame| frame_of(&frame))
        });
        online::say(&self.app, self.me()).await?;
        let waiting = Arc::new(Waiting { arrival, is_live: tokio::sync::Mutex::new(false) });
        self.arrival = Some(waiting.clone());
        if self.connection.resumes {
            self.wait_for_resume(&waiting);
        } else {
            waiting.go_live(None).await?;
        }
        Ok(())
    }

    /// A client that does not say where it was is told everything from when it came.
    fn wait_for_resume(&self, waiting: &Arc<Waiting>) {
        let (waiting, outbox) = (Arc::downgrade(waiting), self.connection.outbox.clone());
        tokio::spawn(async move {
            tokio::time::sleep(RESUME_WITHIN).await;
            let Some(waiting) = waiting.upgrade() else { return };
            if waiting.go_live(None).await.is_err() {
                outbox.close(CloseReason::Gap);
            }
        });
    }

    /// Does what a frame asks for; on failure also says which send it was about.
    async fn handle(&mut self, text: &str) -> Result<(), (Error, Option<String>)> {
        self.let_pass().map_err(|refusal| (refusal.into(), None))?;
        let frame = FrameIn::read(text, self.json_limits(text));
        match frame.map_err(|misread| (misread.why.into(), misread.client_msg_id))? {
            FrameIn::SendMessage { receiver_id, content, client_msg_id } => {
                let sent = self.send(receiver_id, content, client_msg_id.as_deref()).await;
                sent.map_err(|error| (error, client_msg_id))
            }
            FrameIn::MarkRead { message_id } => {
                let read = direct::mark_read(&self.app, self.me(), MessageId(message_id)).await;
                read.map(|_| ()).map_err(|error| (error, None))
            }
            FrameIn::Typing { receiver_id, is_typing } => {
                self.note_typing(AccountId(receiver_id), is_typing).await;
                Ok(())
            }
            FrameIn::Resume { after } => self.resume(&after).await.map_err(|error| (error, None)),
        }
    }

    /// The socket is told that it is sent as the others are told what was said: in its turn.
    async fn send(
        &mut self,
        receiver: Uuid,
        content: String,
        client_msg_id: Option<&str>,
    ) -> Result<(), Error> {
        self.sends += 1;
        let by = Origin { send: self.sends, ..self.connection.origin };
        let (me, receiver) = (&self.connection.account, AccountId(receiver));
        let nonce = nonce(client_msg_id)?;
        let draft = draft(&self.app, me.id, receiver, content, nonce.clone(), Some(by))?;
        let room = draft.room;
        let receipt = send::send_to_friend(&self.app, me, receiver, draft).await?;
        typing::say(&self.app, me.id, receiver, false).await;
        count_message();
        match receipt.entry {
            Some(entry) => self.app.hub.take_in(&self.app, entry),
            None => {
                let sent = FrameOut::sent_before(receipt.id, room, receipt.position, nonce.as_str());
                let answer = Answer { by, behind: receipt.position, frame: frame_of(&sent) };
                self.app.hub.answer(&self.app, &self.connection, room, answer);
            }
        }
        Ok(())
    }

    /// Whoever may not write to somebody is not told so either.
    async fn note_typing(&self, receiver: AccountId, is_typing: bool) {
        if let Ok(true) = friends::may_write_now(&self.app, self.me(), receiver).await {
            typing::say(&self.app, self.me(), receiver, is_typing).await;
        }
    }

    async fn resume(&self, after: &HashMap<RoomId, Position>) -> Result<(), Error> {
        let was_asked = match &self.arrival {
            Some(waiting) if self.connection.resumes => waiting.go_live(Some(after)).await,
            _ => Ok(false),
        };
        match was_asked {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::refused(
                Code::Invalid,
                "resume is the first frame of a socket opened with resume=1",
            )),
            Err(error) => {
                // It hears of some of its rooms only, and can't ask again.
                tell(&self.connection.outbox, &error, None);
                self.connection.outbox.close(CloseReason::Gap);
                Ok(())
            }
        }
    }

    /// How deep and wide a frame may be. One that says of a thousand rooms where the client was in them is bounded by its length
    /// alone.
    fn json_limits(&self, text: &str) -> JsonLimits {
        let limits = &self.app.config.limits;
        let may_resume =
            self.connection.resumes && self.arrival.as_ref().is_some_and(|waiting| waiting.waits());
        JsonLimits { depth: limits.json_depth, keys: if may_resume { text.len() } else { limits.json_keys } }
    }

    /// Takes a frame off what this socket may send.
    fn let_pass(&mut self) -> Result<(), Refusal> {
        let rate = self.app.config.limits.frame_rate();
        self.frames.take(rate, Instant::now()).map_err(|wait| {
            Refusal::new(Code::RateLimited, "Too many frames, please slow down").retry_after(wait)
        })
    }
}

impl Session for Visit {
    async fn on_open(&mut self) {
        if let Err(error) = self.arrive().await {
            tell(&self.connection.outbox, &error, None);
            self.connection.outbox.close(CloseReason::Internal);
        }
    }

    async fn on_text(&mut self, text: &str) {
        if let Err((error, client_msg_id)) = self.handle(text).await {
            tell(&self.connection.outbox, &error, client_msg_id.as_deref());
        }
    }

    async fn on_binary(&mut self, _: &[u8]) {
        let refusal = self
            .let_pass()
            .err()
            .unwrap_or_else(|| Refusal::new(Code::Invalid, "Binary frames are not taken here, send text"));
        tell(&self.connection.outbox, &refusal.into(), None);
    }
}
