//! Access that a view refuses to everybody: to run as somebody else, open devices, keep lists of access.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use depsfs::sys::fs as calls;
use depsfs::sys::fs::XattrFlags;

use crate::bench::{bench, is_root};

#[test]
fn a_set_user_id_program_runs_as_who_starts_it() {
    if !is_root() {
        return eprintln!("skipped: only root gives programs away");
    }
    let mut bench = bench!("v");
    bench.manifest.allow_other = true;
    bench.save();
    bench.mount();
    let program = bench.view("v/id");
    fs::copy("/usr/bin/id", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).unwrap();
    assert_eq!(fs::metadata(&program).unwrap().mode() & 0o7777, 0o6755);
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let done = Command::new("setpriv").args(user).arg(&program).arg("-u").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "65534", "{done:?}");
}

#[test]
fn a_device_in_a_view_is_a_name_that_nobody_opens() {
    if !is_root() {
        return eprintln!("skipped: only root makes devices");
    }
    let bench = bench!("v");
    bench.mount();
    let dir = File::open(bench.view("v")).unwrap();
    calls::mknod_at(&dir, b"null", libc::S_IFCHR | 0o666, libc::makedev(1, 3)).unwrap();
    calls::mknod_at(&dir, b"disk", libc::S_IFBLK | 0o666, libc::makedev(7, 0)).unwrap();
    drop(dir);
    for name in ["null", "disk"] {
        let path = bench.view("v").join(name);
        assert_ne!(fs::metadata(&path).unwrap().rdev(), 0);
        assert_eq!(File::open(&path).unwrap_err().raw_os_error(), Some(libc::EACCES), "{name}");
    }
    bench.unmount();
    bench.mount();
    assert_eq!(File::open(bench.view("v/null")).unwrap_err().raw_os_error(), Some(libc::EACCES));
}

#[test]
fn a_posix_acl_is_refused_as_not_supported_on_files_and_directories() {
    let bench = bench!("v");
    bench.mount();
    // Version 2; the owner, the group and others, as in a mode (acl(5), linux/posix_acl_xattr.h).
    let mut acl = vec![2, 0, 0, 0];
    for (tag, perm) in [(1u16, 6u16), (4, 4), (0x20, 4)] {
        acl.extend(tag.to_le_bytes().into_iter().chain(perm.to_le_bytes()).chain(u32::MAX.to_le_bytes()));
    }
    for path in ["v/a.txt", "v/lib"] {
        let file = File::open(bench.view(path)).unwrap();
        // A default one is of directories; for a file the kernel answers EACCES itself.
        let all: &[&[u8]] = &[b"system.posix_acl_access", b"system.posix_acl_default"];
        for name in if path == "v/lib" { all } else { &all[..1] } {
            let set = calls::set_xattr(&file, name, &acl, XattrFlags::empty());
            assert_eq!(set.unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP), "{path}");
            assert!(calls::xattr(&file, name).is_err());
        }
        assert_eq!(calls::xattr_names(&file).unwrap(), [[0u8; 0]; 0]);
    }
}
