//! Every way to change a view, one call each.

use super::*;

type Op = fn(&Case) -> Result<(), OverlayError>;

fn chmod(case: &Case, path: &str) -> Result<(), OverlayError> {
    case.overlay().setattr(case.ino(path), case.caller(), SetAttr { mode: Some(0o705), ..keep() }).map(drop)
}

fn utimes(case: &Case, path: &str) -> Result<(), OverlayError> {
    let time = SetTime::At(Timespec { sec: 77, nsec: 8 });
    case.overlay().setattr(case.ino(path), case.caller(), SetAttr { atime: time, mtime: time, ..keep() }).map(drop)
}

/// All at once: as much as one setattr can hold.
fn change_all(case: &Case, path: &str) -> Result<(), OverlayError> {
    let Caller { uid, gid } = case.caller();
    let time = SetTime::At(Timespec { sec: 99, nsec: 8 });
    let is_root = rustix::process::geteuid().is_root();
    let owner = if is_root { (Some(uid + 1), Some(gid + 1)) } else { (Some(uid), Some(gid)) };
    let set = SetAttr { mode: Some(0o701), uid: owner.0, gid: owner.1, atime: time, mtime: time, ..keep() };
    case.overlay().setattr(case.ino(path), case.caller(), set).map(drop)
}

fn truncate(case: &Case, path: &str, size: u64) -> Result<(), OverlayError> {
    case.overlay().setattr(case.ino(path), case.caller(), SetAttr { size: Some(size), ..keep() }).map(drop)
}

fn write(case: &Case, path: &str) -> Result<(), OverlayError> {
    case.overlay().write(case.ino(path), 2, b"WRITTEN", None).map(drop)
}

fn create(case: &Case, path: &str) -> Result<(), OverlayError> {
    let (dir, name, _) = case.spot(path);
    case.overlay().create(dir, &name, 0o644, case.caller(), true).map(drop)
}

/// Creates a file for another user than the server's, which has to change the owner.
fn create_for(case: &Case, path: &str) -> Result<(), OverlayError> {
    let (dir, name, _) = case.spot(path);
    let is_root = rustix::process::geteuid().is_root();
    let caller = if is_root { Caller { uid: 1234, gid: 1234 } } else { case.caller() };
    case.overlay().create(dir, &name, 0o4755, caller, true).map(drop)
}

fn mkdir(case: &Case, path: &str) -> Result<(), OverlayError> {
    let (dir, name, _) = case.spot(path);
    case.overlay().mkdir(dir, &name, 0o750, case.caller()).map(drop)
}

fn symlink(case: &Case, path: &str) -> Result<(), OverlayError> {
    let (dir, name, _) = case.spot(path);
    case.overlay().symlink(dir, &name, b"target", case.caller()).map(drop)
}

fn mkfifo(case: &Case, path: &str) -> Result<(), OverlayError> {
    let (dir, name, _) = case.spot(path);
    case.overlay().mknod(dir, &name, libc::S_IFIFO | 0o600, 0, case.caller()).map(drop)
}

fn resize(case: &Case, path: &str, size: u64) -> Result<(), OverlayError> {
    let set = SetAttr { mode: Some(0o640), size: Some(size), mtime: SetTime::Now, ..keep() };
    case.overlay().setattr(case.ino(path), case.caller(), set).map(drop)
}

fn link(case: &Case, from: &str, to: &str) -> Result<(), OverlayError> {
    let (dir, name, _) = case.spot(to);
    case.overlay().link(case.ino(from), dir, &name).map(drop)
}

fn unlink(case: &Case, path: &str) -> Result<(), OverlayError> {
    let (dir, name, _) = case.spot(path);
    case.overlay().unlink(dir, &name)
}

fn rmdir(case: &Case, path: &str) -> Result<(), OverlayError> {
    let (dir, name, _) = case.spot(path);
    case.overlay().rmdir(dir, &name)
}

fn rename(case: &Case, from: &str, to: &str, flags: RenameFlags) -> Result<(), OverlayError> {
    let ((from, old, _), (to, new, _)) = (case.spot(from), case.spot(to));
    case.overlay().rename(from, &old, to, &new, flags)
}

fn mv(case: &Case, from: &str, to: &str) -> Result<(), OverlayError> {
    rename(case, from, to, RenameFlags::empty())
}

fn swap(case: &Case, one: &str, two: &str) -> Result<(), OverlayError> {
    rename(case, one, two, RenameFlags::EXCHANGE)
}

fn set_xattr(case: &Case, path: &str) -> Result<(), OverlayError> {
    case.overlay().set_xattr(case.ino(path), b"user.new", b"value", XattrFlags::empty())
}

fn reset(case: &Case, path: &str) -> Result<(), OverlayError> {
    let (dir, name, _) = case.spot(path);
    case.overlay().reset(dir, &name).map(drop)
}

/// Gives up the copy with its current contents as the held ones.
fn give_up(case: &Case, path: &str) -> Result<(), OverlayError> {
    let (dir, name, _) = case.spot(path);
    let (overlay, ino) = (case.overlay(), case.ino(path));
    let held = overlay.read(ino, 0, 1 << 20, crate::store::ObjectId::of)?;
    overlay.give_up(dir, &name, &held, overlay.getattr(ino)?.mode & 0o7777).map(drop)
}

fn allocate(case: &Case, path: &str) -> Result<(), OverlayError> {
    case.overlay().fallocate(case.ino(path), 0, 0, 5000, None).map(drop)
}

fn copy_range(case: &Case, from: &str, to: &str) -> Result<(), OverlayError> {
    case.overlay().copy_range((case.ino(from), 0), (case.ino(to), 1), 3, None).map(drop)
}

fn regraft(case: &Case) -> Result<(), OverlayError> {
    let mut grafts = vec![graft(&case.other, false)];
    case.overlay().regraft(grafts.clone())?;
    grafts.extend(case.grafts.borrow().iter().map(|g| graft(&g.tree, true)));
    *case.grafts.borrow_mut() = grafts;
    Ok(())
}

pub const OPS: &[(&str, Op)] = &[
    ("chmod lower", |c| chmod(c, "dir/one")),
    ("chmod copy", |c| chmod(c, "merged/copied")),
    ("chmod own", |c| chmod(c, "own")),
    ("chmod lower dir", |c| chmod(c, "dir/sub")),
    ("chmod merged dir", |c| chmod(c, "merged")),
    ("chmod own dir", |c| chmod(c, "owndir")),
    ("utimes lower", |c| utimes(c, "plain")),
    ("utimes symlink", |c| utimes(c, "link")),
    ("utimes own", |c| utimes(c, "owndir/f")),
    ("all metadata of lower", |c| change_all(c, "dir/two")),
    ("all metadata of copy", |c| change_all(c, "merged/copied")),
    ("all metadata of merged dir", |c| change_all(c, "merged")),
    ("all metadata of own dir", |c| change_all(c, "owndir")),
    ("write lower", |c| write(c, "plain")),
    ("write deep lower", |c| write(c, "dir/sub/x")),
    ("write hard-linked lower", |c| write(c, "hard")),
    ("write touched lower", |c| write(c, "merged/touched")),
    ("write moved lower", |c| write(c, "moved/below/n")),
    ("write copy", |c| write(c, "merged/copied")),
    ("write own", |c| write(c, "own")),
    ("truncate lower to nothing", |c| truncate(c, "plain", 0)),
    ("truncate lower", |c| truncate(c, "dir/two", 3)),
    ("extend lower", |c| truncate(c, "dir/sub/y", 9000)),
    ("truncate own", |c| truncate(c, "own", 1)),
    ("size and mode of lower", |c| resize(c, "plain", 3)),
    ("nothing and mode of lower", |c| resize(c, "dir/two", 0)),
    ("size and mode of copy", |c| resize(c, "merged/copied", 2)),
    ("size and mode of own", |c| resize(c, "own", 1)),
    ("create", |c| create(c, "new")),
    ("create in lower dir", |c| create(c, "dir/sub/new")),
    ("create over whiteout", |c| create(c, "merged/dead")),
    ("create in own dir", |c| create(c, "owndir/new")),
    ("create for another", |c| create_for(c, "dir/new")),
    ("mkdir", |c| mkdir(c, "dir/sub/new")),
    ("mkdir over whiteout", |c| mkdir(c, "merged/dead")),
    ("symlink", |c| symlink(c, "merged/new")),
    ("mkfifo", |c| mkfifo(c, "dir/new")),
    ("link lower", |c| link(c, "dir/one", "merged/new")),
    ("link own", |c| link(c, "own", "dir/new")),
    ("link copy", |c| link(c, "merged/copied", "owndir/new")),
    ("link lower into own dir", |c| link(c, "plain", "owndir/new")),
    ("unlink lower", |c| unlink(c, "dir/one")),
    ("unlink one of two lower names", |c| unlink(c, "hard")),
    ("unlink copy", |c| unlink(c, "merged/copied")),
    ("unlink own", |c| unlink(c, "owndir/f")),
    ("unlink one of two own names", |c| unlink(c, "merged/own too")),
    ("unlink symlink", |c| unlink(c, "link")),
    ("rmdir lower", |c| rmdir(c, "empty")),
    ("rmdir own", |c| rmdir(c, "ownempty")),
    ("rename lower", |c| mv(c, "dir/one", "dir/new")),
    ("rename lower into own dir", |c| mv(c, "plain", "owndir/new")),
    ("rename lower dir", |c| mv(c, "dir", "new")),
    ("rename lower dir back", |c| mv(c, "moved", "from")),
    ("rename merged dir", |c| mv(c, "merged", "owndir/new")),
    ("rename own", |c| mv(c, "own", "dir/sub/new")),
    ("rename own dir", |c| mv(c, "owndir", "merged/new")),
    ("rename copy", |c| mv(c, "merged/copied", "new")),
    ("rename lower over lower", |c| mv(c, "dir/one", "dir/two")),
    ("rename lower over own", |c| mv(c, "dir/one", "owndir/f")),
    ("rename lower over one of two own names", |c| mv(c, "dir/one", "own")),
    ("rename lower over copy", |c| mv(c, "dir/one", "merged/copied")),
    ("rename own over lower", |c| mv(c, "owndir/f", "dir/one")),
    ("rename own over own", |c| mv(c, "owndir/f", "own")),
    ("rename own over copy", |c| mv(c, "owndir/f", "merged/copied")),
    ("rename copy over lower", |c| mv(c, "merged/copied", "plain")),
    ("rename own dir over empty lower dir", |c| mv(c, "owndir", "empty")),
    ("rename lower dir over empty own dir", |c| mv(c, "dir", "ownempty")),
    ("rename lower dir over empty lower dir", |c| mv(c, "thaw", "empty")),
    ("rename without replacing", |c| rename(c, "own", "new", RenameFlags::NOREPLACE)),
    ("exchange lower and lower", |c| swap(c, "plain", "dir/one")),
    ("exchange lower and own", |c| swap(c, "plain", "owndir/f")),
    ("exchange own and lower", |c| swap(c, "owndir/f", "plain")),
    ("exchange own and copy", |c| swap(c, "owndir/f", "merged/copied")),
    ("exchange lower dir and own file", |c| swap(c, "dir", "own")),
    ("exchange merged dir and own dir", |c| swap(c, "merged", "owndir")),
    ("setxattr lower", |c| set_xattr(c, "plain")),
    ("setxattr own", |c| set_xattr(c, "own")),
    ("setxattr lower dir", |c| set_xattr(c, "dir")),
    ("removexattr lower", |c| c.overlay().remove_xattr(c.ino("plain"), b"user.a")),
    ("removexattr own", |c| c.overlay().remove_xattr(c.ino("own"), b"user.b")),
    ("fallocate lower", |c| allocate(c, "plain")),
    ("fallocate own", |c| allocate(c, "own")),
    ("copy range to lower", |c| copy_range(c, "own", "plain")),
    ("copy range of lower", |c| copy_range(c, "plain", "own")),
    ("fsync lower", |c| c.overlay().fsync(c.ino("plain"), false)),
    ("fsync own", |c| c.overlay().fsync(c.ino("own"), true)),
    ("fsync merged dir", |c| c.overlay().fsync(c.ino("merged"), false)),
    ("thaw lower", |c| c.overlay().thaw(c.ino("plain"))),
    ("thaw lower dir", |c| c.overlay().thaw(c.ino("dir"))),
    ("thaw merged dir", |c| c.overlay().thaw(c.ino("merged"))),
    ("thaw everything", |c| c.overlay().thaw(Ino::ROOT)),
    ("reset deleted", |c| reset(c, "merged/dead")),
    ("reset copy", |c| reset(c, "merged/copied")),
    ("reset own", |c| reset(c, "own")),
    ("reset own dir", |c| reset(c, "owndir")),
    ("reset merged dir", |c| reset(c, "merged")),
    ("reset opaque dir", |c| reset(c, "gone")),
    ("give up copy", |c| give_up(c, "merged/copied")),
    ("give up own", |c| give_up(c, "owndir/f")),
    ("show another tree", regraft),
    ("compact the journal", |c| c.overlay().view.lock().rewrite_journal()),
];
