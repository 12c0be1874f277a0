//! Inode numbers: which ranges there are, and that no two of them meet.
//!
//! | numbers        | what they name                                                                             |
//! |----------------|--------------------------------------------------------------------------------------------|
//! | 1              | the view's root                                                                             |
//! | 2⁸ .. 2⁴⁸      | nodes of grafted trees: the graft's base plus the node's index                              |
//! | 2⁴⁸ .. 2⁶¹     | a file that is only in the upper, by its number there: that plus 2⁴⁸                        |
//! | 2⁶² .. 2⁶²+2⁶¹ | the same, where that sum is not in the range above: the sum if it is in this range, else a hash of it |
//! | any plus 2⁶¹   | the second number that the kernel has for a file in a view with passthrough ([`OTHER`])     |
//!
//! A file system may number its files as it likes (`ino_t` has 64 bits): mergerfs and network file systems hash paths
//! into all 64 bits, and a view has big numbers itself. So the numbers of the fourth row are not unique by themselves:
//! two of a million files in such an upper share one with a probability of 2·10⁻⁷, as they do in that file system. Common
//! file systems count from 1: with them all numbers are below 2⁵³, and programs that keep inode numbers in a double
//! tell them apart.

use super::types::Ino;

/// The first inode number of the first graft.
pub(super) const FIRST_BASE: u64 = 1 << 8;
/// No graft's numbers come this far.
pub const LOWER_END: u64 = 1 << 48;
const UPPER_BASE: u64 = LOWER_END;
const UPPER_END: u64 = 1 << 61;
const FOLDED_BASE: u64 = 1 << 62;
const FOLDED_END: u64 = FOLDED_BASE + (1 << 61);
/// Added to the inode number of a file that has two for the kernel (`fuse/passthrough.rs`).
pub const OTHER: u64 = 1 << 61;

const _: () = assert!(Ino::ROOT.0 < FIRST_BASE && FIRST_BASE < LOWER_END);
const _: () = assert!(LOWER_END <= UPPER_BASE && UPPER_BASE < UPPER_END && UPPER_END <= FOLDED_BASE);
// One bit distinguishes the second numbers from all others, the ranges have the same length, and none is negative.
const _: () = assert!(OTHER.is_power_of_two() && (UPPER_END - 1) & OTHER == 0);
const _: () = assert!(FOLDED_BASE & OTHER == 0 && (FOLDED_END - 1) & OTHER == 0);
const _: () = assert!(UPPER_END <= OTHER && OTHER + UPPER_END <= FOLDED_BASE);
const _: () = assert!(FOLDED_END - 1 + OTHER <= i64::MAX as u64);
// The largest tree fits many times.
const _: () = assert!(LOWER_END > (u32::MAX as u64) << 15);

impl Ino {
    /// The inode of a file that is only in the upper, where this is its number.
    pub(super) fn of_upper(real: u64) -> Ino {
        Ino::folded(real.wrapping_add(UPPER_BASE), real.checked_add(UPPER_BASE).is_none())
    }

    fn folded(sum: u64, wrapped: bool) -> Ino {
        match sum {
            UPPER_BASE..UPPER_END if !wrapped => Ino(sum),
            FOLDED_BASE..FOLDED_END if !wrapped => Ino(sum),
            _ => Ino(FOLDED_BASE + xxhash_rust::xxh3::xxh3_64(&sum.to_le_bytes()) % (FOLDED_END - FOLDED_BASE)),
        }
    }

    /// The file is only in the upper.
    pub(super) fn is_upper(self) -> bool {
        self.0 >= UPPER_BASE
    }

    /// The upper's own inode number of a file, if this number contains it: on all file systems on which copies have
    /// intents (`writeback.rs`).
    pub(super) fn plain_upper(self) -> Option<u64> {
        (UPPER_BASE..UPPER_END).contains(&self.0).then(|| self.0 - UPPER_BASE)
    }

    /// A number that a journal has: some were written when no sum was hashed.
    pub(super) fn recorded(number: u64) -> Ino {
        match number {
            UPPER_BASE.. => Ino::folded(number, false),
            _ => Ino(number),
        }
    }

    /// The inode behind a number that the kernel was given: the first or the second of a file.
    pub fn of_kernel(number: u64) -> Ino {
        Ino(number & !OTHER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_file_of_the_upper_is_in_a_range_that_nothing_else_has() {
        let edges = [
            0,
            1,
            UPPER_END - UPPER_BASE,
            FOLDED_BASE - UPPER_BASE,
            FOLDED_END - UPPER_BASE,
            0u64.wrapping_sub(UPPER_BASE),
        ];
        let around = |edge: u64| [-2i64, -1, 0, 1, 2].map(|by| edge.wrapping_add_signed(by));
        let many = (0..100_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for real in edges.into_iter().flat_map(around).chain(many) {
            let ino = Ino::of_upper(real);
            assert!(ino.is_upper() && ino.0 & OTHER == 0 && ino.0 < FOLDED_END, "{real:x}");
            assert_eq!([ino.0, ino.0 + OTHER].map(Ino::of_kernel), [ino; 2], "{real:x}");
            assert_eq!(Ino::recorded(ino.0), ino, "{real:x} comes back from a journal");
        }
    }

    #[test]
    fn files_of_common_file_systems_have_their_own_number_plus_2_to_the_48() {
        for real in [0, 1, 12, u32::MAX as u64, 1 << 40, (1 << 60) - 1] {
            assert_eq!(Ino::of_upper(real), Ino((1 << 48) + real));
        }
    }

    #[test]
    fn a_journal_that_was_written_with_plain_sums_means_the_same_files() {
        for n in 0..100_000u64 {
            let real = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if let Some(sum) = real.checked_add(UPPER_BASE) {
                assert_eq!(Ino::recorded(sum), Ino::of_upper(real));
            }
        }
        assert_eq!(Ino::recorded(300), Ino(300));
    }

    #[test]
    fn numbers_of_64_bits_stay_apart() {
        let many: std::collections::HashSet<Ino> =
            (0..1_000_000u64).map(|n| Ino::of_upper(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        assert_eq!(many.len(), 1_000_000);
        let nested: std::collections::HashSet<Ino> = (0..100_000u64)
            .flat_map(|n| [n, n + (1 << 48), n + (1 << 62), n + (1 << 62) + (1 << 48)].map(Ino::of_upper))
            .collect();
        assert_eq!(nested.len(), 400_000);
    }
}
