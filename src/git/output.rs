//! Parsers for git's output.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::command_error::GitError;

/// The object that a name resolves to (`git cat-file --batch-check`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub id: String,
    pub kind: String,
}

/// `<key>\n<value>\0`…; a key without a value is true.
pub(crate) fn settings(listed: &[u8]) -> Vec<(String, String)> {
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let pairs = listed.split(|b| *b == 0).filter(|e| !e.is_empty());
    pairs
        .map(|entry| match entry.iter().position(|b| *b == b'\n') {
            Some(at) => (text(&entry[..at]), text(&entry[at + 1..])),
            None => (text(entry), "true".into()),
        })
        .collect()
}

/// `<id> <kind>` for what is there, `<name> missing` or the like for what is not, a line each.
pub(crate) fn objects(listed: &[u8]) -> Vec<Option<Object>> {
    let listed = String::from_utf8_lossy(listed);
    let of_line = |line: &str| match line.rsplit_once(' ') {
        Some((id, kind @ ("commit" | "tree" | "blob" | "tag"))) if !id.contains(' ') => {
            Some(Object { id: id.into(), kind: kind.into() })
        }
        _ => None,
    };
    listed.lines().map(of_line).collect()
}

/// `<mode> <id> <stage>\t<path>`; `None` for a stage other than 0.
pub(crate) fn staged_line(line: &[u8]) -> Result<Option<(u32, String, PathBuf)>, GitError> {
    let bad = GitError::Unreadable { what: "ls-files" };
    let Some(tab) = line.iter().position(|b| *b == b'\t') else { return Err(bad) };
    let (head, path) = (String::from_utf8_lossy(&line[..tab]), &line[tab + 1..]);
    let mut fields = head.split(' ');
    let (Some(mode), Some(id), Some(stage)) = (fields.next(), fields.next(), fields.next()) else { return Err(bad) };
    let Ok(mode) = u32::from_str_radix(mode, 8) else { return Err(bad) };
    Ok((stage == "0").then(|| (mode, id.to_owned(), OsStr::from_bytes(path).into())))
}
