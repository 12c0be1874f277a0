//! The machine: the limit of watched files, and git.

use std::time::Duration;

use super::{DoctorFacts, Row};
use crate::git::version::OLDEST;
use crate::sys::terminal::DisplayName;
use crate::sys::{invocation, kernel, proc, reason};

/// Editors and bundlers that watch a big tree need about as many.
const FEW_WATCHES: u64 = 65_536;
const FEW_INSTANCES: u64 = 64;
const PATIENCE: Duration = Duration::from_secs(5);

/// Two rows: the limits of inotify, and git's version. git gets five seconds to answer.
pub fn rows(sight: &DoctorFacts) -> Vec<Row> {
    vec![inotify(), git(sight)]
}

/// A user namespace can have less than the machine.
fn inotify() -> Row {
    let check = "inotify";
    let least = |what: &str| {
        let files = [format!("/proc/sys/fs/inotify/max_user_{what}"), format!("/proc/sys/user/max_inotify_{what}")];
        files.iter().filter_map(|file| kernel::number(file)).min()
    };
    let (watches, instances) = (least("watches").unwrap_or(u64::MAX), least("instances").unwrap_or(u64::MAX));
    let words = format!("{watches} watches, {instances} instances for each user");
    let remedy = |watches: u64, instances: u64| {
        format!("sudo sysctl fs.inotify.max_user_watches={watches} fs.inotify.max_user_instances={instances}")
    };
    let enough = remedy(watches.clamp(524_288, u64::MAX / 2), instances.clamp(512, u64::MAX / 2));
    match kernel::can_watch() {
        Err(e) => {
            let more = remedy(watches.saturating_mul(2).max(524_288), instances.saturating_mul(2).max(512));
            Row::fail(check, format!("nothing can be watched ({}): {words}", reason(&e)), more)
        }
        Ok(()) if watches < FEW_WATCHES || instances < FEW_INSTANCES => {
            Row::warn(check, format!("{words}: too few for editors and bundlers in big trees"), enough)
        }
        Ok(()) => Row::ok(check, words),
    }
}

fn git(sight: &DoctorFacts) -> Row {
    let check = "git";
    let wanted = format!("install git {}.{} or later", OLDEST.0, OLDEST.1);
    let Some(program) = proc::find_program("git", &sight.fuse_places()) else {
        return Row::fail(check, "not in PATH", wanted);
    };
    let place = program.shown();
    match invocation::output(&program, &["--version"], PATIENCE) {
        Err(e) => Row::fail(check, format!("{place} does not run: {}", reason(&e)), wanted),
        Ok(said) => match said.strip_prefix("git version ").and_then(kernel::version) {
            Some(version) if version >= OLDEST => Row::ok(check, format!("{said} ({place})")),
            Some(_) => Row::fail(check, format!("{said} ({place}) is too old"), wanted),
            None => {
                Row::warn(check, format!("the version that {place} prints cannot be read: {}", said.shown()), wanted)
            }
        },
    }
}
