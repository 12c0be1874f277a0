//! Work that one process does at a time, because the others find it done afterwards: a download, an import.

use std::time::Duration;

use super::lock::Lock;

const SHORTEST_SLEEP: Duration = Duration::from_micros(500);
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

/// The right to do the work, until it is dropped or the process ends.
#[derive(Debug)]
pub struct SingleFlight {
    _lock: Lock,
}

impl SingleFlight {
    /// Tries to take the lock until `attempt` has it. `go_on` is called before each sleep, and may end the waiting.
    ///
    /// # Errors
    /// That of `attempt` or of `go_on`.
    pub fn wait<E>(
        mut attempt: impl FnMut() -> Result<Option<Lock>, E>,
        mut go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<SingleFlight, E> {
        let mut sleep = SHORTEST_SLEEP;
        loop {
            if let Some(lock) = attempt()? {
                return Ok(SingleFlight { _lock: lock });
            }
            go_on()?;
            std::thread::sleep(sleep);
            sleep = (sleep * 2).min(LONGEST_SLEEP);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::sys::fs::{OpenFlags, open_path};

    #[test]
    fn one_at_a_time_has_the_flight_and_a_waiting_one_can_end_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || open_path(&dir.path().join("turns"), OpenFlags::RDWR | OpenFlags::CREATE, 0o644);
        let attempt = || open().and_then(|file| Lock::try_numbered(file, 7));
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let _flight = SingleFlight::wait(attempt, || Ok(())).expect("the lock");
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::sleep(Duration::from_micros(300));
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let _held = SingleFlight::wait(attempt, || Ok(())).expect("the lock");
        let ended = SingleFlight::wait(attempt, || Err(std::io::ErrorKind::TimedOut.into())).expect_err("it is held");
        assert_eq!(ended.kind(), std::io::ErrorKind::TimedOut);
    }
}
