//! A small HTTP/1.1 server, with or without TLS: one thread for each connection.

mod tls;

use std::fmt::{self, Write as _};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use self::tls::Identity;
use crate::certificates::Certificates;

/// A request with its whole body, chunks already joined.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path, without query.
    pub path: String,
    /// What stands behind `?`; empty without one.
    pub query: String,
    /// Names in lower case, values as sent.
    pub headers: Vec<(String, String)>,
    /// The body as sent; `content-encoding` is left to the handler.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of that name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(candidate, _)| candidate == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Returns once something has happened.
#[derive(Clone)]
pub struct Wait(Arc<dyn Fn() + Send + Sync>);

impl Wait {
    /// Until a function returns.
    pub fn until(returns: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(returns))
    }

    /// Waits.
    pub fn pass(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Wait")
    }
}

/// How much of a request's body is read.
#[derive(Debug, Clone)]
pub enum Reading {
    /// All of it.
    Whole,
    /// Half of it; then the connection stays open for a while, and is closed without an answer.
    Half(Wait),
}

/// How much of an answer's body is sent.
#[derive(Debug, Clone)]
pub enum Sending {
    /// All of it.
    Whole,
    /// So many bytes, under a head that tells of all of them. Then the connection is closed.
    Cut(usize),
    /// The same, but the connection stays open for a while.
    Stall(usize, Wait),
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers; the length is added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How much of it is sent.
    pub sending: Sending,
}

impl Response {
    /// A text with a status.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), "text/plain".to_owned())],
            body: body.into().into_bytes(),
            sending: Sending::Whole,
        }
    }

    /// JSON with a status.
    #[must_use]
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self {
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            ..Self::text(status, body)
        }
    }

    /// The same as another type.
    #[must_use]
    pub fn with_type(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| header != "Content-Type");
        self.with("Content-Type", name)
    }

    /// One more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A server on a free port of 127.0.0.1; it ends when dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Starts a server that closes each connection behind its one answer. The handler may take its time; `None`
    /// closes the connection without an answer.
    pub fn start(handler: impl Fn(Request) -> Option<Response> + Send + Sync + 'static) -> Self {
        Self::with(|_| Reading::Whole, handler, false)
    }

    /// The same, but a connection stays open for more requests until the client closes it, as servers on the
    /// internet do. It may outlive the server, for as long as its client does.
    pub fn keeping_alive(
        handler: impl Fn(Request) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        Self::with(|_| Reading::Whole, handler, true)
    }

    /// The same over TLS, by the server's certificate.
    pub fn over_tls(
        certificates: &Certificates,
        handler: impl Fn(Request) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        let identity = Identity::read(certificates);
        Self::accept(move |connection| {
            let connection = identity.greet(connection)?;
            serve(connection, &|_| Reading::Whole, &handler, true)
        })
    }

    /// The same as one of the first two; `reading` is asked with the head of each request before its body is read.
    pub fn with(
        reading: impl Fn(&Request) -> Reading + Send + Sync + 'static,
        handler: impl Fn(Request) -> Option<Response> + Send + Sync + 'static,
        keep_alive: bool,
    ) -> Self {
        Self::accept(move |connection| serve(connection, &reading, &handler, keep_alive))
    }

    /// Serves each connection in a thread of its own.
    fn accept(serving: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the port");
        let stopped = Arc::new(AtomicBool::new(false));
        let serving = Arc::new(serving);
        let accepting = thread::spawn({
            let stopped = Arc::clone(&stopped);
            move || {
                for connection in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(connection) = connection else { continue };
                    let serving = Arc::clone(&serving);
                    // A client that goes away in the middle is part of the tests.
                    thread::spawn(move || {
                        drop(connection.set_nodelay(true));
                        drop(serving(connection));
                    });
                }
            }
        });
        Self {
            address,
            stopped,
            accepting: Some(accepting),
        }
    }

    /// The address, as `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of this server; the path begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

fn serve(
    connection: impl Read + Write,
    reading: &impl Fn(&Request) -> Reading,
    handler: &impl Fn(Request) -> Option<Response>,
    keep_alive: bool,
) -> io::Result<()> {
    let mut connection = BufReader::new(connection);
    while let Some(mut request) = read_head(&mut connection)? {
        match reading(&request) {
            Reading::Whole => read_body(&mut request, &mut connection)?,
            Reading::Half(wait) => {
                read_half(&request, &mut connection)?;
                wait.0();
                break;
            }
        }
        let Some(response) = handler(request) else {
            break;
        };
        write_response(connection.get_mut(), &response, keep_alive)?;
        if !keep_alive || !matches!(response.sending, Sending::Whole) {
            break;
        }
    }
    Ok(())
}

fn malformed() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// A request without its body.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut parts = line.split_whitespace();
    let method = parts.next().ok_or_else(malformed)?.to_owned();
    let target = parts.next().ok_or_else(malformed)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        request
            .headers
            .push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Some(request))
}

fn says(request: &Request, name: &str, value: &str) -> bool {
    request
        .header(name)
        .is_some_and(|header| header.eq_ignore_ascii_case(value))
}

fn ask_for_the_body(request: &Request, connection: &mut impl Write) -> io::Result<()> {
    if says(request, "expect", "100-continue") {
        connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        connection.flush()?;
    }
    Ok(())
}

fn length_of(request: &Request) -> io::Result<usize> {
    let length = request.header("content-length").unwrap_or("0");
    length.parse().map_err(|_| malformed())
}

fn read_body(request: &mut Request, reader: &mut BufReader<impl Read + Write>) -> io::Result<()> {
    ask_for_the_body(request, reader.get_mut())?;
    if says(request, "transfer-encoding", "chunked") {
        request.body = read_chunks(reader)?;
    } else {
        request.body = vec![0; length_of(request)?];
        reader.read_exact(&mut request.body)?;
    }
    Ok(())
}

/// Reads half of a body, or half of its first chunk, and forgets it.
fn read_half(request: &Request, reader: &mut BufReader<impl Read + Write>) -> io::Result<()> {
    ask_for_the_body(request, reader.get_mut())?;
    let length = if says(request, "transfer-encoding", "chunked") {
        read_length_of_chunk(reader)?
    } else {
        length_of(request)?
    };
    reader.read_exact(&mut vec![0; length / 2])
}

fn read_length_of_chunk(reader: &mut impl BufRead) -> io::Result<usize> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let digits = line.trim().split(';').next().unwrap_or_default();
    usize::from_str_radix(digits, 16).map_err(|_| malformed())
}

fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length = read_length_of_chunk(reader)?;
        let start = body.len();
        body.resize(start + length, 0);
        reader.read_exact(&mut body[start..])?;
        let mut end = String::new();
        reader.read_line(&mut end)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn write_response(
    connection: &mut impl Write,
    response: &Response,
    keep_alive: bool,
) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Answer\r\n", response.status);
    for (name, value) in &response.headers {
        // Writing to a String cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(
        head,
        "Content-Length: {}\r\nConnection: {}\r\n\r\n",
        response.body.len(),
        if keep_alive { "keep-alive" } else { "close" }
    );
    let mut answer = head.into_bytes();
    let sent = match &response.sending {
        Sending::Whole => response.body.len(),
        Sending::Cut(bytes) | Sending::Stall(bytes, _) => *bytes,
    };
    answer.extend_from_slice(&response.body[..sent]);
    connection.write_all(&answer)?;
    connection.flush()?;
    if let Sending::Stall(_, wait) = &response.sending {
        wait.0();
    }
    Ok(())
}
