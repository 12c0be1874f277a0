//! The store: what was left in it, how much space there is, and whether its files are what their names say.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{DoctorFacts, Row, is_in_fuse};
use crate::remote::fetcher::IncompleteTrees;
use crate::store::{
    Damage, DamageKind, OperationLog, OperationOutcome, PackId, Store, StoreError, escape, frame, import,
};
use crate::sys::mountinfo::MountPoint;
use crate::sys::terminal::{self, DisplayName};
use crate::sys::{fs, path};
use crate::worktree::WorktreeError;

/// How long files are read for the sample.
const SAMPLED_FOR: Duration = Duration::from_millis(1500);
/// Below, in bytes, something is about to fail; below the second and a twentieth, it may soon.
const TOO_LITTLE: u64 = 64 << 20;
const LITTLE: u64 = 2 << 30;

/// The store, if it is there and may be read; else the row that reports why not.
pub fn open(place: Option<&Path>, mounts: &[MountPoint]) -> Result<Option<Store>, Row> {
    let check = "store";
    let Some(place) = place else {
        return Err(Row::fail(check, "it has no place: HOME is not set", "set DEPSFS_STORE to an absolute path"));
    };
    if is_in_fuse(mounts, place) {
        let words = format!("{} is in a FUSE mount, which is not looked into", place.shown());
        return Err(Row::warn(check, words, "set DEPSFS_STORE to a directory of a local disk"));
    }
    if !path::is_there(&place.join("version")) {
        return Err(Row::ok(check, format!("none at {} yet", place.shown())));
    }
    Store::open(place).map(Some).map_err(|e| Row::fail(check, e.to_string(), remedy(&e)))
}

fn remedy(e: &StoreError) -> &'static str {
    match e {
        StoreError::Gone { .. } => "mount the disk that holds it",
        StoreError::OtherOwner { .. } => "set DEPSFS_STORE to a directory of your own",
        StoreError::Version { .. } => "use the depsfs that made it, or set DEPSFS_STORE to another store",
        _ => "look at the owner and the permissions of the store",
    }
}

/// Rows of the store: its path, its operation log, its leftovers, its hashes, or why it cannot be read; and rows of
/// free space.
pub fn rows(sight: &DoctorFacts) -> Vec<Row> {
    let mut rows = Vec::new();
    match (&sight.store, &sight.no_store) {
        (Some(store), _) => {
            rows.push(Row::ok("store", store.path().shown().to_string()));
            rows.push(operations(store));
            rows.push(temporaries(sight, store));
            rows.push(hashes(sight, store));
            rows.extend(contents(store));
        }
        (None, row) => rows.extend(row.iter().map(Row::again)),
    }
    rows.extend(space(sight));
    rows
}

impl Row {
    fn again(&self) -> Row {
        let remedy = self.remedy.clone();
        Row { state: self.state, remedy, ..Row::ok(self.check, self.reason.clone()) }
    }
}

/// Trees whose contents are not all here; nothing if there are none.
fn contents(store: &Store) -> Option<Row> {
    let check = "contents";
    let trees = store.sources().unwrap_or_default();
    let found = match IncompleteTrees::of(store, trees.iter().copied()) {
        Ok(found) => found?,
        Err(e) => return Some(Row::warn(check, e.to_string(), "depsfs store verify names what is damaged")),
    };
    let words = format!("{} % of those that come from the remote {} are here", found.percent(), found.remote.shown());
    Some(match found.silent {
        None => Row::ok(check, words),
        Some(silent) => {
            let words = format!("{words}; since {} it does not answer: {}", silent.since, silent.why.shown());
            Row::warn(check, words, "depsfs remote check tests it; depsfs fetch brings the rest once it answers")
        }
    })
}

/// The operation log: its length, and the last failure in it.
fn operations(store: &Store) -> Row {
    let check = "log";
    let read = match OperationLog::of(store.path()).read() {
        Ok(read) => read,
        Err(e) => return Row::warn(check, e.to_string(), "look at the owner and the permissions of the store"),
    };
    let mut words = match read.operations.len() {
        1 => "1 operation".to_owned(),
        n => format!("{n} operations"),
    };
    if let Some(last) = read.operations.iter().rev().find(|operation| operation.outcome == OperationOutcome::Failed) {
        words += &format!(", the last that failed: {} at {}", last.verb, last.time);
        words += &last.detail.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    }
    if read.damaged > 0 {
        words += &format!("; {} damaged, and left out", read.damaged);
    }
    Row::ok(check, terminal::line(&words).into_owned())
}

/// In the store, and beside manifests, that a process that was ended wrote aside.
fn temporaries(sight: &DoctorFacts, store: &Store) -> Row {
    let check = "temporaries";
    let beside: Vec<PathBuf> = sight.worktrees().flat_map(|(dir, _)| half_written(&dir)).collect();
    let left = match store.try_exclusive().and_then(|lock| store.leftovers(&lock)) {
        Ok(left) => left,
        Err(StoreError::Busy) => return Row::ok(check, "something is being added to the store just now"),
        Err(e) => return Row::warn(check, e.to_string(), "look at the owner and the permissions of the store"),
    };
    if left.is_empty() && beside.is_empty() {
        return Row::ok(check, "none");
    }
    let n = left.len() + beside.len();
    let first = left.first().or(beside.first()).map(|p| p.shown().to_string()).unwrap_or_default();
    let row = Row::warn(check, format!("{n} left by programs that were ended, as {first}"), "depsfs gc");
    let store = store.clone();
    row.fixed_by(move || {
        beside.iter().try_for_each(|file| path::remove_file(file))?;
        Ok(store.remove_leftovers(&store.try_exclusive()?).map(drop)?)
    })
}

/// Files written aside whose writer is gone: `manifest.json.<pid>.<n>.new`.
fn half_written(dir: &Path) -> Vec<PathBuf> {
    let names = path::list(dir).unwrap_or_default();
    let names = names.iter().filter_map(|e| std::str::from_utf8(&e.name).ok());
    let is_left = |name: &&str| {
        let writer = name.strip_suffix(".new").and_then(|n| n.split('.').find_map(|part| part.parse::<i32>().ok()));
        writer.is_some_and(|pid| crate::sys::proc::glance(pid).is_none())
    };
    names.filter(is_left).map(|name| dir.join(name)).collect()
}

fn hashes(sight: &DoctorFacts, store: &Store) -> Row {
    let check = "hashes";
    match damage(sight, store) {
        Ok((bytes, damage)) if damage.is_empty() => {
            Row::ok(check, format!("{} MB of the store read, all as its names say", bytes.div_ceil(1_000_000)))
        }
        Ok((_, damage)) => {
            let words: Vec<String> = damage.iter().map(ToString::to_string).collect();
            let remedy = "depsfs store verify names all; create or store add from a good copy restores missing files";
            let row = Row::fail(check, super::few(&words), remedy);
            let sources = sight
                .worktrees()
                .flat_map(|(_, m)| m.source.iter().flat_map(|s| m.views.iter().map(|v| s.join(&v.path))));
            let entries = store.entries().list().unwrap_or_default();
            let added = entries.iter().filter_map(|e| escape::unescape(&e.provenance.source));
            let added = added.map(|path| PathBuf::from(OsString::from_vec(path))).filter(|path| path.is_absolute());
            let sources: Vec<PathBuf> = sources.chain(added).filter(|s| !is_in_fuse(&sight.mounts, s)).collect();
            let (store, manifests) = (store.clone(), sight.worktrees().map(|(_, m)| m.clone()).collect::<Vec<_>>());
            row.fixed_by(move || {
                mend(&store, sources)?;
                Ok(manifests.iter().try_for_each(|manifest| frame::restore(&store, manifest))?)
            })
        }
        Err(e) => Row::fail(check, e.to_string(), "depsfs store verify"),
    }
}

/// The damage in a sample, the damage that views have met, and the missing trees of worktrees; and the number of bytes
/// that were read.
fn damage(sight: &DoctorFacts, store: &Store) -> Result<(u64, Vec<Damage>), StoreError> {
    let (bytes, mut damage) = store.verify_some(SAMPLED_FOR)?;
    damage.extend(store.lost_damage()?);
    damage.extend(store.missing_trees(&sight.roots));
    damage.sort();
    damage.dedup_by(|a, b| a.path == b.path);
    Ok((bytes, damage))
}

/// The file of one object whose bytes don't match its name.
fn is_wrong_object(damage: &Damage) -> bool {
    let bucket = damage.path.parent();
    damage.kind == DamageKind::Bytes && bucket.and_then(Path::parent).is_some_and(|dir| dir.ends_with("objects"))
}

/// The pack with objects of other bytes than their names say, or that can't be read at all.
fn wrong_pack(damage: &Damage) -> Option<PackId> {
    let (dir, name) = (damage.path.parent()?, damage.path.file_name()?.to_str()?);
    let is_wrong = matches!(damage.kind, DamageKind::Bytes | DamageKind::Packed { .. } | DamageKind::Pack(_));
    name.parse().ok().filter(|_| is_wrong && dir.ends_with("packs"))
}

/// Deletes the damaged objects of the whole store: a view then answers EIO, and no program gets wrong bytes. Then the
/// sources' files, if they still exist, replace them.
fn mend(store: &Store, mut sources: Vec<PathBuf>) -> Result<(), WorktreeError> {
    let damage = store.verify(&())?;
    damage.iter().filter(|d| is_wrong_object(d)).try_for_each(|d| path::remove_file(&d.path))?;
    damage.iter().filter_map(wrong_pack).try_for_each(|id| store.salvage(id))?;
    store.forget_snapshots()?;
    sources.sort();
    sources.dedup();
    for source in &sources {
        // An unreadable source repairs nothing; the others may.
        let read = match path::is_dir(source) {
            true => import::import_dir(store, source, &()).map(drop),
            false if path::is_there(source) => {
                import::import_archive(store, source, &import::ArchiveLimits::default(), &()).map(drop)
            }
            false => Ok(()),
        };
        if let Err(e) = read {
            tracing::warn!("{e}");
        }
    }
    // Objects that are whole again are no longer recorded as damaged.
    Ok(store.drop_damaged()?)
}

/// One row for each file system that holds the store or a worktree.
fn space(sight: &DoctorFacts) -> Vec<Row> {
    let mut places: Vec<PathBuf> = sight.store.iter().map(|s| s.path().to_path_buf()).collect();
    places.extend(sight.worktrees().map(|(_, m)| m.worktree.clone()).filter(|w| !is_in_fuse(&sight.mounts, w)));
    let (mut seen, mut rows) = (Vec::new(), Vec::new());
    for place in places {
        let Ok(dir) = path::open_dir(&place) else { continue };
        let (Ok(stat), Ok(space)) = (fs::stat(&dir), fs::statfs(&dir)) else { continue };
        if seen.contains(&stat.dev) {
            continue;
        }
        seen.push(stat.dev);
        let (free, size) = (space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize);
        rows.push(space_row(&place, free, size, space.f_favail, space.f_files));
    }
    rows
}

fn space_row(place: &Path, free: u64, size: u64, files_free: u64, files: u64) -> Row {
    let check = "space";
    let mb = |bytes: u64| bytes / 1_000_000;
    let words = format!("{} MB of {} MB are free at {}", mb(free), mb(size), place.shown());
    let remedy = "depsfs gc, then free more space on that file system";
    // File systems without a fixed number of inodes say 0.
    if files > 0 && files_free * 200 < files {
        let words = format!("{files_free} of {files} inodes are free at {}", place.shown());
        return if files_free < 100 { Row::fail(check, words, remedy) } else { Row::warn(check, words, remedy) };
    }
    match free {
        _ if free < TOO_LITTLE => Row::fail(check, words, remedy),
        _ if free < LITTLE && free < size / 20 => Row::warn(check, words, remedy),
        _ => Row::ok(check, words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::CheckState;

    #[test]
    fn a_disk_is_full_when_nothing_fits_and_nearly_full_by_share_and_size() {
        let gb = 1_u64 << 30;
        let state = |free, size, files_free, files| space_row(Path::new("/s"), free, size, files_free, files).state;
        assert_eq!(state(50 << 20, 100 * gb, 9, 0), CheckState::Fail);
        assert_eq!(state(gb, 100 * gb, 9, 0), CheckState::Warn);
        assert_eq!(state(gb, 4 * gb, 9, 0), CheckState::Ok);
        assert_eq!(state(50 * gb, 100 * gb, 50, 1_000_000), CheckState::Fail);
        assert_eq!(state(50 * gb, 100 * gb, 4_000, 1_000_000), CheckState::Warn);
        assert_eq!(state(50 * gb, 100 * gb, 900_000, 1_000_000), CheckState::Ok);
    }
}
