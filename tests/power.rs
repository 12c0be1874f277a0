//! The power goes: after any prefix of what reached the disk, a view and a store are what a plain file system could be.
//!
//! A file system (ext4; xfs, too, where `mkfs.xfs` is there) lies on a loop device over a FUSE file of ours, which
//! records every write of a block and every flush, in order (`power/disk.rs`). A workload runs on it. Then, for a
//! prefix of the writes, the disk is made anew as it would have been found, the file system mounts it (and replays its
//! own journal), the view or the store is opened, and looked at.
//!
//! The view may lose the same as the file system: the last changes, in order; and never what was synced. So the
//! view must look as it did after some step that had begun before the cut, and not before the last step that was
//! synced (`power/view.rs`). The bytes of a file are those of such a step, or of a later one; a file that the store
//! had, or that was synced, is never empty.
//!
//! Of the writes after the last flush, any may be there and others not: a disk has a cache. Every second cut takes a
//! random part of them.
//!
//! As many cuts as `DEPSFS_POWER_CUTS` says (`all`: each), spread by `DEPSFS_POWER_SEED`; both are printed.

#[path = "power/disk.rs"]
mod disk;
#[path = "power/fetch.rs"]
mod fetch;
#[path = "power/store.rs"]
mod store;
#[path = "power/view.rs"]
mod view;

use std::path::Path;

use disk::{Disk, Kind};

/// How many cuts, when nobody says.
const CUTS: usize = 40;

/// Random numbers that come again (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

pub fn seed() -> u64 {
    let given = std::env::var("DEPSFS_POWER_SEED").ok().and_then(|s| s.parse().ok());
    given.unwrap_or_else(|| std::process::id().into())
}

/// Looks at the disk after some prefixes of its writes. `look` gets the mounted directory and how many events there
/// were.
fn cut(disk: &Disk, what: &str, look: &dyn Fn(&Path, usize) -> Result<(), String>) {
    let events = disk.events();
    let seed = seed();
    let mut random = Random(seed);
    let wanted = std::env::var("DEPSFS_POWER_CUTS").unwrap_or_else(|_| CUTS.to_string());
    let count = wanted.parse().unwrap_or(usize::MAX).min(events.len() + 1);
    let mut cuts: Vec<usize> = (0..=events.len()).collect();
    for i in 0..count {
        let with = i + (random.draw() as usize) % (cuts.len() - i);
        cuts.swap(i, with);
    }
    cuts.truncate(count);
    cuts.sort_unstable();
    let mut wrong = Vec::new();
    for (number, at) in cuts.iter().enumerate() {
        let flushed = events[..*at].iter().rposition(|e| e.is_flush()).map_or(0, |f| f + 1);
        let lost = if number % 2 == 1 { Some(random.draw()) } else { None };
        let seen = disk.as_found(*at, flushed, lost, &|dir| look(dir, *at));
        if let Err(why) = seen {
            wrong.push(format!("after {at} events, {flushed} flushed, lost {lost:?}: {why}"));
        }
    }
    println!("{what}: {count} of {} cuts, DEPSFS_POWER_SEED={seed}: {} wrong", events.len() + 1, wrong.len());
    assert!(wrong.is_empty(), "{} cuts of {what} with DEPSFS_POWER_SEED={seed}\n{}", wrong.len(), wrong.join("\n"));
}

/// The disk, or why there is none.
fn disk(kind: Kind) -> Option<Disk> {
    match Disk::new(kind) {
        Ok(disk) => Some(disk),
        Err(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

#[test]
fn a_view_on_ext4_after_a_power_cut_is_one_that_it_was() {
    let Some(disk) = disk(Kind::Ext4) else { return };
    view::run(disk, "a view on ext4, each step committed", view::Commit::Each, view::State::OnTheDisk);
}

#[test]
fn a_view_on_ext4_that_is_seldom_committed_is_one_that_it_was() {
    let Some(disk) = disk(Kind::Ext4) else { return };
    view::run(disk, "a view on ext4, some steps committed", view::Commit::Some(seed()), view::State::OnTheDisk);
}

#[test]
fn a_view_on_xfs_after_a_power_cut_is_one_that_it_was() {
    let Some(disk) = disk(Kind::Xfs) else { return };
    view::run(disk, "a view on xfs, each step committed", view::Commit::Each, view::State::OnTheDisk);
}

#[test]
fn a_view_whose_state_is_on_another_disk_is_one_that_it_was() {
    let Some(disk) = disk(Kind::Ext4) else { return };
    let what = "a view on ext4, its state on another disk";
    view::run(disk, what, view::Commit::Each, view::State::OnAnother);
}

#[test]
fn a_store_after_a_power_cut_is_sound_and_what_was_cut_off_leaves_nothing() {
    let Some(disk) = disk(Kind::Ext4) else { return };
    store::run(disk);
}

#[test]
fn objects_that_come_into_a_sparse_pack_are_here_or_absent_after_a_power_cut() {
    let Some(disk) = disk(Kind::Ext4) else { return };
    fetch::run(disk);
}

#[test]
fn an_imported_tree_of_which_a_sparse_pack_has_the_objects_is_whole_after_a_power_cut() {
    let Some(disk) = disk(Kind::Ext4) else { return };
    fetch::run_import(disk);
}
