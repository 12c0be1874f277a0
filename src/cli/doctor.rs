//! `depsfs doctor`.

use clap::Args;

use super::answers::DoctorAnswer;
use super::record;
use super::report::Failure;
use super::{output, places};
use crate::doctor::{self, CheckState, Places, Row};

const EXAMPLES: &str = "Examples:
  depsfs doctor
  depsfs doctor --fix";

/// Look whether everything is right that views need, and repair what can be
///
/// One line for each check, [ok], [warn] or [FAIL]; below it, what to do, and whether --fix does it. Nothing waits for a
/// view, be it dead or hung. Exit code 1 when something fails.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
#[allow(rustdoc::broken_intra_doc_links, reason = "the text is help on a terminal")]
pub struct Doctor {
    /// Do what is marked so: mount dead views again, wake hung daemons, forget worktrees that are gone, remove leftovers
    #[arg(long)]
    fix: bool,
}

impl Doctor {
    /// Prints all rows, then fails with [`Failure::Unwell`] if a check does. Without `--fix` nothing is changed.
    pub fn run(self) -> Result<(), Failure> {
        let store = match places::store_path() {
            Err(relative @ Failure::RelativeStore(_)) => return Err(relative),
            place => place.ok(),
        };
        let places = Places { store, states: places::states().ok() };
        let mut rows = doctor::examine(&places)?;
        if self.fix {
            if let Some(store) = places.store.as_deref().filter(|_| rows.iter().any(|row| row.fixable)) {
                record::begin("doctor --fix", store);
            }
            rows = doctor::fix(&places, rows)?;
            let fixed: Vec<&str> = rows.iter().filter(|row| row.fixed).map(|row| row.check).collect();
            record::detail(format!("repaired: {}", if fixed.is_empty() { "nothing".into() } else { fixed.join(", ") }));
        }
        let answer = DoctorAnswer { checks: rows };
        output::answer(&answer, || answer.checks.iter().map(words).collect())?;
        match answer.checks.iter().filter(|row| row.state == CheckState::Fail).count() {
            0 => Ok(()),
            failed => Err(Failure::Unwell(failed)),
        }
    }
}

fn words(row: &Row) -> String {
    let mark = match row.state {
        _ if row.fixed => "[fixed]",
        CheckState::Ok => "[ok]",
        CheckState::Warn => "[warn]",
        CheckState::Fail => "[FAIL]",
    };
    let mut text = format!("{mark:7} {}: {}\n", row.check, row.reason);
    if let Some(remedy) = row.remedy.as_ref().filter(|_| !row.fixed) {
        text += &format!("        {remedy}{}\n", if row.fixable { " (or: depsfs doctor --fix)" } else { "" });
    }
    text
}
