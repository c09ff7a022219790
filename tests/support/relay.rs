//! Distance on loopback: whatever passes is held back for half a round trip, each way, and noted down.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    Client,
    Server,
}

type Said = (Side, Vec<u8>);

/// Runs until the process ends.
pub struct Relay {
    pub address: SocketAddr,
    /// What each side said, in the order in which it came in here, over all connections.
    said: Arc<Mutex<Vec<Said>>>,
}

impl Relay {
    pub fn start(server: SocketAddr, round_trip: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let relay = Relay { address: listener.local_addr().expect("its address"), said: Arc::default() };
        let said = relay.said.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that is gone is no concern of the relay's.
                let _ = relay_both_ways(client, server, round_trip, &said);
            }
        });
        relay
    }

    pub fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap().clone()
    }
}

fn relay_both_ways(
    client: TcpStream,
    server: SocketAddr,
    round_trip: Duration,
    said: &Arc<Mutex<Vec<Said>>>,
) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    // Loopback connects at once: what the client says first makes up for that round trip.
    for (side, from, to, connecting) in [
        (Side::Client, client.try_clone()?, server.try_clone()?, round_trip),
        (Side::Server, server, client, Duration::ZERO),
    ] {
        to.set_nodelay(true)?;
        let said = said.clone();
        let note = move |bytes: &[u8]| said.lock().unwrap().push((side, bytes.to_owned()));
        thread::spawn(move || relay_one_way(from, to, round_trip / 2, connecting, note).ok());
    }
    Ok(())
}

fn relay_one_way(
    mut from: TcpStream,
    mut to: TcpStream,
    delay: Duration,
    mut connecting: Duration,
    note: impl Fn(&[u8]),
) -> io::Result<()> {
    let (sender, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (time, bytes) in due {
            thread::sleep(time.saturating_duration_since(Instant::now()));
            to.write_all(&bytes)?;
        }
        to.shutdown(Shutdown::Write)
    });
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer)?;
        let arrival = Instant::now() + delay + connecting;
        connecting = Duration::ZERO;
        if count == 0 || sender.send((arrival, buffer[..count].to_owned())).is_err() {
            return Ok(());
        }
        note(&buffer[..count]);
    }
}
