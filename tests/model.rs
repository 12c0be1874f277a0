//! The overlay without a kernel against a plain directory: the same random operations, the same results.
//!
//! A failing sequence is shrunk and printed with its seed; what it taught is then a named test here.

#[path = "model/fixture.rs"]
mod fixture;
#[path = "model/ops.rs"]
mod ops;
#[path = "model/twin.rs"]
mod twin;

use ops::{Op, any_op};
use proptest::prelude::*;
use twin::Twin;

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_leaves_what_a_plain_directory_has(ops in prop::collection::vec(any_op(), 1..60), layers in 1usize..4) {
        run(layers, &ops);
    }
}

/// How many sequences to try: `DEPSFS_MODEL_CASES`, else what a minute affords in CI.
fn cases() -> u32 {
    std::env::var("DEPSFS_MODEL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(256)
}

/// Runs the operations on both sides; after each one and after a remount both must be the same.
fn run(layers: usize, ops: &[Op]) {
    let mut twin = Twin::new(layers);
    for (step, op) in ops.iter().enumerate() {
        twin.step(op).unwrap_or_else(|why| panic!("step {step} {op:?}: {why}"));
    }
    twin.compare().unwrap_or_else(|why| panic!("in the end: {why}"));
    twin.remount();
    twin.compare().unwrap_or_else(|why| panic!("after a remount: {why}"));
}
