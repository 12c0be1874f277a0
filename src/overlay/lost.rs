//! Results of checks of objects while a view shows them: of large ones in the background, of others by `store verify`
//! or by another view.

use std::collections::HashSet;
use std::sync::Arc;

use crate::store::{Node, ObjectId, Tree};

use super::error::{OverlayError, Result};
use super::lower::{Lower, LowerNode};
use super::types::Ino;
use super::types::Stale;
use super::view::Overlay;
use super::view::View;

impl Overlay {
    /// The large objects that the view shows, and how many bytes each should have. None is read whole before it is
    /// served.
    pub fn large_objects(&self) -> Vec<(ObjectId, u64)> {
        let view = self.view.lock();
        let live = view.lower.grafts().iter().filter(|g| !g.retired).map(|g| g.tree.clone()).collect::<Vec<_>>();
        drop(view);
        let of = |tree: &Arc<Tree>| {
            let large = tree.large().filter_map(|node| Some((tree.object(node)?, tree.stat(node).size)));
            large.collect::<Vec<_>>()
        };
        live.iter().flat_map(of).collect()
    }

    /// Drops everything cached of these checked objects, here and in the kernel: the next read finds the store's
    /// current bytes.
    pub fn look_again_at(&self, objects: &HashSet<ObjectId>) {
        self.view.lock().look_again_at(objects);
    }

    /// Before a file is opened to be read past this server: whether its bytes are known to be wrong.
    ///
    /// # Errors
    /// [`super::OverlayError::LostObject`].
    pub fn refuse_lost(&self, ino: Ino) -> Result<()> {
        let mut view = self.view.lock();
        if !view.objects.lost().knows_bad() || view.has_upper_bytes(ino) || view.lower_object(ino).is_none() {
            return Ok(());
        }
        match view.open_object(ino) {
            // It is read by the server, which waits for it.
            Err(OverlayError::AbsentObject(_)) => Ok(()),
            opened => opened.map(drop),
        }
    }
}

impl View {
    fn look_again_at(&mut self, objects: &HashSet<ObjectId>) {
        for (tree, node, ino) in self.lower.files_of(objects) {
            tree.note_checked(node, false);
            if !self.has_upper_bytes(ino) {
                self.files.forget(ino);
                self.on_stale.iter().for_each(|tell| tell(Stale::Object(ino)));
            }
        }
    }
}

impl Lower {
    /// The files whose bytes are these objects, according to the trees.
    fn files_of(&self, objects: &HashSet<ObjectId>) -> Vec<(Arc<Tree>, Node, Ino)> {
        let mut found = Vec::new();
        for (graft, g) in self.grafts().iter().enumerate() {
            let nodes = (0..g.tree.node_count()).map(Node);
            let nodes = nodes.filter(|node| g.tree.object(*node).is_some_and(|id| objects.contains(&id)));
            found.extend(nodes.map(|node| (g.tree.clone(), node, self.ino(LowerNode { graft, node }))));
        }
        found
    }
}
