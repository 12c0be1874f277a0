//! `user.depsfs.*`: what the command line asks of a mounted view, and asks it to do. Never listed.
//!
//! | on        | name                | get or set                                                               |
//! |-----------|---------------------|--------------------------------------------------------------------------|
//! | the root  | `view`              | get: one JSON object, see [`value`]                                        |
//! | a file    | `object`            | get: hex of the object, while the content is the store's                   |
//! | any dir   | `changes.<cookie>`  | get: JSON lines, names after the cookie; empty at the end                  |
//! | any       | `thaw`              | set to `1`: it becomes a plain file or directory of the upper              |
//! | any dir   | `reset`             | set to a name: that name is again what the store says                      |

use std::sync::atomic::Ordering;

use serde_json::json;

use super::View;
use super::notices::{Notice, Notices};
use crate::overlay::{ChangeKind, Error, Ino};
use crate::store::Name;
use crate::store::escape::escape;

pub const PREFIX: &[u8] = b"user.depsfs.";

/// The longest answer; the kernel allows 64 KiB (xattr(7)).
const LONGEST: usize = 32 * 1024;
/// Changes asked for at once: about what [`LONGEST`] holds.
const CHANGES: usize = 256;

/// The value of `PREFIX` + `name`. `view` tells version, view, generation, whether nothing differs from the store
/// (`clean`), and how many notices to the kernel are still to be sent (`pending`).
pub fn value(view: &View, notices: &Notices, ino: Ino, name: &[u8]) -> Result<Vec<u8>, Error> {
    match name {
        b"view" if ino == Ino::ROOT => Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "view": view.id,
            "generation": view.facts.generation.load(Ordering::Relaxed),
            "clean": view.overlay.is_clean(),
            "mode": "zero-message",
            "pending": notices.pending(),
        })
        .to_string()
        .into_bytes()),
        b"object" => match view.overlay.object(ino) {
            Some(id) => Ok(id.to_string().into_bytes()),
            None => Err(Error::NoXattr),
        },
        _ => match name.strip_prefix(b"changes.") {
            Some(after) => changes(view, ino, number(after).ok_or(Error::NoXattr)?),
            None => Err(Error::NoXattr),
        },
    }
}

/// Does what setting `PREFIX` + `name` asks for.
pub fn set(view: &View, notices: &Notices, ino: Ino, name: &[u8], value: &[u8]) -> Result<(), Error> {
    match name {
        b"thaw" if value == b"1" => view.overlay.thaw(ino),
        b"reset" => {
            let name = Name::new(value).map_err(|_| Error::Invalid)?;
            let before = view.overlay.lookup(ino, &name);
            view.overlay.reset(ino, &name)?;
            if let Ok(before) = before {
                view.overlay.forget(before.ino, 1);
                notices.send(Notice::Inode(before.ino));
            }
            notices.send(Notice::Entry { parent: ino, name });
            notices.send(Notice::Inode(ino));
            Ok(())
        }
        _ => Err(Error::NotSupported),
    }
}

fn changes(view: &View, dir: Ino, after: u64) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    for change in view.overlay.changes(dir, after, CHANGES)? {
        let kind = match change.kind {
            ChangeKind::Added => "added",
            ChangeKind::Modified => "modified",
            ChangeKind::Deleted => "deleted",
            ChangeKind::Below => "below",
        };
        let name = escape(change.name.bytes());
        let line = json!({ "name": name, "cookie": change.name.cookie().0, "kind": kind, "dir": change.is_dir });
        let line = format!("{line}\n");
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
