//! Identifiers: 256 random bits in hexadecimal, as Docker writes them.

/// Digits of a full identifier.
pub const ID_LEN: usize = 64;

/// Digits of the short form that people are shown.
pub const SHORT_LEN: usize = 12;

/// A new random identifier: 64 lower-case hexadecimal digits.
///
/// Its short form is never all digits, because that is also the container's default host name and a number is not a
/// valid one everywhere; dockerd draws again for the same reason.
///
/// # Panics
/// If the kernel gives no random bytes, which it always does after boot.
pub fn random_id() -> String {
    loop {
        let mut bytes = [0u8; ID_LEN / 2];
        let mut have = 0;
        while have < bytes.len() {
            have += rustix::rand::getrandom(&mut bytes[have..], rustix::rand::GetRandomFlags::empty())
                .expect("the kernel gives random bytes");
        }
        let id = hex(&bytes);
        if id[..SHORT_LEN].bytes().any(|digit| digit.is_ascii_alphabetic()) {
            return id;
        }
    }
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| DIGITS[nibble as usize] as char).collect()
}

/// Whether the text is a full identifier.
pub fn is_full_id(text: &str) -> bool {
    text.len() == ID_LEN && is_hex(text)
}

/// Whether the text can be the beginning of an identifier.
pub fn is_id_prefix(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_LEN && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The short form.
pub fn short(id: &str) -> &str {
    id.get(..SHORT_LEN).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_full_and_differ() {
        let (a, b) = (random_id(), random_id());
        assert!(is_full_id(&a) && is_full_id(&b) && a != b);
        assert_eq!(short(&a).len(), SHORT_LEN);
        assert!(!is_id_prefix("") && !is_id_prefix("xyz") && is_id_prefix("a1"));
    }
}
