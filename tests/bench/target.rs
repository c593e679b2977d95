//! What is measured: Hubbub, started here or running already, or the peer. A target knows where viewers sit, how a message
//! is sent, and which processes its cost is made of.

mod friends;
mod given;
mod own;

use std::net::SocketAddr;
use std::time::Duration;

use harness::children::eventually;
use harness::process::Process;
use harness::servers::Servers;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sqlx::Connection as _;
use uuid::Uuid;

use crate::machine::{self, Watched};
use crate::peer::PeerProcess;
use crate::tally::{number_of, text_of};

/// Bytes of a message's text.
const TEXT_BYTES: usize = 100;
/// People who send, in turn: no one of them is in a hurry.
const SENDERS: u64 = 50;
/// How long one send may take before it counts as failed.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// How long tokens hold: longer than any run.
const TOKEN_SECS: i64 = 7_200;
/// How long a stack may take until it accepts a first message.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service that can be loaded.
pub(crate) struct Target {
    /// How reports call it.
    pub(crate) name: &'static str,
    /// Its processes, the stores included.
    pub(crate) processes: Vec<Watched>,
    /// Which of them hold the sockets.
    pub(crate) holders: Vec<Watched>,
    nodes: Vec<SocketAddr>,
    feed: Feed,
    metrics: Vec<String>,
    metrics_secret: Option<String>,
    client: reqwest::Client,
    /// Kept alive for as long as it is measured.
    running: Running,
}

/// How messages are sent.
enum Feed {
    Hubbub { session: i64, tokens: Tokens },
    Peer { url: String, frame_bytes: usize },
}

/// Processes that end when this is dropped.
enum Running {
    Elsewhere,
    Stack {
        #[expect(dead_code, reason = "held, not used")]
        workers: Vec<Process>,
        nodes: Vec<Node>,
        servers: Box<Servers>,
    },
    Peer(#[expect(dead_code, reason = "held, not used")] PeerProcess),
}

/// An api node of a stack of our own.
pub(crate) struct Node {
    pub(crate) process: Process,
    /// Where it says that it is ready.
    pub(crate) readyz: String,
}

/// Signs people in with the stack's own key.
struct Tokens(EncodingKey);

impl Tokens {
    fn of(&self, kind: &str, number: u64) -> String {
        self.with_roles(kind, number, &[])
    }

    fn with_roles(&self, kind: &str, number: u64, roles: &[&str]) -> String {
        let claims = json!({
            "iss": "hubbub", "aud": "hubbub", "ver": 0, "username": format!("{kind}-{number}"), "roles": roles,
            "sub": account(kind, number),
            "exp": chrono::Utc::now().timestamp() + TOKEN_SECS,
        });
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.0).expect("these claims are JSON")
    }
}

/// The account of that person.
fn account(kind: &str, number: u64) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{kind}-{number}").as_bytes())
}

impl Target {
    /// Starts a stack of our own: `nodes` api nodes and one of everything else, with these settings beside its own.
    pub(crate) async fn own(nodes: usize, settings: &[(&str, &str)]) -> Target {
        own::start(nodes, settings).await
    }

    /// A running stack, by the file of its addresses and secrets.
    pub(crate) async fn given(env: &std::path::Path) -> Target {
        given::find(env).await
    }

    /// Starts the peer; its frames are as long as ours.
    pub(crate) async fn peer(frame_bytes: usize) -> Target {
        let process = PeerProcess::start().await;
        let watched = vec![Watched { name: "peer".to_owned(), pid: process.id() }];
        Target {
            name: "peer",
            processes: watched.clone(),
            holders: watched,
            nodes: vec![process.sockets],
            feed: Feed::Peer { url: process.feed_url(), frame_bytes },
            metrics: Vec::new(),
            metrics_secret: None,
            client: client(),
            running: Running::Peer(process),
        }
    }

    /// Where viewer `number` sits: the node, and the path of its socket.
    pub(crate) fn seat(&self, number: usize) -> (SocketAddr, String) {
        self.seat_at(number % self.nodes.len(), number)
    }

    /// The same at the node that is counted `node`, from 0.
    pub(crate) fn seat_at(&self, node: usize, number: usize) -> (SocketAddr, String) {
        let node = self.nodes[node];
        match &self.feed {
            Feed::Hubbub { session, tokens } => {
                let token = tokens.of("viewer", number as u64);
                (node, format!("/live-chat/ws/{session}?token={token}"))
            }
            Feed::Peer { .. } => (node, "/".to_owned()),
        }
    }

    /// Prepares the sending of message `number`.
    pub(crate) fn post(&self, number: u64) -> reqwest::RequestBuilder {
        let node = usize::try_from(number).unwrap_or(0) % self.nodes.len();
        self.post_at(node, number, Uuid::now_v7())
    }

    /// The same at the node that is counted `node`, from 0, and under a name that a retry gives again.
    pub(crate) fn post_at(&self, node: usize, number: u64, nonce: Uuid) -> reqwest::RequestBuilder {
        match &self.feed {
            Feed::Hubbub { tokens, .. } => {
                let node = self.nodes[node];
                let body = json!({"message": text_of(number, TEXT_BYTES), "client_msg_id": nonce});
                let request = self.client.post(format!("http://{node}/live-chat/send-message"));
                request.bearer_auth(tokens.of("sender", number % SENDERS)).json(&body)
            }
            Feed::Peer { url, frame_bytes } => {
                let body =
                    json!({"type": "new_message", "message": text_of(number, *frame_bytes)}).to_string();
                // What the JSON around the text takes is taken off the text.
                let text_bytes = (2 * frame_bytes).saturating_sub(body.len());
                self.client
                    .post(url)
                    .json(&json!({"type": "new_message", "message": text_of(number, text_bytes)}))
            }
        }
    }

    /// The metrics of all services, as texts; empty where there are none.
    pub(crate) async fn metrics(&self) -> Vec<String> {
        let mut texts = Vec::new();
        for url in &self.metrics {
            let mut request = self.client.get(url);
            if let Some(secret) = &self.metrics_secret {
                request = request.bearer_auth(secret);
            }
            if let Ok(answer) = request.send().await
                && let Ok(text) = answer.text().await
            {
                texts.push(text);
            }
        }
        texts
    }

    /// Takes the api nodes out of the target's hands, for stopping and starting them.
    ///
    /// # Panics
    /// When the target is no stack of our own.
    pub(crate) fn take_nodes(&mut self) -> Vec<Node> {
        match &mut self.running {
            Running::Stack { nodes, .. } => std::mem::take(nodes),
            Running::Elsewhere | Running::Peer(_) => panic!("only nodes of our own are stopped"),
        }
    }

    /// The numbers of the messages that Postgres has.
    ///
    /// # Errors
    /// When Postgres does not answer.
    ///
    /// # Panics
    /// When the target is no stack of our own.
    pub(crate) async fn stored(&self) -> Result<Vec<u64>, sqlx::Error> {
        let Running::Stack { servers, .. } = &self.running else {
            panic!("only a database of our own is read")
        };
        let mut session = sqlx::PgConnection::connect(&servers.database_url).await?;
        let texts: Vec<String> =
            sqlx::query_scalar("select content from hubbub.message where content like 'bench %'")
                .fetch_all(&mut session)
                .await?;
        Ok(texts.iter().filter_map(|text| number_of(text.as_bytes())).collect())
    }

    /// Finds the open session, and waits until a message is accepted.
    async fn wait_until_open(&mut self) {
        let open = eventually(PATIENCE, async || self.session().await).await;
        let found = open.expect("the live chat is open and answers /live-chat/status");
        if let Feed::Hubbub { session, .. } = &mut self.feed {
            *session = found;
        }
        let accepted = eventually(PATIENCE, async || {
            let answer = self.post(0).send().await.ok()?;
            answer.status().is_success().then_some(())
        });
        accepted.await.expect("the stack accepts a message");
    }

    async fn session(&self) -> Option<i64> {
        let Feed::Hubbub { tokens, .. } = &self.feed else { return None };
        let url = format!("http://{}/live-chat/status", self.nodes[0]);
        let answer = self.client.get(url).bearer_auth(tokens.of("sender", 0)).send().await.ok()?;
        answer.json::<Value>().await.ok()?.pointer("/session/id")?.as_i64()
    }
}

fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().timeout(SEND_WITHIN).no_proxy().tcp_nodelay(true).build();
    client.expect("a client without special settings can be made")
}

/// The processes behind the stores' addresses. What runs in a container or elsewhere is not ours to see, and missing.
async fn stores(log_url: &str, bus_url: &str, database_url: &str) -> Vec<Watched> {
    let mut found = Vec::new();
    let redis = [("redis-log", log_url), ("redis-bus", bus_url)];
    for (name, url) in redis.into_iter().filter(|(name, url)| *name == "redis-log" || *url != log_url) {
        found.extend(redis_process(url).await.map(|pid| Watched { name: name.to_owned(), pid }));
    }
    found
        .extend(postgres_process(database_url).await.map(|pid| Watched { name: "postgres".to_owned(), pid }));
    found
}

async fn redis_process(url: &str) -> Option<u32> {
    let client = redis::Client::open(url).ok()?;
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:"))?.trim().parse().ok()?;
    runs(pid, "redis").then_some(pid)
}

/// The postmaster: the parent of whoever serves us.
async fn postgres_process(url: &str) -> Option<u32> {
    let mut session = sqlx::PgConnection::connect(url).await.ok()?;
    let backend: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut session).await.ok()?;
    let backend = u32::try_from(backend).ok()?;
    if runs(backend, "postgres") { machine::parent(backend) } else { None }
}

/// Whether that process is what we take it for.
fn runs(pid: u32, program: &str) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.starts_with(program) || name.starts_with("valkey")
}
