//! The wall clock of one node, which libfaketime moves. Only the wall clock: no system sets the monotonic one back.

use std::fs;
use std::path::{Path, PathBuf};

use harness::children::fresh_folder;
use harness::stack::Stack;

const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

pub(super) struct Clock {
    library: PathBuf,
    /// libfaketime reads from here how far the clock is off.
    file: PathBuf,
}

impl Clock {
    /// A clock that can be moved, where the library for it is installed.
    pub(super) fn find() -> Option<Clock> {
        let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
        let library = folders.chain([Path::new("/usr/lib").to_owned()]).map(|folder| folder.join(LIBRARY));
        let library = library.into_iter().find(|path| path.is_file())?;
        let clock = Clock { library, file: fresh_folder("clock").join("offset") };
        clock.set_back(0);
        Some(clock)
    }

    /// Gives the services that are added next this clock, or the machine's.
    pub(super) fn give(clock: Option<&Clock>, stack: &mut Stack) {
        let path = |path: &Path| path.display().to_string();
        let (library, file) = clock.map_or_else(Default::default, |c| (path(&c.library), path(&c.file)));
        stack.set("LD_PRELOAD", &library);
        stack.set("FAKETIME_TIMESTAMP_FILE", &file);
        stack.set("FAKETIME_CACHE_DURATION", "1");
        stack.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }

    /// Sets the clock so many seconds back, as seen from the machine's.
    pub(super) fn set_back(&self, secs: u64) {
        // In one step: a half-written file would be another time.
        let next = self.file.with_extension("next");
        let written = fs::write(&next, format!("-{secs}")).and_then(|()| fs::rename(&next, &self.file));
        written.expect("the harness's own folder can be written");
    }
}
