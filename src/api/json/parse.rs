//! From bytes to a tree, with the errors of Go's scanner.

/// Values within values: no request comes near it.
const DEPTH: usize = 128;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it is written.
    Number(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Tree>),
    /// An object's members in their order; a name may come again.
    Object(Vec<(String, Tree)>),
}

/// Why bytes are no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Syntax {
    /// There is nothing.
    #[error("EOF")]
    Empty,
    /// It ends within a value.
    #[error("unexpected EOF")]
    Cut,
    /// A character that may not be where it is.
    #[error("invalid character {} {place}", quote(*byte))]
    Character {
        /// Its first byte.
        byte: u8,
        /// What is there instead.
        place: &'static str,
    },
    /// Lists and objects in each other without end.
    #[error("exceeded max depth")]
    Depth,
}

/// A byte as Go quotes it, as a character of Latin-1.
fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        7 => r"'\a'".to_owned(),
        8 => r"'\b'".to_owned(),
        9 => r"'\t'".to_owned(),
        10 => r"'\n'".to_owned(),
        11 => r"'\v'".to_owned(),
        12 => r"'\f'".to_owned(),
        13 => r"'\r'".to_owned(),
        0..0x20 | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

/// Reads the first value, and gives what comes after it.
///
/// # Errors
/// It is none.
pub fn parse(bytes: &[u8]) -> Result<(Tree, &[u8]), Syntax> {
    let mut parser = Parser { bytes, at: 0 };
    if parser.skip_space().is_none() {
        return Err(Syntax::Empty);
    }
    let tree = parser.value(0)?;
    Ok((tree, &bytes[parser.at..]))
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) -> Option<u8> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.peek()
    }

    fn wrong<T>(&self, place: &'static str) -> Result<T, Syntax> {
        match self.peek() {
            Some(byte) => Err(Syntax::Character { byte, place }),
            None => Err(Syntax::Cut),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Tree, Syntax> {
        match self.skip_space() {
            Some(b'{' | b'[') if depth == DEPTH => Err(Syntax::Depth),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.text().map(Tree::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", TRUE, Tree::Bool(true)),
            Some(b'f') => self.literal("false", FALSE, Tree::Bool(false)),
            Some(b'n') => self.literal("null", NULL, Tree::Null),
            _ => self.wrong("looking for beginning of value"),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Tree, Syntax> {
        let mut members = Vec::new();
        self.at += 1;
        if self.skip_space() == Some(b'}') {
            self.at += 1;
            return Ok(Tree::Object(members));
        }
        loop {
            if self.skip_space() != Some(b'"') {
                return self.wrong("looking for beginning of object key string");
            }
            let name = self.text()?;
            if self.skip_space() != Some(b':') {
                return self.wrong("after object key");
            }
            self.at += 1;
            members.push((name, self.value(depth + 1)?));
            match self.skip_space() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Tree::Object(members));
                }
                _ => return self.wrong("after object key:value pair"),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Tree, Syntax> {
        let mut values = Vec::new();
        self.at += 1;
        if self.skip_space() == Some(b']') {
            self.at += 1;
            return Ok(Tree::List(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            match self.skip_space() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Tree::List(values));
                }
                _ => return self.wrong("after array element"),
            }
        }
    }

    fn literal(&mut self, word: &str, places: &[&'static str], tree: Tree) -> Result<Tree, Syntax> {
        self.at += 1;
        for (byte, place) in word.bytes().skip(1).zip(places) {
            if self.peek() != Some(byte) {
                return self.wrong(place);
            }
            self.at += 1;
        }
        Ok(tree)
    }

    fn digits(&mut self, place: &'static str) -> Result<(), Syntax> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return self.wrong(place);
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Tree, Syntax> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits("in numeric literal")?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits("in exponent of numeric literal")?;
        }
        Ok(Tree::Number(String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()))
    }

    /// A string. What is no UTF-8 becomes the replacement character.
    fn text(&mut self) -> Result<String, Syntax> {
        let mut text = String::new();
        self.at += 1;
        loop {
            let plain = |byte: &&u8| **byte >= 0x20 && **byte != b'"' && **byte != b'\\';
            let len = self.bytes[self.at..].iter().take_while(plain).count();
            text.push_str(&String::from_utf8_lossy(&self.bytes[self.at..self.at + len]));
            self.at += len;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => self.escape(&mut text)?,
                _ => return self.wrong("in string literal"),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), Syntax> {
        self.at += 1;
        let plain = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.code_point(text);
            }
            _ => return self.wrong("in string escape code"),
        };
        self.at += 1;
        text.push(plain);
        Ok(())
    }

    fn code_point(&mut self, text: &mut String) -> Result<(), Syntax> {
        let first = self.four_digits()?;
        if let Some(plain) = char::from_u32(first) {
            text.push(plain);
            return Ok(());
        }
        // Half of a pair: what follows is the other half, or stands for itself.
        let after = self.at;
        if first < 0xdc00 && self.bytes[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let second = self.four_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                let both = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                text.push(char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(());
            }
        }
        self.at = after;
        text.push(char::REPLACEMENT_CHARACTER);
        Ok(())
    }

    fn four_digits(&mut self) -> Result<u32, Syntax> {
        let mut value = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
                return self.wrong("in \\u hexadecimal character escape");
            };
            value = value * 16 + digit;
            self.at += 1;
        }
        Ok(value)
    }
}

const TRUE: &[&str] =
    &["in literal true (expecting 'r')", "in literal true (expecting 'u')", "in literal true (expecting 'e')"];
const FALSE: &[&str] = &[
    "in literal false (expecting 'a')",
    "in literal false (expecting 'l')",
    "in literal false (expecting 's')",
    "in literal false (expecting 'e')",
];
const NULL: &[&str] =
    &["in literal null (expecting 'u')", "in literal null (expecting 'l')", "in literal null (expecting 'l')"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_as_go_words_them() {
        for (text, message) in [
            ("", "EOF"),
            (" \n", "EOF"),
            ("{", "unexpected EOF"),
            ("{\"a\":\"", "unexpected EOF"),
            ("{invalid", "invalid character 'i' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("'a'", "invalid character '\\'' looking for beginning of value"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            ("\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape"),
            ("-a", "invalid character 'a' in numeric literal"),
            ("1.a", "invalid character 'a' after decimal point in numeric literal"),
            ("1ex", "invalid character 'x' in exponent of numeric literal"),
            ("trie", "invalid character 'i' in literal true (expecting 'u')"),
            ("\u{e4}", "invalid character 'Ã' looking for beginning of value"),
            ("\0", "invalid character '\\x00' looking for beginning of value"),
        ] {
            assert_eq!(parse(text.as_bytes()).expect_err(text).to_string(), message, "{text}");
        }
        assert_eq!(parse("[".repeat(1_000_000).as_bytes()), Err(Syntax::Depth));
    }

    #[test]
    fn strings() {
        let text = |bytes: &[u8]| match parse(bytes) {
            Ok((Tree::Text(text), b"")) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(text(br#""a\"\\\/\b\f\n\r\t\u00e4""#), "a\"\\/\u{8}\u{c}\n\r\t\u{e4}");
        assert_eq!(text(br#""\ud83d\ude00 \ud83d \ude00 \ud83d\u0041""#), "\u{1f600} \u{fffd} \u{fffd} \u{fffd}A");
        assert_eq!(text(b"\"a\xffb\""), "a\u{fffd}b");
    }

    #[test]
    fn values_and_what_follows() {
        let number = |text: &str| Tree::Number(text.to_owned());
        let (tree, rest) = parse(br#" {"a":[1,-2.5e+3,true,null],"a":{}} x"#).expect("parses");
        let list = Tree::List(vec![number("1"), number("-2.5e+3"), Tree::Bool(true), Tree::Null]);
        assert_eq!(tree, Tree::Object(vec![("a".to_owned(), list), ("a".to_owned(), Tree::Object(vec![]))]));
        assert_eq!(rest, b" x");
    }
}
