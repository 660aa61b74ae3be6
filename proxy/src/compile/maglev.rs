//! Maglev tables: which backend each slot has, so that nodes that never met choose alike, and a
//! backend that goes takes hardly any other's flows along.
//!
//! Each backend has a permutation of the slots by the hash of its address and port; the backends
//! take turns, each takes the first slot of its permutation that is free (Eisenbud and others,
//! "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, 3.4).

/// Slots for each backend. With as many as the first, a backend that goes moves less than a
/// hundredth of the others' slots; with as many as the second, no share is more than a hundredth
/// above the mean, and of so many backends one moves no more.
const SLOTS_PER_BACKEND: usize = 500;
const SLOTS_PER_BACKEND_MIN: usize = 100;

/// The largest primes below powers of two. Sizes are far apart because a table of another size is
/// another table, and none is more than half the slots because the old table stays while the next
/// is made.
const SIZES: [usize; 11] = [
    251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521, 131_071, 262_139,
];
/// The place of the last size that a table has for evenness alone.
const LARGE: usize = 9;

/// The sizes that a table for so many backends may have, the best first.
pub(super) fn sizes(backends: usize) -> impl Iterator<Item = usize> {
    let first = |slots: usize| SIZES.partition_point(|size| *size < slots * backends);
    let best = first(SLOTS_PER_BACKEND).min(LARGE);
    let best = best.max(first(SLOTS_PER_BACKEND_MIN)).min(SIZES.len() - 1);
    let down = SIZES[..=best].iter().rev().copied();
    down.filter(move |size| *size >= backends)
}

/// For each slot a position among the backends. `hashes` are theirs, in an order that every node
/// has; `size` is a prime, and there are no more backends than that.
pub(super) fn table(hashes: &[u64], size: usize) -> Vec<usize> {
    const FREE: usize = usize::MAX;
    let mut table = vec![FREE; size];
    let mut walks: Vec<Walk> = hashes.iter().map(|hash| Walk::new(*hash, size)).collect();
    let mut filled = 0;
    while !walks.is_empty() {
        for (at, walk) in walks.iter_mut().enumerate() {
            if filled == size {
                return table;
            }
            let slot = walk.find(|slot| table[*slot] == FREE);
            table[slot.expect("a permutation of all slots comes to one that is free")] = at;
            filled += 1;
        }
    }
    table
}

/// The same for the same bytes on every node, for ever: FNV-1a, with its bits spread afterwards.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    stir(hash)
}

/// The last step of MurmurHash3.
const fn stir(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// One backend's permutation of the slots: an offset and a stride, endlessly.
struct Walk {
    next: usize,
    stride: usize,
    size: usize,
}

// === impl Walk ===

impl Walk {
    const fn new(hash: u64, size: usize) -> Self {
        let length = size as u64;
        Self {
            next: (hash % length) as usize,
            stride: (stir(hash) % (length - 1) + 1) as usize,
            size,
        }
    }
}

impl Iterator for Walk {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let slot = self.next;
        self.next = (slot + self.stride) % self.size;
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn hashes(backends: impl Iterator<Item = usize>) -> Vec<u64> {
        let name = |at| format!("10.1.{}.{}:8080", at / 250, at % 250 + 1);
        backends.map(|at| hash(name(at).as_bytes())).collect()
    }

    #[rstest]
    #[case(1)]
    #[case(3)]
    #[case(100)]
    #[case(1000)]
    fn shares_are_even(#[case] backends: usize) {
        let size = sizes(backends).next().unwrap();
        assert!(size >= SLOTS_PER_BACKEND_MIN * backends);
        let mut shares = vec![0_usize; backends];
        for at in table(&hashes(0..backends), size) {
            shares[at] += 1;
        }
        let largest = shares.into_iter().max().unwrap() as f64;
        let mean = size as f64 / backends as f64;
        assert!(largest / mean <= 1.01, "{largest} of {mean}");
    }

    #[rstest]
    #[case(10)]
    #[case(100)]
    #[case(1000)]
    fn a_backend_that_goes_moves_hardly_any_other_slot(#[case] backends: usize) {
        let size = sizes(backends).next().unwrap();
        let before = table(&hashes(0..backends), size);
        let after = table(&hashes(1..backends), size);
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| **before != 0 && **before != **after + 1)
            .count();
        let beyond = moved as f64 / size as f64;
        assert!(beyond <= 0.01, "{moved} of {size}");
    }

    #[test]
    fn every_node_makes_the_same_table() {
        assert_eq!(hash(b"10.1.0.1:8080"), 0x3503_65e9_58b6_3311);
        let hashes =
            ["10.1.0.1:80", "10.1.0.2:80", "10.1.0.3:80"].map(|addr| hash(addr.as_bytes()));
        assert_eq!(table(&hashes, 7), [0, 1, 0, 2, 0, 1, 2]);
    }

    #[rstest]
    #[case::one(1, &[509, 251])]
    #[case::few(5, &[4093, 2039, 1021, 509, 251])]
    #[case::more(260, &[131_071, 65_521, 32_749, 16_381, 8191, 4093, 2039, 1021, 509])]
    #[case::many(3000, &[262_139, 131_071, 65_521, 32_749, 16_381, 8191, 4093])]
    #[case::too_many(300_000, &[])]
    fn a_table_is_as_large_as_it_should_or_can_be(
        #[case] backends: usize,
        #[case] expected: &[usize],
    ) {
        assert_eq!(sizes(backends).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn sizes_are_primes() {
        for size in SIZES {
            let mut divisors = (2..).take_while(|divisor| divisor * divisor <= size);
            assert!(!divisors.any(|divisor| size % divisor == 0), "{size}");
        }
    }
}
