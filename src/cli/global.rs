//! The options that every verb has.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::color::{self, ColorWhen};
use super::report::Failure;
use super::{confirm, output};
use crate::sys::{log, process};

/// The options, as clap reads them.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalOptions {
    /// Run as if depsfs was started in this directory
    #[arg(short = 'C', value_name = "DIR", global = true)]
    directory: Option<PathBuf>,
    /// Print only answers and errors: no report of what was done, no notes, no progress
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Log the steps on stderr; -vv: each one (DEPSFS_LOG says which)
    #[arg(long, short, action = ArgAction::Count, global = true, conflicts_with = "quiet")]
    verbose: u8,
    /// When to use colours; auto: on a terminal, unless NO_COLOR is set [default: auto]
    #[arg(long, value_enum, value_name = "auto|always|never", hide_possible_values = true, global = true)]
    color: Option<ColorWhen>,
    /// Answer each question with yes
    #[arg(long, short, global = true)]
    yes: bool,
}

impl GlobalOptions {
    /// Puts them into effect, for the rest of the process.
    ///
    /// # Errors
    /// The directory can't be entered.
    pub fn apply(&self) -> Result<(), Failure> {
        log::begin(match self.verbose {
            0 => "off",
            1 => "info",
            _ => "debug",
        });
        color::choose(self.color.unwrap_or_default());
        if self.quiet {
            output::be_quiet();
        }
        if self.yes {
            confirm::always_yes();
        }
        match &self.directory {
            Some(dir) => Ok(process::enter(dir)?),
            None => Ok(()),
        }
    }
}
