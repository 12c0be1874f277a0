//! `fusermount3`, the set-user-id program that lets an ordinary user mount and unmount FUSE file systems.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::invocation::{Finished, Invocation, Running, Sink};
use super::mount_options::{Options, SOURCE};
use super::socket;

/// The paths that are tried if PATH doesn't have it (a service manager may set none).
const USUAL_PLACES: [&str; 3] = ["/usr/bin/fusermount3", "/bin/fusermount3", "/usr/local/bin/fusermount3"];

/// As many bytes of its stderr are kept.
const LONGEST_WORDS: usize = 4096;

/// The file with the limits of fusermount3 (mount.fuse3(8)), and the limit without it.
const CONFIGURATION: &str = "/etc/fuse.conf";
const USUAL_LIMIT: usize = 1000;

/// The number of FUSE file systems from which on fusermount3 mounts no more; `None`: no limit.
pub fn limit() -> Option<usize> {
    let text = super::path::read_if_there(Path::new(CONFIGURATION)).ok().flatten().unwrap_or_default();
    limit_in(&String::from_utf8_lossy(&text))
}

fn limit_in(configuration: &str) -> Option<usize> {
    let lines = configuration.lines().map(|l| l.split('#').next().unwrap_or_default());
    let set = lines.filter_map(|l| l.split_once('=')).filter(|(key, _)| key.trim() == "mount_max");
    match set.filter_map(|(_, value)| value.trim().parse::<i64>().ok()).next_back() {
        // -1 stands for no limit.
        Some(limit) => usize::try_from(limit).ok(),
        None => Some(USUAL_LIMIT),
    }
}

/// Whether an ordinary user may let others into what they mount; `None` when the configuration can't be read.
pub fn allows_other() -> Option<bool> {
    let text = super::path::read_if_there(Path::new(CONFIGURATION)).ok()?.unwrap_or_default();
    Some(String::from_utf8_lossy(&text).lines().any(|l| l.trim() == "user_allow_other"))
}

/// The file that is run, looked for as for a mount, but beneath none of `avoid`.
pub fn program(avoid: &[PathBuf]) -> Option<PathBuf> {
    let usual = USUAL_PLACES.iter().map(PathBuf::from).find(|p| super::proc::is_program(p));
    super::proc::find_program("fusermount3", avoid).or(usual)
}

/// Mounts a new connection at `at`; gives its device.
pub fn mount(at: &Path, how: &Options) -> io::Result<OwnedFd> {
    let (ours, theirs) = socket::stream_pair()?;
    // In a value, a backslash keeps a comma and a backslash from having a meaning.
    let source = how.source().replace('\\', r"\\").replace(',', r"\,");
    let mut options = format!("nosuid,nodev,default_permissions,fsname={source},subtype={SOURCE}");
    let further = [(how.allow_other, ",allow_other"), (how.read_only, ",ro"), (how.no_exec, ",noexec")];
    options.extend(further.into_iter().filter_map(|(wanted, word)| wanted.then_some(word)));
    let child = start(|it| {
        it.arg("-o").arg(&options).arg("--").arg(at);
        it.env("_FUSE_COMMFD", theirs.as_raw_fd().to_string()).keep_open(theirs.as_fd());
    })?;
    drop(theirs);
    // One byte with the descriptor; nothing when it failed, and then its stderr has the reason.
    let received = socket::receive(ours.as_fd(), &mut [0; 1]);
    finish(child.finish()?)?;
    match received?.1.pop() {
        Some(device) => Ok(device),
        None => Err(io::Error::other("fusermount3 gave no descriptor")),
    }
}

/// Unmounts `path`; `lazy` detaches it even when it is in use. In use and not lazy: EBUSY.
pub fn unmount(path: &Path, lazy: bool) -> io::Result<()> {
    let child = start(|it| {
        it.arg("-u");
        if lazy {
            it.arg("-z");
        }
        it.arg("--").arg(path).env("LC_ALL", "C");
    })?;
    // Its exit code is 1 for everything: the words tell.
    finish(child.finish()?).or_else(|e| match e.to_string() {
        said if said.contains("resource busy") => Err(rustix::io::Errno::BUSY.into()),
        said if said.contains(MTAB) => by_umount(path, lazy).map_err(|_| io::Error::other(missing_mtab())),
        _ => Err(e),
    })
}

/// The table of mounts that fusermount3 reads before it unmounts one.
const MTAB: &str = "/etc/mtab";

/// The reason why nothing can be unmounted if the table is missing, and the command that helps, in words.
pub fn missing_mtab() -> String {
    format!("fusermount3 needs {MTAB}, which is not there (ln -s /proc/self/mounts {MTAB})")
}

/// Whether it is missing.
pub fn has_no_mtab() -> bool {
    !super::path::is_there(Path::new(MTAB))
}

/// umount(8) unmounts a FUSE file system for the user who has mounted it, by the kernel's own table.
fn by_umount(path: &Path, lazy: bool) -> io::Result<()> {
    let mut it = Invocation::new("umount");
    it.stderr(Sink::Keep(LONGEST_WORDS)).env("LC_ALL", "C");
    if lazy {
        it.arg("-l");
    }
    it.arg("--").arg(path);
    finish(it.run()?).map_err(|e| match e.to_string() {
        said if said.contains("busy") => rustix::io::Errno::BUSY.into(),
        _ => e,
    })
}

/// Starts it from PATH, or else from where it usually is.
fn start<'a>(prepare: impl Fn(&mut Invocation<'a>)) -> io::Result<Running<'a>> {
    let mut places = std::iter::once("fusermount3").chain(USUAL_PLACES);
    loop {
        let Some(place) = places.next() else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "fusermount3 is not installed (package fuse3)"));
        };
        let mut it = Invocation::new(place);
        it.stderr(Sink::Keep(LONGEST_WORDS));
        prepare(&mut it);
        match it.start() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            started => return started,
        }
    }
}

/// Success, or its stderr as the error.
fn finish(finished: Finished) -> io::Result<()> {
    if finished.ended.is_success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&finished.stderr);
    let said = said.trim().trim_start_matches("fusermount3: ");
    Err(io::Error::other(if said.is_empty() { "fusermount3 failed" } else { said }.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_what_the_configuration_says_or_a_thousand() {
        let table = [
            ("", Some(1000)),
            ("#mount_max = 5\nuser_allow_other\n", Some(1000)),
            ("mount_max = 5 # few\n", Some(5)),
            ("mount_max=20\n", Some(20)),
            ("mount_max = -1\n", None),
        ];
        for (text, limit) in table {
            assert_eq!(limit_in(text), limit, "{text}");
        }
    }
}
