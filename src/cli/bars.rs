//! The progress bars on the terminal, which give way to everything else that is written there.

use indicatif::ProgressBar;
use parking_lot::Mutex;

static DRAWN: Mutex<Vec<ProgressBar>> = Mutex::new(Vec::new());

/// The bar is drawn from now on.
pub fn add(bar: &ProgressBar) {
    DRAWN.lock().push(bar.clone());
}

/// Takes all bars off the terminal, for an answer.
pub fn clear() {
    DRAWN.lock().drain(..).for_each(|bar| bar.finish_and_clear());
}

/// Writes a line above the bars.
pub fn above(write: impl FnOnce()) {
    let first = DRAWN.lock().first().cloned();
    match first {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
