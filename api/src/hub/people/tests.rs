//! What one socket is told of the moment, and when.

use std::time::Duration;

use bytes::BytesMut;
use shared::bus::Word;
use shared::event::Origin;
use shared::id::{AccountId, BootId};
use shared::user::{Account, Roles};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::*;
use crate::dialect::{Caps, Encoding};
use crate::hub::outbox::{CLOSE_WITHIN, Closing, Outbox, OutboxLimits};

fn person(n: u128) -> AccountId {
    AccountId(Uuid::from_u128(n))
}

/// Somebody's connection to this node, and the other end of it.
pub(in crate::hub) async fn connection() -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let server = server.unwrap().0;
    server.writable().await.unwrap();
    let limits =
        OutboxLimits { bytes_max: 1 << 20, age_max: Duration::from_secs(30), close_within: CLOSE_WITHIN };
    let account = Account {
        id: person(1),
        no: 1,
        username: "ana".to_owned(),
        full_name: None,
        avatar: None,
        roles: Roles::NONE,
        is_active: true,
        token_version: 0,
    };
    let connection = Connection {
        origin: Origin { node: BootId::draw(), connection: 1, send: 0 },
        account: Arc::new(account),
        outbox: Arc::new(Outbox::new(Arc::new(server), limits, Closing::WebSocket)),
        encoding: Encoding::Friends(Caps { presence: true, ..Caps::default() }),
        expires_at: Utc::now() + chrono::TimeDelta::hours(1),
        resumes: false,
        ends_at: None,
    };
    (connection, client.unwrap())
}

async fn socket() -> (Socket, TcpStream) {
    let (connection, client) = connection().await;
    let socket =
        Socket { connection: Arc::new(connection), rooms: Mutex::default(), friends: Mutex::default() };
    (socket, client)
}

/// Greets the socket with a line that names who is here, and answers that name by name.
fn greet(socket: &Socket, online: &[AccountId]) -> Vec<AccountId> {
    let mut told = Vec::new();
    socket.greet(online.iter().copied().collect(), |friends| {
        told = friends.iter().copied().collect();
        [Bytes::from_static(b"greeting")]
    });
    told.sort();
    told
}

/// Everything that was sent to the socket.
async fn sent(socket: Socket, client: TcpStream) -> String {
    drop(socket);
    read_all(client).await
}

/// Everything that was sent to a connection that has ended.
pub(in crate::hub) async fn read_all(mut client: TcpStream) -> String {
    let mut bytes = BytesMut::new();
    while client.read_buf(&mut bytes).await.unwrap() > 0 {}
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn nothing_comes_before_the_greeting() {
    let (socket, client) = socket().await;
    let typing = |n| Word::Typing { person: person(n), is_typing: true };
    socket.hear(&typing(2));
    socket.hear(&Word::Presence { person: person(3), online: true });
    assert_eq!(greet(&socket, &[]), [person(3)]);
    socket.hear(&typing(4));
    socket.hear(&Word::Presence { person: person(3), online: true });
    let sent = sent(socket, client).await;
    assert!(sent.starts_with("greeting"), "{sent}");
    assert_eq!(sent.matches("typing_indicator").count(), 1, "{sent}");
    assert!(!sent.contains("friend_online"), "the greeting told it: {sent}");
}

#[tokio::test]
async fn the_greeting_tells_who_is_here_as_far_as_was_heard() {
    let (socket, client) = socket().await;
    let [came, went, back, gone] = [2, 3, 4, 5].map(person);
    for (friend, online) in
        [(came, true), (went, false), (back, false), (back, true), (gone, true), (gone, false)]
    {
        socket.hear(&Word::Presence { person: friend, online });
    }
    assert_eq!(greet(&socket, &[went, back, gone]), [came, back]);
    socket.hear(&Word::Presence { person: went, online: false });
    socket.hear(&Word::Presence { person: went, online: true });
    let sent = sent(socket, client).await;
    assert_eq!(sent.matches("friend_offline").count(), 0, "who was not here can't go: {sent}");
    assert_eq!(sent.matches("friend_online").count(), 1, "{sent}");
}
