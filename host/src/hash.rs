//! A hash that finds accidents, not forgeries, the same in every version of the program.

/// 64-bit FNV-1a: every step is a bijection of the state, so one changed byte always changes it.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |state, byte| {
        (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
