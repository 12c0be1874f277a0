//! Whether the views of a new worktree are mounted one by one, or as one view of all of it.

use super::error::WorktreeError;
use super::plan::CreatePlan;
use crate::store::manifest::Shape;
use crate::sys::{fusermount, mount, process};

/// More views than these are mounted as one where nothing else is wanted: each mount has threads, a place in the kernel's
/// table, and its share of fusermount3's limit.
const MANY: usize = 16;

/// The shape of a new worktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeChoice {
    pub shape: Shape,
    /// Neither option nor configuration name it, and it is not [`Shape::default`].
    pub because: Option<WholeReason>,
}

/// Why a worktree is one view though no option requested that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WholeReason {
    ManyViews(usize),
    /// fusermount3 would mount only so many of the views.
    FewMounts(usize, usize),
}

impl std::fmt::Display for WholeReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WholeReason::ManyViews(views) => write!(f, "it has {views} artifact directories"),
            WholeReason::FewMounts(views, room) => {
                write!(f, "it has {views} artifact directories, and fusermount3 mounts only {room} more")
            }
        }
    }
}

/// The shape of a new worktree: by the command's option, else by the configuration, else [`automatic`].
///
/// # Errors
/// A configuration that is none of the known words.
pub fn wanted(option: Option<Shape>, plan: &CreatePlan, can_be_whole: bool) -> Result<ShapeChoice, WorktreeError> {
    let shape = option.map_or_else(|| plan.settings.view(), |shape| Ok(Some(shape)))?;
    Ok(match shape {
        Some(shape) => ShapeChoice { shape, because: None },
        None if can_be_whole => automatic(plan.ignored.directories.len(), mount::room()),
        None => ShapeChoice { shape: Shape::Directories, because: None },
    })
}

/// One view where there would be many, or more than can still be mounted; else a view for each artifact directory: those
/// have no part in reads of sources, which cost more through a view.
fn automatic(views: usize, room: Option<usize>) -> ShapeChoice {
    let because = match room {
        Some(room) if room < views => Some(WholeReason::FewMounts(views, room)),
        _ if views > MANY => Some(WholeReason::ManyViews(views)),
        _ => None,
    };
    let shape = if because.is_some() { Shape::Worktree } else { Shape::Directories };
    ShapeChoice { shape, because }
}

/// Whether a mount of this shape lets other users in by default: with it, root and containers would see none
/// of the sources. The kernel checks permissions as on other file systems. An ordinary user needs `user_allow_other`.
pub fn lets_others_in(shape: Shape) -> bool {
    shape == Shape::Worktree && (process::user() == 0 || fusermount::allows_other() == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worktree_is_one_view_by_itself_where_there_would_be_many_or_too_few_mounts_are_left() {
        let table = [
            (0, None, None),
            (16, None, None),
            (17, None, Some(WholeReason::ManyViews(17))),
            (16, Some(16), None),
            (3, Some(2), Some(WholeReason::FewMounts(3, 2))),
            (1002, Some(900), Some(WholeReason::FewMounts(1002, 900))),
            (1, Some(0), Some(WholeReason::FewMounts(1, 0))),
        ];
        for (views, room, because) in table {
            let shape = if because.is_some() { Shape::Worktree } else { Shape::Directories };
            assert_eq!(automatic(views, room), ShapeChoice { shape, because }, "{views} {room:?}");
        }
    }
}
