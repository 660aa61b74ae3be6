//! SCTP's checksum after its ports change, without touching the payload.
//!
//! CRC32c is linear: flipping bits of the message flips the checksum by the CRC of just those bits,
//! followed by zeros. The ports are the message's first word, so the difference is that word times
//! x^(8 x length), modulo the polynomial (RFC 3309; RFC 9260, appendix A).

/// CRC32c's polynomial, bits reflected, without the highest.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// The polynomial 1, bits reflected.
const ONE: u32 = 1 << 31;
/// Bits in the length of a message in bits: 8 x 65,535 < 2^19.
const LENGTH_BITS: usize = 19;

/// x^(2^k) modulo the polynomial.
static POWERS: [u32; LENGTH_BITS] = powers();

/// The checksum of an SCTP packet of `length` bytes whose first word changed from `from` to `to`.
/// All words as loaded from the packet.
#[inline(always)]
pub fn checksum_after(checksum: u32, from: u32, to: u32, length: u32) -> u32 {
    let changed = u32::from_le(from ^ to);
    let bits = length << 3;
    let mut product = changed;
    for (k, power) in POWERS.iter().enumerate() {
        // Selected, not branched to: the verifier would follow both ways at each of the bits.
        let selected = 0u32.wrapping_sub(bits >> k & 1);
        product = multiply(product, (power & selected) | (ONE & !selected));
    }
    (u32::from_le(checksum) ^ product).to_le()
}

/// The product of two polynomials, bits reflected, modulo CRC32c's.
#[inline(always)]
const fn multiply(mut a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 0;
    while bit < 32 {
        product ^= b & 0u32.wrapping_sub(a >> 31);
        a <<= 1;
        b = (b >> 1) ^ (POLYNOMIAL & 0u32.wrapping_sub(b & 1));
        bit += 1;
    }
    product
}

const fn powers() -> [u32; LENGTH_BITS] {
    let mut powers = [0; LENGTH_BITS];
    // x^1, bits reflected.
    let mut power = 1 << 30;
    let mut k = 0;
    while k < LENGTH_BITS {
        powers[k] = power;
        power = multiply(power, power);
        k += 1;
    }
    powers
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;

    /// CRC32c by definition, a bit at a time.
    fn crc32c(message: &[u8]) -> u32 {
        let mut crc = !0u32;
        for &byte in message {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            }
        }
        !crc
    }

    #[test]
    fn the_definition_gives_the_standard_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn changed_ports_change_the_checksum_as_if_computed_anew() {
        for length in [12usize, 13, 16, 28, 576, 1480, 65_515] {
            let mut message: Vec<u8> = vec![0; length];
            for (at, byte) in message.iter_mut().enumerate() {
                *byte = (at * 7 + length) as u8;
            }
            message[8..12].fill(0);
            let word = |message: &[u8]| u32::from_ne_bytes(message[..4].try_into().unwrap());
            let (old, from) = (crc32c(&message).to_le(), word(&message));
            message[..4].copy_from_slice(&[0x9c, 0x40, 0x1f, 0x90]);
            let anew = crc32c(&message).to_le();
            assert_eq!(
                checksum_after(old, from, word(&message), length as u32),
                anew,
                "{length}"
            );
        }
    }
}
