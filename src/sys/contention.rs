//! Whether more threads want a processor than there are processors, on the whole machine.

use std::num::NonZero;
use std::path::Path;
use std::sync::LazyLock;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::fs::{self, OpenFlags};

/// An answer holds for so long: asking takes some microseconds.
const HOLDS: Duration = Duration::from_millis(4);

/// Asked for once: that takes long.
static PROCESSORS: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, NonZero::get));

static KNOWN: Mutex<Option<(Instant, bool)>> = Mutex::new(None);

/// Whether a thread that spins takes its processor from another one, as of some milliseconds ago at most. `false` where the
/// kernel doesn't tell.
pub fn is_contended(now: Instant) -> bool {
    let mut known = KNOWN.lock();
    match *known {
        Some((since, is_contended)) if now.saturating_duration_since(since) < HOLDS => is_contended,
        _ => {
            let is_contended = runnable().is_some_and(|threads| threads > *PROCESSORS);
            *known = Some((now, is_contended));
            is_contended
        }
    }
}

/// How many threads run or could run at this moment, the caller among them (`proc_loadavg(5)`, the fourth field).
fn runnable() -> Option<usize> {
    let file = fs::open_path(Path::new("/proc/loadavg"), OpenFlags::RDONLY, 0).ok()?;
    let mut text = [0; 64];
    let len = fs::read_at(&file, &mut text, 0).ok()?;
    parse(str::from_utf8(&text[..len]).ok()?)
}

fn parse(text: &str) -> Option<usize> {
    text.split(' ').nth(3)?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn the_fourth_field_says_how_many_threads_could_run() {
        assert_eq!(parse("0.53 0.54 0.93 3/1207 12345\n"), Some(3));
        assert_eq!(parse("0.53 0.54"), None);
    }

    #[test]
    fn with_a_thread_more_than_processors_that_computes_there_is_contention() {
        let stop = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..=*PROCESSORS)
            .map(|_| {
                let stop = stop.clone();
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        let until = Instant::now() + Duration::from_secs(20);
        while !is_contended(Instant::now()) && Instant::now() < until {
            std::thread::sleep(HOLDS);
        }
        let was_contended = is_contended(Instant::now());
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(was_contended);
    }
}
