//! The files that keys are made of: names, and the ids of their contents, of a checkout or of a commit.
//!
//! | what it is  | its id                                                     |
//! |-------------|------------------------------------------------------------|
//! | a file      | its blob's, as `git add` would make it                     |
//! | a symlink   | `link`, and where it leads                                 |
//! | a submodule | `commit`, and the commit it is at                          |
//! | a directory | it stands for all below it that git does not ignore        |

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::pattern::Pattern;
use super::{ComponentError, Components};
use crate::git::checkout::Checkout;
use crate::git::command::Git;
use crate::git::submodule::Submodule;
use crate::sys::fs::FileType;
use crate::sys::path;

const LINK: u32 = 0o120000;
const MODULE: u32 = 0o160000;

/// The location of the files that keys depend on.
pub enum Files<'a> {
    /// As they are on disk, untracked ones too.
    Of(&'a Checkout),
    /// As they are in a commit. Files in a submodule are read from its clone in the source.
    At { git: Git, commit: &'a str, modules: &'a [Submodule] },
}

/// Names, and the content hash of each.
pub type Contents = Vec<(PathBuf, String)>;

impl Files<'_> {
    /// The files that the patterns of each component match; every list in the order of the names.
    pub fn of<'p, I: Iterator<Item = &'p String>>(
        &self,
        patterns: impl Iterator<Item = I>,
        components: &Components,
    ) -> Result<Vec<Contents>, ComponentError> {
        let listed = ListedFile { files: self, all: OnceCell::new() };
        let mut found = Vec::new();
        for (declared, patterns) in components.all.iter().zip(patterns) {
            let mut names = Known::new();
            for pattern in patterns {
                if let Ok(pattern) = Pattern::new(&declared.component.dir, pattern) {
                    names.extend(listed.matched(&pattern)?);
                }
            }
            found.push(names);
        }
        self.identified(found)
    }

    /// All tracked files, and in a checkout those that git would add, by name.
    fn list(&self) -> Result<Known, ComponentError> {
        let seen = |(mode, id, path): (u32, String, PathBuf)| (path, SeenFile { mode, id: Some(id) });
        match self {
            Files::Of(checkout) => {
                let tracked =
                    checkout.git().staged()?.into_iter().map(|(mode, _, path)| (path, SeenFile { mode, id: None }));
                let untracked = checkout.git().untracked()?.into_iter();
                let untracked = untracked.map(|path| (path, SeenFile { mode: 0o100644, id: None }));
                Ok(tracked.chain(untracked).collect())
            }
            Files::At { git, commit, .. } => Ok(git.committed(commit)?.into_iter().map(seen).collect()),
        }
    }

    /// Names become ids, all files with one question to git.
    fn identified(&self, found: Vec<Known>) -> Result<Vec<Contents>, ComponentError> {
        let unread = |names: &Known| {
            let files = names.iter().filter(|(_, seen)| seen.id.is_none() && seen.mode & 0o170000 == 0o100000);
            files.map(|(path, _)| path.clone()).collect::<Vec<_>>()
        };
        let mut files: Vec<PathBuf> = found.iter().flat_map(unread).collect();
        files.sort();
        files.dedup();
        let named: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let ids = match self {
            Files::Of(checkout) => checkout.git().blob_ids(&named)?,
            // A commit's names have ids.
            Files::At { .. } => Vec::new(),
        };
        let ids: BTreeMap<&Path, &String> = named.into_iter().zip(&ids).collect();
        let mut all = Vec::with_capacity(found.len());
        for names in found {
            let mut contents = Contents::with_capacity(names.len());
            for (path, seen) in names {
                let id = match (&seen.id, ids.get(path.as_path())) {
                    (None, Some(id)) => (*id).clone(),
                    _ => self.id_of(&path, seen)?,
                };
                contents.push((path, id));
            }
            all.push(contents);
        }
        Ok(all)
    }

    fn id_of(&self, path: &Path, seen: SeenFile) -> Result<String, ComponentError> {
        match (self, seen.mode & 0o170000, seen.id) {
            (Files::Of(checkout), LINK, _) => {
                let target = path::read_link(&checkout.root.join(path))?;
                Ok(format!("link {}", crate::store::escape::escape(&target)))
            }
            (Files::At { git, .. }, LINK, Some(id)) => {
                let target = git.blob(&id)?.unwrap_or_default();
                Ok(format!("link {}", crate::store::escape::escape(&target)))
            }
            (Files::Of(checkout), MODULE, _) => Ok(format!("commit {}", module_at(checkout, path)?)),
            (_, MODULE, Some(id)) => Ok(format!("commit {id}")),
            (_, _, id) => Ok(id.unwrap_or_default()),
        }
    }
}

/// One path, before its content is known by an id.
#[derive(Clone, Debug)]
struct SeenFile {
    mode: u32,
    id: Option<String>,
}

/// The list of all paths, made when it is needed.
struct ListedFile<'a, 'f> {
    files: &'a Files<'f>,
    all: OnceCell<Known>,
}

type Known = BTreeMap<PathBuf, SeenFile>;

impl ListedFile<'_, '_> {
    fn matched(&self, pattern: &Pattern) -> Result<Vec<(PathBuf, SeenFile)>, ComponentError> {
        if let (Files::Of(checkout), Some(path)) = (self.files, pattern.literal())
            && let Some(seen) = on_disk(checkout, path)?
        {
            return Ok(vec![(path.into(), seen)]);
        }
        let all = self.all()?;
        let mut found = Vec::new();
        for (path, seen) in all.iter().filter(|(path, _)| pattern.holds(path)) {
            let seen = match self.files {
                // A tracked file may have another type or content on disk by now.
                Files::Of(checkout) if seen.mode & 0o170000 != MODULE => on_disk(checkout, path)?,
                _ => Some(seen.clone()),
            };
            found.extend(seen.map(|seen| (path.clone(), seen)));
        }
        if let (Files::At { modules, .. }, Some(path), true) = (self.files, pattern.literal(), found.is_empty()) {
            found.extend(in_module(all, modules, path)?.map(|seen| (path.into(), seen)));
        }
        Ok(found)
    }

    fn all(&self) -> Result<&Known, ComponentError> {
        if let Some(all) = self.all.get() {
            return Ok(all);
        }
        let all = self.files.list()?;
        Ok(self.all.get_or_init(|| all))
    }
}

/// A file or symlink; a directory has to be listed.
fn on_disk(checkout: &Checkout, path: &Path) -> Result<Option<SeenFile>, ComponentError> {
    let kind = path::stat(&checkout.root.join(path))?.map(|s| s.kind());
    Ok(match kind {
        Some(FileType::RegularFile) => Some(SeenFile { mode: 0o100644, id: None }),
        Some(FileType::Symlink) => Some(SeenFile { mode: LINK, id: None }),
        _ => None,
    })
}

/// The commit a submodule is at; of one that isn't initialised, the commit it should be at.
fn module_at(checkout: &Checkout, path: &Path) -> Result<String, ComponentError> {
    let git = match Checkout::at(&checkout.root.join(path))? {
        Some(module) => module.git(),
        None => {
            let staged = checkout.git().staged()?;
            return Ok(staged.into_iter().find(|(_, _, p)| p == path).map(|(_, id, _)| id).unwrap_or_default());
        }
    };
    Ok(git.resolve(&["HEAD".into()])?.remove(0).map(|o| o.id).unwrap_or_default())
}

/// A file of a submodule, of the commit of it that the list of the repository around it names.
fn in_module(all: &Known, modules: &[Submodule], path: &Path) -> Result<Option<SeenFile>, ComponentError> {
    let Some(module) = modules.iter().find(|m| path.starts_with(&m.path)) else { return Ok(None) };
    let commit = all.get(&module.path).and_then(|seen| seen.id.clone());
    let (Some(commit), Ok(inside)) = (commit, path.strip_prefix(&module.path)) else { return Ok(None) };
    let below = Files::At { git: module.checkout.git(), commit: &commit, modules: &module.inner };
    let known = below.list()?;
    match known.get(inside) {
        Some(seen) => Ok(Some(seen.clone())),
        None => in_module(&known, &module.inner, inside),
    }
}
