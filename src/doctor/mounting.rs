//! Whether this user can mount at all: the device, the set-user-id program, and what its configuration allows.

use std::path::Path;

use super::{DoctorFacts, Row, is_fuse};
use crate::store::Manifest;
use crate::store::manifest::Shape;
use crate::sys::fs::FileType;
use crate::sys::terminal::{DisplayName, shell_word};
use crate::sys::{fuse_dev, fusermount, kernel, path, proc, reason};

const DEVICE: &str = "/dev/fuse";

/// Four rows, one for each thing that a mount needs: /dev/fuse, fusermount3, `user_allow_other`, the limit on mounts.
pub fn rows(sight: &DoctorFacts) -> Vec<Row> {
    vec![device(sight), fusermount3(sight), user_allow_other(sight), mount_max(sight)]
}

fn device(sight: &DoctorFacts) -> Row {
    let check = "device";
    let stat = match path::stat(Path::new(DEVICE)) {
        Ok(Some(stat)) => stat,
        Ok(None) => {
            let remedy = "load the module (sudo modprobe fuse); in a container give it the device: --device /dev/fuse";
            return Row::fail(check, format!("there is no {DEVICE}"), remedy);
        }
        Err(e) => return Row::fail(check, e.to_string(), "look at the permissions of /dev"),
    };
    let mode = stat.mode & 0o777;
    let is_open_to_all = mode & 0o006 == 0o006;
    let open_it = "sudo chmod 666 /dev/fuse";
    match fuse_dev::open() {
        _ if stat.kind() != FileType::CharacterDevice => {
            let remedy = "remove it, then make the device: sudo mknod -m 666 /dev/fuse c 10 229";
            Row::fail(check, format!("{DEVICE} is no device"), remedy)
        }
        Err(e) => Row::fail(check, format!("cannot open {DEVICE} (mode {mode:o}): {}", reason(&e)), open_it),
        // The user may have meant it so: it is not undone without a request.
        Ok(_) if sight.is_root && !is_open_to_all => {
            let who = match mode & 0o060 == 0o060 {
                true => format!("only root and group {} can mount", stat.gid),
                false => "only root can mount".into(),
            };
            Row::warn(check, format!("{DEVICE} has mode {mode:o}: {who}"), open_it)
        }
        Ok(_) => Row::ok(check, format!("{DEVICE} can be opened (mode {mode:o})")),
    }
}

fn fusermount3(sight: &DoctorFacts) -> Row {
    let check = "fusermount3";
    let install = "install it: sudo apt-get install fuse3";
    let Some(program) = fusermount::program(&sight.fuse_places()) else {
        let words = "fusermount3 is not installed";
        return match sight.is_root {
            true => Row::warn(check, format!("{words}: ordinary users cannot mount"), install),
            false => Row::fail(check, words, install),
        };
    };
    let file = path::canonical(&program).unwrap_or(program.clone());
    let is_set_user_id = path::stat(&file).is_ok_and(|s| s.is_some_and(|s| s.uid == 0 && s.mode & 0o4000 != 0));
    let words = program.shown();
    if !is_set_user_id {
        let words = format!("{words} is not set-user-id root: ordinary users cannot mount");
        let remedy = format!("sudo chown root {0} && sudo chmod u+s {0}", shell_word(&file));
        return if sight.is_root { Row::warn(check, words, remedy) } else { Row::fail(check, words, remedy) };
    }
    if !sight.is_root && proc::gains_no_privileges() {
        let remedy = "start depsfs outside of the sandbox that has set it (a container's security options, a service)";
        return Row::fail(check, format!("{words} has no effect: this process has no_new_privs set"), remedy);
    }
    if fusermount::has_no_mtab() {
        let remedy = "sudo ln -s /proc/self/mounts /etc/mtab";
        return Row::warn(check, format!("{words} unmounts nothing for ordinary users: there is no /etc/mtab"), remedy);
    }
    Row::ok(check, format!("{words} mounts for ordinary users"))
}

fn user_allow_other(sight: &DoctorFacts) -> Row {
    let check = "user_allow_other";
    let wanting: Vec<_> =
        sight.worktrees().filter(|(_, m)| m.allow_other).map(|(_, m)| m.worktree.shown().to_string()).collect();
    let remedy = "echo user_allow_other | sudo tee -a /etc/fuse.conf";
    let is_closed = |m: &Manifest| m.shape == Shape::Worktree && !m.allow_other;
    let closed: Vec<_> =
        sight.worktrees().filter(|(_, m)| is_closed(m)).map(|(_, m)| m.worktree.shown().to_string()).collect();
    match fusermount::allows_other() {
        Some(true) => Row::ok(check, "set in /etc/fuse.conf: --allow-other lets other users into views"),
        _ if sight.is_root => Row::ok(check, "not set in /etc/fuse.conf; root needs it for nothing"),
        Some(false) if wanting.is_empty() && !closed.is_empty() => {
            let words = format!("not set in /etc/fuse.conf: root and containers can't see {}", super::few(&closed));
            Row::warn(check, words, format!("{remedy}, then depsfs mount --allow-other in each"))
        }
        Some(false) if wanting.is_empty() => Row::ok(check, "not set in /etc/fuse.conf; no worktree asks for it"),
        Some(false) => {
            Row::fail(check, format!("not set in /etc/fuse.conf, but asked for by {}", super::few(&wanting)), remedy)
        }
        None if wanting.is_empty() => Row::ok(check, "/etc/fuse.conf cannot be read; no worktree asks for it"),
        None => {
            let words = format!("/etc/fuse.conf cannot be read, and {} may need it", super::few(&wanting));
            Row::warn(check, words, "sudo chmod a+r /etc/fuse.conf")
        }
    }
}

fn mount_max(sight: &DoctorFacts) -> Row {
    let check = "mount_max";
    let used = sight.mounts.iter().filter(|m| is_fuse(m)).count();
    let all = sight.mounts.len() as u64;
    if let Some(most) = kernel::number("/proc/sys/fs/mount-max")
        && all * 10 > most * 9
    {
        let words = format!("{all} of the kernel's {most} mounts are in use");
        return Row::warn(check, words, format!("sudo sysctl fs.mount-max={}", most * 2));
    }
    let Some(limit) = fusermount::limit() else {
        return Row::ok(check, format!("{used} FUSE mounts; /etc/fuse.conf sets no limit"));
    };
    let views = sight.worktrees().flat_map(|(_, m)| m.views.iter().map(|v| m.worktree.join(&v.path)));
    let missing = views.filter(|path| !sight.mounts.iter().any(|m| m.path == *path)).count();
    let words = format!("{used} of {limit} FUSE mounts that ordinary users may have are in use");
    let remedy = format!("set mount_max = {} in /etc/fuse.conf, or unmount worktrees", (limit * 2).max(1000));
    match limit.saturating_sub(used) {
        _ if sight.is_root => Row::ok(check, format!("{words}; root has no limit")),
        0 => Row::fail(check, words, remedy),
        left if left < missing => Row::warn(check, format!("{words}, and {missing} views are not mounted"), remedy),
        left if left * 10 < limit => Row::warn(check, words, remedy),
        _ => Row::ok(check, words),
    }
}
