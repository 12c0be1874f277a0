//! The consequence of the source's path in a binary file: which of them a tool will obey.
//!
//! Debug information, bytecode and indexes only name the path; a program that looks for its libraries there runs the
//! source's. Only the headers of executable files and libraries are read.

use std::path::Path;
use std::sync::Arc;

use crate::store::import::PathScan;
use crate::store::manifest::Graft;
use crate::store::{Node, Store, StoreError, Tree};
use crate::sys::extent::Extent;
use crate::sys::spawn;
use crate::views::embedded_paths::{Effect, OccurrenceKind, Trace};
use crate::views::lower::GraftedTrees;

use std::os::unix::ffi::OsStrExt;

/// How many files are looked into at once.
const AT_ONCE: usize = 4;
/// The longest first line and the longest table that are read.
const LONGEST: u64 = 64 << 10;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// Notes the effects of the binary files among these embedded paths of a view.
///
/// # Errors
/// A tree or an object can't be read.
pub fn note(store: &Store, grafts: &[Graft], traces: &mut [Trace]) -> Result<(), StoreError> {
    if traces.iter().all(|t| t.kind != OccurrenceKind::Binary || t.effect.is_some()) {
        return Ok(());
    }
    let lower = GraftedTrees::of(store, grafts.iter().filter(|g| !g.retired))?;
    let found = spawn::map(traces, AT_ONCE, |trace| match (trace.kind, trace.effect) {
        (OccurrenceKind::Binary, None) => lower.find(&trace.path).and_then(|(tree, node)| of(store, tree, node, trace)),
        (_, known) => known,
    });
    traces.iter_mut().zip(found).for_each(|(trace, effect)| trace.effect = effect);
    Ok(())
}

fn of(store: &Store, tree: &Arc<Tree>, node: Node, trace: &Trace) -> Option<Effect> {
    let name = trace.path.file_name()?.as_bytes();
    if name == b".ninja_deps" {
        return Some(Effect::Headers);
    }
    let stat = tree.stat(node);
    let is_library = name.windows(3).any(|part| part == b".so") || name.ends_with(b".node");
    if stat.perm & 0o111 == 0 && !is_library {
        return None;
    }
    let watched = PathScan::new(Path::as_os_str(&trace.root).as_bytes())?;
    // A lost object has no effect: no tool can run it.
    let bytes = store.objects().content_of(&tree.object(node)?, stat.size).ok()?;
    let head = read(&bytes, 0, 4096.min(stat.size))?;
    if head.starts_with(b"#!") {
        let line = head.split(|b| *b == b'\n').next()?;
        return watched.places(line).next().map(|_| Effect::Interpreter);
    }
    elf(&bytes, &head, &watched)
}

/// A 64-bit little-endian program or library; the fields are those of elf(5).
fn elf(bytes: &Extent, head: &[u8], watched: &PathScan) -> Option<Effect> {
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size, number) = (u64_at(head, 32)?, u64::from(u16_at(head, 54)?), u64::from(u16_at(head, 56)?));
    let headers = read(bytes, table, size.checked_mul(number).filter(|n| *n <= LONGEST && size >= 56)?)?;
    let headers: Vec<&[u8]> = headers.chunks_exact(size as usize).collect();
    let holds = |part: &[u8]| watched.places(part).next().is_some();
    let of_kind = |kind| headers.iter().find(|h| u32_at(h, 0) == Some(kind)).copied();
    if let Some(interpreter) = of_kind(PT_INTERP)
        && read(bytes, u64_at(interpreter, 8)?, u64_at(interpreter, 32)?).is_some_and(|name| holds(&name))
    {
        return Some(Effect::Interpreter);
    }
    let dynamic = of_kind(PT_DYNAMIC)?;
    let dynamic = read(bytes, u64_at(dynamic, 8)?, u64_at(dynamic, 32)?)?;
    let entries = dynamic.chunks_exact(16).map_while(|e| Some((u64_at(e, 0)?, u64_at(e, 8)?)));
    let entries: Vec<(u64, u64)> = entries.take_while(|(tag, _)| *tag != 0).collect();
    let value = |tag| entries.iter().find(|(t, _)| *t == tag).map(|(_, value)| *value);
    let address = value(DT_STRTAB)?;
    let load = headers.iter().find(|h| {
        let (from, len) = (u64_at(h, 16).unwrap_or(0), u64_at(h, 32).unwrap_or(0));
        u32_at(h, 0) == Some(PT_LOAD) && address.checked_sub(from).is_some_and(|inside| inside < len)
    })?;
    let at = u64_at(load, 8)?.checked_add(address - u64_at(load, 16)?)?;
    let strings = read(bytes, at, value(DT_STRSZ)?)?;
    let names = entries.iter().filter(|(tag, _)| [DT_NEEDED, DT_RPATH, DT_RUNPATH].contains(tag));
    let mut names = names.filter_map(|(_, at)| strings.get(usize::try_from(*at).ok()?..)?.split(|b| *b == 0).next());
    names.any(holds).then_some(Effect::Libraries)
}

/// A part of a file; nothing if it is not there, or too long for its kind.
fn read(bytes: &Extent, at: u64, len: u64) -> Option<Vec<u8>> {
    let mut part = vec![0; usize::try_from(len).ok().filter(|_| len <= LONGEST * 64)?];
    let n = bytes.read_at(&mut part, at).ok()?;
    (n == part.len()).then_some(part)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
