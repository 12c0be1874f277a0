//! Any bytes as a tar archive: refused, or a sound tree; never a panic or a hang.
//!
//! Memory is bounded: 1 MiB of headers for each member, as much for all, a sparse file's map of 2¹⁹ stretches (16 MiB),
//! and what `ArchiveLimits::memory` allows for the tree. Time is bounded by the stream, which may be as long as
//! `ArchiveLimits::bytes` and 2 KiB for each of `ArchiveLimits::members`. `tests/store_archive/bad.rs` measures the former.
//!
//! `scripts/fuzz.sh 60 tar`

#![no_main]

use depsfs::store::Tree;
use depsfs::store::import::ArchiveLimits;
use depsfs::store::import::archive::{MemberKind, ArchivePlan, Tar};
use libfuzzer_sys::fuzz_target;

/// Gives every block the checksum that a header would need, so that mutations get past it.
fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    for block in data.chunks_exact_mut(512).filter(|b| b.iter().any(|b| *b != 0)) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    data
}

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else { return };
    let data = if first & 1 == 0 { with_checksums(data) } else { data.to_vec() };
    let limits = ArchiveLimits { bytes: 1 << 20, members: 1000, depth: 20, memory: 1 << 20 };
    let mut tar = Tar::within(&data[..], &limits);
    let mut plan = ArchivePlan::new(&limits);
    let mut buf = [0; 4096];
    while let Ok(Some(member)) = tar.next_member() {
        let kind = member.kind.clone();
        let Ok(slot) = plan.add(member) else { return };
        if let (Some(_), MemberKind::File { size, data }) = (slot, kind) {
            assert!(data.iter().all(|(at, len)| at + len <= size));
            let mut left: u64 = data.iter().map(|d| d.1).sum();
            while left > 0 {
                match tar.read(&mut buf) {
                    Ok(0) => panic!("the data ended before the member"),
                    Ok(n) => left -= n as u64,
                    Err(_) => return,
                }
            }
        }
    }
    let tree = Tree::from_bytes(plan.builder.finish().expect("within the limits")).expect("sound");
    tree.check().expect("sound");
});
