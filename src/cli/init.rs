//! `depsfs init`.

use clap::Args;

use super::answers::InitAnswer;
use super::report::Failure;
use super::{output, places};
use crate::component::{Config, config, init};
use crate::sys::path as paths;
use crate::sys::terminal::DisplayName;
use crate::worktree::WorktreeError;

const EXAMPLES: &str = "Examples:
  depsfs init --print                      # look at it first
  depsfs init";

/// Write a depsfs.toml for this repository, of what is found in it
///
/// Looks for npm, pnpm, yarn, uv, poetry, pip, cargo, cmake, meson, maven, gradle, go, bundler, composer, foundry and ci3, and writes a component for each, with comments. The file
/// lies at the top of the checkout; one that is there is never overwritten. Look it through, then commit it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Init {
    /// Print it instead of writing it
    #[arg(long)]
    print: bool,
    /// Print the JSON schema of depsfs.toml
    #[arg(long, conflicts_with = "print")]
    schema: bool,
}

impl Init {
    /// Writes `depsfs.toml` at the top of the checkout, or prints it; a file that is there is never replaced.
    pub fn run(self) -> Result<(), Failure> {
        if self.schema {
            return output::json(&schemars::schema_for!(Config));
        }
        let checkout = places::checkout()?;
        let text = init::text(&checkout)?;
        let file = checkout.root.join(config::FILE);
        let answer = InitAnswer { file: file.as_path().into(), written: !self.print, text };
        if self.print {
            return output::answer(&answer, || answer.text.clone());
        }
        match paths::write_new(&file, answer.text.as_bytes()).map_err(WorktreeError::from)? {
            Some(_) => output::done_answer("depsfs.toml was written", &answer, || format!("wrote {}\n", file.shown())),
            None => Err(Failure::Refused {
                what: "no depsfs.toml was written",
                why: format!("{} exists already", file.shown()),
                hint: "depsfs init --print prints the proposed file; compare it with yours",
            }),
        }
    }
}
