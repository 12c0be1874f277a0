//! Positions in a listing: the number from which a listing goes on after a name (`d_off` of `getdents64(2)`).
//!
//! The kernel keeps nothing of a listing but this number: directories are opened without a message, names come and go
//! in the middle of a listing, and another server may answer the rest of it. So a position is a function of the name
//! alone. It has two parts:
//!
//! | bits     | part   | what it is                                                                                 |
//! |----------|--------|--------------------------------------------------------------------------------------------|
//! | 42 .. 63 | region | the high bits of the name's [`Cookie`](crate::store::Cookie), by which trees and the upper's listings are sorted |
//! | 0 .. 42  | tag    | [`FIRST_TAG`] .. [`END`]: a keyed hash of the name; [`END`] for the last name of its region |
//!
//! Names are listed by (region, tag). Regions follow each other as cookies do, so nothing has to be sorted but the few
//! names of one region, and most regions have one name, whose tag is never computed. The hash behind cookies has no
//! key: names with equal cookies can be made at will, any number of them, and then they are all in one region. There
//! they have different tags.
//!
//! A name that is removed takes nothing along: the names after it keep their positions, and those before it have their own
//! tags to be known by, also one that is now the last and has [`END`].
//!
//! Two of a million names of one region have equal tags in one of ten cases. Then the first counts as one below the
//! second. When the first goes, the second stays where it was; when the second goes, the first is where the second was,
//! and a listing that had come to it would have it twice. So a region with equal tags is remembered while it is listed
//! (`readdir.rs`): only a server that takes over in just that moment lists a name twice, and none is ever left out.

use crate::store::Name;

const TAG_BITS: u32 = 42;
/// The tag of a region's last name: after all names of the region.
pub(super) const END: u64 = (1 << TAG_BITS) - 1;
/// Below are the positions of `.` and `..`, and the beginning.
const FIRST_TAG: u64 = 16;
/// The highest tag of a name is so far below [`END`].
const SPARE: u64 = 1 << 32;
/// How many tags there are.
const TAGS: u64 = END - SPARE - FIRST_TAG;

/// `off_t` is signed: the highest region is that of the highest cookie, 2⁶² + 15.
const _: () = assert!(((((1u64 << 62) + 15) >> TAG_BITS) << TAG_BITS) | END <= i64::MAX as u64);

/// How a view orders names that share a region. The key stays the same over restarts of the server.
pub(super) struct Order {
    key: [u8; 32],
    /// The number of hashes that share a tag; 1 but in tests.
    share: u64,
}

/// The names of one region in order, each after its position.
pub(super) struct Arranged<T> {
    pub names: Vec<(u64, Name, T)>,
    /// Some have equal tags.
    pub is_shared: bool,
}

impl Order {
    /// The order of the view whose upper's root is this inode, created at that time: the maker of an archive can't know
    /// it.
    pub fn of(root: Option<(u64, u64)>) -> Order {
        let (real, born) = root.unwrap_or_default();
        let facts = [real.to_le_bytes(), born.to_le_bytes()].concat();
        Order { key: blake3::derive_key("depsfs 2026 positions of names with equal cookies", &facts), share: 1 }
    }

    /// The same with so few tags that names have equal ones.
    #[cfg(test)]
    pub fn with_tags(self, tags: u64) -> Order {
        Order { share: TAGS / tags, ..self }
    }

    fn tag(&self, name: &Name) -> u64 {
        let hash = blake3::keyed_hash(&self.key, name.bytes());
        let word = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("32 bytes have 8"));
        FIRST_TAG + word % TAGS / self.share * self.share + self.share / 2
    }

    /// Gives the names of one region their positions, in order: those by which each is known, not yet [`END`].
    pub fn arrange<T>(&self, names: Vec<(Name, T)>) -> Arranged<T> {
        let mut names: Vec<_> = names.into_iter().map(|(name, what)| (self.tag(&name), name, what)).collect();
        names.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let is_shared = names.windows(2).any(|w| w[0].0 == w[1].0);
        let mut above = END;
        for (at, name, _) in names.iter_mut().rev() {
            above = (*at).min(above - 1).max(FIRST_TAG);
            *at = region_of(name) << TAG_BITS | above;
        }
        Arranged { names, is_shared }
    }

    /// The same for names of any regions, given in the order of names; about `limit` of them.
    pub fn arrange_all(&self, names: impl Iterator<Item = Name>, after: u64, limit: usize) -> Vec<(u64, Name)> {
        let (mut out, mut region) = (Vec::new(), Vec::new());
        let give = |region: &mut Vec<(Name, ())>, out: &mut Vec<(u64, Name)>| match &region[..] {
            [] => {}
            [(name, ())] if region_within(after) != Some(region_of(name)) => {
                out.extend(Some((end_of(name), name.clone())).filter(|(at, _)| *at > after));
                region.clear();
            }
            _ => {
                let names = self.arrange(std::mem::take(region)).after(after);
                out.extend(names.into_iter().map(|(at, name, ())| (at, name)));
            }
        };
        for name in names {
            if region.last().is_some_and(|(last, ())| region_of(last) != region_of(&name)) {
                give(&mut region, &mut out);
                if out.len() >= limit {
                    break;
                }
            }
            region.push((name, ()));
        }
        give(&mut region, &mut out);
        out.truncate(limit);
        out
    }
}

impl<T> Arranged<T> {
    /// The names after a position; the last has the region's end.
    pub fn after(mut self, after: u64) -> Vec<(u64, Name, T)> {
        self.names.retain(|(at, ..)| *at > after);
        self.names.iter_mut().last().into_iter().for_each(|(at, ..)| *at |= END);
        self.names
    }
}

/// The number of a name's region.
pub(super) fn region_of(name: &Name) -> u64 {
    name.cookie().0 >> TAG_BITS
}

/// The position after a name that is alone in its region.
pub(super) fn end_of(name: &Name) -> u64 {
    region_of(name) << TAG_BITS | END
}

/// Sorts before all names that may be after a position: those of its region, or of the next one when that is done.
pub(super) fn first_after(after: u64) -> Name {
    let region = after >> TAG_BITS;
    let region = if after & END == END { region + 1 } else { region };
    Name::bound_after((region << TAG_BITS).saturating_sub(1))
}

/// The region in the midst of which a position is.
pub(super) fn region_within(after: u64) -> Option<u64> {
    let tag = after & END;
    (FIRST_TAG..END).contains(&tag).then_some(after >> TAG_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::with_equal_cookies;

    fn names(count: usize) -> Vec<(Name, ())> {
        with_equal_cookies(count).map(|name| (name, ())).collect()
    }

    #[test]
    fn a_position_is_a_number_that_off_t_holds_and_no_two_names_have_the_same() {
        let order = Order::of(Some((7, 9)));
        let all = order.arrange(names(10_000)).after(0);
        assert_eq!(all.len(), 10_000);
        assert!(all.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(all.iter().all(|(at, ..)| *at <= i64::MAX as u64 && *at >= FIRST_TAG));
    }

    fn without(all: &[(u64, Name, ())], gone: impl Fn(usize) -> bool) -> Vec<(Name, ())> {
        let left = all.iter().enumerate().filter(|(n, _)| !gone(*n));
        left.map(|(_, (_, name, ()))| (name.clone(), ())).collect()
    }

    #[test]
    fn names_that_go_move_no_other_name() {
        let order = Order::of(Some((7, 9)));
        let all = order.arrange(names(1000)).after(0);
        for stop in [0, 1, 500, 998] {
            let at = all[stop].0;
            let left = without(&all, |n| n <= stop);
            assert_eq!(order.arrange(left).after(at), all[stop + 1..]);
            assert!(all[stop + 1].0 > at);
            // Those before are known by their own tags, also when nothing follows any more.
            let left = without(&all, |n| n > stop);
            assert_eq!(order.arrange(left).after(at), []);
            assert_eq!(order.arrange_all(all[..=stop].iter().map(|(_, name, ())| name.clone()), at, 10), []);
        }
    }

    #[test]
    fn of_names_with_equal_tags_none_is_left_out_whichever_go() {
        let order = Order::of(Some((7, 9))).with_tags(20);
        let all = order.arrange(names(60));
        assert!(all.is_shared);
        let all = all.names;
        assert!(all.windows(2).all(|w| w[0].0 < w[1].0));
        for stop in 0..all.len() {
            for gone in 0..all.len() {
                let listed = order.arrange(without(&all, |n| n == gone)).after(all[stop].0);
                let listed: Vec<&Name> = listed.iter().map(|(_, name, ())| name).collect();
                let due = all[stop + 1..].iter().map(|(_, name, ())| name).filter(|name| **name != all[gone].1);
                assert!(due.into_iter().all(|name| listed.contains(&name)), "{gone} went behind {stop}");
            }
        }
    }

    /// Other numbers would make a listing that is being read during an upgrade skip names.
    #[test]
    fn the_key_of_a_view_is_always_the_same() {
        let name = Name::new(b"package.json").expect("a name");
        assert_eq!(Order::of(Some((1234, 5678))).tag(&name), TAG_OF_PACKAGE_JSON);
        assert_ne!(Order::of(Some((1234, 5679))).tag(&name), TAG_OF_PACKAGE_JSON);
    }

    const TAG_OF_PACKAGE_JSON: u64 = 1_975_734_642_570;
}
