//! A packet's bytes, wherever they are: the kernel's buffer or a test's.
//!
//! Loads and stores are words at offsets from the Ethernet header; each is checked on its own,
//! since headers may end anywhere. Values are as loaded, in wire order.

use crate::family::{Addr4, Addr6, Ports};
#[cfg(any(test, feature = "user"))]
use crate::sctp;

/// Offsets stay below this, so that the verifier sees a bound (the headers of a packet are at most
/// 14 + 60 + 8 + 60 + 4 bytes with IPv4, and the walk over IPv6's extension headers stops).
pub const OFFSET_MASK: u32 = 0x7ff;

/// A value that stands in a packet as it stands in memory: no padding, any bytes are valid. Sealed,
/// since the kernel's side reads these through pointers. No single bytes: LLVM checks those with
/// "start >= end", from which the verifier learns nothing.
pub trait Wire: sealed::Sealed + Copy + 'static {
    /// The value that the first bytes are.
    fn read(bytes: &[u8]) -> Option<Self>;
    /// Writes the value over the first bytes.
    fn write(self, bytes: &mut [u8]) -> Option<()>;
}

mod sealed {
    pub trait Sealed {}
}

/// An address as a checksum sees it.
pub trait Words: Wire {
    /// The change of a sum over it.
    fn change(from: Self, to: Self) -> Sum;
}

/// Access to a packet's bytes.
pub trait Bytes {
    /// Bytes in the whole packet, from the Ethernet header on.
    fn length(&self) -> u32;
    fn load<T: Wire>(&self, offset: u32) -> Option<T>;
    fn store<T: Wire>(&mut self, offset: u32, value: T) -> Option<()>;
    /// Changes the Internet checksum at `offset` of a transport header for words that change under
    /// it and in its pseudo-header. A UDP checksum of zero means none and stays.
    ///
    /// The kernel does this for us: a packet made on this machine has a checksum that is not there
    /// yet (CHECKSUM_PARTIAL), and writing one would corrupt it.
    fn fix_checksum(&mut self, offset: u32, fix: ChecksumFix) -> Option<()>;
    /// `sctp::checksum_after`, which is too long to be part of every program.
    fn sctp_checksum_after(&self, checksum: u32, from: u32, to: u32, length: u32) -> u32;
    /// Tells that words of an IPv6 header changed with no checksum to make up for it.
    fn note_change(&mut self, change: Sum);
}

/// How a transport checksum changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChecksumFix {
    /// By words that the checksum covers itself.
    pub body: Sum,
    /// By addresses in its pseudo-header.
    pub pseudo_header: Sum,
    /// UDP, where zero means that there is none.
    pub optional: bool,
    pub ipv6: bool,
}

/// A ones' complement sum of changed words: what is added to a checksum's complement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(pub u32);

macro_rules! wire {
    ($($ty:ty),*) => {$(
        impl sealed::Sealed for $ty {}

        impl Wire for $ty {
            fn read(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_ne_bytes(*bytes.first_chunk()?))
            }

            fn write(self, bytes: &mut [u8]) -> Option<()> {
                *bytes.first_chunk_mut()? = self.to_ne_bytes();
                Some(())
            }
        }
    )*};
}

wire!(u16, u32);

impl<T: Wire + Default, const N: usize> sealed::Sealed for [T; N] {}

impl<T: Wire + Default, const N: usize> Wire for [T; N] {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut values = [T::default(); N];
        let mut chunks = bytes.chunks(size_of::<T>());
        for value in &mut values {
            *value = T::read(chunks.next()?)?;
        }
        Some(values)
    }

    fn write(self, bytes: &mut [u8]) -> Option<()> {
        let mut chunks = bytes.chunks_mut(size_of::<T>());
        for value in self {
            value.write(chunks.next()?)?;
        }
        Some(())
    }
}

macro_rules! wrappers {
    ($($ty:ident),*) => {$(
        impl sealed::Sealed for $ty {}

        impl Wire for $ty {
            fn read(bytes: &[u8]) -> Option<Self> {
                Wire::read(bytes).map(Self)
            }

            fn write(self, bytes: &mut [u8]) -> Option<()> {
                self.0.write(bytes)
            }
        }
    )*};
}

wrappers!(Addr4, Addr6, Ports);

// === impl ChecksumFix ===

impl ChecksumFix {
    /// The checksum that takes the place of `old`, which is one. As the kernel does it: the body
    /// first, then the pseudo-header.
    #[inline(always)]
    pub const fn apply(self, old: u16) -> u16 {
        let checksum = self.body.apply(old);
        let checksum = self.pseudo_header.apply(self.written(checksum));
        self.written(checksum)
    }

    /// Where zero means that there is none, it is written as its other form.
    #[inline(always)]
    const fn written(self, checksum: u16) -> u16 {
        if self.optional && checksum == 0 {
            0xffff
        } else {
            checksum
        }
    }
}

// === impl Words ===

impl Words for Addr4 {
    #[inline(always)]
    fn change(from: Self, to: Self) -> Sum {
        Sum::of(from.0, to.0)
    }
}

impl Words for Addr6 {
    #[inline(always)]
    fn change(from: Self, to: Self) -> Sum {
        let [a, b, c, d] = from.0;
        let [e, f, g, h] = to.0;
        let wide = |word: u32| u64::from(word);
        // Each word's complement is its difference to a word of ones.
        let complements = 4 * wide(u32::MAX) - wide(a) - wide(b) - wide(c) - wide(d);
        Sum::fold_wide(complements + wide(e) + wide(f) + wide(g) + wide(h))
    }
}

// === impl Sum ===

impl Sum {
    /// The change of one word, in either order of its bytes.
    #[inline(always)]
    pub const fn of(from: u32, to: u32) -> Self {
        Self(!from).plus(Self(to))
    }

    #[inline(always)]
    pub const fn plus(self, other: Self) -> Self {
        Self::fold_wide(self.0 as u64 + other.0 as u64)
    }

    /// A sum of fewer than 2^31 words.
    #[inline(always)]
    const fn fold_wide(sum: u64) -> Self {
        let sum = (sum & u32::MAX as u64) + (sum >> 32);
        Self((sum as u32).wrapping_add((sum >> 32) as u32))
    }

    /// The checksum that takes the place of `checksum`. As the kernel's `csum_fold(csum_add(..))`:
    /// the complement is one of 32 bits, so that the sum is never zero and the result never the
    /// other zero, `0xffff`.
    #[inline(always)]
    pub const fn apply(self, checksum: u16) -> u16 {
        Self(!(checksum as u32)).plus(self).fold()
    }

    /// The pseudo-header's sum that takes the place of `sum`, which a device will go on with.
    #[inline(always)]
    pub const fn added_to(self, sum: u16) -> u16 {
        !Self(sum as u32).plus(self).fold()
    }

    #[inline(always)]
    pub const fn negated(self) -> Self {
        Self(!self.0)
    }

    /// Whether every checksum stays what it is.
    #[inline(always)]
    pub const fn is_nothing(self) -> bool {
        matches!(self.fold(), 0 | 0xffff)
    }

    /// The checksum of a message with this sum.
    #[inline(always)]
    pub const fn fold(self) -> u16 {
        let sum = (self.0 & 0xffff) + (self.0 >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        !(sum as u16)
    }
}

/// A packet in memory, for the host: tests, fuzzing, the simulator.
#[cfg(any(test, feature = "user"))]
pub struct Buffer<'a>(pub &'a mut [u8]);

#[cfg(any(test, feature = "user"))]
impl Bytes for Buffer<'_> {
    fn length(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    fn load<T: Wire>(&self, offset: u32) -> Option<T> {
        T::read(self.0.get((offset & OFFSET_MASK) as usize..)?)
    }

    fn store<T: Wire>(&mut self, offset: u32, value: T) -> Option<()> {
        value.write(self.0.get_mut((offset & OFFSET_MASK) as usize..)?)
    }

    fn fix_checksum(&mut self, offset: u32, fix: ChecksumFix) -> Option<()> {
        let old: u16 = self.load(offset)?;
        if fix.optional && old == 0 {
            return Some(());
        }
        self.store(offset, fix.apply(old))
    }

    fn sctp_checksum_after(&self, checksum: u32, from: u32, to: u32, length: u32) -> u32 {
        sctp::checksum_after(checksum, from, to, length)
    }

    fn note_change(&mut self, _change: Sum) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checksum by definition, over 16-bit words.
    fn checksum(words: &[u16]) -> u16 {
        let mut sum: u32 = words.iter().map(|&word| u32::from(word)).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn a_changed_word_changes_the_checksum_as_if_summed_anew() {
        let cases = [
            (0x0a60_000a, 0x0901_010a),
            (0, 0xffff_ffff),
            (0x1234_5678, 0x1234_5679),
        ];
        for (from, to) in cases {
            let words = |word: u32| [word as u16, (word >> 16) as u16, 0xbeef, 0x0001];
            let old = checksum(&words(from));
            assert_eq!(
                Sum::of(from, to).apply(old),
                checksum(&words(to)),
                "{from:x} -> {to:x}"
            );
        }
    }

    #[test]
    fn a_load_beyond_the_end_is_refused() {
        let mut bytes = [0u8; 17];
        assert_eq!(Buffer(&mut bytes).load::<u32>(13), Some(0));
        assert_eq!(Buffer(&mut bytes).load::<u32>(14), None);
        assert_eq!(Buffer(&mut bytes).store(16, 1u16), None);
    }
}
