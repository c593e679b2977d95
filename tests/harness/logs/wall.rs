//! A wall in Postgres that a batch or a change runs into, so that a test can do something to its owner in the middle of a transaction
//! rather than at a time that it guessed.

use sqlx::{PgTransaction, Postgres, Transaction};

use super::Stage;
use crate::children::{PATIENCE, eventually};
use crate::stack::Stack;

/// A wall that stands until it [falls](Wall::falls).
pub struct Wall {
    session: Transaction<'static, Postgres>,
    /// Finds the session that waits behind it.
    waiting: &'static str,
}

impl Stage {
    /// Holds up every batch between its first statement and its COMMIT: its watermark has moved, its messages wait.
    ///
    /// # Panics
    /// When Postgres does not answer.
    pub async fn wall(&self) -> Wall {
        let mut session = self.transaction().await;
        sqlx::query("lock table hubbub.message in share mode")
            .execute(&mut *session)
            .await
            .expect("nobody else holds it");
        let waiting = "select pid from pg_locks where not granted and relation = 'hubbub.message'::regclass
            and database = (select oid from pg_database where datname = current_database())";
        Wall { session, waiting }
    }

    /// Holds up every batch inside its COMMIT: that was sent, has no effect yet, and will have one without anybody's help.
    /// Once in a database, which must be the stage's own.
    ///
    /// # Panics
    /// When Postgres does not answer.
    pub async fn wall_at_commit(&self) -> Wall {
        for statement in [
            "create function hubbub.meet_the_wall() returns trigger language plpgsql as
             $$ begin perform pg_advisory_xact_lock_shared(1); return null; end $$",
            "create constraint trigger the_wall after insert on hubbub.message deferrable initially deferred
             for each row execute function hubbub.meet_the_wall()",
        ] {
            sqlx::query(statement).execute(&self.pool).await.expect("Postgres takes a trigger");
        }
        let mut session = self.transaction().await;
        sqlx::query("select pg_advisory_xact_lock(1)")
            .execute(&mut *session)
            .await
            .expect("nobody else holds it");
        let waiting = "select pid from pg_locks where not granted and locktype = 'advisory'
            and database = (select oid from pg_database where datname = current_database())";
        Wall { session, waiting }
    }

    /// As [`Self::wall`], for whoever rather fails than waits for a lock: it waits for none. Once in a database, which must be
    /// the stage's own.
    ///
    /// # Panics
    /// When Postgres does not answer.
    pub async fn wall_without_a_lock(&self) -> Wall {
        for statement in [
            "create function hubbub.stand_before_the_wall() returns trigger language plpgsql as
             $$ begin
                 while not pg_try_advisory_xact_lock_shared(2) loop perform pg_sleep(0.01); end loop;
                 return null;
             end $$",
            "create trigger the_wall before insert on hubbub.message
             for each statement execute function hubbub.stand_before_the_wall()",
        ] {
            sqlx::query(statement).execute(&self.pool).await.expect("Postgres takes a trigger");
        }
        let mut session = self.transaction().await;
        sqlx::query("select pg_advisory_xact_lock(2)")
            .execute(&mut *session)
            .await
            .expect("nobody else holds it");
        let waiting = "select pid from pg_stat_activity
            where wait_event = 'PgSleep' and datname = current_database() limit 1";
        Wall { session, waiting }
    }

    async fn transaction(&self) -> PgTransaction<'static> {
        shared::store::begin(&self.pool).await.expect("Postgres answers")
    }
}

impl Stack {
    /// Holds up every change of members between its rows, which nobody else sees yet and which are locked, and its COMMIT.
    ///
    /// # Panics
    /// When Postgres does not answer.
    pub async fn wall_before_changes(&self) -> Wall {
        let mut session = shared::store::begin(&self.pool).await.expect("Postgres answers");
        sqlx::query("lock table hubbub.outbox in share mode")
            .execute(&mut *session)
            .await
            .expect("nobody else holds it");
        let waiting = "select pid from pg_locks where not granted and relation = 'hubbub.outbox'::regclass
            and database = (select oid from pg_database where datname = current_database())";
        Wall { session, waiting }
    }
}

impl Wall {
    /// The session that waits behind it now.
    ///
    /// # Panics
    /// When Postgres does not answer.
    pub async fn holds_up(&mut self) -> Option<i32> {
        sqlx::query_scalar(self.waiting).fetch_optional(&mut *self.session).await.expect("Postgres answers")
    }

    /// Waits until a session waits behind it.
    ///
    /// # Panics
    /// When none comes.
    pub async fn stops_somebody(&mut self) -> i32 {
        let waiting = eventually(PATIENCE, async || self.holds_up().await).await;
        waiting.expect("a batch runs into the wall")
    }

    /// Ends a session, as the server does with one whose owner it gives up.
    ///
    /// # Panics
    /// When there is no such session.
    pub async fn ends(&mut self, session: i32) {
        let ended: bool = sqlx::query_scalar("select pg_terminate_backend($1)")
            .bind(session)
            .fetch_one(&mut *self.session)
            .await
            .expect("Postgres answers");
        assert!(ended, "there is no session {session}");
    }

    /// Lets everybody through.
    ///
    /// # Panics
    /// When Postgres does not answer.
    pub async fn falls(self) {
        self.session.rollback().await.expect("Postgres answers");
    }
}
