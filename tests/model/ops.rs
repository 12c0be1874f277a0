//! Operations on paths of a small alphabet, so that they meet.

use proptest::prelude::*;

/// A path below the root: names `a` to `d`, at most three deep.
pub type Where = String;

#[derive(Clone, Debug)]
pub enum Op {
    Create(Where),
    Write(Where, u64, u8),
    Truncate(Where, u64),
    Mkdir(Where),
    Rmdir(Where),
    Unlink(Where),
    RemoveAll(Where),
    Rename(Where, Where),
    RenameNoReplace(Where, Where),
    Exchange(Where, Where),
    Link(Where, Where),
    Symlink(Where),
    Chmod(Where, u32),
    Utimens(Where, i64),
    SetXattr(Where, u8),
    RemoveXattr(Where),
    /// Makes it plain: nothing a program could see changes.
    Thaw(Where),
    /// A name at the top is again as in the store; what was moved out of it stays where it is.
    Reset(Where),
    Remount,
}

impl Op {
    /// The paths it names.
    pub fn places(&self) -> Vec<&str> {
        match self {
            Op::Create(p)
            | Op::Write(p, ..)
            | Op::Truncate(p, _)
            | Op::Mkdir(p)
            | Op::Rmdir(p)
            | Op::Unlink(p)
            | Op::RemoveAll(p)
            | Op::Symlink(p)
            | Op::Chmod(p, _)
            | Op::Utimens(p, _)
            | Op::SetXattr(p, _)
            | Op::Thaw(p)
            | Op::Reset(p)
            | Op::RemoveXattr(p) => vec![p],
            Op::Rename(a, b) | Op::RenameNoReplace(a, b) | Op::Exchange(a, b) | Op::Link(a, b) => vec![a, b],
            Op::Remount => Vec::new(),
        }
    }
}

fn place() -> impl Strategy<Value = Where> {
    prop::collection::vec("[a-d]", 1..4).prop_map(|parts| parts.join("/"))
}

pub fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => place().prop_map(Op::Create),
        3 => (place(), 0u64..12, any::<u8>()).prop_map(|(p, at, b)| Op::Write(p, at, b)),
        2 => (place(), 0u64..12).prop_map(|(p, size)| Op::Truncate(p, size)),
        3 => place().prop_map(Op::Mkdir),
        3 => place().prop_map(Op::Rmdir),
        4 => place().prop_map(Op::Unlink),
        1 => place().prop_map(Op::RemoveAll),
        6 => (place(), place()).prop_map(|(a, b)| Op::Rename(a, b)),
        1 => (place(), place()).prop_map(|(a, b)| Op::RenameNoReplace(a, b)),
        2 => (place(), place()).prop_map(|(a, b)| Op::Exchange(a, b)),
        3 => (place(), place()).prop_map(|(a, b)| Op::Link(a, b)),
        1 => place().prop_map(Op::Symlink),
        2 => (place(), 0u32..0o1000).prop_map(|(p, m)| Op::Chmod(p, m | 0o700)),
        2 => (place(), 1i64..1_000_000).prop_map(|(p, t)| Op::Utimens(p, t)),
        1 => (place(), any::<u8>()).prop_map(|(p, v)| Op::SetXattr(p, v)),
        1 => place().prop_map(Op::RemoveXattr),
        1 => place().prop_map(Op::Thaw),
        1 => "[ac]".prop_map(Op::Reset),
        1 => Just(Op::Remount),
    ]
}

/// For tests of random sequences, that many. Their seed is printed; `DEPSFS_SEED` replays it.
pub fn config(cases: u32, max_shrink_iters: u32) -> ProptestConfig {
    let given = std::env::var("DEPSFS_SEED").ok().and_then(|n| n.parse().ok());
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").subsec_nanos();
    let seed = given.unwrap_or(u64::from(now) ^ u64::from(std::process::id()) << 32);
    eprintln!("seed: DEPSFS_SEED={seed} replays these {cases} sequences");
    let rng_seed = proptest::test_runner::RngSeed::Fixed(seed);
    ProptestConfig { cases, max_shrink_iters, failure_persistence: None, rng_seed, ..ProptestConfig::default() }
}
