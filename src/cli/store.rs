//! `depsfs store`: what looks at the store itself.

use clap::{Args, Subcommand};

use super::output::{self, count, size};
use super::places;
use super::report::Failure;

/// Look at the store
#[derive(Args)]
pub struct Store {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the entries
    List,
}

impl Store {
    pub fn failing(&self) -> String {
        match &self.verb {
            Verb::List => "the entries cannot be listed".into(),
        }
    }

    pub fn run(self) -> Result<(), Failure> {
        let store = places::store()?;
        match self.verb {
            Verb::List => {
                let lines = store.entries().list()?.into_iter().map(|entry| {
                    let p = &entry.provenance;
                    format!("{}  {}, {}  {}\n", entry.name, count(p.files, "file"), size(p.bytes), p.source)
                });
                output::print(&lines.collect::<String>())
            }
        }
    }
}
