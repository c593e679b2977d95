//! Chance that can be repeated: everything that is drawn comes from the seed, and each user draws from a stream of its
//! own, so that one who draws more does not change what the others get.

/// A stream of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream of this seed for the user of this name.
    pub(crate) fn named(seed: u64, name: &str) -> Rng {
        // FNV-1a: names only have to lead to different places.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Rng(seed ^ hash)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of the range.
    pub(crate) fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start).max(1)
    }

    /// An index of a list of this length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.within(0..length as u64)).unwrap_or(0)
    }

    /// True in so many of a hundred cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }
}

/// Cards that are dealt until none is left, then shuffled again: chance that leaves nothing out for long.
pub(crate) struct Deck<T> {
    all: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    pub(crate) fn new(all: impl Into<Vec<T>>) -> Deck<T> {
        Deck { all: all.into(), left: Vec::new() }
    }

    /// The next card.
    pub(crate) fn deal(&mut self, rng: &mut Rng) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
        }
        let at = rng.index(self.left.len());
        self.left.swap_remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_name_give_the_same_stream_and_no_other() {
        let draw = |seed, name| Rng::named(seed, name).next();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }

    #[test]
    fn a_deck_deals_everything_before_anything_twice() {
        let (mut deck, mut rng) = (Deck::new([1, 2, 3]), Rng::named(7, "deck"));
        for _ in 0..4 {
            let mut dealt: Vec<i32> = (0..3).map(|_| deck.deal(&mut rng)).collect();
            dealt.sort_unstable();
            assert_eq!(dealt, [1, 2, 3]);
        }
    }
}
