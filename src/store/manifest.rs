//! The manifest of a worktree: its views, the trees that are grafted into them, and the origin of these.
//!
//! JSON. It is read and replaced whole: written to a temporary file, synced, renamed.
//!
//! | version | views are mounted | fields |
//! |---------|-------------------|--------|
//! | 1       | each at its own directory | all but `shape` and `directories` |
//! | 2       | as one view of the whole worktree | all |
//! | 3       | some not at all: they are plain files (`copy`) | all, and `copy` of a view |

use std::collections::BTreeSet;
use std::ops::Not;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{FileKind, StoreError, TreeId, escape, versioned};
use crate::sys;
use crate::sys::fs::Timespec;
use crate::sys::terminal::DisplayName;

/// The version of a manifest whose views are mounted one by one: older programs read it.
pub const VERSION: u32 = 1;
/// The version of a manifest whose views are mounted as one.
pub const VERSION_OF_ONE: u32 = 2;
/// The version of a manifest with a view that is plain files.
pub const VERSION_OF_COPIES: u32 = 3;

/// How the views of a worktree are mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Each artifact directory is a mount of its own; the rest of the worktree is no view.
    #[default]
    Directories,
    /// The worktree's root is the one mount: its own directory is the upper, the artifacts are grafts.
    Worktree,
}

impl Shape {
    fn is_directories(&self) -> bool {
        *self == Shape::Directories
    }
}

/// How far the trees of a view have been copied into the worktree, as plain files.
#[allow(missing_docs, reason = "the comment of the type has the fields")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum CopyState {
    /// Files may be absent, or written in part.
    Begun,
    /// All files are there. The copy wrote them between two times of the file system.
    Complete { since: CopyTime, until: CopyTime },
}

/// A time of a file system: seconds since 1970, and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyTime {
    /// Negative before 1970.
    pub sec: i64,
    /// Below 10⁹.
    pub nsec: u32,
}

impl From<Timespec> for CopyTime {
    fn from(time: Timespec) -> CopyTime {
        CopyTime { sec: time.sec, nsec: time.nsec }
    }
}

/// The file `manifest.json` in a worktree's state directory: the mounts that its user wants. Commands write it while
/// they hold `manifest.lock` beside it; the daemon only reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// That of the format; [`Manifest::update_version`] sets the lowest that has all fields in use.
    pub version: u32,
    /// Absolute.
    #[serde(with = "escape::path")]
    pub worktree: PathBuf,
    /// Absolute; it may be gone.
    #[serde(with = "escape::path")]
    pub store: PathBuf,
    /// The checkout the artifacts came from.
    #[serde(with = "escape::optional_path")]
    pub source: Option<PathBuf>,
    /// The commit that the worktree was made at, in hexadecimal. Later checkouts do not change it.
    pub commit: Option<String>,
    /// RFC 3339, UTC.
    pub created: String,
    /// Other users may enter the views (`allow_other`, mount.fuse3(8)).
    pub allow_other: bool,
    /// One mount for each view, or one for all.
    #[serde(default, skip_serializing_if = "Shape::is_directories")]
    pub shape: Shape,
    /// For [`Shape::Worktree`]: trees of directories alone, which hold the places of all views
    /// ([`crate::store::frame`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<TreeId>,
    /// One for each artifact directory, also those that are plain files.
    pub views: Vec<ViewSpec>,
    /// Grows with every change.
    pub generation: u64,
}

/// One directory to mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewSpec {
    /// 16 hex digits; names the view's state directory.
    pub id: String,
    /// Relative to the worktree; empty for the worktree itself.
    #[serde(with = "escape::path")]
    pub path: PathBuf,
    /// The trees that it shows, a later one over an earlier one, and retired ones.
    pub grafts: Vec<Graft>,
    /// As they were when the artifacts were taken: `status` reports those that differ now.
    pub lockfiles: Vec<LockFile>,
    /// The directory of its own files (its upper), absolute; `None`: the directory that it is mounted over.
    #[serde(default, with = "escape::optional_path", skip_serializing_if = "Option::is_none")]
    pub upper: Option<PathBuf>,
    /// Every change fails with EROFS.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub read_only: bool,
    /// Programs in it can't be run.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub no_exec: bool,
    /// The source that the kernel's table of mounts shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsname: Option<String>,
    /// The view is not mounted: its trees were copied into its directory. `None`: it is a mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyState>,
}

impl ViewSpec {
    /// Whether it is plain files.
    pub fn is_copy(&self) -> bool {
        self.copy.is_some()
    }
}

/// A tree, and where in a view it appears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graft {
    /// Relative to the view; empty for its root.
    #[serde(with = "escape::path")]
    pub at: PathBuf,
    /// In the manifest's store.
    pub tree: TreeId,
    /// The entry that it was taken from by name; that may name another tree by now.
    pub entry: Option<String>,
    /// In words, where the tree came from.
    pub origin: String,
    /// Replaced or taken away: not shown, but kept for the records of it in a view's journal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
}

/// A lock file of a package manager, from which artifacts are made, as it was when they were shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// Relative to the worktree.
    #[serde(with = "escape::path")]
    pub path: PathBuf,
    /// 64 hex digits of its content.
    pub blake3: String,
}

impl Manifest {
    /// Reads and checks a manifest file; an absent one is an I/O error.
    ///
    /// # Errors
    /// The file cannot be read, or is no manifest of a known version.
    pub fn load(path: &Path) -> Result<Manifest, StoreError> {
        let bytes = sys::path::read(path)?;
        Manifest::parse(&bytes).map_err(|why| StoreError::BadFile { kind: FileKind::Manifest, path: path.into(), why })
    }

    /// Of a worktree (or a directory that is mounted at) without a view, by the store at `store`.
    pub fn new(worktree: &Path, store: &Path) -> Manifest {
        Manifest {
            version: VERSION,
            worktree: worktree.into(),
            store: store.into(),
            source: None,
            commit: None,
            created: String::new(),
            allow_other: false,
            shape: Shape::Directories,
            directories: Vec::new(),
            views: Vec::new(),
            generation: 0,
        }
    }

    /// All trees that its views show.
    pub fn trees(&self) -> BTreeSet<TreeId> {
        let of_views = self.views.iter().flat_map(|v| &v.grafts).map(|g| g.tree);
        of_views.chain(self.directories.iter().copied()).collect()
    }

    /// The views as they are mounted: one by one, or all as the grafts of one view at the worktree's root. Copies are not
    /// mounted.
    pub fn into_mounts(mut self) -> Manifest {
        self.views.retain(|view| !view.is_copy());
        if self.shape == Shape::Worktree && !self.views.is_empty() {
            self.views = vec![self.whole()];
        }
        self
    }

    /// The one view of [`Shape::Worktree`].
    fn whole(&self) -> ViewSpec {
        let frame = |tree: &TreeId| Graft {
            at: PathBuf::new(),
            tree: *tree,
            entry: None,
            origin: "the places of the artifacts".into(),
            retired: false,
        };
        let at = |view: &ViewSpec, graft: &Graft| Graft { at: joined(&view.path, &graft.at), ..graft.clone() };
        let of_views = self.views.iter().flat_map(|view| view.grafts.iter().map(move |graft| at(view, graft)));
        let first = self.views.first();
        ViewSpec {
            id: WHOLE.into(),
            grafts: self.directories.iter().map(frame).chain(of_views).collect(),
            read_only: first.is_some_and(|view| view.read_only),
            no_exec: first.is_some_and(|view| view.no_exec),
            fsname: first.and_then(|view| view.fsname.clone()),
            ..ViewSpec::default()
        }
    }

    /// Has the views mounted one by one, or as one.
    pub fn set_shape(&mut self, shape: Shape) {
        self.shape = shape;
        if shape == Shape::Directories {
            self.directories.clear();
        }
        self.update_version();
    }

    /// Takes the oldest version that has all its fields.
    pub fn update_version(&mut self) {
        self.version = self.least_version();
    }

    fn least_version(&self) -> u32 {
        match self.shape {
            _ if self.views.iter().any(ViewSpec::is_copy) => VERSION_OF_COPIES,
            Shape::Worktree => VERSION_OF_ONE,
            Shape::Directories => VERSION,
        }
    }

    /// Whether it has views, and all of them are plain files.
    pub fn is_copy(&self) -> bool {
        !self.views.is_empty() && self.views.iter().all(ViewSpec::is_copy)
    }

    /// The id under which a view is mounted.
    pub fn mount_id<'a>(&self, view: &'a ViewSpec) -> &'a str {
        match self.shape {
            Shape::Directories => &view.id,
            Shape::Worktree => WHOLE,
        }
    }

    /// The path, relative to the worktree, at which a view is mounted.
    pub fn mount_path<'a>(&self, view: &'a ViewSpec) -> &'a Path {
        match self.shape {
            Shape::Directories => &view.path,
            Shape::Worktree => Path::new(""),
        }
    }

    /// The manifest in `bytes`, or why it is none, in words.
    ///
    /// # Errors
    /// In words, why the bytes are no manifest.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        let manifest: Manifest = versioned::parse(bytes, VERSION..=VERSION_OF_COPIES)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Replaces the manifest file; after a crash it is the old or the new one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), StoreError> {
        let refused = |why: String| StoreError::BadFile { kind: FileKind::Manifest, path: path.into(), why };
        self.check().map_err(refused)?;
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|e| refused(super::versioned::not_json(&e)))?;
        bytes.push(b'\n');
        Ok(sys::path::replace_synced(path, &bytes)?)
    }

    /// Every path that is to stay inside something does, and ids are fit to be file names.
    fn check(&self) -> Result<(), String> {
        if !self.worktree.is_absolute() {
            return Err("the worktree's path is not absolute".into());
        }
        if self.version != self.least_version() {
            return Err(format!("it has version {}, which does not fit how its views are mounted", self.version));
        }
        for view in &self.views {
            if matches!(view.copy, Some(CopyState::Complete { since, until }) if since > until) {
                return Err(format!("view {} was copied between no times", view.id));
            }
            if view.id.len() != 16 || !view.id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(format!("a view's id is {}, not 16 hex digits", view.id.shown()));
            }
            let inside = |path: &Path| path.components().all(|c| matches!(c, Component::Normal(_)));
            if !inside(&view.path) || !view.grafts.iter().all(|g| inside(&g.at)) {
                return Err(format!("view {} or a graft of it leads outside", view.id));
            }
            if view.upper.as_ref().is_some_and(|upper| !upper.is_absolute()) {
                return Err(format!("the upper of view {} is not absolute", view.id));
            }
        }
        Ok(())
    }
}

/// The id of the one view of a whole worktree.
pub const WHOLE: &str = "0000000000000000";

/// A path inside another; without a `/` at the end where the second is empty.
pub fn joined(path: &Path, inside: &Path) -> PathBuf {
    if inside.as_os_str().is_empty() { path.into() } else { path.join(inside) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn manifest() -> Manifest {
        let graft = Graft {
            at: "".into(),
            tree: TreeId([7; 32]),
            entry: Some("noir-0123".into()),
            origin: "a copy".into(),
            retired: false,
        };
        let lock = LockFile { path: "yarn.lock".into(), blake3: "00".repeat(32) };
        let view = ViewSpec {
            id: "0123456789abcdef".into(),
            path: OsStr::from_bytes(b"b\xffd/100%").into(),
            grafts: vec![graft],
            lockfiles: vec![lock],
            ..ViewSpec::default()
        };
        Manifest {
            version: VERSION,
            worktree: "/w".into(),
            store: "/s".into(),
            source: None,
            commit: None,
            created: "2026-01-01T00:00:00Z".into(),
            allow_other: false,
            shape: Shape::Directories,
            directories: Vec::new(),
            views: vec![view],
            generation: 3,
        }
    }

    #[test]
    fn a_saved_manifest_loads_the_same_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest.json");
        manifest().save(&path).unwrap();
        manifest().save(&path).unwrap();
        assert_eq!(Manifest::load(&path).unwrap(), manifest());
        assert_eq!(sys::path::list(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn what_a_view_does_without_is_not_written_and_what_it_has_comes_back() {
        let mut manifest = manifest();
        let text = serde_json::to_string(&manifest).unwrap();
        assert!(["upper", "read_only", "no_exec", "fsname"].iter().all(|field| !text.contains(field)), "{text}");
        let upper = Some(OsStr::from_bytes(b"/u\xff").into());
        manifest.views[0] =
            ViewSpec { upper, read_only: true, no_exec: true, fsname: Some("x".into()), ..manifest.views[0].clone() };
        assert_eq!(Manifest::parse(&serde_json::to_vec(&manifest).unwrap()), Ok(manifest.clone()));
        manifest.views[0].upper = Some("u".into());
        assert!(Manifest::parse(&serde_json::to_vec(&manifest).unwrap()).is_err());
    }

    #[test]
    fn views_of_one_mount_are_grafts_of_the_worktrees_root_at_their_paths() {
        let mut manifest = manifest();
        assert_eq!(manifest.clone().into_mounts(), manifest, "one by one: as they are");
        (manifest.version, manifest.shape) = (VERSION_OF_ONE, Shape::Worktree);
        manifest.directories = vec![TreeId([9; 32])];
        let bytes = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(Manifest::parse(&bytes), Ok(manifest.clone()));
        let mounts = manifest.clone().into_mounts();
        let [whole] = mounts.views.as_slice() else { panic!("{:?}", mounts.views) };
        let places: Vec<_> = whole.grafts.iter().map(|g| (g.at.clone(), g.tree)).collect();
        let at: PathBuf = OsStr::from_bytes(b"b\xffd/100%").into();
        assert_eq!(places, [(PathBuf::new(), TreeId([9; 32])), (at, TreeId([7; 32]))]);
        assert_eq!((whole.path.as_path(), mounts.mount_id(&manifest.views[0])), (Path::new(""), WHOLE));
        assert_eq!(manifest.trees().len(), 2, "gc keeps the places, too");
        manifest.version = VERSION;
        assert!(Manifest::parse(&serde_json::to_vec(&manifest).unwrap()).is_err());
    }

    #[test]
    fn other_versions_unknown_fields_and_paths_that_lead_outside_are_refused() {
        let text = serde_json::to_string(&manifest()).unwrap();
        assert!(Manifest::parse(text.as_bytes()).is_ok());
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"version\":1", "\"version\":3"),
            ("\"version\":1", "\"version\":4"),
            ("\"generation\"", "\"generations\":1,\"generation\""),
            ("\"at\":\"\"", "\"at\":\"..\""),
            ("\"at\":\"\"", "\"at\":\"/x\""),
            ("0123456789abcdef", "../3456789abcdef"),
            ("\"worktree\":\"/w\"", "\"worktree\":\"w\""),
            ("100%25", "100%2"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(Manifest::parse(text.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }
}
