//! DNS messages, as far as a resolver needs them that answers questions for addresses and names and passes all others
//! on as they are: a header, one question, and records of three types that it writes itself. Nothing of a forwarded
//! answer is read but its header and its question.

use std::net::IpAddr;

/// Bytes of a header.
const HEADER: usize = 12;
/// The most bytes of a name.
const NAME: usize = 255;
/// The most bytes of an answer by UDP to who does not say how many it takes.
const PLAIN: usize = 512;
/// How many bytes by UDP this resolver takes, as it says to who says so itself.
const OWN_SIZE: u16 = 1232;
/// Seconds for which an answer may be kept, as in dockerd.
const TTL: u32 = 600;

/// Types of records.
pub const A: u16 = 1;
const PTR: u16 = 12;
/// An IPv6 address.
pub const AAAA: u16 = 28;
const OPT: u16 = 41;
/// The class of the internet, and that of any.
const INTERNET: [u16; 2] = [1, 255];

/// Bits of the header's third and fourth byte.
const RESPONSE: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const RECURSION_AVAILABLE: u8 = 0x80;

/// What an answer says of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// There is such a name, whatever is known of it.
    NoError = 0,
    /// The question cannot be read.
    Format = 1,
    /// It could not be answered now.
    Failure = 2,
    /// Questions of this kind are not answered.
    NotImplemented = 4,
    /// It is not answered for a reason of its own.
    Refused = 5,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name, lower case, its labels joined by dots; none if it is one that no container can have.
    pub name: Option<String>,
    /// The type of the records asked for.
    pub kind: u16,
    /// Whether it is asked of the internet.
    pub internet: bool,
    /// Where in the message it ends.
    end: usize,
    /// The most bytes of an answer by UDP.
    size: usize,
    /// Whether the question says so.
    extended: bool,
}

/// A message that is no question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not to be answered at all: an answer, or too short to be anything.
    Silence,
    /// To be answered by this.
    Say(Vec<u8>),
}

/// What an answer tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An address.
    Address(IpAddr),
    /// A name.
    Name(String),
}

/// By which way a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Datagrams, which have a largest size.
    Udp,
    /// A stream.
    Tcp,
}

impl Question {
    /// Reads a message.
    ///
    /// # Errors
    /// It is no question that can be answered, or passed on.
    pub fn read(message: &[u8]) -> Result<Self, Fault> {
        if message.len() < HEADER || message[2] & RESPONSE != 0 {
            return Err(Fault::Silence);
        }
        let say = |code| Fault::Say(bare(message, code));
        if message[2] & OPCODE != 0 {
            return Err(say(Code::NotImplemented));
        }
        let [questions, answers, authorities, more] = [4, 6, 8, 10].map(|at| number(message, at).unwrap_or_default());
        let format = || say(Code::Format);
        if (questions, answers, authorities) != (1, 0, 0) {
            return Err(format());
        }
        let (name, at) = read_name(message).ok_or_else(format)?;
        let kind = number(message, at).ok_or_else(format)?;
        let class = number(message, at + 2).ok_or_else(format)?;
        let end = at + 4;
        // What may follow is, but for rare cases, one record that says what the asker can take.
        let extended = more > 0 && message.get(end) == Some(&0) && number(message, end + 1) == Some(OPT);
        let size = if extended { number(message, end + 3).map_or(PLAIN, usize::from) } else { PLAIN };
        Ok(Self { name, kind, internet: INTERNET.contains(&class), end, size: size.max(PLAIN), extended })
    }

    /// The address whose name is asked for, if that is what is asked for.
    pub fn reverse(&self) -> Option<IpAddr> {
        let name = self.name.as_deref().filter(|_| self.kind == PTR)?;
        if let Some(v4) = name.strip_suffix(".in-addr.arpa") {
            let octets = v4.rsplit('.').collect::<Vec<_>>();
            return octets.join(".").parse().ok().map(IpAddr::V4);
        }
        let nibbles = name.strip_suffix(".ip6.arpa")?;
        let mut bytes = [0_u8; 16];
        let mut seen = 0;
        for nibble in nibbles.rsplit('.') {
            let value = u8::from_str_radix(nibble, 16).ok().filter(|_| nibble.len() == 1 && seen < 32)?;
            bytes[seen / 2] |= if seen % 2 == 0 { value << 4 } else { value };
            seen += 1;
        }
        (seen == 32).then(|| IpAddr::from(bytes))
    }

    /// Whether it asks for addresses.
    pub fn asks_addresses(&self) -> bool {
        matches!(self.kind, A | AAAA)
    }

    /// Whether its name has one label only.
    pub fn is_bare(&self) -> bool {
        self.name.as_ref().is_some_and(|name| !name.contains('.'))
    }

    /// An answer to this question of a message. What does not fit is left out, and the answer says so.
    pub fn answer(&self, message: &[u8], by: By, code: Code, records: &[Record]) -> Vec<u8> {
        let mut answer = message[..self.end.min(message.len())].to_vec();
        answer[2] = RESPONSE | message[2] & RECURSION_DESIRED;
        answer[3] = RECURSION_AVAILABLE | code as u8;
        answer[6..HEADER].fill(0);
        let most = if by == By::Udp { self.size } else { usize::from(u16::MAX) };
        let room = most - if self.extended { EXTENSION } else { 0 };
        let mut count = 0_u16;
        for record in records {
            let Some(data) = data(record) else { continue };
            let kind = match record {
                Record::Address(IpAddr::V4(_)) => A,
                Record::Address(IpAddr::V6(_)) => AAAA,
                Record::Name(_) => PTR,
            };
            if answer.len() + 12 + data.len() > room {
                answer[2] |= TRUNCATED;
                break;
            }
            // The name: that of the question.
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend(INTERNET[0].to_be_bytes());
            answer.extend(TTL.to_be_bytes());
            answer.extend(u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
            answer.extend(data);
            count += 1;
        }
        answer[6..8].copy_from_slice(&count.to_be_bytes());
        if self.extended {
            answer[11] = 1;
            answer.push(0);
            answer.extend([OPT, OWN_SIZE].map(u16::to_be_bytes).concat());
            answer.extend([0; 6]);
        }
        answer
    }

    /// What another server says to this question of a message; none if it is no answer to it.
    pub fn verdict(&self, message: &[u8], answer: &[u8]) -> Option<Verdict> {
        if answer.len() < HEADER || answer[..2] != message[..2] || answer[2] & RESPONSE == 0 {
            return None;
        }
        let failed = matches!(answer[3] & 0x0f, code if code == Code::Failure as u8 || code == Code::Refused as u8);
        let of = |bytes: &[u8]| bytes.get(HEADER..self.end).map(<[u8]>::to_ascii_lowercase);
        match number(answer, 4) {
            Some(1) if of(answer).is_some() && of(answer) == of(message) => {
                Some(if failed { Verdict::Failed } else { Verdict::Answered })
            }
            // Who could not read the question need not repeat it.
            Some(0) if answer[3] & 0x0f != 0 => Some(Verdict::Failed),
            _ => None,
        }
    }
}

/// What another server's answer is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It says what is so.
    Answered,
    /// It could not say: the next one may.
    Failed,
}

/// Bytes of the record that says how much this resolver takes.
const EXTENSION: usize = 11;

fn number(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

/// An answer without a question.
fn bare(message: &[u8], code: Code) -> Vec<u8> {
    let mut answer = message[..HEADER].to_vec();
    answer[2] = RESPONSE | message[2] & (OPCODE | RECURSION_DESIRED);
    answer[3] = RECURSION_AVAILABLE | code as u8;
    answer[4..].fill(0);
    answer
}

/// The name behind the header, and where it ends. A question has no name before it that it could point to.
fn read_name(message: &[u8]) -> Option<(Option<String>, usize)> {
    let mut name = Vec::with_capacity(64);
    let (mut at, mut plain) = (HEADER, true);
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        let label = message.get(at..at + len).filter(|_| len < 64 && at + len - HEADER < NAME)?;
        plain &= !label.contains(&b'.');
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend(label.to_ascii_lowercase());
        at += len;
    }
    let name = String::from_utf8(name).ok().filter(|name| plain && !name.is_empty());
    Some((name, at))
}

/// A record's data; none for a name that no message can hold.
fn data(record: &Record) -> Option<Vec<u8>> {
    match record {
        Record::Address(IpAddr::V4(address)) => Some(address.octets().to_vec()),
        Record::Address(IpAddr::V6(address)) => Some(address.octets().to_vec()),
        Record::Name(name) => {
            let mut bytes = Vec::with_capacity(name.len() + 2);
            for label in name.split('.') {
                let len = u8::try_from(label.len()).ok().filter(|len| (1..64).contains(len))?;
                bytes.push(len);
                bytes.extend(label.bytes());
            }
            bytes.push(0);
            (bytes.len() <= NAME).then_some(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question as a client sends it.
    fn ask(name: &str, kind: u16, size: Option<u16>) -> Vec<u8> {
        let mut message = vec![7, 9, RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(size.is_some())];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            message.push(u8::try_from(label.len()).expect("short"));
            message.extend(label.bytes());
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        if let Some(size) = size {
            message.push(0);
            message.extend(OPT.to_be_bytes());
            message.extend(size.to_be_bytes());
            message.extend([0; 6]);
        }
        message
    }

    fn addresses(count: u8) -> Vec<Record> {
        (0..count).map(|n| Record::Address(IpAddr::from([10, 0, 0, n]))).collect()
    }

    #[test]
    fn questions_are_read_and_answered() {
        let message = ask("Web.Front", A, None);
        let question = Question::read(&message).expect("a question");
        assert_eq!((question.name.as_deref(), question.kind, question.internet), (Some("web.front"), A, true));
        let answer = question.answer(&message, By::Udp, Code::NoError, &addresses(2));
        assert_eq!(answer[..12], [7, 9, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0]);
        assert_eq!(answer[12..message.len()], message[12..], "as it was spelled");
        assert_eq!(answer[message.len()..][..16], [0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 10, 0, 0, 0]);
        assert_eq!(question.verdict(&message, &answer), Some(Verdict::Answered));
        let failed = question.answer(&message, By::Udp, Code::Refused, &[]);
        assert_eq!(question.verdict(&message, &failed), Some(Verdict::Failed));
    }

    #[test]
    fn only_an_answer_to_the_question_is_one() {
        let message = ask("web", A, None);
        let question = Question::read(&message).expect("a question");
        let answer = question.answer(&message, By::Udp, Code::NoError, &[]);
        for (at, value) in [(0, 8), (2, 1), (5, 2), (13, b'x'), (16, 7), (18, 9)] {
            let mut other = answer.clone();
            other[at] = value;
            assert_eq!(question.verdict(&message, &other), None, "{at}");
        }
        for len in 0..answer.len() {
            assert_eq!(question.verdict(&message, &answer[..len]), None, "{len}");
        }
        let mut refused = answer[..12].to_vec();
        (refused[3], refused[5]) = (1, 0);
        assert_eq!(question.verdict(&message, &refused), Some(Verdict::Failed));
        let mut spelled = answer;
        spelled[13] = b'W';
        assert_eq!(question.verdict(&message, &spelled), Some(Verdict::Answered));
    }

    #[test]
    fn an_answer_fits_or_says_that_it_does_not() {
        let plain = ask("web", A, None);
        let question = Question::read(&plain).expect("a question");
        let answer = question.answer(&plain, By::Udp, Code::NoError, &addresses(200));
        assert!(answer.len() <= 512 && answer[2] & TRUNCATED != 0 && answer[7] == 30, "{answer:?}");
        let whole = question.answer(&plain, By::Tcp, Code::NoError, &addresses(200));
        assert!(whole[2] & TRUNCATED == 0 && whole[7] == 200);
        let large = ask("web", A, Some(1232));
        let question = Question::read(&large).expect("a question");
        let answer = question.answer(&large, By::Udp, Code::NoError, &addresses(200));
        assert!(answer.len() <= 1232 && answer.len() > 1200 && answer[2] & TRUNCATED != 0);
        assert_eq!(answer[answer.len() - EXTENSION..], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        // Who takes less than everybody must is taken for one who takes that.
        let small = ask("web", A, Some(3));
        assert_eq!(Question::read(&small).expect("a question").size, 512);
    }

    #[test]
    fn reverse_names_are_addresses() {
        let reverse = |name: &str| Question::read(&ask(name, PTR, None)).expect("a question").reverse();
        assert_eq!(reverse("2.0.18.172.in-addr.ARPA"), Some(IpAddr::from([172, 18, 0, 2])));
        let zeros = "0.".repeat(22);
        let v6 = reverse(&format!("5.{}0.{zeros}7.7.d.f.ip6.arpa", "0.".repeat(4)));
        assert_eq!(v6, Some("fd77::5".parse().expect("address")));
        for other in ["2.0.18.172", "0.18.172.in-addr.arpa", "256.0.18.172.in-addr.arpa", "a.b.c.d.in-addr.arpa"] {
            assert_eq!(reverse(other), None, "{other}");
        }
        for other in ["ip6.arpa", "0.ip6.arpa", "00.ip6.arpa"] {
            assert_eq!(reverse(other), None, "{other}");
        }
        assert_eq!(reverse(&format!("{}ip6.arpa", "0.".repeat(33))), None);
        let message = ask("2.0.18.172.in-addr.arpa", PTR, None);
        let question = Question::read(&message).expect("a question");
        let records = [Record::Name("web.front".into()), Record::Name("a..b".into()), Record::Name("x".repeat(64))];
        let answer = question.answer(&message, By::Udp, Code::NoError, &records);
        assert_eq!(answer[7], 1, "names that no message can hold are left out");
        assert!(answer.ends_with(b"\x03web\x05front\x00"));
    }

    #[test]
    fn hostile_messages_are_no_questions() {
        let good = ask("web.front", A, Some(1232));
        for len in 0..good.len() {
            match Question::read(&good[..len]) {
                Ok(question) => assert!(len >= question.end),
                Err(Fault::Silence) => assert!(len < HEADER),
                Err(Fault::Say(answer)) => assert_eq!((answer.len(), answer[3] & 15), (HEADER, Code::Format as u8)),
            }
        }
        let change = |at: usize, value: u8| {
            let mut message = good.clone();
            message[at] = value;
            message
        };
        // Answers, other questions, several of them, none of them, names that point anywhere or have no end.
        assert_eq!(Question::read(&change(2, RESPONSE)), Err(Fault::Silence));
        for (at, value, code) in [
            (2, 0x28, Code::NotImplemented),
            (5, 0, Code::Format),
            (5, 2, Code::Format),
            (7, 1, Code::Format),
            (9, 1, Code::Format),
            (12, 0xc0, Code::Format),
            (12, 0x40, Code::Format),
            (12, 63, Code::Format),
        ] {
            let Err(Fault::Say(answer)) = Question::read(&change(at, value)) else { panic!("{at} {value}") };
            assert_eq!((answer[3] & 15, answer[2] & RESPONSE), (code as u8, RESPONSE), "{at} {value}");
        }
        let long = vec!["x".repeat(63); 4].join(".");
        assert!(matches!(Question::read(&ask(&long, A, None)), Err(Fault::Say(_))));
        // Names that no container has are passed on.
        let mut dotted = ask("web", A, None);
        dotted[14] = b'.';
        assert_eq!(Question::read(&dotted).expect("a question").name, None);
        dotted[14] = 0xff;
        assert_eq!(Question::read(&dotted).expect("a question").name, None);
        assert_eq!(Question::read(&ask("", A, None)).expect("a question").name, None);
        // Whatever comes, nothing but an answer comes of it.
        let mut noise = 1_u32;
        for _ in 0..20_000 {
            let mut message = good.clone();
            for _ in 0..3 {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (noise >> 8) as usize % message.len();
                message[at] = (noise >> 24) as u8;
            }
            message.truncate(HEADER + (noise >> 4) as usize % good.len());
            if let Ok(question) = Question::read(&message) {
                let answer = question.answer(&message, By::Udp, Code::NoError, &addresses(50));
                assert!(answer.len() <= question.size);
                let _ = question.verdict(&message, &answer);
                let _ = question.reverse();
            }
        }
    }
}
