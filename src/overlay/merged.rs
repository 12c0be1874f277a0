//! Several listings of one directory as one.

use super::types::Ino;

/// The union of listings in (cookie, name) order; of equal names the first source's.
pub(super) struct Merged<I: Iterator> {
    pub sources: Vec<std::iter::Peekable<I>>,
}

impl<'a, I: Iterator<Item = (u64, &'a [u8], Ino)>> Iterator for Merged<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let least = self.sources.iter_mut().filter_map(|s| s.peek().map(|(c, n, _)| (*c, *n))).min()?;
        let mut winner = None;
        for source in &mut self.sources {
            if source.peek().is_some_and(|(c, n, _)| (*c, *n) == least) {
                let item = source.next();
                winner = winner.or(item);
            }
        }
        winner
    }
}
