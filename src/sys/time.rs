//! Points in time and durations as text, as files on disk, listings and messages show them.

use std::time::Duration;

use super::fs::Timespec;

/// RFC 3339 in UTC, whole seconds: `2026-02-03T04:05:06Z`. The years are 1 to 9999: a time beyond them is the nearest
/// that has a name.
pub fn rfc3339(time: Timespec) -> String {
    let nearest = time.sec.clamp(jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second());
    jiff::Timestamp::from_second(nearest).unwrap_or_default().to_string()
}

/// The seconds from a time that [`rfc3339`] has written to `now`; none from one that is later. `None` for other text.
pub fn since(text: &str, now: Timespec) -> Option<u64> {
    Some(u64::try_from(now.sec.saturating_sub(from_rfc3339(text)?)).unwrap_or(0))
}

/// The seconds since 1970 of a time in RFC 3339; `None` for another text.
pub fn from_rfc3339(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

/// A duration for people, in seconds: `60 s`, or with one digit more where it is not a whole number: `2.5 s`.
pub fn seconds(duration: Duration) -> String {
    match duration.subsec_nanos() {
        0 => format!("{} s", duration.as_secs()),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

/// A time as configuration has it, `90s`, `20m` or `2h`; `None` for other text, and for none at all.
pub fn duration(text: &str) -> Option<Duration> {
    let (at, unit) = text.char_indices().next_back()?;
    let number: u64 = text.get(..at).filter(|digits| !digits.starts_with('+'))?.parse().ok()?;
    let seconds = number.checked_mul(match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    })?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// Milliseconds of a clock that never goes back, exact to some: for very frequent calls.
pub fn coarse_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_the_calendar_says() {
        let text = |sec| rfc3339(Timespec { sec, nsec: 0 });
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(text(4_107_542_399), "2100-02-28T23:59:59Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59Z");
        assert_eq!(text(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(text(1_796_000_000), "2026-11-30T00:53:20Z");
        assert_eq!(text(i64::MAX), "9999-12-30T22:00:00Z");
        assert_eq!((from_rfc3339("2000-02-29T12:34:56Z"), from_rfc3339("soon")), (Some(951_827_696), None));
    }

    #[test]
    fn the_time_since_another_is_never_negative() {
        let now = Timespec { sec: 100, nsec: 0 };
        assert_eq!(since("1970-01-01T00:01:00Z", now), Some(40));
        assert_eq!(since("1970-01-01T00:02:00Z", now), Some(0));
        assert_eq!(since("", now), None);
    }

    #[test]
    fn a_duration_is_in_seconds() {
        assert_eq!(seconds(Duration::from_secs(90)), "90 s");
        assert_eq!(seconds(Duration::from_millis(2_460)), "2.5 s");
    }
}
