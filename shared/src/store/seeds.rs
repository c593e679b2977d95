//! What the log must be told after it forgot: read in one snapshot, together with the watermark at which it was true.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::id::{AccountId, EntryId, MessageId, Partition, Position, RoomId};

/// What to look up; everything that an append named and the log did not know.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The partition of it all.
    pub partition: Partition,
    /// The room whose counters are unknown.
    pub room: Option<RoomId>,
    /// The message whose nonce is unknown.
    pub message: Option<MessageId>,
    /// The like target, and the person whose like it is about.
    pub target: Option<(Uuid, AccountId)>,
}

/// What Postgres knows at `watermark`.
#[derive(Clone, Debug)]
pub struct Seeds {
    /// The last entry whose effects were in the snapshot.
    pub watermark: EntryId,
    /// `last seq, membership number stored, restricting number committed`; none when there is no such room.
    pub room: Option<(u64, u64, u64)>,
    /// The message of that nonce, if it was stored.
    pub message: Option<StoredSend>,
    /// The target's likes.
    pub target: StoredLikes,
}

/// A stored message, as far as a retry of it needs to know.
#[derive(Clone, Debug)]
pub struct StoredSend {
    /// Its place in the room.
    pub position: Position,
    /// Its integer id.
    pub no: i64,
    /// When it was accepted.
    pub at: DateTime<Utc>,
    /// SHA-256 of the body as it was sent, by which another message under the same nonce is told from a retry.
    pub digest: Vec<u8>,
}

/// The stored likes of a target.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoredLikes {
    /// Distinct people.
    pub total: i64,
    /// Whether the person asked about is one of them.
    pub liked: bool,
    /// Whether the target is a deleted message.
    pub deleted: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    epoch: i32,
    watermark: i64,
    last_seq: Option<i64>,
    stored_number: Option<i64>,
    restricting: Option<i64>,
    sent_epoch: Option<i32>,
    sent_seq: Option<i64>,
    sent_no: Option<i64>,
    sent_at: Option<DateTime<Utc>>,
    sent_digest: Option<Vec<u8>>,
    total: i64,
    liked: bool,
    deleted: bool,
}

/// Reads it all in one statement, hence in one snapshot.
pub async fn read(pool: &PgPool, wanted: &Wanted) -> Result<Seeds, sqlx::Error> {
    let (target, person) = wanted.target.unzip();
    let row: Row = sqlx::query_as(
        "select p.epoch, p.watermark, r.last_seq, r.stored_number, r.restricting,
                m.epoch as sent_epoch, m.seq as sent_seq, m.no as sent_no, m.created_at as sent_at,
                m.digest as sent_digest,
                (select count(*) from hubbub.reaction t where t.target = $4) as total,
                exists (select from hubbub.reaction t where t.target = $4 and t.account = $5) as liked,
                exists (select from hubbub.message d where d.id = $4 and d.deleted_at is not null) as deleted
         from hubbub.partition p
         left join hubbub.room r on r.id = $2
         left join hubbub.message m on m.id = $3
         where p.id = $1",
    )
    .bind(i16::try_from(wanted.partition.number()).expect("there are at most 1,024 partitions"))
    .bind(wanted.room.map(|room| room.0))
    .bind(wanted.message.map(|message| message.0))
    .bind(target)
    .bind(person.map(|person| person.0))
    .fetch_one(pool)
    .await?;
    Ok(row.into_seeds())
}

impl Row {
    fn into_seeds(self) -> Seeds {
        let message = self.sent_digest.map(|digest| StoredSend {
            position: position(self.sent_epoch, self.sent_seq),
            no: self.sent_no.unwrap_or_default(),
            at: self.sent_at.unwrap_or_default(),
            digest,
        });
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        Seeds {
            watermark: EntryId {
                epoch: u32::try_from(self.epoch).unwrap_or(0),
                pseq: u32::try_from(self.watermark).unwrap_or(u32::MAX),
            },
            room: self.last_seq.map(|seq| {
                (count(seq), count(self.stored_number.unwrap_or(0)), count(self.restricting.unwrap_or(0)))
            }),
            message,
            target: StoredLikes { total: self.total, liked: self.liked, deleted: self.deleted },
        }
    }
}

fn position(epoch: Option<i32>, seq: Option<i64>) -> Position {
    Position {
        epoch: epoch.and_then(|epoch| u32::try_from(epoch).ok()).unwrap_or(0),
        seq: seq.and_then(|seq| u64::try_from(seq).ok()).unwrap_or(0),
    }
}
