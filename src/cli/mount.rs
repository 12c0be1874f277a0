//! `depsfs mount`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::answers::{MountAnswer, MountedAnswer, MountedState};
use super::mount_options::MountOptions;
use super::output::{self, count};
use super::progress::Bar;
use super::report::Failure;
use super::view_option::ViewOption;
use super::{mount_all, named, places, record};
use crate::store::Store;
use crate::sys::terminal::DisplayName;
use crate::views::copied;
use crate::views::reshape;
use crate::views::set::Views;
use crate::views::standalone_mount::{self, LowerSource, StandaloneMount};
use crate::worktree::relocation;
use crate::worktree::shape;

const EXAMPLES: &str = "Examples:
  depsfs mount                             # all views of the worktree that you stand in
  depsfs mount fix-login
  depsfs mount --all                       # after a reboot
  depsfs mount noir-0123456789abcdef --at ./out";

/// Mount the views of a worktree, or entries of the store or plain directories at a directory
///
/// Ready when the command returns; harmless when all is mounted already. With --at, the named entries are mounted as
/// one view at a directory, without git; where they hold the same path, the later one wins. With --lower, plain
/// directories take the place of entries: what is in them now is kept in the store and served from there, they
/// themselves are never written; where they hold the same path, the first one wins.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Mount {
    /// The worktree: its name, its branch, or any path in it [default: the working directory]; with --at, names of
    /// entries
    #[arg(value_name = "WORKTREE|ENTRY")]
    what: Vec<PathBuf>,
    /// Every worktree of every repository that the store knows, and every directory that was mounted at
    #[arg(long, conflicts_with_all = ["what", "at", "allow_other", "options"])]
    all: bool,
    /// Mount here; the directory is made when absent
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// A plain directory to show; several: the first is on top
    #[arg(long, value_name = "DIR", requires = "at")]
    lower: Vec<PathBuf>,
    /// The directory for all writes [default: the directory that is mounted over]
    #[arg(long, value_name = "DIR", requires = "at")]
    upper: Option<PathBuf>,
    /// Keep the journal of the upper in this directory [default: in .NAME.depsfs beside the upper]
    #[arg(long, value_name = "DIR", requires = "at")]
    workdir: Option<PathBuf>,
    /// Let other users in, with the permissions that files have (else they get EACCES); kept until =false is given
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    allow_other: Option<bool>,
    /// Mount the views of the worktree as one view of all of it, or as one for each artifact directory, from now on
    #[arg(long, value_enum, conflicts_with_all = ["all", "at"])]
    view: Option<ViewOption>,
    /// The source that df and findmnt show [default: depsfs]
    #[arg(long, requires = "at", value_name = "NAME")]
    fsname: Option<String>,
    /// Options as mount(8) has them: lowerdir=A:B, upperdir=, workdir=, store=, fsname=, allow_other, ro, noexec; those
    /// of overlayfs and fstab that make no difference are taken too. With -o a mount has the options that are given, and
    /// none from before
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
}

impl Mount {
    /// Returns when every view answers. Views that are mounted stay mounted, also if another one fails.
    pub fn run(self) -> Result<(), Failure> {
        if self.all {
            let outcome = mount_all::mount(&places::store()?, places::states().ok().as_deref())?;
            let (failed, all) = (outcome.failed, outcome.mounted + outcome.failed);
            if output::is_json() {
                output::done_answer("the views were mounted", &outcome.answer, String::new)?;
            }
            return if failed == 0 { Ok(()) } else { Err(Failure::NotAll { failed, all }) };
        }
        let mut options = MountOptions::default();
        for list in &self.options {
            options.parse(list)?;
        }
        options.allow_other = self.allow_other.or(options.allow_other);
        if !self.options.is_empty() {
            // As with every file system: a mount has the options of its own command line, none from before.
            options.allow_other = options.allow_other.or(Some(false));
            options.read_only = options.read_only.or(Some(false));
        }
        match &self.at {
            None => self.worktree(&options),
            Some(dir) => self.directory(dir, options),
        }
    }

    fn worktree(&self, options: &MountOptions) -> Result<(), Failure> {
        if self.what.len() > 1 {
            return Err(Failure::Usage("several entries need a directory", "give --at <dir>"));
        }
        if !options.lower.is_empty() || options.upper.is_some() || options.workdir.is_some() || options.store.is_some()
        {
            let of_a_directory = "lowerdir, upperdir, workdir and store belong to a directory, not to a worktree";
            return Err(Failure::Usage(of_a_directory, "give --at <dir>"));
        }
        self.mount_worktree(named::views(self.what.first().map(PathBuf::as_path))?, options)
    }

    fn directory(&self, dir: &Path, options: MountOptions) -> Result<(), Failure> {
        let lower = if self.lower.is_empty() { options.lower } else { self.lower.clone() };
        if lower.is_empty() && self.what.is_empty() {
            return Err(Failure::Usage("no entry is named", "depsfs store list shows the entries"));
        }
        if !self.lower.is_empty() && !self.what.is_empty() {
            return Err(Failure::Usage(
                "entries and directories are not mounted as one",
                "depsfs store add makes entries",
            ));
        }
        if lower.is_empty()
            && let Some(views) = self.source_worktree(dir)?
        {
            let options = MountOptions { lower, ..options };
            return self.mount_worktree(views, &options);
        }
        let shown = source_shown(&lower, &self.what);
        let (lower, words) = if lower.is_empty() {
            let names: Vec<String> = self.what.iter().flat_map(|n| names(n)).collect();
            let words = names.join(", ");
            (LowerSource::Entries(names), words)
        } else {
            let words: Vec<_> = lower.iter().map(|d| d.shown().to_string()).collect();
            (LowerSource::Directories(lower), words.join(", "))
        };
        let upper = self.upper.clone().or(options.upper);
        let without_upper = upper.is_none() && !self.options.is_empty() && matches!(lower, LowerSource::Directories(_));
        let wish = StandaloneMount {
            lower,
            upper,
            workdir: self.workdir.clone().or(options.workdir),
            allow_other: options.allow_other,
            // In words of overlayfs, no upper means read-only.
            read_only: without_upper || options.read_only.unwrap_or(false),
            no_exec: options.no_exec,
            fsname: self.fsname.clone().or(options.fsname).or(shown),
        };
        let store = match &options.store {
            Some(path) => Store::open(&crate::sys::path::absolute(path)?)?,
            None => places::store()?,
        };
        record::begin("mount", store.path());
        record::concerns(dir);
        let states = places::states().ok();
        for left_out in standalone_mount::mount(&store, &wish, dir, states.as_deref(), &Bar::new())? {
            output::note(&format!("left out {}: {}", left_out.path.shown(), left_out.why));
        }
        let text = || format!("mounted {words} at {}\n", dir.shown());
        output::done_answer("the directory was mounted", &mounted(dir, None), text)
    }

    /// fstab(5) names a source and a target: a worktree is its own.
    fn source_worktree(&self, dir: &Path) -> Result<Option<Views>, Failure> {
        let [source] = self.what.as_slice() else { return Ok(None) };
        if self.options.is_empty() || !source.is_absolute() {
            return Ok(None);
        }
        let views = places::views_at(source)?;
        let target = crate::sys::path::canonical(dir).unwrap_or(dir.into());
        if dir.as_os_str() != "none" && target != views.manifest.worktree {
            return Err(Failure::Usage("a worktree's views have their places in it", "name it as the target too"));
        }
        Ok(Some(views))
    }

    /// Without any `-o` the views have the options that they had.
    fn mount_worktree(&self, mut views: Views, options: &MountOptions) -> Result<(), Failure> {
        let is_settled = views.manifest.views.iter().all(|view| views.is_settled(view));
        if !is_settled || self.view.is_some() || self.allow_other.is_some() || !self.options.is_empty() {
            record::begin("mount", &views.manifest.store);
            record::concerns(&views.manifest.worktree);
        }
        relocation::follow(&views)?;
        let bar = Bar::new();
        copied::to_views(&mut views, &bar)?;
        drop(bar);
        if let Some(view) = self.view
            && reshape::reshape(&mut views, view.into())?
        {
            record::changed();
            views.manifest.allow_other |= shape::lets_others_in(view.into());
            let allow_other = views.manifest.allow_other;
            views.mount_changed(|manifest| manifest.allow_other = allow_other)?;
        }
        views.mount_changed(|manifest| {
            manifest.allow_other = options.allow_other.unwrap_or(manifest.allow_other);
            for view in manifest.views.iter_mut().filter(|_| !self.options.is_empty()) {
                view.read_only = options.read_only.unwrap_or(false);
                view.no_exec = options.no_exec;
                view.fsname = options.fsname.clone();
            }
        })?;
        // A view that was deleted, and made anew as a plain directory, stays one.
        let n = views.manifest.views.iter().filter(|view| !views.is_dropped(view)).count() as u64;
        let root = &views.manifest.worktree;
        let text = || format!("mounted {} in {}\n", count(n, "view"), root.shown());
        output::done_answer("the views were mounted", &mounted(root, Some(n)), text)
    }
}

fn mounted(path: &Path, views: Option<u64>) -> MountAnswer {
    MountAnswer { places: vec![MountedAnswer { path: path.into(), state: MountedState::Mounted, views }] }
}

/// One name, or several between commas.
fn names(what: &Path) -> Vec<String> {
    let bytes = what.as_os_str().as_bytes();
    bytes.split(|b| *b == b',').map(|n| String::from_utf8_lossy(n).into_owned()).collect()
}

/// The source that mount(8) was given, where it stands for nothing else. `none` stands for not even that.
fn source_shown(lower: &[PathBuf], what: &[PathBuf]) -> Option<String> {
    let [source] = what else { return None };
    if lower.is_empty() { None } else { source.to_str().filter(|s| *s != "none").map(Into::into) }
}
