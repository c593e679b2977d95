//! Three times what can be sustained. The rate that can is looked for in the same run; what is too much has to be refused
//! with a code, soon, and without harm to what is accepted.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use super::{Room, nothing_lost};
use crate::Plan;
use crate::crowd::Crowd;
use crate::machine;
use crate::phase::is_coded;
use crate::report::Phase;
use crate::target::Target;
use crate::verdict::{Figure, Verdict, Wanted};

/// Few enough for the generator, which listens to all of them on one thread, to keep up at three times the rate.
const VIEWERS: usize = 100;
/// A room has the rate that it has unless set: it is what a flood meets first. The log has room for the whole run.
const SETTINGS: [(&str, &str); 3] =
    [("LIMIT_ROOM_MESSAGES_PER_SECOND", "500"), ("LOG_MAX_BYTES", "1073741824"), ("LOG_RETAIN_SECS", "30")];
/// Where the search begins, and by what each step goes on.
const RATE_FIRST: u32 = 50;
const STEP: (u32, u32) = (3, 2);
/// The search is over then in any case: at three times as much the generator, one thread that needs a connection for each
/// send that waits, would be what gives way.
const RATE_MAX: u32 = 1_300;
/// Seconds of a step.
const STEP_SECS: u32 = 4;
/// A rate is sustained when nothing is refused or lost, and nobody waits longer than that for an ack or a message.
const ANSWER_P99_MAX_MS: f64 = 200.0;
const DELIVERY_P99_MAX_MS: f64 = 500.0;
const TIMES: u32 = 3;
/// Share of the sustainable goodput that has to be left.
const GOODPUT_MIN: f64 = 0.8;
/// How long an accepted message may take to its viewers then: they are behind, but not ever more so.
const FLOOD_DELIVERY_P99_MAX_MS: f64 = 2_000.0;
/// Between the flood and whatever comes before it.
const BREATH: Duration = Duration::from_secs(3);

/// # Errors
/// When a socket is refused.
pub(crate) async fn measure(plan: &Plan) -> Result<Verdict, Box<dyn Error>> {
    let viewers = plan.viewers.unwrap_or(VIEWERS);
    let mut room = Room::new(Target::own(plan.nodes.unwrap_or(2), &SETTINGS).await);
    let crowd = Crowd::gather(&room.target.clone(), 0..viewers).await?;
    machine::wait_for_calm(plan.calm).await;
    let mut rate = sustainable(plan, &mut room, &crowd).await;
    let (calm, flood) = loop {
        machine::wait_for_calm(plan.calm).await;
        let calm = room.phase(&crowd, rate, plan.secs).await;
        tokio::time::sleep(BREATH).await;
        let flood = room.phase(&crowd, rate * TIMES, plan.secs).await;
        if !is_sustained(&flood) || rate * TIMES > RATE_MAX {
            break (calm, flood);
        }
        // The search was misled, and this was no flood.
        rate *= TIMES;
    };
    tokio::time::sleep(BREATH).await;
    let after = room.phase(&crowd, rate / 2, STEP_SECS).await;

    let counts = refusals(&flood);
    let mut figures = figures(rate, &calm, &flood, &after);
    let fdatasync = flood.fdatasync;
    let phases = vec![calm, flood, after];
    figures.extend(nothing_lost(&phases));
    figures.extend(room.compared().await);
    Ok(Verdict {
        scenario: "flood",
        passed: false,
        processors: machine::processors(),
        nodes: room.target.holders.len(),
        viewers,
        fdatasync,
        figures,
        counts,
        phases,
    }
    .judged())
}

/// Steps the rate up until it is not sustained twice; answers the last that was.
async fn sustainable(plan: &Plan, room: &mut Room, crowd: &Crowd) -> u32 {
    let mut rate = plan.rate.first().copied().unwrap_or(RATE_FIRST);
    room.phase(crowd, rate, plan.warm_up).await;
    let mut sustained = rate;
    while rate <= RATE_MAX {
        // Somebody else on the machine may spoil one try.
        let sustains = is_sustained(&room.phase(crowd, rate, STEP_SECS).await)
            || is_sustained(&room.phase(crowd, rate, STEP_SECS).await);
        if !sustains {
            break;
        }
        sustained = rate;
        rate = rate * STEP.0 / STEP.1;
    }
    sustained
}

fn is_sustained(step: &Phase) -> bool {
    step.traffic.failed == 0
        && step.traffic.lost == 0
        && step.answer.p99 <= ANSWER_P99_MAX_MS
        && step.delivery.p99 <= DELIVERY_P99_MAX_MS
}

fn figures(rate: u32, calm: &Phase, flood: &Phase, after: &Phase) -> Vec<Figure> {
    let uncoded: u64 =
        flood.traffic.refused.iter().filter(|(code, _)| !is_coded(code)).map(|(_, count)| count).sum();
    vec![
        Figure::new("sustainable rate that was found", f64::from(rate), "/s", Wanted::Anything),
        Figure::new("goodput at it", calm.goodput, "/s", Wanted::Anything),
        Figure::new("goodput at three times as much", flood.goodput, "/s", Wanted::Anything),
        Figure::new(
            "ratio of the two",
            flood.goodput / calm.goodput.max(1.0),
            "",
            Wanted::AtLeast(GOODPUT_MIN),
        ),
        // What meets no limit is no flood.
        Figure::new("sends refused meanwhile", flood.traffic.failed as f64, "", Wanted::AtLeast(1.0)),
        Figure::never("refusals without a code", uncoded),
        Figure::never("sends without an answer", flood.traffic.unanswered),
        Figure::new("p99 of acks meanwhile", flood.answer.p99, "ms", Wanted::Anything),
        Figure::new(
            "p99 of deliveries meanwhile",
            flood.delivery.p99,
            "ms",
            Wanted::AtMost(FLOOD_DELIVERY_P99_MAX_MS),
        ),
        Figure::never("sends refused afterwards, at half the rate", after.traffic.failed),
        Figure::new(
            "p99 of deliveries afterwards",
            after.delivery.p99,
            "ms",
            Wanted::AtMost(DELIVERY_P99_MAX_MS),
        ),
        Figure::never("viewers who were closed", flood.traffic.closed_by_server as u64),
    ]
}

fn refusals(flood: &Phase) -> BTreeMap<String, u64> {
    flood.traffic.refused.iter().map(|(code, count)| (format!("refused: {code}"), *count)).collect()
}
