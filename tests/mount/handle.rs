//! Files by handle: `name_to_handle_at(2)` and `open_by_handle_at(2)`, as NFS servers and backup programs use them.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use depsfs::store::{Store, import};

use crate::bench::{bench, is_root};

/// `struct file_handle` with room for MAX_HANDLE_SZ bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; 128],
}

fn handle(path: &Path) -> Handle {
    let mut handle = Handle { bytes: 128, kind: 0, data: [0; 128] };
    let (path, mut mount) = (CString::new(path.as_os_str().as_bytes()).unwrap(), 0i32);
    // SAFETY: the path ends with NUL, and the handle has the room that it says.
    let done = unsafe {
        libc::syscall(libc::SYS_name_to_handle_at, libc::AT_FDCWD, path.as_ptr(), &raw mut handle, &raw mut mount, 0)
    };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    handle
}

fn open(root: &File, mut handle: Handle) -> io::Result<File> {
    // SAFETY: as above; what comes back is a new descriptor.
    let fd = unsafe {
        libc::syscall(libc::SYS_open_by_handle_at, root.as_raw_fd(), &raw mut handle, libc::O_RDONLY | libc::O_CLOEXEC)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is new, and nobody else's.
    Ok(unsafe { File::from_raw_fd(fd as i32) })
}

fn text(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_handle_opens_its_file_after_a_remount_and_no_other_once_that_is_deleted() {
    if !is_root() {
        return println!("skipped: only root opens files by handle");
    }
    let mut bench = bench!("v");
    let source = bench.dir.join("stored");
    fs::create_dir_all(source.join("d/below")).unwrap();
    for name in ["kept", "copied", "gone"] {
        fs::write(source.join("d").join(name), name).unwrap();
    }
    let store = Store::open(&bench.manifest.store).unwrap();
    bench.manifest.views[0].grafts[0].tree = import::import_dir(&store, &source, &()).unwrap().tree;
    bench.save();
    bench.mount();
    let dir = bench.view("v/d");
    fs::create_dir(dir.join("made")).unwrap();
    for own in ["own", "made/own", "lost"] {
        fs::write(dir.join(own), own).unwrap();
    }
    let names = ["kept", "copied", "own", "made/own", "below", "made"];
    let handles = names.map(|name| (name, handle(&dir.join(name)), fs::metadata(dir.join(name)).unwrap().ino()));
    let deleted = ["gone", "lost"].map(|name| (name, handle(&dir.join(name))));
    fs::write(dir.join("copied"), "copy").unwrap();
    fs::rename(dir.join("made"), dir.join("below/moved")).unwrap();
    for (name, _) in deleted {
        fs::remove_file(dir.join(name)).unwrap();
        // It may get the number that is free now.
        fs::write(dir.join(name), "another").unwrap();
    }
    bench.unmount();
    bench.mount();
    let root = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(bench.view("v")).unwrap();
    for (name, handle, ino) in handles {
        let file = open(&root, handle).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(file.metadata().unwrap().ino(), ino, "{name}");
        match name {
            "below" | "made" => assert!(file.metadata().unwrap().is_dir()),
            "copied" => assert_eq!(text(file), "copy"),
            name => assert_eq!(text(file), name),
        }
    }
    for (name, handle) in deleted {
        let error = open(&root, handle).err().unwrap_or_else(|| panic!("{name} is deleted"));
        assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "{name}");
    }
    let made = open(&root, handles[5].1).unwrap();
    let seen = fs::read_link(format!("/proc/self/fd/{}", made.as_raw_fd())).unwrap();
    assert_eq!(seen, bench.view("v/d/below/moved"));
}
