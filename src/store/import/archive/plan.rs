//! Puts the members of an archive into a tree, and refuses what could reach outside of it.

use std::collections::HashSet;

use super::ArchiveLimits;
use super::dot_git;
use super::kind::MemberKind;
use super::refused::{Refused, shown as in_words};
use super::tar::Member;
use crate::store::tree::{BuildError, Item, NodeMeta, Slot, TreeBuilder};
use crate::store::{Name, ObjectId};
use crate::sys::fs::Timespec;

/// The mode of directories that no member describes.
const DIR_MODE: u32 = 0o755;
/// The memory of a node until the tree is written, in bytes, beside its name, which is there three times; the memory
/// of a directory beside that, of another name of a file, and of an attribute.
const NODE_BYTES: u64 = 600;
const DIR_BYTES: u64 = 400;
const NAME_BYTES: u64 = 150;
const XATTR_BYTES: u64 = 100;

/// A tree that grows with each member. Files have no object yet: their bytes come after their header.
pub struct ArchivePlan<'l> {
    /// The members so far; the caller sets the objects of its files.
    pub builder: TreeBuilder,
    limits: &'l ArchiveLimits,
    members: u64,
    bytes: u64,
    memory: u64,
    /// Directories that no member described (yet): they take the time of the newest member in them.
    implied: HashSet<Slot>,
}

impl<'l> ArchivePlan<'l> {
    /// A plan with the root directory only, of mode [`DIR_MODE`]. `limits` bound members, bytes of content and memory.
    pub fn new(limits: &'l ArchiveLimits) -> ArchivePlan<'l> {
        let builder = TreeBuilder::new(NodeMeta { perm: DIR_MODE, ..NodeMeta::default() });
        ArchivePlan { builder, limits, members: 0, bytes: 0, memory: 0, implied: HashSet::from([Slot::ROOT]) }
    }

    /// Adds a member; the slot is that of a file whose bytes follow.
    ///
    /// # Errors
    /// The member is refused: its name leads outside, or a limit is exceeded.
    pub fn add(&mut self, member: Member) -> Result<Option<Slot>, Refused> {
        let shown = member.name.clone();
        self.count(&member)?;
        let path = self.path(&member.name)?;
        let meta = NodeMeta { perm: member.mode & 0o1777, mtime: member.mtime, xattrs: member.xattrs };
        let Some((name, parents)) = path.split_last() else {
            return match member.kind {
                MemberKind::Dir => {
                    self.implied.remove(&Slot::ROOT);
                    *self.builder.meta_mut(Slot::ROOT) = meta;
                    Ok(None)
                }
                _ => Err(Refused::of(Refused::Name, &shown)),
            };
        };
        let parent = self.parent(parents, meta.mtime, &shown)?;
        let there = self.builder.find(parent, name);
        if member.kind != MemberKind::Dir && there.is_some_and(|slot| self.builder.has_names(slot)) {
            return Err(Refused::of(Refused::ReplacesDirectory, &shown));
        }
        let (item, is_file) = match member.kind {
            MemberKind::HardLink(target) => {
                self.link(parent, name, &shown, &target)?;
                return Ok(None);
            }
            MemberKind::Device => return Err(Refused::of(Refused::Device, &shown)),
            MemberKind::Other(kind) => return Err(Refused::Kind { member: in_words(&shown), kind: kind.into() }),
            MemberKind::Dir => (Item::Dir, false),
            MemberKind::Symlink(target) => (self.target(target, &shown)?, false),
            MemberKind::Fifo => (Item::Fifo, false),
            MemberKind::File { size, data } => {
                let blocks = data.iter().map(|(_, len)| len.div_ceil(4096) * 8).fold(0, u64::saturating_add);
                (Item::File { object: ObjectId([0; 32]), size, blocks }, true)
            }
        };
        let slot = self.builder.add(parent, name.clone(), meta, item).map_err(|e| refused(e, &shown))?;
        self.implied.remove(&slot);
        Ok(is_file.then_some(slot))
    }

    fn count(&mut self, member: &Member) -> Result<(), Refused> {
        let kind = match &member.kind {
            MemberKind::Dir => NODE_BYTES + DIR_BYTES,
            MemberKind::HardLink(_) => NAME_BYTES,
            MemberKind::Symlink(target) => NODE_BYTES + 2 * target.len() as u64,
            _ => NODE_BYTES,
        };
        let last = member.name.rsplit(|b| *b == b'/').find(|part| !part.is_empty()).unwrap_or_default();
        self.count_one(kind + 3 * last.len() as u64)?;
        let own = match &member.kind {
            MemberKind::File { size, .. } => *size,
            MemberKind::Symlink(target) | MemberKind::HardLink(target) => target.len() as u64,
            _ => 0,
        };
        let xattrs: usize = member.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.remember(2 * xattrs as u64 + XATTR_BYTES * member.xattrs.len() as u64)?;
        self.bytes = self.bytes.saturating_add(own).saturating_add((xattrs + member.name.len()) as u64);
        if self.bytes > self.limits.bytes {
            return Err(Refused::Bytes(self.limits.bytes));
        }
        Ok(())
    }

    /// A member or a directory more, of which so much is remembered.
    fn count_one(&mut self, memory: u64) -> Result<(), Refused> {
        self.members += 1;
        if self.members > self.limits.members {
            return Err(Refused::Members(self.limits.members));
        }
        self.remember(memory)
    }

    fn remember(&mut self, bytes: u64) -> Result<(), Refused> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > self.limits.memory {
            return Err(Refused::Memory(self.limits.memory));
        }
        Ok(())
    }

    /// The components of a name; `.` and repeated slashes are skipped.
    fn path(&self, name: &[u8]) -> Result<Vec<Name>, Refused> {
        if name.starts_with(b"/") {
            return Err(Refused::of(Refused::Absolute, name));
        }
        if name.is_empty() {
            return Err(Refused::of(Refused::Name, name));
        }
        let mut path = Vec::new();
        for part in name.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b".")) {
            if part == b".." {
                return Err(Refused::of(Refused::Outside, name));
            }
            if dot_git::is_git(part) {
                return Err(Refused::of(Refused::Git, name));
            }
            path.push(Name::new(part).map_err(|_| Refused::of(Refused::Name, name))?);
            if path.len() > self.limits.depth {
                return Err(Refused::Depth { member: in_words(name), limit: self.limits.depth });
            }
        }
        Ok(path)
    }

    /// The directory that a member is to be in, made when no member described it.
    fn parent(&mut self, parents: &[Name], mtime: Timespec, member: &[u8]) -> Result<Slot, Refused> {
        let mut dir = Slot::ROOT;
        self.freshen(dir, mtime);
        for name in parents {
            dir = match self.builder.find(dir, name) {
                Some(slot) if self.builder.is_dir(slot) => slot,
                Some(slot) => {
                    let is_link = matches!(self.builder.item(slot), Some((Item::Symlink(_), _)));
                    let why = if is_link { Refused::BelowSymlink } else { Refused::BelowFile };
                    return Err(Refused::of(why, member));
                }
                None => {
                    self.count_one(NODE_BYTES + DIR_BYTES + 3 * name.bytes().len() as u64)?;
                    let meta = NodeMeta { perm: DIR_MODE, mtime, xattrs: vec![] };
                    let slot = self.builder.add(dir, name.clone(), meta, Item::Dir).map_err(|e| refused(e, member))?;
                    self.implied.insert(slot);
                    slot
                }
            };
            self.freshen(dir, mtime);
        }
        Ok(dir)
    }

    fn freshen(&mut self, dir: Slot, mtime: Timespec) {
        if self.implied.contains(&dir) {
            let meta = self.builder.meta_mut(dir);
            meta.mtime = meta.mtime.max(mtime);
        }
    }

    fn link(&mut self, parent: Slot, name: &Name, member: &[u8], target: &[u8]) -> Result<(), Refused> {
        let path = match self.path(target) {
            Err(Refused::Absolute(_) | Refused::Outside(_)) => {
                return Err(Refused::LinkOutside { member: in_words(member), target: in_words(target) });
            }
            path => path?,
        };
        let found = path.iter().try_fold(Slot::ROOT, |dir, name| self.builder.find(dir, name));
        match found.filter(|slot| !self.builder.is_dir(*slot)) {
            Some(slot) => self.builder.link(parent, name.clone(), slot).map_err(|e| refused(e, member)),
            None => Err(Refused::LinkMissing { member: in_words(member), target: in_words(target) }),
        }
    }

    /// A symlink's target is kept to the letter, as long as a file system could hold it.
    fn target(&self, target: Vec<u8>, member: &[u8]) -> Result<Item, Refused> {
        if target.is_empty() || target.len() > 4095 || target.contains(&0) {
            return Err(Refused::of(Refused::Name, member));
        }
        Ok(Item::Symlink(target.into()))
    }
}

fn refused(e: BuildError, member: &[u8]) -> Refused {
    match e {
        BuildError::NotADirectory => Refused::of(Refused::BelowFile, member),
        BuildError::LinkToDirectory => Refused::of(Refused::Name, member),
        BuildError::TooLarge => Refused::Members(u32::MAX.into()),
    }
}
