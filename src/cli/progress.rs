//! A progress bar for what takes long, on a terminal only.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use parking_lot::Mutex;

use super::bars;
use super::output::{self, count, number, size};
use crate::store::Progress;
use crate::sys::interrupt;

/// Shows the step, its files and bytes, and the time left, on stderr; silent when that is no terminal. A signal ends the
/// work.
pub struct Bar {
    bar: ProgressBar,
    files: Arc<FileCounts>,
    step: Mutex<Option<&'static str>>,
}

/// The files of a step.
#[derive(Default)]
struct FileCounts {
    done: AtomicU64,
    /// As far as they are known: 0 if none is.
    all: AtomicU64,
}

impl Bar {
    /// A bar that draws nothing before its first step; it never does if stderr is no terminal, or with `--quiet` or
    /// `--json`.
    pub fn new() -> Bar {
        let is_shown = std::io::stderr().is_terminal() && !output::is_quiet() && !output::is_json();
        let bar = if is_shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        Bar { bar, files: Arc::default(), step: Mutex::new(None) }
    }

    /// Prints a line above the bar.
    pub fn say(&self, words: &str) {
        output::note(words);
    }

    /// One more file of a work whose length isn't known.
    pub fn tick(&self) {
        self.advance_file(0);
    }

    /// `template` with the keys `counts` and `left`.
    fn style(&self, template: &str) -> ProgressStyle {
        let files = self.files.clone();
        let counts = move |state: &ProgressState, out: &mut dyn Write| {
            let (done, all) = (files.done.load(Ordering::Relaxed), files.all.load(Ordering::Relaxed));
            // A bar that can't be drawn is none the less cleared.
            out.write_str(&words(done, all, state.pos(), state.len())).unwrap_or_default();
        };
        let left = |state: &ProgressState, out: &mut dyn Write| {
            if is_estimable(state.pos(), state.len()) {
                out.write_str(&left(state.eta())).unwrap_or_default();
            }
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
        style.with_key("counts", counts).with_key("left", left)
    }

    fn spin(&self) {
        self.bar.unset_length();
        self.bar.set_style(self.style("{spinner} {msg}{counts}"));
    }

    fn set_length(&self, bytes: u64) {
        self.bar.set_length(bytes);
        self.bar.set_style(self.style("{msg}{counts} {wide_bar} {left}"));
    }

    /// Another step than before: nothing is counted yet.
    fn restart(&self, step: &'static str) {
        if self.bar.is_finished() || self.bar.message().is_empty() {
            self.bar.reset();
            bars::add(&self.bar);
            // The ticker is a thread, and ends the program where there is none to be had.
            if std::thread::Builder::new().spawn(|| ()).is_ok() {
                self.bar.enable_steady_tick(Duration::from_millis(120));
            }
        }
        self.files.done.store(0, Ordering::Relaxed);
        self.files.all.store(0, Ordering::Relaxed);
        self.bar.set_message(step);
        self.bar.set_position(0);
        self.bar.reset_eta();
    }
}

impl Progress for Bar {
    fn begin(&self, step: &'static str, bytes: Option<u64>) {
        if self.bar.is_hidden() {
            return;
        }
        let mut current = self.step.lock();
        let is_same = !self.bar.is_finished() && *current == Some(step);
        *current = Some(step);
        // Parts of one step that run at once, such as several directories, are counted together.
        match (is_same, bytes) {
            (true, None) => return,
            (true, Some(bytes)) => return self.bar.inc_length(bytes),
            (false, None) => self.spin(),
            (false, Some(bytes)) => self.set_length(bytes),
        }
        self.restart(step);
        self.bar.tick();
    }

    fn expect(&self, files: u64, bytes: u64) {
        if self.bar.is_hidden() {
            return;
        }
        let _step = self.step.lock();
        self.files.all.fetch_add(files, Ordering::Relaxed);
        match self.bar.length() {
            None => self.set_length(bytes),
            Some(_) => self.bar.inc_length(bytes),
        }
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn advance_file(&self, bytes: u64) {
        self.files.done.fetch_add(1, Ordering::Relaxed);
        self.bar.inc(bytes);
    }

    fn is_cancelled(&self) -> bool {
        interrupt::raised().is_some()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Files and bytes, each of all if that is known; nothing if none was dealt with.
fn words(files: u64, all_files: u64, bytes: u64, all_bytes: Option<u64>) -> String {
    let mut words = Vec::new();
    match (files, all_files) {
        (0, 0) => {}
        // Files can be done before they are expected.
        (_, all) if files > all => words.push(count(files, "file")),
        _ => words.push(format!("{} of {}", number(files), count(all_files, "file"))),
    }
    match (bytes, all_bytes) {
        (0, None | Some(0)) => {}
        (_, Some(all)) if all >= bytes => words.push(format!("{} of {}", size(bytes), size(all))),
        _ => words.push(size(bytes)),
    }
    if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) }
}

/// Whether the speed so far says how long the rest takes: not from the first bytes, which may all be of small files, and
/// not while more is done than was expected.
fn is_estimable(bytes: u64, all_bytes: Option<u64>) -> bool {
    all_bytes.is_some_and(|all| bytes > all / 100 && bytes < all)
}

fn left(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=99 => format!("{seconds} s left"),
        seconds @ 100..=5999 => format!("{} min left", seconds / 60),
        seconds => format!("{} h left", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_bytes_and_the_time_left_read_well() {
        assert_eq!(words(0, 0, 0, None), "");
        assert_eq!(words(1, 0, 0, None), ": 1 file");
        assert_eq!(words(1234, 0, 45_000_000, None), ": 1,234 files, 45.0 MB");
        assert_eq!(words(1234, 5000, 45_000_000, Some(847_000_000)), ": 1,234 of 5,000 files, 45.0 MB of 847 MB");
        assert_eq!(words(0, 0, 0, Some(2000)), ": 0 B of 2.0 kB");
        assert_eq!(words(0, 0, 3000, Some(2000)), ": 3.0 kB");
        assert_eq!(words(303, 300, 2000, Some(2000)), ": 303 files, 2.0 kB of 2.0 kB");
        let estimable = [(0, None), (5, None), (0, Some(100)), (1, Some(100)), (2, Some(100)), (100, Some(100))];
        let expected = [false, false, false, false, true, false];
        assert_eq!(estimable.map(|(bytes, all)| is_estimable(bytes, all)), expected);
        let times = [(0, "0 s left"), (99, "99 s left"), (100, "1 min left"), (3 * 3600, "3 h left")];
        times.iter().for_each(|(n, text)| assert_eq!(left(Duration::from_secs(*n)), *text));
    }
}
