//! Views mounted for real: keeper, server and kernel together. Skipped, with the reason, where that can't be.

#[path = "mount/access.rs"]
mod access;
#[path = "mount/accessed.rs"]
mod accessed;
#[path = "mount/bench.rs"]
mod bench;
#[path = "mount/conformance.rs"]
mod conformance;
#[path = "mount/copied_up.rs"]
mod copied_up;
#[path = "mount/crash.rs"]
mod crash;
#[path = "mount/damage.rs"]
mod damage;
#[path = "mount/equal.rs"]
mod equal;
#[path = "mount/flips.rs"]
mod flips;
#[path = "mount/gc.rs"]
mod gc;
#[path = "mount/graft.rs"]
mod graft;
#[path = "mount/handle.rs"]
mod handle;
#[path = "mount/import.rs"]
mod import;
#[path = "mount/in_use.rs"]
mod in_use;
#[path = "mount/lazy.rs"]
mod lazy;
#[path = "mount/leave.rs"]
mod leave;
#[path = "mount/life.rs"]
mod life;
#[path = "mount/limits.rs"]
mod limits;
#[path = "mount/long.rs"]
mod long;
#[path = "mount/passthrough.rs"]
mod passthrough;
#[path = "mount/peers.rs"]
mod peers;
#[path = "mount/pool.rs"]
mod pool;
#[path = "mount/random.rs"]
mod random;
#[path = "mount/roundtrip.rs"]
mod roundtrip;
#[path = "mount/seen.rs"]
mod seen;
#[path = "full/small.rs"]
mod small;
#[path = "mount/twin.rs"]
mod twin;
#[path = "mount/unchanged.rs"]
mod unchanged;
#[path = "mount/upgrade.rs"]
mod upgrade;
#[path = "mount/without.rs"]
mod without;

/// The operations and the two directories that tests/model.rs has, too.
mod model {
    #[path = "../model/fixture.rs"]
    pub mod fixture;
    #[path = "../model/ops.rs"]
    pub mod ops;
    #[path = "../model/plain.rs"]
    pub mod plain;
}
