//! A link between two processes that can fail in the ways in which networks do: late, silent, refused, cut, and cut
//! after the request took effect but before its answer arrived, which is the one that makes outcomes unknown.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes that are passed on at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// How the link is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// As if it were not there.
    #[default]
    Fair,
    /// Everything arrives late by this much.
    Slow(Duration),
    /// Connections stay and new ones are taken, but nothing passes: an unplugged cable.
    Silent,
    /// Connections are cut, and so is each new one.
    Refusing,
    /// Requests pass; a connection that is at least this old is cut when its next answer comes, which is lost.
    LosingAnswers(Duration),
}

/// One link: listens on a port of its own and passes everything on.
pub struct Proxy {
    /// Where to connect instead of the server.
    pub address: SocketAddr,
    state: watch::Sender<State>,
    held: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    weather: Weather,
    /// Raised to cut what is open now.
    cuts: u64,
    /// Raised to let nothing pass any more on what is open now.
    strandings: u64,
}

impl Proxy {
    /// A link to the server of one of the harness's URLs, and the URL that leads over it.
    ///
    /// # Panics
    /// When the URL names no address and port.
    pub async fn before(url: &str) -> (Proxy, String) {
        let authority = url.split("//").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or(url);
        let host = authority.rsplit('@').next().unwrap_or(authority);
        let server = host.parse().unwrap_or_else(|error| panic!("{url} names no address: {error}"));
        let proxy = Proxy::start(server).await;
        let over = url.replace(host, &proxy.address.to_string());
        (proxy, over)
    }

    /// A link to `server` on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let (state, told) = watch::channel(State::default());
        let (holding, held) = watch::channel(0);
        let task = tokio::spawn(async move {
            let holding = Arc::new(holding);
            loop {
                // A lack of file handles passes; the link does not end with it.
                let Ok((client, _)) = listener.accept().await else { continue };
                tokio::spawn(carry(client, server, told.clone(), holding.clone()));
            }
        });
        Proxy { address, state, held, task }
    }

    /// Changes how the link is, for open and for new connections.
    pub fn set(&self, weather: Weather) {
        self.state.send_modify(|state| state.weather = weather);
    }

    /// Waits until something has been held back by silence.
    pub async fn holds_something(&self) {
        let mut held = self.held.clone();
        held.wait_for(|held| *held > 0).await.expect("the link is there");
    }

    /// Lets nothing pass any more on connections that are open now, as a router does that forgot them. New ones are as the
    /// weather is.
    pub fn strand(&self) {
        self.state.send_modify(|state| state.strandings += 1);
    }

    /// Cuts every connection that is open now.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Both directions of one connection; the end of either is the end of both.
async fn carry(
    client: TcpStream,
    server: SocketAddr,
    told: watch::Receiver<State>,
    holding: Arc<watch::Sender<usize>>,
) {
    if told.borrow().weather == Weather::Refusing {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let born_in = *told.borrow();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let way = |answers| Way {
        answers,
        born: Instant::now(),
        born_in,
        told: told.clone(),
        holding: holding.clone(),
    };
    tokio::select! {
        () = way(false).pass(from_client, to_server) => {}
        () = way(true).pass(from_server, to_client) => {}
    }
}

/// One direction of one connection.
struct Way {
    /// Whether this is the way back.
    answers: bool,
    born: Instant,
    /// How the link was when this began.
    born_in: State,
    told: watch::Receiver<State>,
    /// How often something was held back.
    holding: Arc<watch::Sender<usize>>,
}

impl Way {
    async fn pass(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = tokio::select! {
                () = self.broken() => return,
                read = from.read(&mut chunk) => read,
            };
            let Ok(length @ 1..) = read else {
                // An end is as little heard of as anything else.
                while self.is_stranded() {
                    self.hold().await;
                }
                return;
            };
            if !self.lets_pass().await || to.write_all(&chunk[..length]).await.is_err() {
                return;
            }
        }
    }

    /// Comes back when this connection must not live on.
    async fn broken(&mut self) {
        loop {
            let State { weather, cuts, .. } = *self.told.borrow_and_update();
            if cuts != self.born_in.cuts || weather == Weather::Refusing {
                return;
            }
            if self.told.changed().await.is_err() {
                return;
            }
        }
    }

    /// Holds something back for as long as the weather asks; false when it is lost and the connection with it.
    async fn lets_pass(&mut self) -> bool {
        loop {
            let State { weather, cuts, .. } = *self.told.borrow_and_update();
            match weather {
                _ if cuts != self.born_in.cuts => return false,
                Weather::Refusing => return false,
                _ if self.is_stranded() => self.hold().await,
                Weather::Fair => return true,
                Weather::Slow(late) => {
                    tokio::time::sleep(late).await;
                    return true;
                }
                Weather::LosingAnswers(age) => return !(self.answers && self.born.elapsed() >= age),
                Weather::Silent => self.hold().await,
            }
        }
    }

    /// Whether this connection was open when the link forgot what was.
    fn is_stranded(&self) -> bool {
        let State { cuts, strandings, .. } = *self.told.borrow();
        cuts == self.born_in.cuts && strandings != self.born_in.strandings
    }

    /// Holds something back until the link changes. A link that is no more changes by ending.
    async fn hold(&mut self) {
        self.holding.send_modify(|held| *held += 1);
        if self.told.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
