//! The source of a tree whose objects are not all here: what the fetcher needs to bring the others.
//!
//! JSON, version 1, beside the tree in the store. It has no credentials: these are looked up when the remote is opened.

use serde::{Deserialize, Serialize};

use super::RemoteSpec;
use super::entry::{RemoteObject, RemotePack};
use super::spec::{Completion, Credentials};

const VERSION: u32 = 1;

/// The remote of a tree, and the tree's objects there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeSource {
    version: u32,
    pub remote: SourceRemote,
    pub completion: Completion,
    pub packs: Vec<SourcePack>,
    pub objects: Vec<RemoteObject>,
}

/// The part of a remote's configuration that reads need.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceRemote {
    pub name: String,
    pub url: String,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub credentials: Option<Credentials>,
}

/// A pack, and the sizes of its frames, compressed and not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePack {
    pub pack: RemotePack,
    pub frames: Vec<(u32, u32)>,
}

impl TreeSource {
    /// The source of a tree at this remote.
    pub fn of(spec: &RemoteSpec, packs: Vec<SourcePack>, objects: Vec<RemoteObject>) -> TreeSource {
        TreeSource {
            version: VERSION,
            remote: SourceRemote {
                name: spec.name.clone(),
                url: spec.url.clone(),
                region: spec.region.clone(),
                endpoint: spec.endpoint.clone(),
                credentials: spec.credentials,
            },
            completion: spec.completion,
            packs,
            objects,
        }
    }

    /// Adds the packs and large files of another source at the same remote.
    pub fn add(&mut self, other: TreeSource) {
        if other.completion == Completion::Always {
            self.completion = Completion::Always;
        }
        for pack in other.packs {
            if !self.packs.iter().any(|known| known.pack.id == pack.pack.id) {
                self.packs.push(pack);
            }
        }
        for object in other.objects {
            if !self.objects.iter().any(|known| known.id == object.id) {
                self.objects.push(object);
            }
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers are always JSON")
    }

    /// Reads it; `None` if it is none that this depsfs knows.
    pub fn parse(bytes: &[u8]) -> Option<TreeSource> {
        serde_json::from_slice(bytes).ok().filter(|source: &TreeSource| source.version == VERSION)
    }
}

impl SourceRemote {
    /// The remote, to be opened.
    pub fn spec(&self) -> RemoteSpec {
        RemoteSpec {
            name: self.name.clone(),
            url: self.url.clone(),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            credentials: self.credentials,
            ..RemoteSpec::default()
        }
    }
}
