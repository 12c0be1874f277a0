//! `components.json`, beside a worktree's manifest: which artifacts its components have, and what is still to be built.
//!
//! Version 1. Written aside and renamed. It is only remembered, never obeyed: without it, everything is looked at again.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ComponentError;
use crate::store::not_json;
use crate::sys::path;
use crate::views::set::ManifestLock;

const VERSION: u32 = 1;
const FILE: &str = "components.json";

/// The artifacts of all components of a worktree, as `components.json` stores them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentsRecord {
    version: u32,
    /// Each by name once. Of a component that the worktree has never met there is none.
    pub components: Vec<KnownComponent>,
}

/// One component, as a worktree has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownComponent {
    /// As `depsfs.toml` declares it.
    pub name: String,
    /// The key its artifacts were made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The entries of the store that it shows, or was published as.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<String>,
    /// How far its artifacts are, as of the last command that changed them.
    pub state: ComponentState,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentState {
    /// Its artifact is in place.
    Artifact,
    /// It has what the source had.
    Source,
    /// It was built here.
    Built,
    /// It has still to be fetched or built.
    Pending,
    /// Its build failed.
    Failed,
    /// There is nothing to be had or built.
    Nothing,
}

impl Default for ComponentsRecord {
    fn default() -> ComponentsRecord {
        ComponentsRecord { version: VERSION, components: Vec::new() }
    }
}

impl ComponentsRecord {
    /// That of the worktree with this state directory; an empty one when there is none.
    ///
    /// # Errors
    /// The file cannot be read, or is no record of components.
    pub fn load(state_dir: &Path) -> Result<ComponentsRecord, ComponentError> {
        let file = state_dir.join(FILE);
        let Some(bytes) = path::read_if_there(&file)? else { return Ok(ComponentsRecord::default()) };
        ComponentsRecord::parse(&bytes).map_err(|why| ComponentError::Record { file, why })
    }

    /// Parses the bytes of the file; the error is the reason, in words.
    ///
    /// # Errors
    /// In words, why the bytes are no record of components.
    pub fn parse(bytes: &[u8]) -> Result<ComponentsRecord, String> {
        let record: ComponentsRecord = serde_json::from_slice(bytes).map_err(|e| not_json(&e))?;
        match record.version {
            VERSION => Ok(record),
            other => Err(format!("it has version {other}, this depsfs knows {VERSION}")),
        }
    }

    /// The content of the file: JSON that people can read, with a line end.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("strings and numbers are always JSON");
        bytes.push(b'\n');
        bytes
    }

    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, state_dir: &Path) -> Result<(), ComponentError> {
        path::make_private_dirs(state_dir)?;
        Ok(path::replace_synced(&state_dir.join(FILE), &self.bytes())?)
    }

    /// Changes the record that is there now, whatever others have changed of it since it was last read.
    ///
    /// # Errors
    /// The file cannot be read or written, or its lock cannot be taken.
    pub fn change(state_dir: &Path, change: impl FnOnce(&mut ComponentsRecord)) -> Result<(), super::ComponentError> {
        path::make_private_dirs(state_dir)?;
        let _lock = ManifestLock::wait(state_dir)?;
        let mut record = ComponentsRecord::load(state_dir)?;
        change(&mut record);
        record.save(state_dir)
    }

    /// The entry of the component with this name; `None` if the worktree was made before it was declared.
    pub fn of(&self, name: &str) -> Option<&KnownComponent> {
        self.components.iter().find(|c| c.name == name)
    }

    /// Replaces what is known of one.
    pub fn set(&mut self, known: KnownComponent) {
        match self.components.iter_mut().find(|c| c.name == known.name) {
            Some(there) => *there = known,
            None => self.components.push(known),
        }
    }

    /// Whether something is to be gone on with.
    pub fn has_work(&self) -> bool {
        self.components.iter().any(|c| matches!(c.state, ComponentState::Pending | ComponentState::Failed))
    }
}
