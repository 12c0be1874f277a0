//! One remote with its client: set up, checked, and asked for entries.

use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::client::Client;
use super::entry::{self, RemoteEntry, RemotePack};
use super::limits::ClientLimits;
use super::pack::{LONGEST_TAIL, PackTail};
use super::spec::Address;
use super::{RemoteError, RemoteSpec, layout, sign};
use crate::sys::fs::Timespec;
use crate::sys::path as paths;

const VERSION: u32 = 1;
/// The longest `remote.json` that is read.
const LONGEST_SETTINGS: u64 = 64 << 10;
/// With fewer days an object could be too old for a new entry in the month in which it was made.
const FEWEST_DAYS: u32 = 62;
/// An entry ends so many days before the objects that it names may be deleted.
const MARGIN_DAYS: i64 = 2;
const DAY: i64 = 86_400;

/// A remote that was opened. Requests begin with the first call.
pub struct OpenRemote {
    pub spec: RemoteSpec,
    pub(super) client: Client,
    settings: OnceLock<RemoteSettings>,
}

/// `remote.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteSettings {
    version: u32,
    /// The bucket deletes objects that are older.
    pub keep_days: u32,
}

/// The requests of one command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub requests: u64,
    pub received: u64,
    pub sent: u64,
}

/// The result of [`OpenRemote::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteCheck {
    pub keep_days: u32,
    /// `None`: it may be written, and an object that is there is not replaced.
    pub not_written: Option<String>,
}

impl RemoteSettings {
    /// Until when an entry is used whose oldest object was made at `made`, in seconds since 1970.
    pub fn until(self, made: i64) -> i64 {
        made + (i64::from(self.keep_days) - MARGIN_DAYS) * DAY
    }

    /// Whether a new entry may name an object that was made at `made`: in the first half of its life.
    pub fn is_young(self, made: i64, now: Timespec) -> bool {
        now.sec - made < i64::from(self.keep_days) * DAY / 2
    }
}

impl OpenRemote {
    /// Opens a remote. Nothing is requested yet.
    ///
    /// # Errors
    /// Its address is unsound, its directory absent, or it has no credentials.
    pub fn open(spec: &RemoteSpec) -> Result<OpenRemote, RemoteError> {
        OpenRemote::open_with(spec, ClientLimits::default())
    }

    /// As [`OpenRemote::open`], with these limits of its requests.
    ///
    /// # Errors
    /// As of [`OpenRemote::open`].
    pub(super) fn open_with(spec: &RemoteSpec, limits: ClientLimits) -> Result<OpenRemote, RemoteError> {
        if let Some(why) = spec.fault() {
            return Err(RemoteError::Spec { remote: spec.name.clone(), why });
        }
        Ok(OpenRemote { spec: spec.clone(), client: Client::open(spec, limits)?, settings: OnceLock::new() })
    }

    /// Sets a remote up; `false` if it was.
    ///
    /// # Errors
    /// Too few days; the remote cannot be written.
    pub fn init(spec: &RemoteSpec, keep_days: u32) -> Result<bool, RemoteError> {
        if keep_days < FEWEST_DAYS {
            let why = format!("it has to keep objects for {FEWEST_DAYS} days at least");
            return Err(RemoteError::Spec { remote: spec.name.clone(), why });
        }
        if let Ok(Address::Directory(at)) = Address::parse(&spec.url) {
            paths::make_dirs(&at)?;
        }
        OpenRemote::open(spec)?.client.create(layout::SETTINGS, settings_bytes(keep_days))
    }

    /// Its settings, requested once.
    ///
    /// # Errors
    /// It was not set up, it has another format, or it does not answer.
    pub fn settings(&self) -> Result<RemoteSettings, RemoteError> {
        if let Some(known) = self.settings.get() {
            return Ok(*known);
        }
        let answer = self.client.probe(&[layout::SETTINGS.into()], LONGEST_SETTINGS)?.pop();
        self.note_settings(answer.unwrap_or(Ok(None)))
    }

    fn note_settings(&self, answer: Result<Option<Vec<u8>>, RemoteError>) -> Result<RemoteSettings, RemoteError> {
        let remote = || self.spec.name.clone();
        let bytes = answer?.ok_or_else(|| RemoteError::NotSetUp { remote: remote() })?;
        let damaged = |_| RemoteError::Damaged {
            remote: remote(),
            key: layout::SETTINGS.into(),
            why: "it cannot be read".into(),
        };
        let found: RemoteSettings = serde_json::from_slice(&bytes).map_err(damaged)?;
        if found.version != VERSION {
            return Err(RemoteError::Version { remote: remote(), found: found.version });
        }
        Ok(*self.settings.get_or_init(|| found))
    }

    /// Whether it can be read and written, and does not replace an object that is there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn check(&self) -> Result<RemoteCheck, RemoteError> {
        let keep_days = self.settings()?.keep_days;
        // The object is there, and would be replaced by the same bytes.
        let not_written = match self.client.create(layout::SETTINGS, settings_bytes(keep_days)) {
            Ok(false) => None,
            Ok(true) => Some("it replaces objects that are there".into()),
            Err(e @ (RemoteError::Denied { .. } | RemoteError::ReadOnly { .. })) => Some(e.to_string()),
            Err(e) => return Err(e),
        };
        Ok(RemoteCheck { keep_days, not_written })
    }

    /// The entries of some places in the lines that are read, in the order of the places, each verified. `tmp` is a
    /// directory for temporary files. All are requested at once.
    ///
    /// # Errors
    /// The remote does not answer, or refuses access.
    pub fn entries(&self, places: &[String], tmp: &Path) -> Result<Vec<Result<RemoteEntry, RemoteError>>, RemoteError> {
        self.entries_of(&self.spec.read, places, tmp)
    }

    /// As [`OpenRemote::entries`], of these lines.
    ///
    /// # Errors
    /// As of [`OpenRemote::entries`].
    pub fn entries_of(
        &self,
        lines: &[String],
        places: &[String],
        tmp: &Path,
    ) -> Result<Vec<Result<RemoteEntry, RemoteError>>, RemoteError> {
        let wanted: Vec<(&str, &String)> =
            places.iter().flat_map(|place| lines.iter().map(move |line| (line.as_str(), place))).collect();
        let is_known = self.settings.get().is_some();
        let mut keys: Vec<String> = wanted.iter().map(|(line, place)| layout::in_line(line, place)).collect();
        keys.extend((!is_known).then(|| layout::SETTINGS.to_owned()));
        let mut answers = self.client.probe(&keys, entry::LONGEST)?;
        if !is_known {
            self.note_settings(answers.pop().unwrap_or(Ok(None)))?;
        }
        let mut found = Vec::new();
        for (((line, place), key), answer) in wanted.into_iter().zip(&keys).zip(answers) {
            match answer {
                Ok(Some(bytes)) => found.push(self.verified(&bytes, line, place, key, tmp)),
                // S3 refuses what is absent to those who may not list; remote.json could be read.
                Ok(None) | Err(RemoteError::Denied { .. }) => {}
                Err(e) => found.push(Err(e)),
            }
        }
        Ok(found)
    }

    fn verified(
        &self,
        bytes: &[u8],
        line: &str,
        place: &str,
        key: &str,
        tmp: &Path,
    ) -> Result<RemoteEntry, RemoteError> {
        let untrusted = |why| RemoteError::Untrusted { remote: self.spec.name.clone(), key: key.into(), why };
        let (text, signature) = entry::split(bytes);
        if let Some(signers) = &self.spec.signers {
            sign::verify(text, signature, signers, tmp).map_err(untrusted)?;
        }
        RemoteEntry::parse(text, line, place, Timespec::now()).map_err(untrusted)
    }

    /// The end of a pack: the objects that it holds.
    pub(super) fn tail_of(&self, pack: &RemotePack) -> Result<PackTail, RemoteError> {
        let tail = self.client.get(&pack.key, Some(pack.index..pack.size), LONGEST_TAIL)?;
        let tail = tail.ok_or_else(|| self.damaged(&pack.key, "it is gone, though its entry names it"))?;
        PackTail::read(&pack.id, &tail, pack.size).map_err(|why| self.damaged(&pack.key, why))
    }

    /// Its requests until now.
    pub fn traffic(&self) -> Traffic {
        let (requests, received, sent) = self.client.traffic();
        Traffic { requests, received, sent }
    }

    /// The error for an object of this remote that is damaged.
    pub(super) fn damaged(&self, key: &str, why: &str) -> RemoteError {
        RemoteError::Damaged { remote: self.spec.name.clone(), key: key.into(), why: why.into() }
    }
}

fn settings_bytes(keep_days: u32) -> Vec<u8> {
    let settings = RemoteSettings { version: VERSION, keep_days };
    serde_json::to_vec(&settings).expect("numbers are always JSON")
}
