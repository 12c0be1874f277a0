//! The features of the kernel, and the fast paths of depsfs that need them.

use super::{DoctorFacts, Row, is_in_fuse};
use crate::daemon::client;
use crate::sys::terminal::DisplayName;
use crate::sys::{feature, kernel};

/// The oldest kernel that depsfs is tested on, and the oldest that resends requests.
const NEEDED: (u32, u32) = (5, 10);
const RESENDS: (u32, u32) = (6, 9);
/// `linux/fuse.h`.
const FUSE_NO_OPEN_SUPPORT: u64 = 1 << 17;
const FUSE_NO_OPENDIR_SUPPORT: u64 = 1 << 24;
const FUSE_PASSTHROUGH: u64 = 1 << 37;
const FUSE_HAS_RESEND: u64 = 1 << 39;

/// The number of worktrees that are tried for clones.
const TRIED: usize = 3;

/// Three rows: the kernel's version, the fast paths of views (for a mounted one, as the kernel offered them to it),
/// other features.
pub fn rows(sight: &DoctorFacts) -> Vec<Row> {
    let release = kernel::release();
    let version = kernel::version(&release);
    vec![version_row(&release, version), fast_paths(sight, version), features()]
}

fn version_row(release: &str, version: Option<(u32, u32)>) -> Row {
    let check = "kernel";
    let resends = format!("{}.{}", RESENDS.0, RESENDS.1);
    match version {
        Some(version) if version >= NEEDED => Row::ok(check, format!("Linux {release}")),
        Some(_) => {
            let words = format!("Linux {release} is too old: {}.{} or later is needed", NEEDED.0, NEEDED.1);
            Row::fail(check, words, format!("boot Linux {resends} or later"))
        }
        None => Row::warn(
            check,
            format!("Linux {} has an unknown version", release.shown()),
            format!("boot Linux {resends}"),
        ),
    }
}

/// For a living view the kernel's own word counts, else its version.
fn fast_paths(sight: &DoctorFacts, version: Option<(u32, u32)>) -> Row {
    let check = "fast_paths";
    let states = sight.worktrees().filter_map(|(dir, _)| client::state(&dir));
    let mounted: Vec<_> = states.flat_map(|s| s.views).filter(|view| view.mounted).collect();
    let offered = mounted.iter().find_map(|view| view.capabilities);
    let since = |needed| version.is_some_and(|v| v >= needed);
    let offers = |bit: u64, needed| offered.map_or(since(needed), |bits| bits & bit == bit);
    let opens = offers(FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT, (5, 1));
    let resend = offers(FUSE_HAS_RESEND, RESENDS);
    let passthrough = offers(FUSE_PASSTHROUGH, RESENDS);
    let passing = mounted.iter().filter(|view| view.passes.is_some()).count();
    let passthrough = match passing {
        0 if passthrough => "passthrough offered, used by no view".into(),
        0 => "passthrough not offered".into(),
        n => format!("passthrough used by {n} of {} views", mounted.len()),
    };
    let word = |on: bool| if on { "on" } else { "off" };
    let mut words = vec![
        format!("opens without a message {}", word(opens)),
        format!("after a crash requests are {}", if resend { "sent again" } else { "taken from memory" }),
        passthrough,
    ];
    words.extend(clones(sight));
    let words = words.join(", ");
    match opens {
        true => Row::ok(check, words),
        false => Row::warn(check, words, "boot a newer kernel: everything works, but slower"),
    }
}

/// The features that depsfs does without where they are missing.
fn features() -> Row {
    let (there, missing): (Vec<_>, Vec<_>) = feature::probe().into_iter().partition(|probed| probed.is_there);
    let names: Vec<_> = there.iter().map(|probed| probed.name).collect();
    let mut words = vec![format!("used: {}", names.join(", "))];
    words.extend(missing.iter().map(|probed| format!("{} is missing: {}", probed.name, probed.without)));
    Row::ok("kernel_features", words.join("; "))
}

fn clones(sight: &DoctorFacts) -> Vec<String> {
    let Some(store) = &sight.store else { return Vec::new() };
    let near = |path: &std::path::Path| !is_in_fuse(&sight.mounts, path);
    let worktrees = sight.worktrees().map(|(_, m)| m.worktree.clone()).filter(|w| near(w)).take(TRIED);
    let said = |on| match on {
        Some(true) => "clones",
        Some(false) => "copies",
        None => "copies or clones",
    };
    let mut words = vec![format!("the store {}", said(kernel::clones(store.path(), store.path())))];
    words.extend(worktrees.map(|w| format!("{} {}", w.shown(), said(kernel::clones(store.path(), &w)))));
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::CheckState;

    #[test]
    fn kernels_are_reported_that_work_and_that_are_too_old() {
        let state = |text: &str| version_row(text, kernel::version(text)).state;
        let table = [
            ("6.18.1", CheckState::Ok),
            ("6.9", CheckState::Ok),
            ("5.10.0-46-cloud", CheckState::Ok),
            ("6.8.0-31-generic", CheckState::Ok),
            ("5.4.0", CheckState::Fail),
        ];
        table.iter().for_each(|(text, want)| assert_eq!(state(text), *want, "{text}"));
    }
}
