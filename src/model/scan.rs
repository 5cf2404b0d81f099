//! Looking for bytes, many at a time.

/// Where the first byte is that `wanted` says yes to.
///
/// Chunks are looked at without an early exit, so that the compiler makes vector instructions of simple predicates.
#[inline]
pub fn find(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let mut chunks = bytes.chunks_exact(32);
    let mut at = 0;
    for chunk in &mut chunks {
        if chunk.iter().fold(false, |found, &byte| found | wanted(byte)) {
            return chunk.iter().position(|&byte| wanted(byte)).map(|inside| at + inside);
        }
        at += 32;
    }
    chunks.remainder().iter().position(|&byte| wanted(byte)).map(|inside| at + inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_in_chunks_and_in_the_rest() {
        for len in 0..100 {
            let mut bytes = vec![b'x'; len];
            assert_eq!(find(&bytes, |byte| byte == b'\n'), None);
            for at in 0..len {
                bytes[at] = b'\n';
                assert_eq!(find(&bytes, |byte| byte == b'\n'), Some(at));
                bytes[at] = b'x';
            }
        }
    }
}
