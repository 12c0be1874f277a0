//! The `depsfs` program.

fn main() {}
