//! Just enough HTTP to ask a server whether it is up.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A server that takes longer than this for an answer does not count as up.
const LONGEST: Duration = Duration::from_secs(2);
/// No answer of a readiness check is near this.
const ANSWER_SIZE_MAX_BYTES: u64 = 1 << 20;

/// The status code and the rest of the answer, headers and all, to a `GET` of `path` from the
/// server on `port` of the loopback interface.
pub(crate) fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    request("GET", port, path)
}

/// [`get`] with `PUT` and no body: how a bucket is made.
pub(crate) fn put(port: u16, path: &str) -> io::Result<(u16, String)> {
    request("PUT", port, path)
}

fn request(method: &str, port: u16, path: &str) -> io::Result<(u16, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, LONGEST)?;
    stream.set_read_timeout(Some(LONGEST))?;
    stream.set_write_timeout(Some(LONGEST))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_SIZE_MAX_BYTES).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let not_http = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP");
    let (status_line, rest) = answer.split_once("\r\n").ok_or_else(not_http)?;
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.ok_or_else(not_http)?, rest.to_owned()))
}
