//! Views that a program uses: refused before anything is changed.

use super::ViewsError;
use super::set::Views;
use crate::store::manifest::ViewSpec;
use crate::sys::mount_use;

impl Views {
    /// Refuses if a program uses one of the mounted views, as far as this user may know; `lazy` accepts that.
    ///
    /// # Errors
    /// [`ViewsError::Busy`].
    pub fn refuse_all_busy(&self, lazy: bool) -> Result<(), ViewsError> {
        // One mount may show them all.
        let mounts = self.manifest.views.iter().take(if self.is_whole() { 1 } else { usize::MAX });
        mounts.filter(|_| !lazy).try_for_each(|view| self.refuse_busy(view))
    }

    /// Refuses if a program uses the mounted view, as far as this user may know.
    ///
    /// # Errors
    /// [`ViewsError::Busy`].
    pub fn refuse_busy(&self, view: &ViewSpec) -> Result<(), ViewsError> {
        let place = self.mount_place(view);
        mount_use::leave_directories(std::slice::from_ref(&place));
        let is_busy = self.is_mounted(view) && matches!(crate::sys::mount::is_busy(&place), Ok(Some(true)));
        match is_busy && !self.only_callers_stand_in_it() {
            true => Err(ViewsError::Busy { view: place.clone(), by: vec![place] }),
            false => Ok(()),
        }
    }
}
