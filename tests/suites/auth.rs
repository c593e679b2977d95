//! Accounts in Postgres: remembered at first sight, changed when their issuer says so, and nobody else's.

use std::time::Duration;

use harness::servers::Servers;
use shared::error::Code;
use shared::id::AccountId;
use shared::store::accounts::{self, Seen};
use shared::store::{self, PgPool};
use shared::user::{Account, Role, Roles};
use uuid::Uuid;

async fn postgres() -> (PgPool, Servers) {
    let servers = Servers::start().await;
    let pool =
        store::connect(&servers.database_url, 4, "test", Duration::from_secs(10)).expect("a good address");
    store::migrate(&pool, 16).await.expect("an empty database can be migrated");
    (pool, servers)
}

fn ana() -> Seen<'static> {
    Seen {
        id: AccountId(Uuid::from_u128(0xa4a)),
        issuer: "shop",
        username: Some("ana"),
        fallback_name: "user-00000000",
        full_name: Some("Ana Anic"),
        avatar: None,
        roles: Roles::from_iter([Role::Host]),
    }
}

async fn see(pool: &PgPool, seen: &Seen<'_>) -> Account {
    accounts::see(pool, seen).await.unwrap_or_else(|error| panic!("{seen:?}: {error}"))
}

async fn updated_at(pool: &PgPool, id: AccountId) -> chrono::DateTime<chrono::Utc> {
    let row = sqlx::query_scalar("select updated_at from hubbub.account where id = $1").bind(id.0);
    row.fetch_one(pool).await.expect("the account is there")
}

#[tokio::test]
async fn an_account_is_written_at_first_sight_and_when_its_claims_change() {
    let (pool, _servers) = postgres().await;
    let first = see(&pool, &ana()).await;
    assert_eq!((first.no, first.username.as_str(), first.token_version), (1, "ana", 0));
    let written = updated_at(&pool, first.id).await;
    assert_eq!(see(&pool, &ana()).await, first);
    assert_eq!(updated_at(&pool, first.id).await, written, "nothing changed, nothing is written");

    let renamed = see(&pool, &Seen { username: Some("Ana"), full_name: None, ..ana() }).await;
    assert_eq!((renamed.username.as_str(), renamed.full_name, renamed.no), ("Ana", None, 1));
    let nameless = see(&pool, &Seen { username: None, ..ana() }).await;
    assert_eq!(nameless.username, "Ana", "a token without a name takes none away");
    let stranger = Seen { id: AccountId(Uuid::from_u128(7)), username: None, ..ana() };
    let stranger = see(&pool, &stranger).await;
    assert_eq!(stranger.username, "user-00000000");
    assert!(stranger.no > first.no, "a number is one person's");
    assert_eq!(accounts::by_id(&pool, stranger.id).await.expect("an answer"), Some(stranger));
}

#[tokio::test]
async fn s02_an_account_stays_with_the_issuer_that_was_first() {
    let (pool, _servers) = postgres().await;
    let first = see(&pool, &ana()).await;
    let evil =
        Seen { issuer: "evil", username: Some("eve"), roles: Roles::from_iter([Role::Admin]), ..ana() };
    let refused = accounts::see(&pool, &evil).await.expect_err("another issuer");
    assert_eq!(refused.code(), Code::Unauthorized);
    assert_eq!(accounts::by_id(&pool, first.id).await.expect("an answer"), Some(first));
}

#[tokio::test]
async fn many_first_sights_at_once_are_one_account() {
    let (pool, _servers) = postgres().await;
    let seen = ana();
    let accounts = futures_util::future::join_all((0..20).map(|_| see(&pool, &seen))).await;
    assert!(accounts.iter().all(|account| *account == accounts[0]));
}

#[tokio::test]
async fn an_admins_roles_stand_until_they_are_taken_back() {
    let (pool, _servers) = postgres().await;
    let account = see(&pool, &ana()).await;
    let set = |statement: &'static str| sqlx::query(statement).bind(account.id.0).execute(&pool);
    set("update hubbub.account set roles_override = '{winner}' where id = $1").await.expect("an update");
    let overridden = see(&pool, &Seen { roles: Roles::from_iter([Role::Admin]), ..ana() }).await;
    assert_eq!(overridden.roles.to_names(), ["winner"]);
    set("update hubbub.account set roles_override = null where id = $1").await.expect("an update");
    assert_eq!(
        accounts::by_id(&pool, account.id).await.expect("an answer").expect("there").roles.to_names(),
        ["admin"]
    );
}

#[tokio::test]
async fn s07_ended_sign_ins_are_found_in_one_look() {
    let (pool, _servers) = postgres().await;
    let people: Vec<Account> = {
        let mut people = Vec::new();
        for n in 1..=4 {
            people.push(see(&pool, &Seen { id: AccountId(Uuid::from_u128(n)), ..ana() }).await);
        }
        people
    };
    let gone = AccountId(Uuid::from_u128(99));
    let mut held: Vec<(AccountId, i32)> =
        people.iter().map(|person| (person.id, person.token_version)).collect();
    assert_eq!(accounts::no_longer_good(&pool, &held).await.expect("an answer"), []);
    assert_eq!(accounts::no_longer_good(&pool, &[]).await.expect("an answer"), []);

    assert_eq!(accounts::bump_token_version(&pool, people[0].id).await.expect("an answer"), Some(1));
    assert_eq!(accounts::bump_token_version(&pool, gone).await.expect("an answer"), None);
    let close = sqlx::query("update hubbub.account set is_active = false where id = $1").bind(people[1].id.0);
    close.execute(&pool).await.expect("an update");
    assert!(!accounts::is_active(&pool, people[1].id).await.expect("an answer"));
    assert!(accounts::is_active(&pool, people[2].id).await.expect("an answer"));
    assert!(!accounts::is_active(&pool, gone).await.expect("an answer"));

    held.extend([(gone, 0), (people[0].id, 1)]);
    let mut ended = accounts::no_longer_good(&pool, &held).await.expect("an answer");
    ended.sort();
    assert_eq!(ended, [(people[0].id, 0), (people[1].id, 0), (gone, 0)]);
}
