//! A small HTTP/1.1 server: one thread for each connection.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

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

/// What is answered.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers; the length is added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A text with a status.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), "text/plain".to_owned())],
            body: body.into().into_bytes(),
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
        Self::with(handler, false)
    }

    /// The same, but a connection stays open for more requests until the client closes it, as servers on the
    /// internet do. It may outlive the server, for as long as its client does.
    pub fn keeping_alive(
        handler: impl Fn(Request) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        Self::with(handler, true)
    }

    fn with(
        handler: impl Fn(Request) -> Option<Response> + Send + Sync + 'static,
        keep_alive: bool,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the port");
        let stopped = Arc::new(AtomicBool::new(false));
        let handler = Arc::new(handler);
        let accepting = thread::spawn({
            let stopped = Arc::clone(&stopped);
            move || {
                for connection in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(connection) = connection else { continue };
                    let handler = Arc::clone(&handler);
                    // A client that goes away in the middle is part of the tests.
                    thread::spawn(move || drop(serve(&connection, handler.as_ref(), keep_alive)));
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
    connection: &TcpStream,
    handler: &(impl Fn(Request) -> Option<Response> + ?Sized),
    keep_alive: bool,
) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection);
    while let Some(request) = read_request(&mut reader, connection)? {
        let Some(response) = handler(request) else {
            break;
        };
        write_response(connection, &response, keep_alive)?;
        if !keep_alive {
            break;
        }
    }
    Ok(())
}

fn read_request(
    reader: &mut impl BufRead,
    mut connection: &TcpStream,
) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
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
    let says = |name: &str, value: &str| {
        request
            .header(name)
            .is_some_and(|header| header.eq_ignore_ascii_case(value))
    };
    if says("expect", "100-continue") {
        connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if says("transfer-encoding", "chunked") {
        request.body = read_chunks(reader)?;
    } else if let Some(length) = request.header("content-length") {
        let length: usize = length.parse().map_err(|_| malformed())?;
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
    }
    Ok(Some(request))
}

fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let digits = line.trim().split(';').next().unwrap_or_default();
        let length = usize::from_str_radix(digits, 16)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
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
    mut connection: &TcpStream,
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
    answer.extend_from_slice(&response.body);
    connection.write_all(&answer)?;
    connection.flush()
}
