//! `depsfs store`: entries added by hand, listed, and the store checked.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::answers::{
    DamageAnswer, EntryAnswer, ReasonAnswer, StoreAddAnswer, StoreListAnswer, StoreRemoveAnswer, StoreVerifyAnswer,
};
use super::output::{self, count, size};
use super::places;
use super::progress::Bar;
use super::record;
use super::report::Failure;
use crate::store::import::{ArchiveLimits, import_archive, import_dir};
use crate::store::{Entry, Provenance, Store as Opened, StoreError, Verified, escape};
use crate::sys::terminal::DisplayName;
use crate::sys::{interrupt, path as paths, url};
use crate::views::set;
use crate::worktree::WorktreeError;

const EXAMPLES: &str = "Examples:
  depsfs store add noir-0123456789abcdef.tar.gz
  depsfs store list
  depsfs store remove noir-0123456789abcdef";

/// Add entries to the store, list them, remove them, check the store
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct StoreCommand {
    #[command(subcommand)]
    verb: StoreVerb,
}

#[derive(Subcommand)]
enum StoreVerb {
    /// Add an archive (.tar.gz, .zst, .tar.zst, .tar) or a directory as an entry
    ///
    /// An archive that is damaged, truncated or holds what would land outside is refused whole.
    Add {
        /// The archive or directory
        source: PathBuf,
        /// Name of the entry [default: the name of the file, without .tar.gz, .zst and .tar]
        #[arg(long)]
        name: Option<String>,
    },
    /// List the entries
    List,
    /// Remove an entry
    ///
    /// Only the name goes. Worktrees that show its files keep them; gc frees those that nothing else needs.
    Remove {
        /// The name of the entry, as depsfs store list prints it
        #[arg(value_name = "ENTRY", required = true)]
        entries: Vec<String>,
    },
    /// Read everything again and name what is damaged
    Verify,
}

impl StoreCommand {
    /// The first words of the message if it fails.
    pub fn failing(&self) -> String {
        match &self.verb {
            StoreVerb::Add { source, .. } => format!("{} was not added", source.shown()),
            StoreVerb::List => "the entries cannot be listed".into(),
            StoreVerb::Remove { .. } => "not every entry was removed".into(),
            StoreVerb::Verify => "the store is not sound".into(),
        }
    }

    /// Opens or makes the store, whose path the environment sets, and prints the verb's answer.
    pub fn run(self) -> Result<(), Failure> {
        let store = places::store()?;
        match self.verb {
            StoreVerb::Add { source, name } => add(&store, &source, name),
            StoreVerb::List => list(&store),
            StoreVerb::Remove { entries } => remove(&store, &entries),
            StoreVerb::Verify => verify(&store),
        }
    }
}

fn add(store: &Opened, source: &Path, name: Option<String>) -> Result<(), Failure> {
    interrupt::catch().map_err(Failure::os("catch signals"))?;
    let whole = paths::canonical(source).map_err(WorktreeError::from)?;
    let name = name.unwrap_or_else(|| name_of(&whole));
    // gc must not come between the import and the name.
    let _share = store.share()?;
    record::begin("store add", store.path());
    record::concerns_name(&name);
    let bar = Bar::new();
    let imported = if paths::is_dir(&whole) {
        import_dir(store, &whole, &bar)?
    } else {
        import_archive(store, &whole, &ArchiveLimits::default(), &bar)?
    };
    drop(bar);
    let (files, bytes) = (imported.stats.files, imported.stats.bytes);
    let source = escape::escape(std::os::unix::ffi::OsStrExt::as_bytes(whole.as_os_str()));
    let provenance = Provenance { source, command: "depsfs store add".into(), created: set::now(), files, bytes };
    store.entries().put(&name, imported.tree, provenance)?;
    for skipped in &imported.skipped {
        output::note(&format!("left out {}: {}", skipped.path.shown(), skipped.why));
    }
    let left_out = imported.skipped.iter().map(|s| ReasonAnswer::new(&s.path, &s.why.to_string())).collect();
    let answer = StoreAddAnswer { name: name.clone(), files, bytes, left_out };
    let text = || format!("added {name}: {}, {}\n", count(files, "file"), size(bytes));
    output::done_answer(format!("{name} was added"), &answer, text)
}

/// As the build cache names its artifacts: the suffixes of the archive are no part of the name.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let strip = |name: &str, suffix: &str| name.strip_suffix(suffix).unwrap_or(name).to_owned();
    strip(&strip(&strip(&name, ".tar.gz"), ".zst"), ".tar")
}

fn list(store: &Opened) -> Result<(), Failure> {
    let entries = store.entries().list()?;
    let line = |entry: &Entry| {
        let p = &entry.provenance;
        format!("{}  {}, {}  {}\n", entry.name, count(p.files, "file"), size(p.bytes), url::public(&p.source).shown())
    };
    let answer = StoreListAnswer { entries: entries.iter().map(EntryAnswer::from).collect() };
    output::answer(&answer, || entries.iter().map(line).collect())
}

/// Removes all, or none if one is not there.
fn remove(store: &Opened, names: &[String]) -> Result<(), Failure> {
    for name in names {
        match store.entries().get(name) {
            // A damaged one can be removed.
            Ok(Some(_)) | Err(StoreError::BadFile { .. }) => {}
            Ok(None) => return Err(StoreError::NoEntry(name.clone()).into()),
            Err(e) => return Err(e.into()),
        }
    }
    record::begin("store remove", store.path());
    for name in names {
        store.entries().remove(name)?;
        record::concerns_name(name);
        record::changed();
    }
    let text = || names.iter().map(|name| format!("removed {}; depsfs gc frees its files\n", name.shown())).collect();
    output::done_answer("the entries were removed", &StoreRemoveAnswer { removed: names.to_vec() }, text)
}

fn verify(store: &Opened) -> Result<(), Failure> {
    interrupt::catch().map_err(Failure::os("catch signals"))?;
    let bar = Bar::new();
    let Verified { damage, absent } = store.verify_all(&bar)?;
    drop(bar);
    let damaged = damage.iter().map(|d| DamageAnswer { path: d.path.as_path().into(), words: d.to_string() });
    let answer = StoreVerifyAnswer { sound: damage.is_empty(), damaged: damaged.collect(), absent };
    output::answer(&answer, || {
        let awaited = match absent {
            0 => String::new(),
            1 => "1 object is not here yet: a remote has it\n".into(),
            n => format!("{n} objects are not here yet: a remote has them\n"),
        };
        match damage.is_empty() {
            true => format!("the store is sound\n{awaited}"),
            false => damage.iter().map(|d| format!("{d}\n")).collect::<String>() + &awaited,
        }
    })?;
    if damage.is_empty() { Ok(()) } else { Err(Failure::Damaged(damage.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_named_after_its_archive_without_suffixes() {
        let table = [
            ("/x/noir-01.tar.gz", "noir-01"),
            ("bb.zst", "bb"),
            ("a.tar.zst", "a"),
            ("a.tar", "a"),
            ("dir.d", "dir.d"),
        ];
        table.iter().for_each(|(file, name)| assert_eq!(name_of(Path::new(file)), *name));
    }
}
