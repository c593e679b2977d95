//! What the role `admin` may do, and that it leaves a record.

use std::time::{Duration, Instant};

use harness::children::{PATIENCE, eventually};
use harness::person::{Node, Person};
use harness::stack::Stack;
use serde_json::{Value, json};
use sqlx::Row as _;
use uuid::Uuid;

use super::{become_friends, blocks, friends_of};

/// How long a deed of an admin may take to reach every socket.
const SOON: Duration = Duration::from_secs(2);

async fn admin(stack: &Stack) -> Person {
    stack.person_with("root", &["admin"]).await
}

fn account(person: &Person) -> String {
    format!("/api/v1/admin/accounts/{}", person.id())
}

fn revocation(person: &Person) -> String {
    format!("{}/revoke", account(person))
}

fn friendship(one: &Person, other: &Person) -> String {
    format!("/api/v1/admin/friendships/{}/{}", one.id(), other.id())
}

/// The record: what was done to whom by whom, with which details.
async fn record(stack: &Stack) -> Vec<(String, Vec<Uuid>, Uuid, Value)> {
    let rows = sqlx::query(
        "select action, accounts, actor, details, request_id from hubbub.admin_action order by no",
    )
    .fetch_all(&stack.pool)
    .await
    .expect("Postgres answers");
    let read = |row: &sqlx::postgres::PgRow| {
        assert!(row.get::<Option<String>, _>("request_id").is_some(), "the request can be found in the log");
        (row.get("action"), row.get("accounts"), row.get("actor"), row.get("details"))
    };
    rows.iter().map(read).collect()
}

fn uuid(person: &Person) -> Uuid {
    person.id().parse().expect("a UUID")
}

#[tokio::test]
async fn s48_every_deed_of_an_admin_leaves_a_record_that_stays() {
    let stack = Stack::start().await;
    let (root, ana, ben) = (admin(&stack).await, stack.person("ana").await, stack.person("ben").await);
    root.put(&account(&ana), &json!({ "is_active": true, "roles": ["host"] })).await.ok();
    root.put(&account(&ana), &json!({ "roles": null })).await.ok();
    assert_eq!(root.put(&friendship(&ana, &ben), &json!({})).await.status, 204);
    assert_eq!(root.delete(&friendship(&ben, &ana)).await.status, 204);
    assert_eq!(root.post(&revocation(&ben), &json!({})).await.status, 204);
    let (ana, ben, by) = (uuid(&ana), uuid(&ben), uuid(&root));
    let deed = |what: &str, to: &[Uuid], details: Value| (what.to_owned(), to.to_vec(), by, details);
    let expected = [
        deed("account_changed", &[ana], json!({ "is_active": true, "roles": ["host"] })),
        deed("account_changed", &[ana], json!({ "roles": null })),
        deed("friendship_made", &[ana, ben], json!({})),
        deed("friendship_ended", &[ben, ana], json!({})),
        deed("sign_ins_revoked", &[ben], json!({})),
    ];
    assert_eq!(record(&stack).await, expected);
    for statement in [
        "update hubbub.admin_action set actor = gen_random_uuid()",
        "delete from hubbub.admin_action",
        "truncate hubbub.admin_action",
    ] {
        let refused = sqlx::query(statement).execute(&stack.pool).await.expect_err(statement);
        assert!(refused.to_string().contains("neither changed nor removed"), "{refused}");
    }
    assert_eq!(record(&stack).await, expected);
    stack.finish().await;
}

#[tokio::test]
async fn s11_nobody_but_an_admin_does_what_admins_do() {
    let stack = Stack::start().await;
    let (ana, ben) = (stack.person_with("ana", &["host"]).await, stack.person("ben").await);
    become_friends(&ana, &ben).await;
    let answers = async |who: &Person| {
        [
            who.put(&account(&ben), &json!({ "is_active": false })).await,
            who.put(&account(who), &json!({ "roles": ["admin"] })).await,
            who.post(&revocation(&ben), &json!({})).await,
            who.put(&friendship(&ana, &ben), &json!({})).await,
            who.delete(&friendship(&ana, &ben)).await,
            // Not even whether something is of its form, or there.
            who.put("/api/v1/admin/accounts/x", &json!(7)).await,
            who.post(&format!("/api/v1/admin/accounts/{}/revoke", Uuid::new_v4()), &json!({})).await,
        ]
    };
    for answer in answers(&ana).await {
        answer.refused(403, "forbidden");
    }
    for answer in answers(&ana.with_token("")).await {
        answer.refused(401, "unauthorized");
    }
    assert_eq!(friends_of(&ben).await, ["ana"]);
    assert!(record(&stack).await.is_empty());
    stack.finish().await;
}

#[tokio::test]
async fn s07_a_revocation_closes_every_socket_within_two_seconds() {
    let stack = Stack::builder().nodes(2).start().await;
    let (root, ana, ben) = (admin(&stack).await, stack.person("ana").await, stack.person("ben").await);
    let mut sockets = [ana.connect().await, ana.at(Node(2)).connect().await];
    let others = ben.at(Node(2)).connect().await;
    let begun = Instant::now();
    assert_eq!(root.post(&revocation(&ana), &json!({})).await.status, 204);
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, Some(4401));
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    for node in [Node(1), Node(2)] {
        ana.at(node).get("/auth/me").await.refused(401, "unauthorized");
    }
    ben.get("/auth/me").await.ok();
    others.close().await;
    stack.finish().await;
}

#[tokio::test]
async fn s08_a_closed_account_is_closed_everywhere_until_it_is_opened() {
    let stack = Stack::builder().nodes(2).start().await;
    let (root, ana) = (admin(&stack).await, stack.person("ana").await);
    let mut socket = ana.at(Node(2)).connect().await;
    let begun = Instant::now();
    let closed = root.put(&account(&ana), &json!({ "is_active": false })).await.ok();
    assert_eq!((&closed["is_active"], &closed["username"]), (&json!(false), &json!("ana")));
    assert_eq!(socket.closed().await, Some(4401));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    for node in [Node(1), Node(2)] {
        ana.at(node).get("/auth/me").await.refused(403, "forbidden");
        ana.at(node).is_kept_out_of("1").await.refused(403, "forbidden");
    }
    root.put(&account(&ana), &json!({ "is_active": true })).await.ok();
    let open =
        eventually(PATIENCE, async || (ana.at(Node(2)).get("/auth/me").await.status == 200).then_some(()));
    open.await.expect("open again");
    stack.finish().await;
}

#[tokio::test]
async fn roles_that_an_admin_sets_hold_until_they_are_left_to_the_claims_again() {
    let stack = Stack::builder().nodes(2).start().await;
    let (root, ana) = (admin(&stack).await, stack.person_with("ana", &["winner"]).await);
    let roles = async |expected: Value| {
        let shown = eventually(PATIENCE, async || {
            let me = ana.at(Node(2)).get("/auth/me").await.ok();
            (me["roles"] == expected).then_some(())
        });
        shown.await.unwrap_or_else(|| panic!("the roles are {expected}"));
    };
    roles(json!(["winner"])).await;
    let set = root.put(&account(&ana), &json!({ "roles": ["admin", "HOST"] })).await.ok();
    assert_eq!((&set["roles"], &set["roles_set"]), (&json!(["host", "admin"]), &json!(["host", "admin"])));
    roles(json!(["host", "admin"])).await;
    root.put(&account(&ana), &json!({ "roles": [] })).await.ok();
    roles(json!([])).await;
    let back = root.put(&account(&ana), &json!({ "roles": null })).await.ok();
    assert_eq!((&back["roles"], &back["roles_set"]), (&json!(["winner"]), &Value::Null));
    roles(json!(["winner"])).await;
    stack.finish().await;
}

#[tokio::test]
async fn an_admin_makes_and_ends_friendships_of_people_who_never_came() {
    let stack = Stack::builder().nodes(2).start().await;
    let (root, ana, ben) = (admin(&stack).await, stack.person("ana").await, stack.person("ben").await);
    // As if he had never been here.
    stack.run("delete from hubbub.account where username = 'ben'").await;
    for _ in 0..2 {
        assert_eq!(root.put(&friendship(&ana, &ben), &json!({})).await.status, 204);
    }
    assert_eq!(friends_of(&ana).await, [ben.id()], "nobody has said what he is called");
    let found = ana.get(&format!("/api/v1/accounts?username={}", ben.id())).await.ok();
    assert_eq!(found["accounts"], json!([]), "who never came is not found");
    let ben = stack.person("ben").await;
    assert_eq!(friends_of(&ana).await, ["ben"]);
    assert_eq!(friends_of(&ben.at(Node(2))).await, ["ana"]);
    for _ in 0..2 {
        assert_eq!(root.delete(&friendship(&ana, &ben)).await.status, 204);
    }
    assert_eq!((friends_of(&ana).await, friends_of(&ben).await), (vec![], vec![]));
    blocks(&ben, &ana).await;
    root.put(&friendship(&ana, &ben), &json!({})).await.refused(409, "conflict");
    stack.finish().await;
}

#[tokio::test]
async fn what_an_admin_gets_wrong_is_said() {
    let stack = Stack::start().await;
    let (root, ana) = (admin(&stack).await, stack.person("ana").await);
    let nobody = format!("/api/v1/admin/accounts/{}", Uuid::new_v4());
    root.put(&nobody, &json!({ "is_active": false })).await.refused(404, "not_found");
    root.post(&format!("{nobody}/revoke"), &json!({})).await.refused(404, "not_found");
    for body in [
        json!({}),
        json!({ "is_active": null }),
        json!({ "is_active": "no" }),
        json!({ "roles": "admin" }),
        json!({ "roles": ["emperor"] }),
        json!({ "roles": [1] }),
    ] {
        root.put(&account(&ana), &body).await.refused(422, "invalid");
    }
    for bad in ["x", "%00"] {
        root.put(&format!("/api/v1/admin/accounts/{bad}"), &json!({ "is_active": true }))
            .await
            .refused(422, "invalid");
        root.post(&format!("/api/v1/admin/accounts/{bad}/revoke"), &json!({})).await.refused(422, "invalid");
        let path = format!("/api/v1/admin/friendships/{}/{bad}", ana.id());
        root.put(&path, &json!({})).await.refused(422, "invalid");
        root.delete(&path).await.refused(422, "invalid");
    }
    root.put(&friendship(&ana, &ana), &json!({})).await.refused(400, "invalid");
    root.delete(&friendship(&ana, &ana)).await.refused(400, "invalid");
    assert!(record(&stack).await.is_empty());
    stack.finish().await;
}
