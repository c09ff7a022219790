//! Reads the bodies of responses, so that they cannot exhaust the memory however many come at once. A small one has a
//! buffer of its own. Large ones share a few buffers, which are used again: the allocator does not give all that is freed
//! back to the system.

use std::io::Read;
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use ureq::Error;

use super::transport_error::MAX_BODY;

/// A small body, in bytes.
const SMALL: usize = 64 * 1024;
/// How many large ones are read at once.
const MAX_LARGE: usize = 6;

pub(super) struct Bodies {
    /// The free buffers.
    large: Mutex<Vec<Vec<u8>>>,
    freed: Condvar,
    /// Held while something is made of a body.
    use_one: Mutex<()>,
}

impl Bodies {
    pub(super) fn new() -> Self {
        Bodies { large: Mutex::new(vec![Vec::new(); MAX_LARGE]), freed: Condvar::new(), use_one: Mutex::new(()) }
    }

    /// Reads a body of at most `MAX_BODY` bytes to its end, and returns what `make` makes of it, of one body at a time. Waits
    /// for a buffer until `end`.
    pub(super) fn read<T>(&self, mut body: impl Read, end: Instant, make: impl FnOnce(Result<&[u8], Error>) -> T) -> T {
        let make = |read: Result<&[u8], Error>| {
            let _guard = self.use_one.lock().unwrap();
            make(read)
        };
        let mut small = Vec::new();
        match body.by_ref().take(SMALL as u64).read_to_end(&mut small) {
            Ok(SMALL) => {}
            read => return make(read.map(|_| &*small).map_err(Error::from)),
        }
        let Some(mut large) = self.take_large(end) else {
            return make(Err(Error::Timeout(ureq::Timeout::RecvBody)));
        };
        large.clear();
        large.reserve_exact(MAX_BODY as usize);
        large.append(&mut small);
        let read = body.read_to_end(&mut large);
        let made = make(read.map(|_| &*large).map_err(Error::from));
        self.large.lock().unwrap().push(large);
        self.freed.notify_one();
        made
    }

    fn take_large(&self, end: Instant) -> Option<Vec<u8>> {
        let mut large = self.large.lock().unwrap();
        loop {
            if let Some(buffer) = large.pop() {
                return Some(buffer);
            }
            let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            large = self.freed.wait_timeout(large, left).unwrap().0;
        }
    }
}

/// Keeps glibc from raising the size from which a block is given back to the system once it is freed: otherwise each thread
/// keeps what it needed for its largest answer. To be called before the first request.
pub fn give_large_blocks_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt(3) sets a number, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1024 * 1024);
    }
}
