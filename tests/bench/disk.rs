//! How long the disk takes to make a little durable. Every accepted message waits for that once, so a latency is only
//! comparable together with it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::children::fresh_folder;
use hdrhistogram::Histogram;

use crate::tally::{histogram, record};

/// Seldom enough not to slow down what is measured.
const EVERY: Duration = Duration::from_millis(50);
/// About what an accepted message adds to the log.
const BYTES: usize = 512;

/// A thread that appends and syncs beside a phase, on the file system on which the harness's servers write.
pub(crate) struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Histogram<u64>>>,
}

impl Probe {
    /// Begins to measure.
    pub(crate) fn start() -> Probe {
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, path) = (stop.clone(), fresh_folder("disk").join("probe"));
        Probe { stop, thread: std::thread::spawn(move || measure(&path, &asked)) }
    }

    /// Ends, and answers the microseconds that each sync took.
    ///
    /// # Panics
    /// When the temporary folder can't be written any more.
    pub(crate) fn finish(self) -> Histogram<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let measured = self.thread.join().expect("the probe does not panic");
        measured.expect("the temporary folder can be written")
    }
}

fn measure(path: &PathBuf, stop: &AtomicBool) -> io::Result<Histogram<u64>> {
    let mut file = File::create(path)?;
    let mut micros = histogram();
    while !stop.load(Ordering::Relaxed) {
        file.write_all(&[b'x'; BYTES])?;
        let began = Instant::now();
        file.sync_data()?;
        record(&mut micros, began.elapsed());
        std::thread::sleep(EVERY);
    }
    fs::remove_file(path)?;
    Ok(micros)
}
