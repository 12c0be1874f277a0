//! Every call of every change fails once, or from some call on: the caller gets that error, and the view is as before.
//!
//! For each change in `ops.rs` and each n, the n-th call that the file system layer makes for it fails. Then the view
//! must look as before the change, or as after it: to a program that uses it at once, and to the next mount. It must
//! work on, and the change must succeed when it is tried again. `DEPSFS_FAULT_ALL=1` has more ways to fail,
//! `DEPSFS_FAULT_ONLY=rename` takes some of the changes, `DEPSFS_FAULT_TRACE=1` prints the call that failed.

use super::ops::OPS;
use super::*;
use crate::sys::fault::{Call, Plan};

const FULL: fn(Call) -> bool = |call| call == Call::Add;
const ANY: fn(Call) -> bool = |_| true;
const OPENS: fn(Call) -> bool = |call| matches!(call, Call::Open | Call::Add);

const fn plan(calls: fn(Call) -> bool, for_ever: bool, errno: i32) -> Plan {
    Plan { calls, from: 0, for_ever, errno, torn: errno == libc::ENOSPC }
}

/// The ways for a disk to fail; the last two only with `DEPSFS_FAULT_ALL`.
const WAYS: [(&str, Plan); 6] = [
    ("one I/O error", plan(ANY, false, libc::EIO)),
    ("full from then on", plan(FULL, true, libc::ENOSPC)),
    ("over quota once", plan(FULL, false, libc::EDQUOT)),
    ("no descriptors from then on", plan(OPENS, true, libc::EMFILE)),
    ("full once", plan(FULL, false, libc::ENOSPC)),
    ("no descriptor once", plan(OPENS, false, libc::EMFILE)),
];

/// The outcome of one change.
struct Tried {
    result: Result<(), OverlayError>,
    hits: Vec<(Call, String)>,
}

fn attempt(case: &Case, op: fn(&Case) -> Result<(), OverlayError>, plan: Plan) -> Tried {
    case.cool();
    let guard = plan.lay();
    let result = op(case);
    Tried { result, hits: guard.failed() }
}

/// Without the times of directories: where they can't be set, or a change in a directory was taken back, they may have
/// moved. And without the number of names: one may lie aside until the next mount.
fn about(looks: &Looks) -> Looks {
    let about = |look: &Look| match look.kind {
        libc::S_IFDIR => Look { mtime: String::new(), ..look.clone() },
        _ => Look { nlink: 0, ..look.clone() },
    };
    looks.iter().map(|(path, look)| (path.clone(), about(look))).collect()
}

fn numberless(looks: &Looks) -> Looks {
    looks.iter().map(|(path, look)| (path.clone(), Look { ino: String::new(), ..look.clone() })).collect()
}

/// The paths at which two views differ.
fn difference(one: &Looks, two: &Looks) -> String {
    let mut out = String::new();
    for path in one.keys().chain(two.keys().filter(|p| !one.contains_key(*p))) {
        if one.get(path) != two.get(path) {
            out += &format!("    {path}: {:?} | {:?}\n", one.get(path), two.get(path));
        }
    }
    out
}

/// Complaints about one way to fail, and how many runs it took.
fn try_all(lab: &Lab, what: &str, op: fn(&Case) -> Result<(), OverlayError>, way: &(&str, Plan)) -> (Vec<String>, u32) {
    let (mut wrong, mut runs) = (Vec::new(), 0);
    let reference = lab.case();
    let before = reference.looks().expect("looked");
    op(&reference).unwrap_or_else(|e| panic!("{what}: {e}"));
    let after = reference.looks().expect("looked");
    for n in 0.. {
        let mut reached = false;
        // Twice, with `DEPSFS_FAULT_ALL`: the change is tried again at once, and at the next mount.
        for again_at_once in if everything() { vec![true, false] } else { vec![n % 2 == 0] } {
            let mut case = lab.case();
            let tried = attempt(&case, op, Plan { from: n, ..way.1 });
            reached |= !tried.hits.is_empty();
            runs += 1;
            if let Err(why) = judge(&mut case, op, &tried, way.1.errno, (&before, &after), (again_at_once, what)) {
                let traces: Vec<&str> = tried.hits.iter().map(|h| h.1.as_str()).collect();
                let calls: Vec<Call> = tried.hits.iter().map(|h| h.0).collect();
                eprintln!("{what}, {}, call {n} {calls:?}: {why}", way.0);
                wrong.push(format!("{what}, {}, call {n} {calls:?}: {why}\n{}", way.0, traces.join("\n")));
                break;
            }
        }
        if !reached {
            return (wrong, runs);
        }
    }
    unreachable!("the loop ends when no call is left to fail")
}

fn judge(
    case: &mut Case,
    op: fn(&Case) -> Result<(), OverlayError>,
    tried: &Tried,
    errno: i32,
    (before, after): (&Looks, &Looks),
    (again_at_once, what): (bool, &str),
) -> Result<(), String> {
    let look = |case: &Case, when: &str| case.looks().map_err(|e| format!("the view can't be walked {when}: {e}"));
    let (resets, regrafts) = (what.starts_with("reset"), what == "show another tree");
    let exact = match &tried.result {
        Ok(()) => !tried.hits.iter().any(|hit| hit.0 == Call::Change) && !(resets && !tried.hits.is_empty()),
        Err(_) => false,
    };
    let seen = |looks: &Looks| if exact { looks.clone() } else { about(looks) };
    let (before, after) = (&seen(before), &seen(after));
    let live = seen(&look(case, "")?);
    let is_done = match &tried.result {
        Ok(()) if live != *after => {
            return Err(format!("no error, but not done\n{}", difference(after, &live)));
        }
        Ok(()) => true,
        Err(e) if super::errno(e) != Some(errno) => return Err(format!("the error is {e:?}")),
        Err(_) if live == *after => true,
        Err(e) if live != *before => return Err(format!("{e}, and half is done\n{}", difference(before, &live))),
        Err(_) => false,
    };
    if again_at_once && !is_done {
        op(case).map_err(|e| format!("not when tried again: {e}"))?;
        same("tried again", after, &seen(&look(case, "tried again")?))?;
    }
    // A mount gives new numbers to what other trees showed.
    let seen = |looks: &Looks| if regrafts { numberless(&seen(looks)) } else { seen(looks) };
    let after = &seen(after);
    let now = seen(&look(case, "")?);
    case.open().map_err(|e| format!("it can't be opened again: {e}"))?;
    same("at the next mount", &now, &seen(&look(case, "at the next mount")?))?;
    if case.left_aside() > 0 {
        return Err("something is left aside".into());
    }
    if !again_at_once && !is_done {
        case.know();
        op(case).map_err(|e| format!("not at the next mount: {e}"))?;
        same("tried again at the next mount", after, &seen(&look(case, "then")?))?;
    }
    Ok(())
}

fn same(when: &str, want: &Looks, got: &Looks) -> Result<(), String> {
    if want == got { Ok(()) } else { Err(format!("another view {when}\n{}", difference(want, got))) }
}

fn everything() -> bool {
    std::env::var_os("DEPSFS_FAULT_ALL").is_some()
}

/// Tries every second change, from number `part` on.
fn fail_all(part: usize) {
    let lab = Lab::new();
    let only = std::env::var("DEPSFS_FAULT_ONLY").unwrap_or_default();
    let ways = if everything() { &WAYS[..] } else { &WAYS[..4] };
    let (mut wrong, mut runs) = (Vec::new(), 0);
    for (what, op) in OPS.iter().skip(part).step_by(2).filter(|(what, _)| what.contains(&only)) {
        for way in ways {
            let (complaints, tried) = try_all(&lab, what, *op, way);
            wrong.extend(complaints);
            runs += tried;
        }
    }
    println!("{runs} failures, of every second of {} changes", OPS.len());
    assert!(wrong.is_empty(), "{} complaints\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_call_that_fails_is_told_and_leaves_the_view_as_before_or_after() {
    fail_all(0);
}

#[test]
fn so_it_is_with_the_other_half_of_all_changes() {
    fail_all(1);
}
