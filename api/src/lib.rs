//! The stateless node that clients talk to: REST, WebSocket and the hub.
//!
//! Whatever a node knows it can learn again: rooms and people from Postgres, what happens from the log. So nodes come and
//! go as the operator likes, and a client that loses one goes on at another.
//!
//! `accept` takes connections, `router` knows the URLs, `auth` who is calling, `dialect` what the bytes mean, `chat` what
//! people can do (it names no HTTP, no JSON and no socket), and `hub` brings what happened to the sockets of this node
//! through `transport`. [`serve`] is the whole process from start to drain; tests call it too.

mod accept;
mod admin;
mod app;
mod auth;
mod chat;
pub mod config;
#[doc(hidden)]
pub mod decoders;
mod describe;
mod dialect;
mod headers;
mod hub;
mod json_check;
pub mod limits;
mod respond;
mod router;
mod transport;

use std::time::Duration;

use shared::config::UnsafeRedis;
use shared::shutdown::{Running, Shutdown};
use shared::telemetry::{Health, Metrics, serve_internal};
use shared::{Error, store};
use tokio::net::TcpListener;

use accept::AcceptLimits;
use app::App;
use config::Config;

/// How often the node looks whether its stores answer.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often counts of sockets are said to the bus again, well before they lapse.
const COUNTS_EVERY: Duration = Duration::from_secs(50);

/// Runs one node until `shutdown` begins; then it drains and returns.
///
/// # Errors
/// A store that can't be reached at start, a schema that does not fit, or a log Redis whose settings break a promise.
pub fn serve(
    config: Config,
    listeners: Vec<TcpListener>,
    internal: TcpListener,
    shutdown: Shutdown,
) -> Running {
    Box::pin(run(config, listeners, internal, shutdown))
}

async fn run(
    config: Config,
    listeners: Vec<TcpListener>,
    internal: TcpListener,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let health = Health::new();
    let gone = Shutdown::new();
    let secret = config.common.internal_secret.clone();
    let server = serve_internal(internal, health.clone(), Metrics::install(), secret, gone.clone());
    let app = App::build(config, health.clone(), shutdown.clone()).await?;
    store::check(&app.pool, app.partitions()).await?;
    check_settings(&app).await?;

    let pump = tokio::spawn(hub::pump(app.clone(), gone.clone()));
    let chores = tokio::spawn(chores(app.clone(), gone.clone()));
    let accept_limits = AcceptLimits::of(&app.config.limits);
    let accepting =
        tokio::spawn(accept::serve(listeners, router::router(&app), accept_limits, shutdown.clone()));
    tracing::info!(boot = %app.hub.boot(), "node ready");

    shutdown.wait().await;
    health.set_draining();
    hub::drain(&app, app.config.common.drain).await;
    let _ = tokio::time::timeout(app.config.common.drain, accepting).await;
    gone.begin();
    let _ = tokio::join!(pump, chores, server);
    app.pool.close().await;
    Ok(())
}

/// What a node does beside answering: ends, viewers, keys, readiness.
async fn chores(app: app::Shared, stop: Shutdown) {
    tokio::join!(
        hub::sweep(app.clone(), stop.clone()),
        hub::beat(app.clone(), stop.clone()),
        hub::marks(app.clone(), stop.clone()),
        hub::online::run(app.clone(), stop.clone()),
        app.auth.keep_keys_fresh(stop.wait()),
        watch_stores(&app, &stop),
        say_counts(&app, &stop),
    );
}

/// Keeps readiness true: a node whose log can't be asked can serve nobody.
async fn watch_stores(app: &app::Shared, stop: &Shutdown) {
    loop {
        if !app.draining.begun() {
            match app.log.ping().await {
                Ok(()) => app.health.set_ready(),
                Err(_) => app.health.set_broken("the log's Redis does not answer"),
            }
        }
        if tokio::time::timeout(LOOK_EVERY, stop.wait()).await.is_ok() {
            return;
        }
    }
}

async fn say_counts(app: &app::Shared, stop: &Shutdown) {
    while tokio::time::timeout(COUNTS_EVERY, stop.wait()).await.is_err() {
        if let Err(error) = app.limits.say_again(&app.bus, app.hub.boot()).await {
            tracing::debug!(%error, "counts of sockets can't be said now");
        }
    }
}

async fn check_settings(app: &App) -> Result<(), Error> {
    let report = app.log.check_settings().await?;
    match app.config.common.unsafe_redis {
        _ if report.is_good() => Ok(()),
        UnsafeRedis::Refuse => Err(Error::bug(report.to_string())),
        UnsafeRedis::Warn => {
            tracing::warn!("{report}");
            Ok(())
        }
    }
}
