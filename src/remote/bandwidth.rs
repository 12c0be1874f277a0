//! The limit of bytes in a second, for all connections to a remote together.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The bytes of so much time may come at once.
const BURST: Duration = Duration::from_millis(50);

/// Counts the bytes that come from a remote, for all its connections together.
pub struct BandwidthMeter {
    bytes_per_second: f64,
    /// When the bytes that have come until now would have come at the allowed rate.
    due: Mutex<Instant>,
}

impl BandwidthMeter {
    /// For so many bits in a second. Nothing has come.
    pub fn new(bits_per_second: u64, now: Instant) -> BandwidthMeter {
        BandwidthMeter { bytes_per_second: bits_per_second as f64 / 8.0, due: Mutex::new(now) }
    }

    /// How long nothing more may be taken after so many bytes.
    pub fn came(&self, bytes: u64, now: Instant) -> Duration {
        let mut due = self.due.lock();
        let begins = due.max(now.checked_sub(BURST).unwrap_or(now));
        *due = begins + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_the_time_of_the_bandwidth_however_many_connections_they_come_over() {
        let now = Instant::now();
        let meter = BandwidthMeter::new(8_000_000, now);
        // A megabyte each second; the last one in ten parts.
        let mut waits = (0..10).map(|_| meter.came(100_000, now));
        let last = waits.by_ref().last().unwrap();
        assert!(last <= Duration::from_secs(1) && last >= Duration::from_secs(1) - BURST, "{last:?}");
        // After a pause nothing is made up for but the burst.
        let later = now + Duration::from_secs(100);
        let after = meter.came(1_000_000, later);
        assert!(after <= Duration::from_secs(1) && after >= Duration::from_secs(1) - BURST, "{after:?}");
    }
}
