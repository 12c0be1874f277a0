//! Absolute paths of the source in artifacts, as `create`, `adopt` and `status` report them.

use super::output::count;
use crate::sys::terminal::DisplayName;
use crate::views::embedded_paths::{OccurrenceKind, Trace, Traced};

/// The longest list of names in the one line.
const NAMED: usize = 3;

/// One line: how many files were relocated, those that were `copied` among them, and those left that a tool obeys.
pub fn line(all: &[Traced], copied: usize) -> Option<String> {
    let relocated = copied + all.iter().map(Traced::relocated).sum::<usize>();
    let mut words = Vec::new();
    if relocated > 0 {
        words.push(format!("{} relocated", count(relocated as u64, "file")));
    }
    let left = |of: fn(&Trace) -> bool| {
        all.iter().flat_map(move |traced| traced.obeyed().filter(move |t| of(t)).map(move |t| (traced, t)))
    };
    // The binary ones first: no policy relocates them.
    let left: Vec<_> = left(|t| t.effect.is_some()).chain(left(|t| t.effect.is_none())).collect();
    if let Some((_, first)) = left.first() {
        let name = |(traced, trace): &(&Traced, &Trace)| {
            let effect = trace.effect.map(|e| format!(" ({e})")).unwrap_or_default();
            format!("{}{effect}", traced.path.join(&trace.path).shown())
        };
        let mut names: Vec<String> = left.iter().take(NAMED).map(name).collect();
        if left.len() > NAMED {
            names.push("…".into());
        }
        let (files, verb) = (count(left.len() as u64, "file"), if left.len() == 1 { "holds" } else { "hold" });
        words.push(format!("{files} {verb} {}: {}", first.root.shown(), names.join(", ")));
    }
    (!words.is_empty()).then(|| format!("paths:    {}", words.join("; ")))
}

/// The whole list, one line for each file.
pub fn list(all: &[Traced]) -> String {
    let line = |traced: &Traced, trace: &Trace| {
        let (at, root) = (traced.path.join(&trace.path), trace.root.shown());
        match (trace.relocated, trace.kind, trace.effect) {
            (true, ..) => format!("relocated  {}\n", at.shown()),
            (false, OccurrenceKind::Binary, None) => format!("binary     {} holds {root}\n", at.shown()),
            (false, OccurrenceKind::Binary, Some(effect)) => {
                format!("binary     {} holds {root}: {effect}\n", at.shown())
            }
            (false, OccurrenceKind::Text | OccurrenceKind::Link, _) => {
                format!("left       {} holds {root}\n", at.shown())
            }
        }
    };
    all.iter().flat_map(|traced| traced.traces.iter().map(move |trace| line(traced, trace))).collect()
}
