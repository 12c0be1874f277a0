//! The remotes of one command, in their order: an entry that one of them has comes into the store.
//!
//! A remote that fails is reported once, and counts as one without entries from then on. An entry that is damaged, foreign
//! or too old is reported with its name, and the next one is looked at.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::empty::{self, EmptyEntry};
use super::entry::RemoteEntry;
use super::fetch::ContentPolicy;
use super::opened::{OpenRemote, Traffic};
use super::times::TrackedTimes;
use super::{RemoteCheckout, RemoteError, RemoteSpec, fetch};
use crate::store::{Progress, Provenance, Store, TreeId};
use crate::sys::path as paths;

const VERSION: u32 = 1;
/// The folder of the store with what is known of entries that came from a remote.
const FOLDER: &str = "received";

/// Remotes that are opened when the first entry is looked for.
#[derive(Default)]
pub struct Team {
    members: Vec<TeamMember>,
}

struct TeamMember {
    spec: RemoteSpec,
    opened: OnceLock<Option<OpenRemote>>,
    is_down: AtomicBool,
    /// Why it refused access.
    refused: OnceLock<String>,
}

/// The record of an entry that came from a remote, kept beside the entry in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    version: u32,
    pub tree: TreeId,
    /// The remote's public address, and the entry's name there.
    pub url: String,
    pub line: String,
    pub place: String,
    /// That of the checkout that pushed it, escaped.
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub checkout: Option<RemoteCheckout>,
    #[serde(default)]
    pub times: Option<TrackedTimes>,
}

impl Received {
    /// The record of the entry of this name, if it came from a remote and still has that tree.
    pub fn of(store: &Store, name: &str, tree: TreeId) -> Option<Received> {
        let bytes = paths::read_if_there(&store.path().join(FOLDER).join(name)).ok()??;
        let found: Received = serde_json::from_slice(&bytes).ok()?;
        (found.version == VERSION && found.tree == tree).then_some(found)
    }

    fn save(&self, store: &Store, name: &str) -> Result<(), RemoteError> {
        paths::make_dir(&store.path().join(FOLDER))?;
        let bytes = serde_json::to_vec(self).expect("strings and numbers are always JSON");
        Ok(store.put_file(FOLDER, name, &bytes, 0o644)?)
    }
}

/// The places to look at, and the receivers of messages and progress.
pub struct Search<'a> {
    pub store: &'a Store,
    /// Places in a line, the best first.
    pub places: &'a [String],
    /// The name that the entry of a place gets in the store.
    pub name: &'a dyn Fn(&str) -> String,
    pub command: &'a str,
    /// ContentPolicy of files may come later, if the remote's configuration says so.
    pub lazy: bool,
    pub say: &'a (dyn Fn(&str) + 'a),
    pub progress: &'a dyn Progress,
}

impl Team {
    /// These remotes, in their order.
    pub fn of(specs: Vec<RemoteSpec>) -> Team {
        let member = |spec| TeamMember {
            spec,
            opened: OnceLock::new(),
            is_down: AtomicBool::new(false),
            refused: OnceLock::new(),
        };
        Team { members: specs.into_iter().map(member).collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The first sound entry of the places; nothing is fetched.
    ///
    /// # Errors
    /// A signal came.
    pub fn look(&self, search: &Search<'_>) -> Result<Option<RemoteEntry>, RemoteError> {
        self.first(search, |_, entry| Ok(Some(entry)))
    }

    /// Brings the first sound entry of the places with a tree into the store.
    ///
    /// # Errors
    /// A signal came, or the store cannot be written.
    pub fn bring(&self, search: &Search<'_>) -> Result<Option<Received>, RemoteError> {
        let mut empty = Vec::new();
        let found = self.first(search, |remote, entry| {
            // gc must not come between the import and the name.
            let _share = search.store.share()?;
            let contents = if search.lazy && remote.spec.lazy { ContentPolicy::Later } else { ContentPolicy::Whole };
            let (tree, times) = fetch::bring(remote, search.store, &entry, search.progress, contents)?;
            let Some(tree) = tree else {
                empty.push(EmptyEntry::new(&remote.spec, &entry.line, &entry.place));
                return Ok(None);
            };
            let received = Received {
                version: VERSION,
                tree,
                url: remote.spec.shown_url(),
                line: entry.line.clone(),
                place: entry.place.clone(),
                path: Some(entry.provenance.path.clone()),
                checkout: entry.checkout.clone(),
                times,
            };
            let name = (search.name)(&entry.place);
            received.save(search.store, &name)?;
            let provenance = Provenance {
                source: format!("{}/lines/{}/{}", received.url, received.line, received.place),
                command: search.command.into(),
                created: entry.made.clone(),
                files: entry.provenance.files,
                bytes: entry.provenance.bytes,
            };
            search.store.entries().put(&name, tree, provenance)?;
            Ok(Some(received))
        })?;
        // One that did not answer may have others.
        if found.is_none() && !self.members.iter().any(|member| member.is_down.load(Ordering::Relaxed)) {
            empty::note(search.store, FOLDER, empty)?;
        }
        Ok(found)
    }

    /// Whether it is known since lately that all of the remotes have an entry of this place without a tree.
    pub fn is_empty_at(&self, store: &Store, place: &str) -> bool {
        empty::are_empty(store, FOLDER, &self.members.iter().map(|member| &member.spec).collect::<Vec<_>>(), place)
    }

    /// The error of the first remote that refused access, if one did: what it has is not known to be absent.
    pub fn refusal(&self) -> Option<RemoteError> {
        self.members.iter().find_map(|member| {
            let why = member.refused.get()?.clone();
            Some(RemoteError::Denied { remote: member.spec.name.clone(), why })
        })
    }

    /// Requests of all remotes until now.
    pub fn traffic(&self) -> Traffic {
        let opened = self.members.iter().filter_map(|member| member.opened.get()?.as_ref());
        opened.map(OpenRemote::traffic).fold(Traffic::default(), |a, b| Traffic {
            requests: a.requests + b.requests,
            received: a.received + b.received,
            sent: a.sent + b.sent,
        })
    }

    fn first<T>(
        &self,
        search: &Search<'_>,
        mut take: impl FnMut(&OpenRemote, RemoteEntry) -> Result<Option<T>, RemoteError>,
    ) -> Result<Option<T>, RemoteError> {
        let tmp = search.store.path().join("tmp");
        for member in &self.members {
            let Some(remote) = member.open(search.say) else { continue };
            let found = match remote.entries(search.places, &tmp) {
                Ok(found) => found,
                Err(e) => {
                    member.failed(e, search.say)?;
                    continue;
                }
            };
            for entry in found {
                match entry.and_then(|entry| take(remote, entry)) {
                    Ok(Some(taken)) => return Ok(Some(taken)),
                    Ok(None) => {}
                    Err(e) => member.failed(e, search.say)?,
                }
                if member.is_down.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
        Ok(None)
    }
}

impl TeamMember {
    fn open(&self, say: &dyn Fn(&str)) -> Option<&OpenRemote> {
        if self.is_down.load(Ordering::Relaxed) {
            return None;
        }
        let open = || match OpenRemote::open(&self.spec) {
            Ok(remote) => Some(remote),
            Err(e) => {
                self.give_up(&e, say);
                None
            }
        };
        self.opened.get_or_init(open).as_ref()
    }

    /// Reports that the remote is asked for nothing more. A refusal may end the command later.
    fn give_up(&self, e: &RemoteError, say: &dyn Fn(&str)) {
        let RemoteError::Denied { why, .. } = e else {
            return say(&format!("{e}; going on without it"));
        };
        self.refused.get_or_init(|| why.clone());
        say(&e.to_string());
    }

    /// Reports an error that is one of the remote; returns one of this machine.
    fn failed(&self, e: RemoteError, say: &dyn Fn(&str)) -> Result<(), RemoteError> {
        match e {
            RemoteError::Interrupted | RemoteError::Store(_) | RemoteError::Io(_) => Err(e),
            RemoteError::Damaged { .. } | RemoteError::Untrusted { .. } => {
                say(&e.to_string());
                Ok(())
            }
            e => {
                // Of several threads one reports it.
                if !self.is_down.swap(true, Ordering::Relaxed) {
                    self.give_up(&e, say);
                }
                Ok(())
            }
        }
    }
}
