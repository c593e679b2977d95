//! Beginning a transaction and leaving in the middle of it, as a request does whose client goes away: the session must
//! come back to the pool outside any transaction, or the next writer is told "done" of what is never committed.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use harness::servers::Servers;
use shared::store;

/// Tries that leave one turn later than the one before; from there on twice as late, until one is in time to begin.
const STEPS: u32 = 32;

#[tokio::test]
async fn whoever_leaves_while_a_transaction_begins_takes_nothing_of_anybody_else_along() {
    let servers = Servers::start().await;
    let pool = store::connect(&servers.database_url, 1, "leaver", Duration::from_secs(30));
    let pool = pool.expect("the harness's own address is good");
    let others = store::connect(&servers.database_url, 1, "others", Duration::from_secs(30));
    let others = others.expect("the harness's own address is good");
    let mut begun = false;
    let mut turns = 0;
    while !begun {
        {
            let mut beginning = pin!(store::begin(&pool));
            for _ in 0..turns {
                begun |= (&mut beginning).now_or_never().is_some();
                if begun {
                    break;
                }
                // Whatever is on its way gets its chance to arrive.
                tokio::task::yield_now().await;
            }
        }
        let name = format!("kept after {turns}");
        let insert = "insert into hubbub.setting (name, value) values ($1, 'x')";
        sqlx::query(insert).bind(&name).execute(&pool).await.expect("Postgres answers");
        let seen: i64 = sqlx::query_scalar("select count(*) from hubbub.setting where name = $1")
            .bind(&name)
            .fetch_one(&others)
            .await
            .expect("Postgres answers");
        assert_eq!(seen, 1, "what was reported as written after {turns} turns is committed");
        turns = if turns < STEPS { turns + 1 } else { turns * 2 };
    }
}
