//! JSON strings of arbitrary bytes, written as dockerd's json-file driver writes them, fast.

use crate::model::scan::find;

/// A slice that is filled from the start.
#[derive(Debug)]
pub struct Out<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Out<'a> {
    /// Fills `buf` from its start.
    pub fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    /// What has been written.
    pub fn written(&self) -> &[u8] {
        &self.buf[..self.len]
    }

    /// How many bytes have been written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many bytes still fit.
    pub fn room(&self) -> usize {
        self.buf.len() - self.len
    }

    /// Takes back all but the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Appends; the caller has seen to [`Out::room`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.buf[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

/// The most bytes that one byte of input can become.
pub const GROWTH: usize = 6;

/// Bytes that cannot be copied as they are: controls, the quote, the backslash, what Go escapes for HTML's sake, and
/// everything that is not ASCII.
///
/// Written as few comparisons: as a signed byte, controls and what is not ASCII are both below a space; the quote and
/// the ampersand differ in one bit, and so do the angle brackets.
const fn special(byte: u8) -> bool {
    (byte.cast_signed() < 0x20) | (byte & !4 == b'"') | (byte & !2 == b'<') | (byte == b'\\')
}

/// Writes bytes as the inside of a JSON string, up to and including the first newline. Returns how many bytes of the
/// input that took, and whether a newline ended it. `out` must have room for [`GROWTH`] times the input.
///
/// Invalid UTF-8 becomes U+FFFD, once a byte, as Go decodes it.
pub fn line(bytes: &[u8], out: &mut Out<'_>) -> (usize, bool) {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let plain = find(rest, special).unwrap_or(rest.len());
        out.push(&rest[..plain]);
        at += plain;
        let Some(&byte) = bytes.get(at) else { return (at, false) };
        at += 1;
        match byte {
            b'\n' => {
                out.push(br"\n");
                return (at, true);
            }
            b'\r' => out.push(br"\r"),
            b'"' | b'\\' => out.push(&[b'\\', byte]),
            0x80.. => {
                let character = &bytes[at - 1..];
                let len = utf8_len(character);
                match &character[..len.max(1)] {
                    _ if len == 0 => out.push(br"\ufffd"),
                    b"\xe2\x80\xa8" => out.push(br"\u2028"),
                    b"\xe2\x80\xa9" => out.push(br"\u2029"),
                    valid => out.push(valid),
                }
                at += len.saturating_sub(1);
            }
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.push(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
}

/// Length of the multi-byte character at the start; 0 if there is no valid one.
fn utf8_len(bytes: &[u8]) -> usize {
    let len = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return 0,
    };
    match bytes.get(..len) {
        Some(character) if std::str::from_utf8(character).is_ok() => len,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut buf = vec![0; bytes.len() * GROWTH];
        let mut out = Out::new(&mut buf);
        let (mut at, mut all) = (0, String::new());
        while at < bytes.len() {
            at += line(&bytes[at..], &mut out).0;
            all.push_str(std::str::from_utf8(out.written()).expect("JSON is UTF-8"));
            out.truncate(0);
        }
        all
    }

    #[test]
    fn as_go_writes_it() {
        assert_eq!(
            escaped(b"plain ASCII of more than thirty-two bytes, and a tail\n"),
            "plain ASCII of more than thirty-two bytes, and a tail\\n"
        );
        assert_eq!(
            escaped(b"\"\\\r\t\x00\x1b<a>&\x7f"),
            "\\\"\\\\\\r\\u0009\\u0000\\u001b\\u003ca\\u003e\\u0026\u{7f}"
        );
        assert_eq!(escaped("ü€😀\u{2028}\u{2029}".as_bytes()), "ü€😀\\u2028\\u2029");
        assert_eq!(escaped(b"\xff\xc3\xe2\x82x\xed\xa0\x80"), r"\ufffd\ufffd\ufffd\ufffdx\ufffd\ufffd\ufffd");
    }

    #[test]
    fn every_byte_comes_back_through_a_json_parser() {
        let all: Vec<u8> = (0..128u8).cycle().take(4096).collect();
        let parsed: String = serde_json::from_str(&format!("\"{}\"", escaped(&all))).expect("valid JSON");
        assert_eq!(parsed.as_bytes(), all);
    }

    #[test]
    fn special_bytes() {
        let expected = |b: u8| !(0x20..0x80).contains(&b) || matches!(b, b'"' | b'\\' | b'<' | b'>' | b'&');
        assert!((0..=255).all(|byte| special(byte) == expected(byte)));
    }

    #[test]
    fn stops_after_the_newline() {
        let mut buf = [0; 64];
        assert_eq!(line(b"ab\ncd", &mut Out::new(&mut buf)), (3, true));
        assert_eq!(line(b"cd", &mut Out::new(&mut buf)), (2, false));
    }
}
