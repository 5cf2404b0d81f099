//! Requests as Go's server takes them: in its target a byte may stand as it is, where RFC 3986 wants it encoded.
//! `curl -g` and old clients send `?filters={"status":["x"]}` like that, and hyper would refuse some of it.

/// What of a request's head has been seen. A space ends the target, as in Go; control characters stay what they are,
/// and are refused.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum RequestLine {
    /// Nothing but empty lines.
    #[default]
    Start,
    /// Letters of its method.
    Method,
    /// The method and its space.
    Space,
    /// A part of its target.
    Target,
    /// All that matters; the rest passes.
    Over,
}

impl RequestLine {
    /// Appends the next bytes of a request to `out`, those of its target encoded where they must be.
    pub fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let [byte, more @ ..] = rest {
            *self = match (*self, byte) {
                (Self::Start, b'\r' | b'\n') => Self::Start,
                (Self::Start | Self::Method, b'A'..=b'Z') => Self::Method,
                (Self::Method, b' ') => Self::Space,
                // Whatever begins otherwise is no target that could be mended.
                (Self::Space, b'/') => Self::Target,
                (Self::Target, byte) if !byte.is_ascii_control() && *byte != b' ' => Self::Target,
                _ => Self::Over,
            };
            match *self {
                Self::Over => return out.extend_from_slice(rest),
                Self::Target if must_be_encoded(*byte) => {
                    let digit = |half: u8| b"0123456789ABCDEF"[usize::from(half)];
                    out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
                }
                _ => out.push(*byte),
            }
            rest = more;
        }
    }
}

fn must_be_encoded(byte: u8) -> bool {
    !byte.is_ascii() || b"\"#<>\\^`{|}".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out, the same however the bytes come in.
    fn passed(bytes: &[u8]) -> Vec<u8> {
        let (mut whole, mut by_byte) = (Vec::new(), Vec::new());
        RequestLine::default().pass(bytes, &mut whole);
        let mut line = RequestLine::default();
        bytes.chunks(1).for_each(|byte| line.pass(byte, &mut by_byte));
        assert_eq!(whole, by_byte);
        whole
    }

    #[test]
    fn only_the_target_is_encoded() {
        assert_eq!(
            passed(b"\r\nGET /a|b?f={\"x\":[\"\xC3\xA4\"]}#y HTTP/1.1\r\nX: {|}\r\n\r\n{|}"),
            b"\r\nGET /a%7Cb?f=%7B%22x%22:[%22%C3%A4%22]%7D%23y HTTP/1.1\r\nX: {|}\r\n\r\n{|}"
        );
        for same in [
            &b"GET /a b|c HTTP/1.1\r\n"[..],
            b"GET /a%7B\x01|",
            b"GET http://d/|",
            b"get /|",
            b"{\"a\": \"GET /|\"}",
            b"A: /{",
            b"\x16\x03\x01 /|",
        ] {
            assert_eq!(passed(same), same);
        }
    }

    #[test]
    fn what_comes_out_is_a_target_for_hyper() {
        for byte in (0x21..=0x7e).chain(0x80..=0xff) {
            for before in ["/", "/?"] {
                let mut out = Vec::new();
                RequestLine::default().pass(&[b"GET ", before.as_bytes(), &[byte], b" "].concat(), &mut out);
                let target = &out[4..out.len() - 1];
                http::uri::PathAndQuery::try_from(target).unwrap_or_else(|err| panic!("{byte:#x}: {err}"));
            }
        }
    }
}
