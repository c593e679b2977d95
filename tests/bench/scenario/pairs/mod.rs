//! Friends who write to each other, two to a room, each with one socket, the two of a pair on different nodes: what a message
//! costs with everything stored, and how soon it is there.

mod ledger;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use harness::children::eventually;

use self::ledger::{Letters, nonce_of, writer_and_reader};
use super::{Room, nothing_lost};
use crate::crowd::Crowd;
use crate::phase::{LAST_WITHIN, LEAD, Load, Meters, metronome};
use crate::report::{Millis, Phase, Traffic};
use crate::tally::{Schedule, histogram, record};
use crate::target::Target;
use crate::verdict::{Figure, Verdict, Wanted};
use crate::{Plan, Which, frames, machine};

const PEOPLE: usize = 1_000;
const RATES: [u32; 2] = [500, 1_500];
/// Of all server processes, the stores included.
const MICROS_MAX: f64 = 150.0;
/// From the time at which a message is due until its receiver's socket has it.
const P50_MAX_MS: f64 = 1.0;
const P99_MAX_MS: f64 = 4.0;

/// The people of one target, and how many there are.
struct Friends {
    crowd: Crowd<Letters>,
    pairs: usize,
}

/// # Errors
/// When a socket or a friendship is refused.
pub(crate) async fn measure(plan: &Plan) -> Result<Verdict, Box<dyn Error>> {
    let pairs = plan.viewers.unwrap_or(PEOPLE).div_ceil(2);
    let rates: &[u32] = if plan.rate.is_empty() { &RATES } else { &plan.rate };
    let mut room = Room::new(Target::own(plan.nodes.unwrap_or(2), &[]).await);
    room.target.befriend(pairs).await?;
    let phases = load(plan, &mut room, pairs, rates).await?;
    let compared = room.compared().await;
    let nodes = room.target.holders.len();
    drop(room);

    let mut figures: Vec<Figure> = phases.iter().flat_map(expectations).collect();
    figures.extend(nothing_lost(&phases));
    figures.extend(compared);
    if plan.targets.contains(&Which::Peer) {
        let frame_bytes = phases.last().map_or(0, |phase| phase.traffic.frame_bytes);
        let mut peer = Room::new(Target::peer(usize::try_from(frame_bytes)?).await);
        let theirs = load(plan, &mut peer, pairs, rates).await?;
        figures.extend(phases.iter().zip(&theirs).flat_map(|(our, their)| comparison(our, their)));
    }
    Ok(Verdict {
        scenario: "pairs",
        passed: false,
        processors: machine::processors(),
        nodes,
        viewers: 2 * pairs,
        fdatasync: phases.last().map(|phase| phase.fdatasync).unwrap_or_default(),
        figures,
        counts: BTreeMap::new(),
        phases,
    }
    .judged())
}

/// Seats everybody, and runs a phase for each rate behind a first one that is not counted.
async fn load(
    plan: &Plan,
    room: &mut Room,
    pairs: usize,
    rates: &[u32],
) -> Result<Vec<Phase>, Box<dyn Error>> {
    let seats = (0..2 * pairs).map(|number| room.target.friend_seat(number));
    let friends = Friends { crowd: Crowd::seated(seats).await?, pairs };
    let mut phases = Vec::new();
    for (index, rate) in rates.iter().copied().enumerate() {
        if index == 0 {
            run(room, &friends, Load { rate, secs: plan.warm_up }).await;
        }
        machine::wait_for_calm(plan.calm).await;
        phases.push(run(room, &friends, Load { rate, secs: plan.secs }).await);
    }
    Ok(phases)
}

async fn run(room: &mut Room, friends: &Friends, load: Load) -> Phase {
    let count = load.rate as usize * load.secs as usize;
    let schedule = Schedule { base: room.next, count, start: Instant::now() + LEAD, rate: load.rate };
    room.next += count as u64;
    friends.crowd.begin(Letters::new(friends.pairs, schedule));
    let meters = Meters::start(&room.target).await;
    let lateness = send_all(&room.target, friends, schedule).await;
    // What is still open then is lost or unanswered, and the report says how much.
    let over = async || friends.crowd.look(|letters| letters.open() == 0).then_some(());
    let _ = eventually(LAST_WITHIN, over).await;
    let meters = meters.stop(&room.target);
    let letters = friends.crowd.end();
    let metered = meters.read(&room.target, letters.delivered).await;
    let (accepted, unknown) = (letters.accepted(), letters.unknown());
    room.acked.extend(&accepted);
    room.unknown.extend(&unknown);
    Phase {
        rate: load.rate,
        secs: load.secs,
        viewers: friends.crowd.size(),
        traffic: traffic(&letters, friends.crowd.closed()),
        delivery: Millis::of(&letters.arrival),
        answer: Millis::of(&letters.ack),
        lateness,
        fdatasync: metered.fdatasync,
        written_p99_at_most_ms: metered.written_p99_at_most_ms,
        persisted_p99_at_most_ms: metered.persisted_p99_at_most_ms,
        load_average: metered.load_average,
        cost: metered.cost,
        goodput: accepted.len() as f64 / letters.acked_until.as_secs_f64().max(f64::from(load.secs)),
        accepted,
        unknown,
    }
}

/// Answers how late the generator itself was.
async fn send_all(target: &Target, friends: &Friends, schedule: Schedule) -> Millis {
    let mut due = metronome(schedule);
    let mut lateness = histogram();
    while let Some(index) = due.recv().await {
        let (writer, reader) = writer_and_reader(index, friends.pairs);
        let number = schedule.base + index as u64;
        let frame = frames::say(&target.letter(reader, number, nonce_of(number)));
        record(&mut lateness, schedule.due(index).elapsed());
        if friends.crowd.say(writer, &frame) {
            friends.crowd.change(|letters| letters.sent(index));
        }
    }
    Millis::of(&lateness)
}

fn traffic(letters: &Letters, closed: usize) -> Traffic {
    let (accepted, unanswered) = (letters.accepted().len() as u64, letters.unanswered() as u64);
    Traffic {
        accepted,
        failed: letters.refusals.values().sum::<u64>() + unanswered,
        refused: letters.refusals.clone(),
        unanswered,
        expected: accepted,
        delivered: letters.delivered,
        lost: letters.lost() as u64,
        doubles: letters.doubles,
        inversions: letters.inversions,
        strays: letters.strays,
        other_frames: letters.other_frames,
        closed_by_server: closed,
        frame_bytes: letters.delivered_bytes / letters.delivered.max(1),
    }
}

fn expectations(phase: &Phase) -> [Figure; 7] {
    let at = |what: &str| format!("at {}/s: {what}", phase.rate);
    let (cost, arrival, ack) = (phase.cost.us_per_delivery, phase.delivery, phase.answer);
    [
        Figure::new(at("processor time per message"), cost, "us", Wanted::AtMost(MICROS_MAX)),
        Figure::new(at("p50 until it is there"), arrival.p50, "ms", Wanted::AtMost(P50_MAX_MS)),
        Figure::new(at("p99 until it is there"), arrival.p99, "ms", Wanted::AtMost(P99_MAX_MS)),
        Figure::new(at("p50 until it is acknowledged"), ack.p50, "ms", Wanted::Anything),
        Figure::new(at("p99 until it is acknowledged"), ack.p99, "ms", Wanted::Anything),
        Figure::new(at("sends refused"), phase.traffic.failed as f64, "", Wanted::AtMost(0.0)),
        Figure::new(at("used by others"), phase.cost.others, "cpu", Wanted::Anything),
    ]
}

fn comparison(our: &Phase, their: &Phase) -> [Figure; 3] {
    let at = |what: &str| format!("at {}/s: {what}", our.rate);
    let ratio = our.cost.us_per_delivery / their.cost.us_per_delivery.max(0.001);
    [
        Figure::new(at("the peer's processor time"), their.cost.us_per_delivery, "us", Wanted::Anything),
        Figure::new(at("ours, in times of it"), ratio, "", Wanted::Anything),
        Figure::new(at("p50 at the peer"), their.delivery.p50, "ms", Wanted::Anything),
    ]
}
