//! Views mounted for real: keeper, server and kernel together. Skipped, with the reason, where that can't be.

#[path = "mount/bench.rs"]
mod bench;
#[path = "mount/life.rs"]
mod life;
