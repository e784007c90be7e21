//! A small HTTP client over a plain socket: it sends what it is told and hides nothing.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A request as it goes over the wire.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Sent in chunks?
    pub chunked: bool,
}

/// A response as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Got {
    /// Status code.
    pub status: u16,
    /// Header fields, by canonical name.
    pub headers: BTreeMap<String, String>,
    /// Body.
    pub body: Vec<u8>,
}

/// Longer than any case waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a request on a connection of its own and reads the response.
///
/// Fails when the connection does, or when no answer comes for a minute.
pub fn send(address: SocketAddr, wanted: &Wanted) -> io::Result<Got> {
    send_within(address, wanted, PATIENCE)
}

/// Does the same with other patience, for connecting and for each piece of the answer.
pub fn send_within(address: SocketAddr, wanted: &Wanted, patience: Duration) -> io::Result<Got> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {address}\r\n", wanted.method, wanted.target);
    for (name, value) in &wanted.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("Connection: close\r\n");
    let mut bytes = Vec::new();
    if wanted.chunked {
        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
        bytes.extend_from_slice(head.as_bytes());
        for chunk in wanted.body.chunks(1_000) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    } else {
        if !wanted.body.is_empty() || !matches!(&*wanted.method, "GET" | "HEAD") {
            head.push_str(&format!("Content-Length: {}\r\n", wanted.body.len()));
        }
        head.push_str("\r\n");
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(&wanted.body);
    }
    // The other side may answer and close before it has read everything.
    let sent = stream.write_all(&bytes);
    read(BufReader::new(stream), &wanted.method).or_else(|error| sent.and(Err(error)))
}

fn read(mut reader: BufReader<TcpStream>, method: &str) -> io::Result<Got> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut got = Got { status: status.ok_or_else(|| bad("no status"))?, ..Got::default() };
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        got.headers.insert(canonical(name), value.trim().to_owned());
    }
    if method == "HEAD" {
        return Ok(got);
    }
    let length = got.headers.get("Content-Length").and_then(|length| length.parse().ok());
    if got.headers.get("Transfer-Encoding").is_some_and(|coding| coding == "chunked") {
        got.headers.remove("Transfer-Encoding");
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(|_| bad("chunk size"))?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            got.body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = length {
        got.body = vec![0; length];
        reader.read_exact(&mut got.body)?;
    } else {
        reader.read_to_end(&mut got.body)?;
    }
    Ok(got)
}

/// Writes a header's name as Go does: `X-Consul-Index`.
pub fn canonical(name: &str) -> String {
    let part = |part: &str| {
        let mut letters = part.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters.map(|c| c.to_ascii_lowercase())).collect::<String>()
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}
