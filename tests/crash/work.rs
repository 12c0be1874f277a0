//! One process of the load: what it does is timed, and must not fail.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::random::Random;

/// Steps that take longer are reported, in µs.
const SLOW: u64 = 5_000;

/// In µs since 1970: processes compare it.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64
}

pub struct Work {
    pub view: PathBuf,
    /// This process's own directory in the view.
    pub own: PathBuf,
    pub random: Random,
    stop: PathBuf,
    done: u64,
    slow: Vec<(u64, u64, &'static str)>,
}

impl Work {
    pub fn new(kind: &str, view: &Path, seed: u64, stop: PathBuf) -> Work {
        let own = view.join(format!("own {kind}"));
        let mut work =
            Work { view: view.into(), own: own.clone(), random: Random::of(seed), stop, done: 0, slow: Vec::new() };
        work.op("mkdir", || std::fs::create_dir(&own));
        work
    }

    /// One operation. Its error is the end of the test.
    #[track_caller]
    pub fn op<T>(&mut self, what: &'static str, call: impl FnOnce() -> io::Result<T>) -> T {
        let begin = now();
        let done = call();
        let end = now();
        self.done += 1;
        if end - begin > SLOW {
            self.slow.push((begin, end, what));
        }
        done.unwrap_or_else(|e| panic!("{what}, begun at {begin}, failed at {end}: {e} ({:?})", e.kind()))
    }

    pub fn goes_on(&self) -> bool {
        !self.stop.exists()
    }

    /// A file that has to hold this when everything was mounted anew.
    pub fn leave(&self, path: &Path, bytes: &[u8]) {
        println!("left {} {}", blake3::hash(bytes).to_hex(), path.display());
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.slow.iter().for_each(|(begin, end, what)| println!("slow {begin} {end} {what}"));
            println!("done {}", self.done);
        }
    }
}
