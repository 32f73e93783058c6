//! A network that takes its time: a relay that holds everything back by half a round trip each way, and counts how
//! often somebody waits for an answer.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// A relay on a port of its own; new connections end with it.
pub(crate) struct SlowNetwork {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    round_trip: Duration,
    /// When each began.
    round_trips: Mutex<Vec<SystemTime>>,
    ended: AtomicBool,
}

impl SlowNetwork {
    /// A relay to a server, with the time that a question and its answer take.
    pub(crate) fn to(server: SocketAddr, round_trip: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to: server,
            round_trip,
            round_trips: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for connection in listener.incoming().flatten() {
                    if shared.ended.load(Ordering::SeqCst) {
                        return;
                    }
                    shared.relay(&connection);
                }
            }
        });
        Self { address, shared }
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// When each round trip so far began: one to connect, one for each question behind an answer.
    pub(crate) fn round_trips(&self) -> Vec<SystemTime> {
        self.shared.round_trips.lock().unwrap().clone()
    }
}

impl Drop for SlowNetwork {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn count(&self) {
        self.round_trips.lock().unwrap().push(SystemTime::now());
    }

    fn relay(self: &Arc<Self>, client: &TcpStream) {
        let Ok(server) = TcpStream::connect(self.to) else {
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        self.count();
        // Whether the client spoke last: then what it says next belongs to the same question.
        let asking = Arc::new(AtomicBool::new(false));
        let half = self.round_trip / 2;
        // The handshake is a round trip of its own, before the first byte can be sent.
        let connected = Instant::now() + self.round_trip;
        let (this, question) = (Arc::clone(self), Arc::clone(&asking));
        carry(
            client.try_clone().unwrap(),
            server.try_clone().unwrap(),
            move || {
                if !question.swap(true, Ordering::SeqCst) {
                    this.count();
                }
                Instant::now().max(connected) + half
            },
        );
        carry(server, client.try_clone().unwrap(), move || {
            asking.store(false, Ordering::SeqCst);
            Instant::now() + half
        });
    }
}

/// Carries what comes from one side to the other, each piece at its time.
fn carry(mut from: TcpStream, mut to: TcpStream, due: impl Fn() -> Instant + Send + 'static) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut buffer) {
            if count == 0 || sender.send((due(), buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, piece) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_takes_two_round_trips_one_to_connect_and_one_to_ask() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let network = SlowNetwork::to(server.local_addr().unwrap(), Duration::from_millis(100));
        // Before the connection: its round trip counts from when it was taken, whenever this thread goes on.
        let begun = Instant::now();
        let mut client = TcpStream::connect(network.address()).unwrap();
        thread::spawn(move || {
            let (mut connection, _) = server.accept().unwrap();
            let mut asked = [0; 4];
            for _ in 0..2 {
                connection.read_exact(&mut asked).unwrap();
                connection.write_all(b"pong").unwrap();
            }
        });
        let mut answer = [0; 4];
        for _ in 0..2 {
            client.write_all(b"ping").unwrap();
            client.read_exact(&mut answer).unwrap();
        }
        assert!(begun.elapsed() >= Duration::from_millis(300));
        assert_eq!(network.round_trips().len(), 3);
    }
}
