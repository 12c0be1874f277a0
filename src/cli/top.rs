//! `depsfs top`.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use clap::Args;

use super::answers::{self, TopAnswer, TopRowAnswer};
use super::overview::aligned;
use super::report::Failure;
use super::units::{count, number, size};
use super::{output, places};
use crate::git::checkout::Checkout;
use crate::sys::terminal::{self, DisplayName};
use crate::sys::{interrupt, process};
use crate::views::activity::{self, WorktreeActivity};
use crate::worktree::WorktreeError;

const EXAMPLES: &str = "Examples:
  depsfs top
  depsfs top --once --json | jq '.worktrees[] | select(.incomplete_views > 0)'
  depsfs top --all --interval 10 >> usage.txt";

const HEADINGS: [&str; 8] = ["worktree", "views", "requests", "per s", "read", "written", "pauses", "slowest"];

/// Show what the views of all worktrees do, live
///
/// One line for each worktree: its views that show what they should, of all; requests since its server started, and per
/// second; bytes that were read and written by requests; pauses, which are restarts of its server; the request that took
/// longest. Answers from the caches of the kernel are no requests. On a terminal the table is drawn anew until Ctrl-C;
/// elsewhere it is plain text, table after table, until the reader ends.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Top {
    /// Show the worktrees of all repositories
    #[arg(long)]
    all: bool,
    /// Print one table, and end
    #[arg(long)]
    once: bool,
    /// Seconds between two tables
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval: u64,
}

/// One look at all worktrees.
struct TopSample {
    taken: Instant,
    worktrees: Vec<WorktreeActivity>,
}

impl Top {
    /// Prints tables.
    ///
    /// # Errors
    /// The roots of the store can't be read; standard output can't be written.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::catch().map_err(Failure::os("catch signals"))?;
        let screen = (!self.once && !output::is_json() && output::is_terminal()).then(Screen::begin);
        let screen = screen.transpose()?;
        let mut before: Option<TopSample> = None;
        loop {
            let sample = self.sample()?;
            let rows = rows(&sample, before.as_ref());
            let answer = TopAnswer { worktrees: rows };
            let is_read = match (&screen, output::is_json(), self.once) {
                (Some(screen), ..) => screen.draw(&text(&sample, &answer))?,
                (None, true, true) => return output::answer(&answer, String::new),
                // One object a line, for a reader that takes them as they come.
                (None, true, false) => output::stream(&(answers::line(&answer) + "\n"))?,
                (None, false, _) => output::stream(&text(&sample, &answer))?,
            };
            if self.once || !is_read || !pause(Duration::from_secs(self.interval))? {
                return Ok(());
            }
            if screen.is_none() && !output::is_json() {
                output::stream("\n")?;
            }
            before = Some(sample);
        }
    }

    fn sample(&self) -> Result<TopSample, Failure> {
        let here = Checkout::of_any_repository(std::path::Path::new(".")).map_err(WorktreeError::from)?;
        let only = here.filter(|_| !self.all).map(|checkout| checkout.common_dir);
        let states = places::states().ok();
        let worktrees = activity::of_all(&places::store()?, states.as_deref(), only.as_deref())?;
        Ok(TopSample { taken: Instant::now(), worktrees })
    }
}

/// Waits; `false`: a signal came.
fn pause(time: Duration) -> Result<bool, Failure> {
    let wake: Vec<BorrowedFd<'_>> = interrupt::wake().into_iter().collect();
    process::wait_any(&wake, Some(time)).map_err(Failure::os("wait"))?;
    Ok(interrupt::raised().is_none())
}

fn rows(sample: &TopSample, before: Option<&TopSample>) -> Vec<TopRowAnswer> {
    let row = |worktree: &WorktreeActivity| {
        let rate = before.and_then(|before| {
            let earlier = before.worktrees.iter().find(|other| other.place == worktree.place)?;
            let seconds = sample.taken.duration_since(before.taken).as_secs_f64();
            // A server that was replaced counts from 0 again.
            let new = worktree.requests().checked_sub(earlier.requests()).unwrap_or(worktree.requests());
            (seconds > 0.0).then(|| new as f64 / seconds)
        });
        TopRowAnswer::of(worktree, rate)
    };
    sample.worktrees.iter().map(row).collect()
}

fn text(sample: &TopSample, answer: &TopAnswer) -> String {
    let mut table = vec![HEADINGS.map(str::to_owned).to_vec()];
    table.extend(sample.worktrees.iter().zip(&answer.worktrees).map(|(worktree, row)| {
        let slowest = worktree.stats.total.slowest.as_ref();
        let slowest = slowest.map(|slowest| {
            let operation = terminal::line(&slowest.operation);
            format!("{operation} {:.1} ms", slowest.microseconds as f64 / 1000.0)
        });
        let mut cells = vec![
            worktree.place.shown().to_string(),
            format!("{}/{}", row.views - row.incomplete_views, row.views),
            number(row.requests),
            row.requests_per_second.map_or("-".into(), |rate| format!("{rate:.0}")),
            size(row.bytes_read),
            size(row.bytes_written),
            number(row.restarts),
            slowest.unwrap_or("-".into()),
        ];
        cells.extend(row.trouble.as_ref().map(|why| format!("({})", terminal::line(why))));
        cells
    }));
    let (worktrees, views) = (answer.worktrees.len() as u64, answer.worktrees.iter().map(|row| row.views).sum());
    let incomplete: u64 = answer.worktrees.iter().map(|row| row.incomplete_views).sum();
    let summary = format!("{}, {}, {incomplete} incomplete\n", count(worktrees, "worktree"), count(views, "view"));
    summary + &aligned(&table)
}

/// A terminal that shows one table at a time, in its alternate screen; it is as before when this is dropped.
struct Screen;

impl Screen {
    /// Alternate screen, no cursor, and long lines end at the edge (xterm's control sequences 1049, 25 and 7).
    fn begin() -> Result<Screen, Failure> {
        output::stream("\x1b[?1049h\x1b[?25l\x1b[?7l")?;
        Ok(Screen)
    }

    /// Draws the lines that fit; `false`: the terminal is gone.
    fn draw(&self, text: &str) -> Result<bool, Failure> {
        let height = output::height().unwrap_or(24);
        let lines = text.lines().take(usize::from(height.max(2)) - 1);
        let drawn: String = lines.map(|line| format!("{line}\x1b[K\n")).collect();
        output::stream(&format!("\x1b[H{drawn}\x1b[J"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Of a terminal that is gone nothing can be restored.
        drop(output::stream("\x1b[?7h\x1b[?25h\x1b[?1049l"));
    }
}
