//! How often the router allocates memory for a request that it passes on. Not a measure of time, so
//! that it can guard what makes the router fast wherever the tests run.
//!
//! A binary of its own, since an allocator is a whole program's.

#[cfg(test)]
mod of_the_router {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;
    use std::fs;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::Duration;

    use kennel_router::{Command, Limits, Settings, Sockets, run_embedded};
    use tokio::sync::mpsc::unbounded_channel;

    /// What docs/performance.md promises.
    const MOST: u64 = 5;
    /// More than what happens once a second is seen in.
    const REQUESTS: u64 = 2000;

    static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

    thread_local! {
        /// Whether this thread is the test's own.
        static OWN: Cell<bool> = const { Cell::new(false) };
    }

    /// The system's allocator, which counts what the router's threads want.
    struct Counting;

    #[allow(unsafe_code, reason = "an allocator is one")]
    // SAFETY: each call is passed on as it is, and counting allocates nothing.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            count();
            // SAFETY: as the caller promises.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: as the caller promises.
            unsafe { System.dealloc(pointer, layout) }
        }

        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            count();
            // SAFETY: as the caller promises.
            unsafe { System.realloc(pointer, layout, size) }
        }
    }

    fn count() {
        // A thread that ends has none any more, and is none of the router's.
        if OWN.try_with(Cell::get) == Ok(false) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    /// A service that gives the same answer to every request.
    fn service(answer: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            OWN.set(true);
            for stream in listener.incoming() {
                let (mut stream, answer) = (stream.unwrap(), answer.clone());
                thread::spawn(move || {
                    OWN.set(true);
                    let mut request = [0; 4096];
                    // Each request is small enough to come at once.
                    while stream.read(&mut request).is_ok_and(|count| count > 0) {
                        stream.write_all(&answer).unwrap();
                    }
                });
            }
        });
        address
    }

    /// Asks `count` times over one connection.
    fn ask(stream: &mut TcpStream, len: usize, count: u64) {
        let mut answer = vec![0; len];
        for _ in 0..count {
            let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n";
            stream.write_all(request).unwrap();
            let mut seen = 0;
            while seen < len {
                let read = stream.read(&mut answer[seen..]).unwrap();
                assert_ne!(read, 0, "the connection ended");
                seen += read;
            }
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        }
    }

    #[test]
    fn of_a_request_that_is_passed_on() {
        OWN.set(true);
        let body = "k".repeat(1024);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: x\r\nContent-Length: 1024\r\n\r\n";
        let service = service(format!("{head}{body}").into_bytes());

        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("routes.json");
        let port = service.port();
        let target =
            format!(r#"{{"kind":"service","deployment":1,"port":{port},"health_check":"/"}}"#);
        let hosts = format!(r#"{{"a.example":[{{"prefix":"/","target":{target}}}]}}"#);
        fs::write(&table, format!(r#"{{"version":1,"generation":1,"hosts":{hosts}}}"#)).unwrap();
        let sockets = Sockets::bind(&["127.0.0.1:0".parse().unwrap()], &[], None).unwrap();
        let (_, address) = sockets.addresses()[0];
        let settings = Settings {
            table,
            certificates: dir.path().join("certs"),
            logins: dir.path().join("logins.json"),
            challenges: dir.path().join("challenges"),
            journal: dir.path().join("journal"),
            store: dir.path().join("store"),
            relief: dir.path().join("relief"),
            workers: 1,
            limits: Limits::default(),
        };
        let (commands, receiver) = unbounded_channel();
        let router = thread::spawn(move || run_embedded(settings, sockets, receiver));

        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n").unwrap();
        // The router adds the date.
        let mut answer = [0; 4096];
        let mut len = 0;
        while !answer[..len].ends_with(body.as_bytes()) {
            len += stream.read(&mut answer[len..]).unwrap();
        }
        ask(&mut stream, len, 200);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        ask(&mut stream, len, REQUESTS);
        let each = (ALLOCATIONS.load(Ordering::Relaxed) - before).div_ceil(REQUESTS);
        assert!(each <= MOST, "{each} allocations for each request");

        commands.send(Command::Stop).unwrap();
        drop(stream);
        router.join().unwrap().unwrap();
    }
}
