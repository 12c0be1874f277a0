//! Sizes and counts in messages.

/// A number of bytes for people: three digits or so.
pub fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.5 {
        format!("{value:.0} {}", units[unit])
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

/// A number with a comma between thousands.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number, as [`number`], and its noun.
pub fn count(n: u64, noun: &str) -> String {
    let plural = match noun.strip_suffix('y') {
        Some(stem) if n != 1 && !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{noun}{}", if n == 1 { "" } else { "s" }),
    };
    format!("{} {plural}", number(n))
}

/// A time that has passed, in the largest unit of which there is one.
pub fn age(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let (length, unit) = UNITS.into_iter().find(|(length, _)| seconds >= *length).unwrap_or((1, "second"));
    count(seconds / length, unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_read_well() {
        let sizes = [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (847_000_000, "847 MB"), (1_250_000_000, "1.2 GB")];
        sizes.iter().for_each(|(n, text)| assert_eq!(size(*n), *text));
        let counts = [
            (0, "0 files"),
            (1, "1 file"),
            (999, "999 files"),
            (57_048, "57,048 files"),
            (1_000_000, "1,000,000 files"),
        ];
        counts.iter().for_each(|(n, text)| assert_eq!(count(*n, "file"), *text));
        assert_eq!((count(2, "directory"), count(2, "day")), ("2 directories".into(), "2 days".into()));
        let ages = [(0, "0 seconds"), (59, "59 seconds"), (60, "1 minute"), (7_200, "2 hours"), (200_000, "2 days")];
        ages.iter().for_each(|(n, text)| assert_eq!(age(*n), *text));
    }
}
