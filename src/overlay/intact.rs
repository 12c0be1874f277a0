//! Whether the trees of a view, and the objects it has open, are still what they were when they were opened.

use std::collections::HashMap;

use super::types::Ino;
use crate::store::FileTimes;

/// The interval, in milliseconds, of the checks of the files of trees and objects, while they are in use.
pub(super) const LOOKED_AT_EVERY_MS: u64 = 1000;
/// No more files of objects than this are watched: more than are kept open.
pub(super) const WATCHED: usize = 256;

/// The results of the last checks of those files.
#[derive(Default)]
pub(super) struct Intact {
    /// When the files of the trees were last looked at, by `coarse_ms`.
    pub looked_ms: u64,
    /// The graft whose tree has lost bytes.
    pub lost: Option<usize>,
    /// The files of objects that are open, as they were when they were opened, and when they were last looked at.
    pub watched: HashMap<Ino, (FileTimes, u64)>,
}
