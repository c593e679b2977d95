//! What /proc says about processes and the machine: processor time, memory, and how much others were busy meanwhile.
//!
//! A figure of a shared machine means little without what else ran there, so every phase carries it.

use std::fs;
use std::time::{Duration, Instant};

/// Linux counts processor time in hundredths of a second, whatever its own tick is.
const TICKS_PER_SECOND: u64 = 100;

/// The machine is calm when less than this share of one processor was used over this time.
const CALM_MAX: f64 = 0.2;
const CALM_OVER: Duration = Duration::from_secs(3);

/// A process whose cost is counted, together with its children.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// How reports call it.
    pub(crate) name: String,
    /// Its process id.
    pub(crate) pid: u32,
}

/// The fields of /proc/<pid>/stat behind the program's name, which may hold anything.
struct Stat {
    parent: u32,
    own: u64,
    /// Of children that have ended and were waited for.
    ended_children: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(field(4)?).ok()?,
        own: field(14)? + field(15)?,
        ended_children: field(16)? + field(17)?,
    })
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|stat| stat.parent)
}

/// Processor time that a process and its children have used, those included that have ended.
pub(crate) fn processor_time(pid: u32) -> Duration {
    let living: u64 = children(pid).into_iter().filter_map(stat).map(|child| child.own).sum();
    let own = stat(pid).map_or(0, |stat| stat.own + stat.ended_children);
    Duration::from_millis((own + living) * 1_000 / TICKS_PER_SECOND)
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|child| parent(*child) == Some(pid)).collect()
}

/// Memory of a process that is in RAM, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: u64 = line.split_ascii_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
    kib * 1_024
}

/// Processor time that was not idle, of all processors together.
fn busy_time() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        line.split_ascii_whitespace().skip(1).map(|ticks| ticks.parse().unwrap_or(0)).collect();
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    let busy = ticks.iter().take(8).sum::<u64>() - ticks.iter().skip(3).take(2).sum::<u64>();
    Duration::from_millis(busy * 1_000 / TICKS_PER_SECOND)
}

/// The load average of the last minute.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

/// How many processors there are.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Waits until others leave the machine alone, but no longer than `secs`; the report says how it was in any case.
pub(crate) async fn wait_for_calm(secs: u32) {
    let until = Instant::now() + Duration::from_secs(u64::from(secs));
    while Instant::now() < until {
        let before = Reading::take(&[]);
        tokio::time::sleep(CALM_OVER).await;
        let used = Reading::take(&[]).since(&before);
        if used.others.as_secs_f64() < CALM_MAX * used.wall.as_secs_f64() {
            return;
        }
    }
}

/// The meters at one moment.
pub(crate) struct Reading {
    at: Instant,
    each: Vec<Duration>,
    generator: Duration,
    busy: Duration,
}

/// What was used between two readings.
pub(crate) struct Used {
    pub(crate) wall: Duration,
    /// Per watched process, in their order.
    pub(crate) each: Vec<Duration>,
    pub(crate) generator: Duration,
    /// By everybody else on this machine.
    pub(crate) others: Duration,
}

impl Reading {
    /// Reads all meters.
    pub(crate) fn take(watched: &[Watched]) -> Reading {
        Reading {
            at: Instant::now(),
            each: watched.iter().map(|process| processor_time(process.pid)).collect(),
            // The servers that the generator started are its children, and have meters of their own.
            generator: Duration::from_millis(
                stat(std::process::id()).map_or(0, |stat| stat.own) * 1_000 / TICKS_PER_SECOND,
            ),
            busy: busy_time(),
        }
    }

    /// What was used from `earlier` until this reading.
    pub(crate) fn since(&self, earlier: &Reading) -> Used {
        let each: Vec<Duration> =
            self.each.iter().zip(&earlier.each).map(|(now, then)| now.saturating_sub(*then)).collect();
        let generator = self.generator.saturating_sub(earlier.generator);
        let known = each.iter().sum::<Duration>() + generator;
        let others = self.busy.saturating_sub(earlier.busy).saturating_sub(known);
        Used { wall: self.at - earlier.at, each, generator, others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_can_be_weighed() {
        let me = std::process::id();
        assert!(resident_bytes(me) > 100_000);
        assert!(parent(me).is_some_and(|parent| parent > 0));
        let watched = [Watched { name: "me".to_owned(), pid: me }];
        let before = Reading::take(&watched);
        let until = Instant::now() + Duration::from_millis(300);
        let mut spins = 0_u64;
        while Instant::now() < until {
            spins = spins.wrapping_add(1);
        }
        let used = Reading::take(&watched).since(&before);
        assert!(used.each[0] > Duration::ZERO && used.wall >= Duration::from_millis(300), "{spins} spins");
        assert_eq!(processor_time(u32::MAX), Duration::ZERO, "nobody has that id");
    }
}
