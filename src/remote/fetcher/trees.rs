//! Trees with a source: those that complete themselves are planned, some are waited for as a whole, and one that is
//! complete needs its source no more.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::missing::TreeProgress;
use super::work::{AskerAnswer, Finality, Request, Work};
use crate::remote::{Completion, RemoteError};
use crate::store::{Store, TreeId};

/// The trees of a fetcher.
pub struct TreeWatch {
    /// Trees that somebody waits for as a whole.
    awaited: HashMap<TreeId, Vec<AwaitedTree>>,
    last_success: Instant,
    /// Something came since the trees were looked at.
    is_new: bool,
}

/// A request for a whole tree.
struct AwaitedTree {
    request: Request,
    since: Instant,
}

impl TreeWatch {
    /// No tree was looked at.
    pub fn new(now: Instant) -> TreeWatch {
        TreeWatch { awaited: HashMap::new(), last_success: now, is_new: true }
    }

    /// Somebody waits for all of a tree.
    pub fn wait_for(&mut self, tree: TreeId, request: Request, now: Instant) {
        self.awaited.entry(tree).or_default().push(AwaitedTree { request, since: now });
        self.is_new = true;
    }

    /// Something came.
    pub fn came(&mut self, now: Instant) {
        (self.last_success, self.is_new) = (now, true);
    }

    /// There is a source that was not there before.
    pub fn found_source(&mut self) {
        self.is_new = true;
    }

    /// Whether something has changed since the trees were looked at.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether somebody waits for a tree.
    pub fn is_awaited(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// When something came last.
    pub fn last_success(&self) -> Instant {
        self.last_success
    }

    /// Looks at all trees, and plans what is missing of them. Returns the answers to give.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn look(&mut self, store: &Store, work: &mut Work, now: Instant) -> Result<Vec<AskerAnswer>, RemoteError> {
        let is_new = !work.catalog.refresh(store)?.is_empty() || self.is_new;
        let (mut wanted, mut answers) = (HashSet::new(), Vec::new());
        let trees: Vec<(TreeId, Completion)> = work.catalog.trees().collect();
        for (id, completion) in trees {
            let is_awaited = self.awaited.contains_key(&id);
            if !is_awaited && !is_new {
                continue;
            }
            let Ok(tree) = store.tree(id) else {
                // It was deleted, and its source with it; or it comes in a moment.
                if store.source(&id)?.is_none() {
                    work.catalog.forget(&id);
                }
                continue;
            };
            let progress = TreeProgress::of(store, &tree)?;
            if progress.missing.is_empty() {
                store.drop_source(&id)?;
                work.catalog.forget(&id);
                answers.extend(self.awaited.remove(&id).into_iter().flatten().map(|tree| (tree.request, Ok(()))));
                continue;
            }
            for AwaitedTree { request, .. } in self.awaited.get(&id).into_iter().flatten() {
                request.of.tell(&format!("progress {} {} {}", request.number, progress.here, progress.all));
            }
            answers.extend(self.given_up(work, id, &progress, now));
            if completion == Completion::Always || is_awaited {
                wanted.extend(progress.missing);
            }
        }
        self.answer_unknown(store, work, &mut answers)?;
        if is_new || work.is_done() && self.is_awaited() {
            work.prefetch(wanted, now);
        }
        self.is_new = false;
        Ok(answers)
    }

    /// Those who wait for a tree of which nothing more comes.
    fn given_up(&mut self, work: &Work, id: TreeId, of: &TreeProgress, now: Instant) -> Vec<AskerAnswer> {
        let Some(object) = of.missing.iter().next() else { return Vec::new() };
        let wait = work.wait_for(object);
        let is_silent = now.saturating_duration_since(self.last_success) > wait;
        let (why, is_final) = match work.why_not(object, now) {
            Some((why, Finality::Final)) if work.is_done() => (why, true),
            Some((why, Finality::ForNow)) if is_silent => (why, false),
            _ => return Vec::new(),
        };
        let Some(awaited) = self.awaited.remove(&id) else { return Vec::new() };
        let is_late = |tree: &AwaitedTree| is_final || now.saturating_duration_since(tree.since) > wait;
        let (late, patient): (Vec<_>, Vec<_>) = awaited.into_iter().partition(is_late);
        if !patient.is_empty() {
            self.awaited.insert(id, patient);
        }
        late.into_iter().map(|tree| (tree.request, Err(why.clone()))).collect()
    }

    /// Answers those who wait for trees without a source.
    fn answer_unknown(
        &mut self,
        store: &Store,
        work: &Work,
        answers: &mut Vec<AskerAnswer>,
    ) -> Result<(), RemoteError> {
        let known: HashSet<TreeId> = work.catalog.trees().map(|(tree, _)| tree).collect();
        let unknown: Vec<TreeId> = self.awaited.keys().filter(|tree| !known.contains(tree)).copied().collect();
        for id in unknown {
            let outcome = match store.is_complete(id)? {
                true => Ok(()),
                false => Err("its tree has no source".to_owned()),
            };
            let awaited = self.awaited.remove(&id).into_iter().flatten();
            answers.extend(awaited.map(|tree| (tree.request, outcome.clone())));
        }
        Ok(())
    }
}
