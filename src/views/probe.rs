//! A probe of mounted views: each gets one request through its mount, with a time limit.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::error::{NOT_MOUNTED_HINT, ViewsError};
use crate::store::Manifest;
use crate::store::manifest::{ViewSpec, joined};
use crate::sys::{fs, path, reason, time};

/// The time limit for all views together.
const LIMIT: Duration = Duration::from_secs(20);

/// Probes every view of a manifest whose daemon reports them as served.
///
/// # Errors
/// The first that doesn't answer. One that hangs leaves a thread behind, which ends with the view.
pub fn wait(manifest: &Manifest) -> Result<(), ViewsError> {
    let mounts = manifest.clone().into_mounts().views;
    let place = |view: &ViewSpec| (view.path.clone(), joined(&manifest.worktree, &view.path));
    let places: Vec<(PathBuf, PathBuf)> = mounts.iter().map(place).collect();
    let (sender, answers) = mpsc::channel();
    let count = places.len();
    let ask = move || {
        for (view, place) in places {
            // One question that only the server answers, and one that a listing begins with.
            let asked = fs::xattr_of_path(&place, b"user.depsfs.view").map(drop);
            let answer = asked
                .map_err(|e| reason(&e))
                .and_then(|()| path::open_dir(&place).map(drop).map_err(|e| e.to_string()));
            if sender.send((view, answer)).is_err() {
                return;
            }
        }
    };
    let silent = |n: usize, why: String| {
        let view = mounts.get(n).map(|view| view.path.clone()).unwrap_or_default();
        ViewsError::View { view, why, hint: NOT_MOUNTED_HINT }
    };
    std::thread::Builder::new()
        .name("answers".into())
        .spawn(ask)
        .map_err(|e| silent(0, format!("no thread can be started to ask it: {}", reason(&e))))?;
    let until = Instant::now() + LIMIT;
    for n in 0..count {
        match answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok((_, Ok(()))) => {}
            Ok((view, Err(why))) => {
                return Err(ViewsError::View {
                    view,
                    why: format!("it does not answer: {why}"),
                    hint: NOT_MOUNTED_HINT,
                });
            }
            Err(_) => return Err(silent(n, format!("it does not answer within {}", time::seconds(LIMIT)))),
        }
    }
    Ok(())
}
