//! A name server of the host, made by a test: it answers what it was told to, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

/// Types of records.
pub const A: u16 = 1;
/// Texts.
pub const TXT: u16 = 16;

/// What a name server answers to a name.
#[derive(Clone, Debug)]
pub enum Says {
    /// One address.
    Address([u8; 4]),
    /// So many texts of 200 bytes each, which a datagram does not hold.
    Texts(u8),
    /// That it cannot answer.
    Failure,
    /// Nothing.
    Silence,
}

/// A question that was asked, by datagram or not, and from which address.
pub type Asked = (String, u16, bool, SocketAddr);

#[derive(Clone)]
pub struct Oracle {
    pub address: SocketAddr,
    known: Arc<Mutex<BTreeMap<String, Says>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Oracle {
    /// One at this address of the host, at a port of its own for datagrams and streams.
    pub fn at(ip: &str) -> Oracle {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind((ip, 0)).unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                break (tcp, udp);
            }
        };
        let oracle = Oracle { address: tcp.local_addr().unwrap(), known: Arc::default(), asked: Arc::default() };
        let (by_datagram, by_stream) = (oracle.clone(), oracle.clone());
        std::thread::spawn(move || {
            let mut space = [0; 4096];
            while let Ok((len, from)) = udp.recv_from(&mut space) {
                if let Some(answer) = by_datagram.answer(&space[..len], true, from) {
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                let oracle = by_stream.clone();
                std::thread::spawn(move || -> std::io::Result<()> {
                    let from = stream.peer_addr()?;
                    let mut len = [0; 2];
                    while stream.read_exact(&mut len).is_ok() {
                        let mut question = vec![0; u16::from_be_bytes(len).into()];
                        stream.read_exact(&mut question)?;
                        let Some(answer) = oracle.answer(&question, false, from) else { continue };
                        let len = u16::try_from(answer.len()).unwrap().to_be_bytes();
                        // In pieces, as a network may deliver it.
                        stream.write_all(&len[..1])?;
                        stream.write_all(&[&len[1..], &answer[..9]].concat())?;
                        stream.write_all(&answer[9..])?;
                    }
                    Ok(())
                });
            }
        });
        oracle
    }

    pub fn knows(&self, name: &str, says: Says) {
        self.known.lock().unwrap().insert(name.to_owned(), says);
    }

    /// The names that it has been asked for.
    pub fn names(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(name, ..)| name.clone()).collect()
    }

    /// Whether it was asked for a name by a stream.
    pub fn was_asked_by_stream(&self, name: &str) -> bool {
        self.asked.lock().unwrap().iter().any(|(asked, _, datagram, _)| asked == name && !datagram)
    }

    /// A line of a resolv.conf.
    pub fn line(&self) -> String {
        format!("nameserver {}\n", self.address)
    }

    fn answer(&self, question: &[u8], datagram: bool, from: SocketAddr) -> Option<Vec<u8>> {
        let mut at = 12;
        let mut labels = vec![];
        while question[at] != 0 {
            let len = usize::from(question[at]);
            labels.push(String::from_utf8_lossy(&question[at + 1..at + 1 + len]).into_owned());
            at += len + 1;
        }
        let (name, kind) = (labels.join("."), u16::from_be_bytes([question[at + 1], question[at + 2]]));
        self.asked.lock().unwrap().push((name.clone(), kind, datagram, from));
        let says = self.known.lock().unwrap().get(&name).cloned();
        let mut answer = question[..at + 5].to_vec();
        answer[2] = 0x81;
        answer[6..12].fill(0);
        let mut record = |kind: u16, data: &[u8]| {
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1, 0, 0, 0, 60]);
            answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            answer.extend(data);
            answer[7] += 1;
        };
        let code = match says {
            Some(Says::Address(address)) if kind == A => {
                record(A, &address);
                0
            }
            Some(Says::Texts(count)) if kind == TXT => {
                (0..count).for_each(|n| record(TXT, &[vec![200], vec![b'a' + n % 26; 200]].concat()));
                0
            }
            Some(Says::Address(_) | Says::Texts(_)) => 0,
            Some(Says::Failure) => 2,
            Some(Says::Silence) => return None,
            None => 3,
        };
        answer[3] = 0x80 | code;
        if datagram && answer.len() > 512 {
            answer.truncate(at + 5);
            answer[2] |= 2;
            answer[7] = 0;
        }
        Some(answer)
    }
}
