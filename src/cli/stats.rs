//! The lines of `depsfs status --stats`.

use super::output::{count, number, size};
use crate::sys::terminal::{DisplayName, line};
use crate::views::stats::{RequestStats, Stats};

/// One line for each kind of counter, and one for each view that did not answer.
pub fn lines(stats: &Stats) -> Vec<String> {
    let RequestStats { requests, failed, slowest, .. } = &stats.total;
    let mut by_count: Vec<(&String, &u64)> = requests.iter().collect();
    by_count.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
    let kinds: Vec<String> = by_count.iter().map(|(name, n)| format!("{} {name}", number(**n))).collect();
    let kinds = if kinds.is_empty() { "none".into() } else { kinds.join(", ") };
    let mut lines = vec![format!("requests: {}; {} answered with an error", line(&kinds), number(*failed))];
    lines.extend(slowest.as_ref().map(|slowest| {
        let ms = slowest.microseconds as f64 / 1000.0;
        format!("slowest:  {}, {ms:.1} ms", line(&slowest.operation))
    }));
    let total = &stats.total;
    lines.push(format!("bytes:    {} read, {} written", size(total.bytes_read), size(total.bytes_written)));
    lines.push(format!("copy-ups: {}, {} copied", number(total.copy_ups), size(total.bytes_copied_up)));
    lines.push(format!("hashed:   {}", count(total.objects_hashed, "object")));
    lines.push(format!("server:   {} since the daemon began", count(stats.restarts, "restart")));
    let silent = stats.views.iter().filter_map(|view| Some((view, view.error.as_ref()?)));
    lines.extend(silent.map(|(view, why)| format!("unknown:  {}: {}", view.path.shown(), line(why))));
    lines
}
