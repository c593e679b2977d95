//! The harness keeps its own promises: the servers are real, strict about slots, and survive what they should.

use harness::servers::{Database, Servers};
use redis::AsyncCommands;
use sqlx::{Connection, PgConnection};

async fn redis_at(url: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url).expect("the harness gives redis:// URLs");
    client.get_multiplexed_async_connection().await.expect("the harness's Redis answers")
}

async fn one_from(url: &str) -> Result<i32, sqlx::Error> {
    let mut session = PgConnection::connect(url).await?;
    sqlx::query_scalar("select 1").fetch_one(&mut session).await
}

#[tokio::test]
async fn each_stack_has_servers_of_its_own() {
    let (ours, theirs) = tokio::join!(Servers::start(), Servers::start());
    assert_ne!(ours.database_url, theirs.database_url);
    assert_ne!(ours.log_url, theirs.log_url);
    assert_eq!(one_from(&ours.database_url).await.ok(), Some(1));

    redis_at(&ours.log_url).await.set::<_, _, ()>("greeting", "hello").await.expect("the log takes writes");
    let elsewhere: Option<String> = redis_at(&theirs.log_url).await.get("greeting").await.expect("it reads");
    assert_eq!(elsewhere, None);
    redis_at(&ours.bus_url).await.set::<_, _, ()>("greeting", "hello").await.expect("the bus takes writes");
}

#[tokio::test]
async fn a_command_on_two_slots_is_refused() {
    let servers = Servers::start().await;
    for url in [&servers.log_url, &servers.bus_url] {
        let mut connection = redis_at(url).await;
        let refused = connection.del::<_, ()>(&["{p00}log", "{p01}log"]).await;
        assert_eq!(refused.expect_err("two slots").code(), Some("CROSSSLOT"));
    }
}

#[tokio::test]
async fn the_log_keeps_what_it_acknowledged_when_killed_and_the_bus_nothing() {
    let mut servers = Servers::start().await;
    for url in [&servers.log_url, &servers.bus_url] {
        redis_at(url).await.set::<_, _, ()>("said", 1).await.expect("it takes writes");
    }
    servers.log.kill9();
    servers.bus.kill9();
    tokio::join!(servers.log.start(), servers.bus.start());
    assert_eq!(redis_at(&servers.log_url).await.get::<_, Option<i32>>("said").await.ok(), Some(Some(1)));
    assert_eq!(redis_at(&servers.bus_url).await.get::<_, Option<i32>>("said").await.ok(), Some(None));
}

#[tokio::test]
async fn a_private_postgres_can_be_broken_and_mended() {
    let servers = Servers::start_with(Database::Own).await;
    servers.postgres.kill9();
    assert!(one_from(&servers.database_url).await.is_err());
    servers.postgres.start().await;
    assert_eq!(one_from(&servers.database_url).await.ok(), Some(1));
    servers.postgres.stop().await;
    assert!(one_from(&servers.database_url).await.is_err());
    servers.postgres.start().await;
    assert_eq!(one_from(&servers.database_url).await.ok(), Some(1));
}
