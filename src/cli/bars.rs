//! The progress bars on the terminal, which give way to everything else that is written there.

use indicatif::ProgressBar;
use parking_lot::Mutex;

static DRAWN: Mutex<Vec<ProgressBar>> = Mutex::new(Vec::new());

/// The bar is drawn from now on, until it is finished.
pub fn add(bar: &ProgressBar) {
    let mut drawn = DRAWN.lock();
    drawn.retain(|bar| !bar.is_finished());
    drawn.push(bar.clone());
}

/// Takes all bars off the terminal, for an answer.
pub fn clear() {
    DRAWN.lock().drain(..).for_each(|bar| bar.finish_and_clear());
}

/// Writes a line above the bars.
pub fn above(write: impl FnOnce()) {
    let first = {
        let mut drawn = DRAWN.lock();
        drawn.retain(|bar| !bar.is_finished());
        drawn.first().cloned()
    };
    match first {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

#[cfg(test)]
mod tests {
    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// A terminal that counts the lines which are taken off it.
    #[derive(Clone, Debug, Default)]
    struct Lines(std::sync::Arc<Mutex<usize>>);

    impl TermLike for Lines {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, _: &str) -> std::io::Result<()> {
            Ok(())
        }
        fn write_str(&self, _: &str) -> std::io::Result<()> {
            Ok(())
        }
        fn clear_line(&self) -> std::io::Result<()> {
            *self.0.lock() += 1;
            Ok(())
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_written_above_the_bar_that_is_drawn_and_not_above_one_that_is_finished() {
        let bar = |lines: &Lines| {
            let bar = ProgressBar::new_spinner();
            bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(lines.clone())));
            add(&bar);
            bar.tick();
            bar
        };
        let (old, new) = (Lines::default(), Lines::default());
        let finished = bar(&old);
        finished.finish_and_clear();
        let drawn = bar(&new);
        drawn.tick();
        let before = *new.0.lock();
        above(|| assert!(*new.0.lock() > before, "the drawn bar is off the terminal while the line is written"));
        drawn.finish_and_clear();
        above(|| ());
        assert_eq!(DRAWN.lock().len(), 0);
    }
}
