//! The words of `-o`, as mount(8) and fstab(5) have them, and overlayfs.
//!
//! A backslash keeps a comma from ending an option, and in `lowerdir` a colon from ending a directory.

use std::path::PathBuf;

use super::report::Failure;

/// The settings in a list of options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    pub lower: Vec<PathBuf>,
    pub upper: Option<PathBuf>,
    pub workdir: Option<PathBuf>,
    pub store: Option<PathBuf>,
    pub fsname: Option<String>,
    pub allow_other: Option<bool>,
    /// The last of `ro` and `rw`.
    pub read_only: Option<bool>,
    pub no_exec: bool,
}

/// Words of mount(8), fstab(5) and systemd.mount(5) that ask for nothing, or for what a view does anyway.
const HARMLESS: [&str; 40] = [
    "defaults",
    "auto",
    "noauto",
    "nofail",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "_netdev",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "async",
    "sync",
    "dirsync",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "iversion",
    "noiversion",
    "mand",
    "nomand",
    "silent",
    "loud",
    "default_permissions",
    "userxattr",
    "volatile",
    "nosymfollow",
    "uhelper",
    "subtype",
];
/// Words of overlayfs and fuse-overlayfs whose every value names a way of doing what a view does in its own; and
/// those of systemd and util-linux that begin so.
const HARMLESS_KEYS: [&str; 21] = [
    "index",
    "redirect_dir",
    "xino",
    "metacopy",
    "nfs_export",
    "uuid",
    "verity",
    "fsync",
    "squash_to_root",
    "noacl",
    "plugins",
    "threaded",
    "timeout",
    "user",
    "uhelper",
    "subtype",
    "blksize",
    "max_read",
    "comment",
    "helper",
    "context",
];

impl MountOptions {
    /// Adds the options of one list.
    pub fn parse(&mut self, list: &str) -> Result<(), Failure> {
        for option in split(list, ',') {
            let (key, value) = option.split_once('=').map_or((option.as_str(), None), |(k, v)| (k, Some(v)));
            let path = || value.map(|v| PathBuf::from(unescape(v)));
            match (key, value) {
                ("", None) => {}
                ("lowerdir", Some(dirs)) => {
                    self.lower = split(dirs, ':').iter().map(|d| PathBuf::from(unescape(d))).collect();
                }
                // overlayfs from Linux 6.7 on: one at a time, each below those before.
                ("lowerdir+", Some(dir)) => self.lower.push(PathBuf::from(unescape(dir))),
                ("upperdir", Some(_)) => self.upper = path(),
                ("workdir", Some(_)) => self.workdir = path(),
                ("store", Some(_)) => self.store = path(),
                ("fsname", Some(name)) => self.fsname = Some(unescape(name)),
                ("allow_other", None) => self.allow_other = Some(true),
                ("ro", None) => self.read_only = Some(true),
                ("rw", None) => self.read_only = Some(false),
                ("noexec", None) => self.no_exec = true,
                ("exec", None) => self.no_exec = false,
                (key, None) if HARMLESS.contains(&key) || HARMLESS_KEYS.contains(&key) => {}
                (key, Some(_)) if HARMLESS_KEYS.contains(&key) || key.starts_with("x-") => {}
                (key, None) if key.starts_with("x-") => {}
                _ => return Err(Failure::MountOption(option)),
            }
        }
        Ok(())
    }
}

/// The parts between separators that no backslash stands before; backslashes stay.
fn split(list: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in list.chars() {
        if c == separator && !escaped {
            parts.push(String::new());
        } else {
            parts.last_mut().expect("there is a first part").push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    parts
}

/// The text without the backslashes that keep what follows them from having a meaning.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let next = if c == '\\' { chars.next() } else { None };
        out.push(next.unwrap_or(c));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(list: &str) -> MountOptions {
        let mut options = MountOptions::default();
        options.parse(list).unwrap_or_else(|e| panic!("{list}: {e}"));
        options
    }

    #[test]
    fn overlayfs_lists_are_understood_with_their_escapes() {
        let options =
            parsed(r"rw,lowerdir=/a\:b:/c\,d:/e\\f,upperdir=/u\,v,workdir=/w,store=/s,fsname=x\,y,allow_other");
        assert_eq!(options.lower, [r"/a:b", "/c,d", r"/e\f"].map(PathBuf::from));
        assert_eq!((options.upper, options.workdir), (Some("/u,v".into()), Some("/w".into())));
        assert_eq!((options.store, options.fsname), (Some("/s".into()), Some("x,y".into())));
        assert_eq!((options.allow_other, options.read_only), (Some(true), Some(false)));
        assert_eq!(parsed("lowerdir+=/a:b,lowerdir+=/c").lower, ["/a:b", "/c"].map(PathBuf::from));
    }

    #[test]
    fn what_changes_nothing_is_taken_and_what_is_not_known_is_refused() {
        let quiet = "defaults,noauto,nofail,user,user=al,_netdev,nosuid,nodev,x-systemd.automount,x-systemd.requires=/a,\
                     index=on,redirect_dir=nofollow,xino=auto,userxattr,metacopy=off,uuid=null,relatime,,";
        assert_eq!(parsed(quiet), MountOptions::default());
        for unknown in ["remount", "lowerdir", "upperdir", "ro=1", "datadir+=/x", "uidmapping=0:1", "bind"] {
            assert!(matches!(MountOptions::default().parse(unknown), Err(Failure::MountOption(_))), "{unknown}");
        }
    }

    #[test]
    fn the_last_word_holds() {
        assert_eq!(parsed("ro,rw").read_only, Some(false));
        assert_eq!(parsed("rw,ro").read_only, Some(true));
        assert!(!parsed("noexec,exec").no_exec);
        // mount(8) implies it for `user`, and hands it to helpers in words.
        assert!(parsed("rw,noexec,nosuid,nodev,user=al").no_exec);
    }
}
