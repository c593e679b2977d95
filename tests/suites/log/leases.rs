//! Who works on what: every partition has one owner, everybody computes the same one, and nothing stays without.

use std::time::{Duration, Instant};

use fanout_worker::BusOffice;
use harness::children::PATIENCE;
use harness::logs::{LEASE, Stage, somebody};
use harness::servers::{Database, PARTITIONS};
use persister::PostgresOffice;
use shared::bus::Bus;
use shared::id::{BootId, Partition, RoomId};
use shared::keys;
use shared::room::RoomKind;
use shared::store::rooms::{self, NewRoom};
use shared::stream::{Crew, Office};
use uuid::Uuid;

/// How many of the partitions each of `boots` should own.
fn shares(boots: &[BootId]) -> Vec<usize> {
    let owner = |p: Partition| boots.iter().copied().max_by_key(|boot| p.claim(*boot)).expect("there is one");
    boots.iter().map(|boot| Partition::all(PARTITIONS).filter(|p| owner(*p) == *boot).count()).collect()
}

/// Lets the crews take turns until each holds its share; at no time do they hold more than there is.
async fn settle<O: Office>(crews: &mut [Crew<O>], shares: &[usize]) {
    let settled = async {
        while crews.iter().map(Crew::holds).collect::<Vec<_>>() != shares {
            for n in 0..crews.len() {
                crews[n].tick().await.expect("the office answers");
                let held: usize = crews.iter().map(Crew::holds).sum();
                assert!(held <= usize::from(PARTITIONS), "{held} partitions are held");
            }
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("each crew gets its share");
}

/// What both kinds of worker promise, one after the other: they share, hand over at once, and replace who vanishes.
async fn workers_share<O: Office>(office: impl Fn(Duration) -> O) {
    let boots: Vec<BootId> = (0..3).map(|_| BootId::draw()).collect();
    let mut crews: Vec<Crew<O>> =
        boots.iter().map(|boot| Crew::new(office(LEASE), *boot, PARTITIONS)).collect();
    settle(&mut crews[..1], &[16]).await;
    settle(&mut crews[..2], &shares(&boots[..2])).await;
    settle(&mut crews, &shares(&boots)).await;

    // One leaves: the others have all of its share after one round, long before any lease runs out.
    let mut leaver = crews.remove(1);
    leaver.go().await;
    let left = [boots[0], boots[2]];
    for crew in &mut crews {
        crew.tick().await.expect("the office answers");
    }
    assert_eq!(crews.iter().map(Crew::holds).collect::<Vec<_>>(), shares(&left));
    for mut crew in crews {
        crew.go().await;
    }
}

async fn workers_replace_who_vanishes<O: Office>(office: impl Fn(Duration) -> O) {
    let lease = Duration::from_millis(800);
    let boots: Vec<BootId> = (0..2).map(|_| BootId::draw()).collect();
    let mut crews: Vec<Crew<O>> =
        boots.iter().map(|boot| Crew::new(office(lease), *boot, PARTITIONS)).collect();
    settle(&mut crews, &shares(&boots)).await;
    let vanished = crews.remove(0);
    let began = Instant::now();
    settle(&mut crews, &[16]).await;
    assert!(began.elapsed() < 3 * lease, "{:?}", began.elapsed());
    drop(vanished);
}

async fn bus_office(stage: &Stage) -> impl Fn(Duration) -> BusOffice + use<> {
    let (log, bus) = (stage.log.clone(), Bus::connect(&stage.bus_url).await.expect("the bus answers"));
    move |lease| BusOffice::new(log.clone(), bus.clone(), lease)
}

fn postgres_office(stage: &Stage) -> impl Fn(Duration) -> PostgresOffice + use<> {
    let (log, pool) = (stage.log.clone(), stage.pool.clone());
    move |lease| PostgresOffice::new(log.clone(), pool.clone(), lease)
}

#[tokio::test]
async fn persisters_share_the_partitions_and_hand_over_at_once() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    workers_share(postgres_office(&stage)).await;
}

#[tokio::test]
async fn persisters_replace_one_that_vanishes_after_its_lease() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    workers_replace_who_vanishes(postgres_office(&stage)).await;
}

#[tokio::test]
async fn fan_out_workers_share_the_partitions_and_hand_over_at_once() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    workers_share(bus_office(&stage).await).await;
}

#[tokio::test]
async fn fan_out_workers_replace_one_that_vanishes_after_its_lease() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    workers_replace_who_vanishes(bus_office(&stage).await).await;
}

#[tokio::test]
async fn each_lease_is_in_the_name_of_the_worker_that_should_have_it() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let boots: Vec<BootId> = (0..3).map(|_| BootId::draw()).collect();
    let (office, bus) = (postgres_office(&stage), bus_office(&stage).await);
    let mut persisters: Vec<_> =
        boots.iter().map(|boot| Crew::new(office(LEASE), *boot, PARTITIONS)).collect();
    let mut fanouts: Vec<_> = boots.iter().map(|boot| Crew::new(bus(LEASE), *boot, PARTITIONS)).collect();
    let shares = shares(&boots);
    tokio::join!(settle(&mut persisters, &shares), settle(&mut fanouts, &shares));

    let rows: Vec<(i16, Uuid)> = sqlx::query_as("select id, owner from hubbub.partition order by id")
        .fetch_all(&stage.pool)
        .await
        .expect("every partition has an owner");
    let client = redis::Client::open(stage.bus_url.as_str()).expect("the harness gives redis:// URLs");
    let mut redis = client.get_multiplexed_async_connection().await.expect("the bus answers");
    for (id, owner) in rows {
        let partition = Partition::numbered(u16::try_from(id).expect("there are sixteen"));
        let expected =
            boots.iter().copied().max_by_key(|boot| partition.claim(*boot)).expect("there are three");
        assert_eq!(owner, expected.0, "{partition}");
        let lease: String = redis::cmd("GET")
            .arg(keys::fanout_lease(partition))
            .query_async(&mut redis)
            .await
            .expect("it is held");
        assert_eq!(lease, expected.to_string(), "{partition}");
    }
}

#[tokio::test]
async fn what_is_said_while_workers_come_and_go_is_stored_once() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let office = postgres_office(&stage);
    let voice = stage.producer();
    let mut rooms = Vec::new();
    for _ in 0..24 {
        let id = RoomId(Uuid::new_v4());
        let room = NewRoom { id, kind: RoomKind::Group, name: None, description: None, created_by: None };
        rooms::insert(&stage.pool, &room).await.expect("Postgres answers");
        rooms.push(id);
    }
    let talk = async {
        for n in 0..20 {
            for room in &rooms {
                let line = harness::logs::Line::new(*room, somebody(), n.to_string());
                voice.say(&line).await.expect("the log is open");
            }
        }
    };
    let mut crews: Vec<_> = (0..2).map(|_| Crew::new(office(LEASE), BootId::draw(), PARTITIONS)).collect();
    settle(&mut crews[..1], &[16]).await;
    let come_and_go = async {
        crews[1].tick().await.expect("Postgres answers");
        crews[0].tick().await.expect("Postgres answers");
        crews[1].tick().await.expect("Postgres answers");
        crews[0].go().await;
        crews[1].tick().await.expect("Postgres answers");
    };
    tokio::join!(talk, come_and_go);
    let all = async {
        let query = "select count(*) from hubbub.message where content = '19'";
        while sqlx::query_scalar::<_, i64>(query).fetch_one(&stage.pool).await.expect("Postgres answers") < 24
        {
            crews[1].tick().await.expect("Postgres answers");
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("all is stored");
    for room in rooms {
        let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert_eq!(stage.texts(room).await, expected);
    }
}
