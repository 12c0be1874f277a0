//! Copies a component's single files from the source, if the worktree has none. Files and directories of the worktree's
//! own, which can't be distinguished from work, are reported and stay.

use std::path::Path;

use super::{SyncTask, Synced, TakePolicy};
use crate::git::ignored::Ignored;
use crate::git::submodule;
use crate::sys::{IoError, fs, path};
use crate::views::set::Views;
use crate::worktree::create::Created;
use crate::worktree::error::WorktreeError;
use crate::worktree::fit;
use crate::worktree::plan::CreatePlan;
use crate::worktree::relocation::copied;
use crate::worktree::undo::Undo;
use crate::worktree::unfit::UnfitReason;

/// Directories that were to come from the source, and are none of its views.
pub fn tell(views: &Views, plan: &CreatePlan, task: &SyncTask<'_>, synced: &mut Synced) {
    for at in plan.ignored.directories.iter().filter(|at| (task.takes)(at) == TakePolicy::Yes) {
        let is_its = |v: &&_| views.upper(v) == views.place(v) && !views.is_dropped(v);
        let is_shown = views.manifest.views.iter().filter(is_its).any(|v| v.path == *at) || synced.added.contains(at);
        if !is_shown && synced.unfit.iter().all(|(told, _)| told != at) {
            synced.unfit.push((at.clone(), UnfitReason::OwnFiles));
        }
    }
}

/// Copies files that are to come from the source; a dry run only reports them.
pub fn copy(plan: &CreatePlan, task: &SyncTask<'_>, synced: &mut Synced) -> Result<(), WorktreeError> {
    let mut files = Vec::new();
    for at in plan.ignored.files.iter().filter(|at| (task.takes)(at) == TakePolicy::Yes) {
        let (from, to) = (plan.source.root.join(at), task.target.root.join(at));
        if !path::is_there(&to) {
            files.push(at.clone());
        } else if !is_same(&from, &to)? && !is_relocated(plan, task, &from, &to)? {
            synced.unfit.push((at.clone(), UnfitReason::OwnFiles));
        }
    }
    if files.is_empty() {
        return Ok(());
    }
    let modules = submodule::there(&plan.modules, task.target, Path::new(""))?;
    let ignored = Ignored { directories: Vec::new(), files, ..plan.ignored.clone() };
    if task.look {
        let (fitting, unfit) = fit::look(plan, &ignored, task.target, &modules)?;
        synced.unfit.extend(unfit);
        synced.added.extend(fitting.files);
        return Ok(());
    }
    let mut undo = Undo::new(&plan.source, task.store);
    let mut created = Created::default();
    let files = fit::fit(plan, &ignored, task.target, &modules, &mut created, &mut undo)?.files;
    synced.unfit.extend(created.unfit);
    fit::copy_files(plan, task.target, &files, &mut undo)?;
    undo.keep();
    synced.added.extend(files);
    Ok(())
}

/// Whether a file is the relocated copy of the source's.
fn is_relocated(plan: &CreatePlan, task: &SyncTask<'_>, from: &Path, to: &Path) -> Result<bool, WorktreeError> {
    let copy = copied::content_of(from, &plan.source.root, &task.target.root)?;
    let kind = path::stat(to)?.map(|stat| stat.kind());
    Ok(match (copy, kind) {
        (Some(copy), Some(fs::FileType::RegularFile)) => crate::store::ObjectId::of(&copy) == content(to)?,
        (Some(copy), Some(fs::FileType::Symlink)) => path::read_link(to)? == copy,
        _ => false,
    })
}

/// Two files of one content, or two symlinks of one target.
fn is_same(a: &Path, b: &Path) -> Result<bool, WorktreeError> {
    let (Some(a_stat), Some(b_stat)) = (path::stat(a)?, path::stat(b)?) else { return Ok(false) };
    Ok(match (a_stat.kind(), b_stat.kind()) {
        (fs::FileType::Symlink, fs::FileType::Symlink) => path::read_link(a)? == path::read_link(b)?,
        (fs::FileType::RegularFile, fs::FileType::RegularFile) => {
            a_stat.size == b_stat.size && content(a)? == content(b)?
        }
        _ => false,
    })
}

fn content(file: &Path) -> Result<crate::store::ObjectId, IoError> {
    let open = fs::open_path(file, fs::OpenFlags::RDONLY | fs::OpenFlags::NOFOLLOW, 0);
    let bytes = crate::sys::extent::Extent::whole(open.map_err(IoError::of("open", file))?);
    crate::store::ObjectId::of_extent(&bytes).map_err(IoError::of("read", file))
}
