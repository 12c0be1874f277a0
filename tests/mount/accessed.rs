//! Access times, as far as the kernel lets a view know of reads: as with relatime on a plain directory.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::seen::{Seen, in_both_shapes};

type Step = &'static dyn Fn(&Path) -> io::Result<()>;

/// Whether the access time is later than the time of the last change of content.
fn moved(path: &Path) -> io::Result<bool> {
    let now = fs::symlink_metadata(path)?;
    Ok((now.atime(), now.atime_nsec()) > (now.mtime(), now.mtime_nsec()))
}

#[test]
fn what_is_read_for_the_first_time_has_a_new_access_time_unless_it_was_opened_without() {
    let fill = |root: &Path| {
        fs::create_dir(root.join("d")).unwrap();
        for name in ["one", "quiet", "unread", "d/below"] {
            fs::write(root.join(name), name).unwrap();
        }
    };
    in_both_shapes(fill, |root, seen| {
        for name in ["one", "quiet", "unread", "d/below"] {
            let times = fs::FileTimes::new().set_accessed(UNIX_EPOCH).set_modified(UNIX_EPOCH);
            File::open(root.join(name)).unwrap().set_times(times).unwrap();
        }
        let steps: [(&str, Step); 4] = [
            ("one", &|path| fs::read(path).map(drop)),
            ("d/below", &|path| fs::read(path).map(drop)),
            ("unread", &|path| File::open(path).map(drop)),
            ("quiet", &|path| {
                let mut file = File::options().read(true).custom_flags(libc::O_NOATIME).open(path)?;
                file.read_to_end(&mut Vec::new()).map(drop)
            }),
        ];
        for (name, read) in steps {
            seen.note(name, read(&root.join(name)).and_then(|()| moved(&root.join(name))));
        }
        let times = fs::FileTimes::new().set_accessed(UNIX_EPOCH);
        let set = File::options().write(true).open(root.join("one")).and_then(|file| file.set_times(times));
        seen.note("set", set.and_then(|()| fs::metadata(root.join("one"))).map(|m| m.atime()));
        set_then_copied(root, seen);
    });
}

/// A copy has the access time that the file had.
fn set_then_copied(root: &Path, seen: &mut Seen) {
    let path = root.join("d/below");
    let before = fs::metadata(&path).map(|m| (m.atime(), m.atime_nsec())).unwrap();
    let written = File::options().write(true).open(&path).and_then(|mut file| io::Write::write_all(&mut file, b"x"));
    let after = fs::metadata(&path).map(|m| (m.atime(), m.atime_nsec()) == before);
    seen.note("the copy's", written.and(after));
}
