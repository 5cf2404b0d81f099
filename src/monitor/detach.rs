//! The key sequence by which a person leaves an attached terminal without ending it.

/// `ctrl-p,ctrl-q`.
const DEFAULT: [u8; 2] = [16, 17];

/// A sequence that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("Unknown character: '{0}'")]
pub struct BadKeys(String);

/// Reads Docker's notation: keys separated by commas, each a character, `ctrl-` and one of `a-z @ [ \ ] ^ _`, or `DEL`.
/// Empty is the default.
///
/// # Errors
/// [`BadKeys`] with the key that is none.
pub fn parse(text: &str) -> Result<Vec<u8>, BadKeys> {
    if text.is_empty() {
        return Ok(DEFAULT.to_vec());
    }
    text.split(',')
        .map(|key| match (key.as_bytes(), key.strip_prefix("ctrl-").map(str::as_bytes)) {
            ([one], _) => Ok(*one),
            (_, Some([letter @ b'a'..=b'z'])) => Ok(letter - b'a' + 1),
            (_, Some(b"@")) => Ok(0),
            (_, Some([symbol @ b'['..=b'_'])) => Ok(symbol - b'[' + 27),
            (b"DEL", _) => Ok(127),
            _ => Err(BadKeys(key.to_owned())),
        })
        .collect()
}

/// Looks for the sequence in what a client types, across reads.
#[derive(Debug)]
pub struct Detach {
    keys: Vec<u8>,
    /// How many keys of the sequence have been held back.
    matched: usize,
}

impl Detach {
    /// Watches for `keys`.
    pub fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// Appends to `out` what is to be passed on; true when the sequence is complete: the rest of `input` is dropped.
    pub fn filter(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        for &byte in input {
            if self.keys.get(self.matched) != Some(&byte) {
                out.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return true;
                }
            } else {
                out.push(byte);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation() {
        assert_eq!(parse(""), Ok(vec![16, 17]));
        assert_eq!(parse("ctrl-a,x"), Ok(vec![1, b'x']));
        assert_eq!(parse("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_,DEL"), Ok(vec![0, 27, 28, 29, 30, 31, 127]));
        assert_eq!(parse("ctrl-1"), Err(BadKeys("ctrl-1".into())));
        assert!(parse("a,,b").is_err());
    }

    fn typed(keys: &str, reads: &[&str]) -> (String, bool) {
        let mut detach = Detach::new(parse(keys).expect("keys"));
        let mut out = Vec::new();
        let done = reads.iter().any(|read| detach.filter(read.as_bytes(), &mut out));
        (String::from_utf8(out).expect("text"), done)
    }

    #[test]
    fn recognised_across_reads_and_replayed_if_broken_off() {
        assert_eq!(typed("", &["ls\n"]), ("ls\n".into(), false));
        assert_eq!(typed("", &["a\u{10}", "\u{11}b"]), ("a".into(), true));
        assert_eq!(typed("", &["\u{10}x"]), ("\u{10}x".into(), false));
        assert_eq!(typed("", &["\u{10}\u{10}\u{11}"]), ("\u{10}".into(), true));
        assert_eq!(typed("a,b,c", &["abab", "c"]), ("ab".into(), true));
    }
}
