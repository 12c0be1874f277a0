//! A progress bar for what takes long, on a terminal only.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output;
use crate::store::Progress;
use crate::sys::interrupt;

/// Shows steps and bytes on stderr; silent when that is no terminal. A signal ends the work.
pub struct Bar(ProgressBar);

impl Bar {
    pub fn new() -> Bar {
        let bar = if std::io::stderr().is_terminal() && !output::is_quiet() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        Bar(bar)
    }

    /// Prints a line above the bar.
    pub fn say(&self, words: &str) {
        self.0.suspend(|| output::note(words));
    }

    /// One more node of a work whose length isn't known.
    pub fn tick(&self) {
        self.0.inc(1);
    }
}

impl Progress for Bar {
    fn begin(&self, step: &'static str, bytes: Option<u64>) {
        // The ticker is a thread, and ends the program where there is none to be had.
        if !self.0.is_hidden() && std::thread::Builder::new().spawn(|| ()).is_ok() {
            self.0.enable_steady_tick(Duration::from_millis(120));
        }
        self.0.set_message(step);
        self.0.set_position(0);
        if let Some(bytes) = bytes {
            let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}");
            self.0.set_length(bytes);
            self.0.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
    }

    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn is_cancelled(&self) -> bool {
        interrupt::raised().is_some()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
