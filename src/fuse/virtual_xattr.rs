//! `user.depsfs.*`: the queries and requests of the command line to a mounted view. Never listed.
//!
//! | on        | name                | get or set                                                               |
//! |-----------|---------------------|--------------------------------------------------------------------------|
//! | any       | `view`              | get: one JSON object about the whole view, see [`value`]                   |
//! | the root  | `stats`             | get: one JSON object: the counters of this connection since its server started |
//! | a file    | `object`            | get: hex of the object, while the content is the store's                   |
//! | any dir   | `changes.<cookie>`  | get: JSON lines, names after the cookie, each with its own; empty at the end |
//! | the root  | `grafts.<n>`        | get: JSON lines, the trees of the lower from number n on; empty at the end  |
//! | the root  | `moved.<n>`         | get: JSON lines, directories of the store at other paths from number n on, by path; empty at the end |
//! | the root  | `disown`            | set to a path: directories on the way to it that are elsewhere become the worktree's own there |
//! | the root  | `touched.<inode>`   | get: lines, inode numbers above that one that the journal names; empty at the end |
//! | any dir   | `own-names.<cookie>` | get: lines, cookies and names after the cookie that upper or journal have something at; empty at the end; none where nothing else shows |
//! | any       | `thaw`              | set to `1`: it becomes a plain file or directory of the upper              |
//! | any dir   | `thaw-name`         | set to a name: the same for what is there, which may be a symlink         |
//! | any dir   | `reset`             | set to a name: that name is again as in the store                        |
//! | any dir   | `give-up`           | set to hash, mode and name: that file goes, if it is still just that        |
//! | the root  | `relocations`       | set to `1`: the record of embedded paths is read again                    |
//! | the root  | `uncover`           | set to the hex of a tree, and after a space the path of its graft, if that is not the root: what of it was deleted shows again |
//! | a graft's root | `covered.<tree>` | get: one JSON object: members that don't show                           |

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use fuser::{ReplyEmpty, Request};
use serde_json::json;

use super::connection::ServedConnection;
use super::notices::{Notice, Notices};
use super::reply::empty;
use super::worker::Answering;
use super::{ServedView, offload};
use crate::overlay::{ChangeKind, Ino, Laid, MovedDirectory, Overlay, OverlayError};
use crate::store::escape::escape;
use crate::store::{Name, ObjectId, TreeId};

/// The prefix of all virtual xattrs, which no file stores. Names that programs set with it are queries.
pub const PREFIX: &[u8] = b"user.depsfs.";

/// The longest answer; the kernel allows 64 KiB (xattr(7)).
const LONGEST: usize = 32 * 1024;
/// Changes of one query: about as many as [`LONGEST`] holds.
const CHANGES: usize = 256;
/// Inode numbers of one answer, each of at most 20 digits.
const NUMBERS: usize = 1500;
/// Names of one query.
const NAMES: usize = 1500;
/// Grafts of one answer, each in at most 150 bytes.
const GRAFTS: usize = 200;

/// The value of `PREFIX` + `name`. `view` has version, view, generation, whether nothing differs from the store
/// (`clean`), and how many notices to the kernel are still to be sent (`pending`).
pub fn value(on: &ServedConnection, ino: Ino, name: &[u8]) -> Result<Vec<u8>, OverlayError> {
    let view = &on.view;
    match name {
        b"view" => Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "view": view.id,
            "generation": view.facts.generation.load(Ordering::Relaxed),
            "clean": view.overlay.is_clean(),
            "mode": if view.passthrough.least().is_some() { "passthrough" } else { "zero-message" },
            "pending": on.notices.pending(),
        })
        .to_string()
        .into_bytes()),
        b"stats" if ino == Ino::ROOT => Ok(stats(on).into_bytes()),
        b"object" => match view.overlay.object(ino) {
            Some(id) => Ok(id.to_string().into_bytes()),
            None => Err(OverlayError::NoXattr),
        },
        _ => {
            let (what, of) = name.split_at(name.iter().position(|b| *b == b'.').ok_or(OverlayError::NoXattr)?);
            let of = &of[1..];
            match what {
                b"changes" => changes(view, ino, number(of).ok_or(OverlayError::NoXattr)?),
                b"own-names" => own_names(view, ino, number(of).ok_or(OverlayError::NoXattr)?),
                b"covered" => covered(view, ino, tree(of).ok_or(OverlayError::NoXattr)?),
                b"grafts" if ino == Ino::ROOT => Ok(grafts(view, number(of).ok_or(OverlayError::NoXattr)?)),
                b"moved" if ino == Ino::ROOT => moved(view, number(of).ok_or(OverlayError::NoXattr)?),
                b"touched" if ino == Ino::ROOT => Ok(touched(view, number(of).ok_or(OverlayError::NoXattr)?)),
                _ => Err(OverlayError::NoXattr),
            }
        }
    }
}

fn stats(on: &ServedConnection) -> String {
    let counts = on.view.overlay.counts();
    let mut stats = on.requests.to_json();
    stats.insert("copy_ups".into(), counts.copy_ups.into());
    stats.insert("bytes_copied_up".into(), counts.bytes_copied_up.into());
    stats.insert("objects_hashed".into(), counts.objects_hashed.into());
    serde_json::Value::Object(stats).to_string()
}

/// Answers the setting of `PREFIX` + `name`: now, or from a thread when that takes long.
pub fn answer_set(on: &Answering<'_>, ino: Ino, name: &[u8], value: &[u8], (by, reply): (&Request, ReplyEmpty)) {
    match copy(value) {
        _ if name == b"relocations" && ino == Ino::ROOT => {
            let on_relocated = on.view.on_relocated.clone();
            offload::apart(on, (by, reply), move || {
                on_relocated();
                Ok(0)
            });
        }
        Some(copy) if name == b"give-up" && on.view.overlay.compares_long(ino, &copy.2) => {
            let (overlay, notices) = (on.view.overlay.clone(), on.notices.clone());
            offload::apart(on, (by, reply), move || give_up(&overlay, &notices, ino, copy).map(|()| 0));
        }
        None if name == b"thaw" && value == b"1" && on.view.overlay.lacks_object(ino) => {
            offload::thaw(on, (by, reply), ino);
        }
        _ => empty(on, set(&on.view, &on.notices, ino, name, value), reply),
    }
}

/// Carries out a request: `PREFIX` + `name` was set.
fn set(view: &ServedView, notices: &Notices, ino: Ino, name: &[u8], value: &[u8]) -> Result<(), OverlayError> {
    match name {
        b"thaw" if value == b"1" => view.overlay.thaw(ino),
        b"thaw-name" => {
            let found = view.overlay.lookup(ino, &Name::new(value).map_err(|_| OverlayError::Invalid)?)?;
            let thawed = view.overlay.thaw(found.ino);
            view.overlay.forget(found.ino, 1);
            thawed
        }
        b"reset" => {
            let name = Name::new(value).map_err(|_| OverlayError::Invalid)?;
            let before = view.overlay.lookup(ino, &name);
            let stale = view.overlay.reset(ino, &name)?;
            stale.into_iter().for_each(|stale| notices.send(stale.into()));
            if let Ok(before) = before {
                view.overlay.forget(before.ino, 1);
                notices.send(Notice::Inode(before.ino));
            }
            notices.send(Notice::Entry { parent: ino, name });
            notices.send(Notice::Inode(ino));
            Ok(())
        }
        b"give-up" => give_up(&view.overlay, notices, ino, copy(value).ok_or(OverlayError::Invalid)?),
        b"disown" if ino == Ino::ROOT => {
            let stale = view.overlay.disown_moved(Path::new(OsStr::from_bytes(value)))?;
            stale.into_iter().for_each(|stale| notices.send(stale.into()));
            Ok(())
        }
        b"uncover" if ino == Ino::ROOT => {
            let end = value.iter().position(|b| *b == b' ').unwrap_or(value.len());
            let at = Path::new(OsStr::from_bytes(value.get(end + 1..).unwrap_or_default()));
            for stale in view.overlay.uncover(at, tree(&value[..end]).ok_or(OverlayError::Invalid)?)? {
                notices.send(stale.into());
            }
            Ok(())
        }
        _ => Err(OverlayError::NotSupported),
    }
}

fn give_up(overlay: &Overlay, notices: &Notices, dir: Ino, copy: HeldCopy) -> Result<(), OverlayError> {
    let (held, perm, name) = copy;
    let before = overlay.lookup(dir, &name)?;
    let done = overlay.give_up(dir, &name, &held, perm);
    overlay.forget(before.ino, 1);
    if !done? {
        return Err(OverlayError::Kept);
    }
    notices.send(Notice::Inode(before.ino));
    notices.send(Notice::Entry { parent: dir, name });
    notices.send(Notice::Inode(dir));
    Ok(())
}

/// `kept`: how many members have something else in their place; `paths`: those of them that there is room for;
/// `blocked`: how many have nothing there.
fn covered(view: &ServedView, dir: Ino, tree: TreeId) -> Result<Vec<u8>, OverlayError> {
    let covered = view.overlay.covered_at(dir, tree)?;
    let mut room = LONGEST / 2;
    let paths = covered.kept.iter().map(|p| escape(p.as_os_str().as_bytes())).take_while(|path| {
        room = room.saturating_sub(path.len() + 3);
        room > 0
    });
    let paths: Vec<String> = paths.collect();
    let answer = json!({ "kept": covered.kept.len(), "blocked": covered.blocked, "paths": paths });
    Ok(answer.to_string().into_bytes())
}

/// The value of `give-up`: the hex of an object, octal digits, a name.
type HeldCopy = (ObjectId, u32, Name);

fn copy(value: &[u8]) -> Option<HeldCopy> {
    let mut fields = value.splitn(3, |b| *b == b' ');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let (held, perm) = (text()?.parse().ok()?, u32::from_str_radix(text()?, 8).ok()?);
    Some((held, perm, Name::new(fields.next()?).ok()?))
}

fn tree(hex: &[u8]) -> Option<TreeId> {
    std::str::from_utf8(hex).ok()?.parse().ok()
}

fn changes(view: &ServedView, dir: Ino, after: u64) -> Result<Vec<u8>, OverlayError> {
    let mut out = Vec::new();
    for change in view.overlay.changes(dir, after, CHANGES)? {
        let kind = match change.kind {
            ChangeKind::Added => "added",
            ChangeKind::Modified => "modified",
            ChangeKind::Deleted => "deleted",
            ChangeKind::Below => "below",
        };
        let name = escape(change.name.bytes());
        let line = json!({ "name": name, "cookie": change.cookie, "kind": kind, "dir": change.is_dir });
        let line = format!("{line}\n");
        if out.len() + line.len() > LONGEST {
            break;
        }
        out.extend_from_slice(line.as_bytes());
    }
    Ok(out)
}

fn grafts(view: &ServedView, from: u64) -> Vec<u8> {
    let line = |laid: Laid| {
        let Laid { base, tree, at, retired } = laid;
        format!("{}\n", json!({ "base": base, "tree": tree.to_string(), "at": at.0, "retired": retired }))
    };
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    view.overlay.laid().into_iter().skip(from).take(GRAFTS).map(line).collect::<String>().into_bytes()
}

fn moved(view: &ServedView, from: u64) -> Result<Vec<u8>, OverlayError> {
    let mut all = view.overlay.moved_directories()?;
    all.sort_by(|a, b| a.from.cmp(&b.from));
    let mut out = Vec::new();
    for MovedDirectory { from, to } in all.into_iter().skip(usize::try_from(from).unwrap_or(usize::MAX)) {
        let text = |path: &Path| escape(path.as_os_str().as_bytes());
        let line = format!("{}\n", json!({ "from": text(&from), "to": text(&to) }));
        // Two paths of the longest length are longer than an answer: the first line is always whole.
        if !out.is_empty() && out.len() + line.len() > LONGEST {
            break;
        }
        out.extend_from_slice(line.as_bytes());
    }
    Ok(out)
}

fn touched(view: &ServedView, after: u64) -> Vec<u8> {
    let numbers = view.overlay.touched(Ino(after), NUMBERS);
    numbers.into_iter().map(|ino| format!("{}\n", ino.0)).collect::<String>().into_bytes()
}

fn own_names(view: &ServedView, dir: Ino, after: u64) -> Result<Vec<u8>, OverlayError> {
    let names = view.overlay.own_names(dir, after, NAMES)?.ok_or(OverlayError::NoXattr)?;
    let mut out = Vec::new();
    for (cookie, name) in names {
        let line = format!("{cookie} {}\n", escape(name.bytes()));
        if out.len() + line.len() > LONGEST {
            break;
        }
        out.extend_from_slice(line.as_bytes());
    }
    Ok(out)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
