//! The sections of a tree while they are written, each name and string once.

use std::collections::HashMap;

use super::format::{ENTRY, HAS_LINKS, HAS_XATTRS, HEADER, MAGIC, NO_ENTRY, RawNode, VERSION};
use super::item::{BuildError, BuiltNode, Item, Slot};
use crate::store::{Name, ObjectId};
use crate::sys::fs::FileType;

/// The sections while they are written.
#[derive(Default)]
pub(super) struct Sections {
    nodes: Vec<RawNode>,
    slots: Vec<Slot>,
    /// Slot → node number, `NO_ENTRY` for one that was not met yet.
    numbers: Vec<u32>,
    entries: Vec<u8>,
    strings: Vec<u8>,
    names: HashMap<Box<[u8]>, u32>,
    links: Vec<[u32; 3]>,
    xattrs: Vec<[u32; 4]>,
    objects: Vec<u8>,
    object_numbers: HashMap<ObjectId, u32>,
    content_bytes: u64,
}

impl Sections {
    /// Sections that hold the root.
    pub fn begin(from: &[BuiltNode]) -> Result<Sections, BuildError> {
        let mut out = Sections { numbers: vec![NO_ENTRY; from.len()], ..Sections::default() };
        out.number(from, Slot::ROOT, 0, NO_ENTRY)?;
        Ok(out)
    }

    /// The entries that follow are those of `dir`.
    pub fn begin_dir(&mut self, dir: Slot) -> Result<(), BuildError> {
        let first = self.next_entry()?;
        let number = self.numbers[dir.index()] as usize;
        self.nodes[number].data = first;
        Ok(())
    }

    /// All entries of `dir` were written.
    pub fn end_dir(&mut self, dir: Slot, subdirs: usize) {
        let end = (self.entries.len() / ENTRY) as u32;
        let node = &mut self.nodes[self.numbers[dir.index()] as usize];
        node.count = end - node.data;
        node.nlink = subdirs as u32 + 2;
    }

    fn next_entry(&self) -> Result<u32, BuildError> {
        u32::try_from(self.entries.len() / ENTRY).map_err(|_| BuildError::TooLarge)
    }

    /// Writes one name of `dir`, and its node when this is the first name met.
    pub fn entry(&mut self, from: &[BuiltNode], dir: Slot, name: &Name, slot: Slot) -> Result<(), BuildError> {
        let entry = self.next_entry()?;
        let parent = self.numbers[dir.index()];
        let number = match self.numbers[slot.index()] {
            NO_ENTRY => self.number(from, slot, parent, entry)?,
            number => {
                self.links.push([number, parent, entry]);
                self.nodes[number as usize].flags |= HAS_LINKS;
                self.nodes[number as usize].nlink += 1;
                number
            }
        };
        let string = self.name(name.bytes())?;
        self.entries.extend_from_slice(&name.cookie().0.to_le_bytes());
        self.entries.extend_from_slice(&string.to_le_bytes());
        self.entries.extend_from_slice(&number.to_le_bytes());
        Ok(())
    }

    /// Gives `slot` the next number and writes its node.
    fn number(&mut self, from: &[BuiltNode], slot: Slot, parent: u32, entry: u32) -> Result<u32, BuildError> {
        let built = &from[slot.index()];
        let number = self.nodes.len() as u32;
        let (kind, size, blocks, data) = match &built.item {
            Item::Dir => (FileType::Directory, 4096, 8, 0),
            Item::Fifo => (FileType::Fifo, 0, 0, 0),
            Item::Symlink(target) => (FileType::Symlink, target.len() as u64, 0, self.push(target)?),
            Item::File { object, size, blocks } => {
                self.content_bytes = self.content_bytes.saturating_add(*size);
                (FileType::RegularFile, *size, *blocks, self.object(*object))
            }
        };
        let meta = &built.meta;
        self.nodes.push(RawNode {
            size,
            mtime_sec: meta.mtime.sec,
            mtime_nsec: meta.mtime.nsec.min(999_999_999),
            blocks: u32::try_from(blocks).unwrap_or(u32::MAX),
            mode: (kind.as_raw_mode() | (meta.perm & 0o7777)) as u16,
            flags: if meta.xattrs.is_empty() { 0 } else { HAS_XATTRS },
            data,
            count: 0,
            nlink: 1,
            parent,
            entry,
        });
        self.slots.push(slot);
        self.numbers[slot.index()] = number;
        let mut xattrs: Vec<_> = meta.xattrs.iter().collect();
        xattrs.sort();
        for (name, value) in xattrs {
            let record = [number, self.name(name)?, self.push(value)?, value.len() as u32];
            self.xattrs.push(record);
        }
        Ok(number)
    }

    fn object(&mut self, id: ObjectId) -> u32 {
        let next = self.object_numbers.len() as u32;
        *self.object_numbers.entry(id).or_insert_with(|| {
            self.objects.extend_from_slice(&id.0);
            next
        })
    }

    /// A name's place in the strings; equal names share one.
    fn name(&mut self, name: &[u8]) -> Result<u32, BuildError> {
        if let Some(at) = self.names.get(name) {
            return Ok(*at);
        }
        let len = u8::try_from(name.len()).map_err(|_| BuildError::TooLarge)?;
        let at = self.push(&[len])?;
        self.push(name)?;
        self.names.insert(name.into(), at);
        Ok(at)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<u32, BuildError> {
        let at = u32::try_from(self.strings.len()).map_err(|_| BuildError::TooLarge)?;
        self.strings.extend_from_slice(bytes);
        Ok(at)
    }

    /// The finished tree, and the slot of each node.
    pub fn bytes(mut self) -> Result<(Vec<u8>, Vec<Slot>), BuildError> {
        self.links.sort_unstable();
        let mut out = Vec::with_capacity(HEADER + self.nodes.len() * 80 + self.strings.len() + self.objects.len());
        out.extend_from_slice(&MAGIC);
        let counts = [
            self.nodes.len(),
            self.entries.len() / ENTRY,
            self.links.len(),
            self.xattrs.len(),
            self.object_numbers.len(),
        ];
        out.extend_from_slice(&VERSION.to_le_bytes());
        for count in counts {
            out.extend_from_slice(&u32::try_from(count).map_err(|_| BuildError::TooLarge)?.to_le_bytes());
        }
        out.extend_from_slice(&(self.strings.len() as u64).to_le_bytes());
        out.extend_from_slice(&self.content_bytes.to_le_bytes());
        out.resize(HEADER, 0);
        self.nodes.iter().for_each(|n| n.write(&mut out));
        out.extend_from_slice(&self.entries);
        out.extend_from_slice(&self.strings);
        for word in self.links.iter().flatten().chain(self.xattrs.iter().flatten()) {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.objects);
        Ok((out, self.slots))
    }
}
