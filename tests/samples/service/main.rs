//! A small HTTP/1.1 service to deploy: what the end-to-end suite and the demo push.
//!
//! One file and nothing but the standard library, so that `rustc` alone turns it into a static
//! program that runs in a Nix sandbox without inputs. Not part of the workspace, and not an
//! example of how to write a server: it does what a test asks of it, good and bad.
//!
//! `../share/service.conf` beside the program's `bin/` says which version it is and how it
//! misbehaves, one `key = value` a line:
//!
//! | key | meaning |
//! |---|---|
//! | `version` | text that every answer carries as `sample-version:` |
//! | `never_healthy` | `/health` answers 503 for ever |
//! | `exit_at_start` | exit code with which it leaves at once |
//! | `say` | a line for standard error before anything else |
//! | `listen_address` | listens there instead of on `127.0.0.1` |
//! | `listen_port` | listens there instead of on `$PORT` |
//! | `start_delay_ms` | waits before it listens |
//! | `ignore_sigterm` | does not leave when asked to |
//! | `log_lines` | lines of log a second |
//! | `log_megabytes` | so much log, as fast as it is taken, before it serves |
//! | `fork_away` | a child serves; the process itself leaves once the child listens |
//! | `daemon` | has a daemon beside it: a process in a session of its own, whose parent is gone |
//! | `alone` | locks a file in its state directory, and leaves if another has it |
//! | `eat_mib` | memory that it takes before it listens |
//! | `works_ms` | without a port: works for so long, says so, and leaves |
//! | `h2c` | speaks HTTP/2 and nothing else: `200` and its version, whatever is asked |
//!
//! Without `$PORT`, and without `listen_port`, it is a worker: it says `<version> works`, and stays.
//!
//! `visit <host> <requests> <ms>` makes it a visitor instead: that many requests for `/` on port 80,
//! one after the other with a rest between; it prints how many microseconds each took, one a line.
//!
//! `/deaf?ms=<n>` lets nobody in for that long: its port refuses connections.
//!
//! `/eat?mib=<n>`, `/threads?n=<n>` and `/spin?n=<n>` take memory, start threads that sleep and
//! threads that do not, all of them for as long as the process lives.
//!
//! `/socket` agrees to a WebSocket, says its version in a frame, and logs the status of the frame that
//! closes it.
//!
//! `/digest?variable=<name>` and `/digest?credential=<name>` answer with the length and the FNV-1a
//! hash (64 bits, in hex) of what this process was handed under the name, or with `none`: a test can
//! tell that it is right, and nobody reads it on the way.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [visit, host, requests, ms] = arguments.as_slice()
        && visit == "visit"
    {
        return match visit_often(host, requests.parse().unwrap_or(1), ms.parse().unwrap_or(10)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(err) => {
                eprintln!("the visit failed: {err}");
                ExitCode::FAILURE
            }
        };
    }
    let conf = Conf::load();
    match env::var("SAMPLE_ROLE").as_deref() {
        Ok("server") => return server(conf),
        // The one between: its child loses its parent, and gets a session of its own.
        Ok("fork") => {
            become_leader();
            return start("daemon");
        }
        Ok("daemon") => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        _ => {}
    }
    if let Some(line) = conf.text("say") {
        eprintln!("{line}");
    }
    if let Some(code) = conf.number("exit_at_start") {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    if conf.flag("daemon") && start("fork") != ExitCode::SUCCESS {
        return ExitCode::FAILURE;
    }
    if conf.flag("fork_away") {
        let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
        let started = start("server");
        while started == ExitCode::SUCCESS && TcpStream::connect(("127.0.0.1", port)).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        eprintln!("the parent leaves");
        return started;
    }
    if env::var_os("PORT").is_none() && conf.number("listen_port").is_none() {
        return work(&conf);
    }
    server(conf)
}

/// Starts a copy of this program, and does not wait for it.
fn start(role: &str) -> ExitCode {
    let started = env::current_exe()
        .and_then(|program| Command::new(program).env("SAMPLE_ROLE", role).spawn());
    match started {
        Ok(_child) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("cannot start a copy: {err}");
            ExitCode::FAILURE
        }
    }
}

/// A worker's life: nobody calls it.
fn work(conf: &Conf) -> ExitCode {
    eprintln!("{} works", conf.text("version").unwrap_or("nobody"));
    if let Some(ms) = conf.number("works_ms") {
        thread::sleep(Duration::from_millis(ms));
        eprintln!("{} is done", conf.text("version").unwrap_or("nobody"));
        return ExitCode::SUCCESS;
    }
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn server(conf: Conf) -> ExitCode {
    sigterm::block();
    if let Some(megabytes) = conf.number("log_megabytes") {
        let line = format!("{}\n", "loud ".repeat(204));
        let mut log = io::stderr().lock();
        for _ in 0..megabytes * 1024 {
            let _ = log.write_all(line.as_bytes());
        }
        let _ = log.write_all(b"and that was all\n");
    }
    if let Some(mib) = conf.number("eat_mib") {
        eat(mib);
    }
    // Held for as long as the process lives.
    let _lock = match conf.flag("alone").then(alone).transpose() {
        Ok(lock) => lock,
        Err(err) => {
            eprintln!("it is not alone: {err}");
            return ExitCode::from(9);
        }
    };
    if let Some(ms) = conf.number("start_delay_ms") {
        thread::sleep(Duration::from_millis(ms));
    }
    let Some(port) = conf.number("listen_port").or_else(|| env::var("PORT").ok()?.parse().ok())
    else {
        eprintln!("PORT is not set");
        return ExitCode::from(64);
    };
    let address = conf.text("listen_address").unwrap_or("127.0.0.1").to_owned();
    let listener = match TcpListener::bind((address.as_str(), port as u16)) {
        Ok(listener) => listener,
        Err(err) => {
            eprintln!("cannot listen on {address} port {port}: {err}");
            return ExitCode::FAILURE;
        }
    };
    eprintln!("{} listens on {address} port {port}", conf.version);
    let port = port as u16;
    serve(listener, Arc::new(Service { conf, port, ..Service::default() }));
    ExitCode::SUCCESS
}

/// What a database in a file does.
fn alone() -> io::Result<fs::File> {
    let home = env::var_os("HOME").unwrap_or_default();
    let file = fs::File::options()
        .create(true)
        .append(true)
        .open(std::path::Path::new(&home).join("alone"))?;
    file.try_lock().map_err(io::Error::from)?;
    Ok(file)
}

/// What one process knows: its configuration, and what it still owes an answer.
#[derive(Default)]
struct Service {
    conf: Conf,
    port: u16,
    leaving: AtomicBool,
    deaf: AtomicBool,
    deaf_ms: AtomicU64,
    busy: AtomicUsize,
}

fn serve(mut listener: TcpListener, service: Arc<Service>) {
    if let Some(lines) = service.conf.number("log_lines").filter(|lines| *lines > 0) {
        thread::spawn(move || {
            for n in 0u64.. {
                eprintln!("log line {n}");
                thread::sleep(Duration::from_micros(1_000_000 / lines));
            }
        });
    }
    {
        let service = Arc::clone(&service);
        thread::spawn(move || {
            loop {
                sigterm::wait();
                if service.conf.flag("ignore_sigterm") {
                    eprintln!("SIGTERM ignored");
                    continue;
                }
                service.leaving.store(true, Ordering::SeqCst);
                // Wakes the accept below, which std restarts after every signal.
                let _ = TcpStream::connect(("127.0.0.1", service.port));
                return;
            }
        });
    }
    loop {
        let accepted = listener.accept();
        let deaf_ms = service.deaf_ms.swap(0, Ordering::SeqCst);
        if let Some(address) = listener.local_addr().ok().filter(|_| deaf_ms > 0) {
            drop(listener);
            thread::sleep(Duration::from_millis(deaf_ms));
            listener = match TcpListener::bind(address) {
                Ok(listener) => listener,
                Err(err) => return eprintln!("cannot listen on {address} again: {err}"),
            };
            service.deaf.store(false, Ordering::SeqCst);
        }
        if service.leaving.load(Ordering::SeqCst) {
            break;
        }
        let Ok((stream, _)) = accepted else { continue };
        let service = Arc::clone(&service);
        thread::spawn(move || {
            let _ = if service.conf.flag("h2c") {
                streams(&stream, &service)
            } else {
                connection(&stream, &service)
            };
        });
    }
    drop(listener);
    let deadline = Instant::now() + Duration::from_secs(60);
    while service.busy.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    eprintln!("{} leaves", service.conf.version);
}

/// Counts as busy from a request's first line to its answer's last byte.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Busy(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn connection(stream: &TcpStream, service: &Service) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    loop {
        let Some(request) = Request::read_line(&mut reader)? else { return Ok(()) };
        let busy = Busy::new(&service.busy);
        let request = request.read_headers(&mut reader)?;
        if request.header("expect").is_some() {
            (&*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let close = request.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"))
            || service.leaving.load(Ordering::SeqCst)
            || service.deaf.load(Ordering::SeqCst);
        let mut answer = Answer { stream, head: request.method == "HEAD", close, service };
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        if path == "/socket" {
            drop(busy);
            return socket(&mut reader, stream, service);
        }
        if path == "/echo" {
            echo(&request, &mut reader, &mut answer)?;
        } else {
            body_of(&request, &mut reader, |_| Ok(()))?;
            route(path, query, &mut answer)?;
        }
        if close {
            return Ok(());
        }
    }
}

/// A WebSocket (RFC 6455), as far as somebody needs one who knows what comes: the key is not looked at.
fn socket(reader: &mut impl Read, mut stream: &TcpStream, service: &Service) -> io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    )?;
    let version = service.conf.version.as_bytes();
    stream.write_all(&[&[0x81, version.len() as u8], version].concat())?;
    // A close frame of a client's: its head, the mask and the status.
    let mut frame = [0; 8];
    reader.read_exact(&mut frame)?;
    if frame[..2] == [0x88, 0x82] {
        let status = u16::from_be_bytes([frame[6] ^ frame[2], frame[7] ^ frame[3]]);
        eprintln!("the socket was closed with {status}");
    }
    stream.write_all(&[0x88, 2, 0x03, 0xe9])
}

/// HTTP/2 (RFC 9113) for whoever asks something: frames are read for their length, kind and stream,
/// and no head is decoded.
fn streams(mut stream: &TcpStream, service: &Service) -> io::Result<()> {
    const PREFACE: usize = 24;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    let mut preface = [0; PREFACE];
    reader.read_exact(&mut preface)?;
    if !preface.starts_with(b"PRI * HTTP/2.0") {
        return Err(bad("no HTTP/2"));
    }
    let frame = |kind: u8, flags: u8, id: [u8; 4], payload: &[u8]| {
        let length = (payload.len() as u32).to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags, id[0], id[1], id[2], id[3]];
        [&head, payload].concat()
    };
    let (data, headers, settings, ping) = (0, 1, 4, 6);
    stream.write_all(&frame(settings, 0, [0; 4], &[]))?;
    loop {
        let mut head = [0; 9];
        reader.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        reader.read_exact(&mut payload)?;
        let (kind, flags, id) = (head[3], head[4], [head[5], head[6], head[7], head[8]]);
        if (kind == settings || kind == ping) && flags & 1 == 0 {
            let echoed = if kind == ping { &*payload } else { &[] };
            stream.write_all(&frame(kind, 1, [0; 4], echoed))?;
        }
        // The end of a request, with or without a body.
        if (kind == headers || kind == data) && flags & 1 != 0 {
            // `:status: 200`, by its place in the static table.
            stream.write_all(&frame(headers, 4, id, &[0x88]))?;
            let text = format!("{} over HTTP/2\n", service.conf.version);
            stream.write_all(&frame(data, 1, id, text.as_bytes()))?;
        }
    }
}

fn route(path: &str, query: &str, answer: &mut Answer) -> io::Result<()> {
    let conf = &answer.service.conf;
    match path {
        "/health" if conf.flag("never_healthy") => answer.whole(503, "text/plain", "not today\n"),
        "/health" => answer.whole(200, "text/plain", "ok\n"),
        "/version" => answer.whole(200, "text/plain", &format!("{}\n", conf.version)),
        "/slow" => {
            let ms = query.strip_prefix("ms=").and_then(|ms| ms.parse().ok()).unwrap_or(1000);
            answer.begin(200, "text/plain", None)?;
            answer.chunk(b"begun, ")?;
            thread::sleep(Duration::from_millis(ms));
            answer.chunk(b"done\n")?;
            answer.chunk(b"")
        }
        "/deaf" => {
            answer.close = true;
            answer.whole(200, "text/plain", "what?\n")?;
            answer.service.deaf.store(true, Ordering::SeqCst);
            answer.service.deaf_ms.store(number_of(query), Ordering::SeqCst);
            // Wakes the accept, which then sees it.
            TcpStream::connect(("127.0.0.1", answer.service.port)).map(|_| ())
        }
        "/eat" => {
            eat(number_of(query));
            answer.whole(200, "text/plain", "eaten\n")
        }
        "/threads" => {
            let started = threads(number_of(query), || thread::sleep(Duration::from_secs(3600)));
            answer.whole(200, "text/plain", &format!("{started}\n"))
        }
        "/spin" => {
            let started = threads(number_of(query), || {
                loop {
                    std::hint::spin_loop();
                }
            });
            answer.whole(200, "text/plain", &format!("{started}\n"))
        }
        "/crash" => {
            eprintln!("crash asked for");
            std::process::exit(3);
        }
        "/digest" => answer.whole(200, "text/plain", &format!("{}\n", digest(query))),
        "/env" => answer.whole(200, "application/json", &environment()),
        "/" => answer.whole(200, "text/plain", &format!("hello from {}\n", conf.version)),
        _ => answer.whole(404, "text/plain", "nothing here\n"),
    }
}

/// Each request over a connection of its own. A machine that is slow as such gets fewer at a time.
fn visit_often(host: &str, requests: u32, ms: u64) -> io::Result<()> {
    for _ in 0..requests {
        let began = Instant::now();
        visit(host)?;
        println!("{}", began.elapsed().as_micros());
        thread::sleep(Duration::from_millis(ms));
    }
    Ok(())
}

fn visit(host: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", 80))?;
    stream.write_all(
        format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(bad("not a page")) }
}

/// 7 of `n=7`.
fn number_of(query: &str) -> u64 {
    query.split_once('=').and_then(|(_, number)| number.parse().ok()).unwrap_or(1)
}

/// Takes memory for good, and writes to each page of it.
fn eat(mib: u64) {
    for _ in 0..mib {
        std::hint::black_box(vec![1_u8; 1024 * 1024].leak());
    }
}

/// Starts threads for good; how many there could be.
fn threads(wanted: u64, run: fn()) -> usize {
    let small = || thread::Builder::new().stack_size(64 * 1024);
    (0..wanted).map_while(|_| small().spawn(run).ok()).count()
}

/// Sends the body back piece by piece as it arrives, framed as it came.
fn echo(
    request: &Request,
    reader: &mut BufReader<&TcpStream>,
    answer: &mut Answer,
) -> io::Result<()> {
    answer.begin(200, "application/octet-stream", request.content_length())?;
    let chunked = request.content_length().is_none();
    body_of(request, reader, |piece| {
        if chunked { answer.chunk(piece) } else { (&*answer.stream).write_all(piece) }
    })?;
    if chunked { answer.chunk(b"") } else { Ok(()) }
}

/// What Kennel told this process. Never anything else: secrets come by the environment too, see
/// `digest`.
fn environment() -> String {
    let own: Vec<String> = env::vars()
        .filter(|(name, _)| name.starts_with("KENNEL_") || name == "PORT" || name == "LOG_LEVEL")
        .collect::<BTreeMap<_, _>>()
        .into_iter()
        .map(|(name, value)| format!("{}:{}", json(&name), json(&value)))
        .collect();
    format!("{{{}}}\n", own.join(","))
}

/// What of a variable or a credential may be told.
fn digest(query: &str) -> String {
    let handed = match query.split_once('=') {
        Some(("variable", name)) => env::var_os(name).map(|value| value.into_encoded_bytes()),
        Some(("credential", name)) => env::var_os("CREDENTIALS_DIRECTORY")
            .and_then(|directory| fs::read(std::path::Path::new(&directory).join(name)).ok()),
        _ => None,
    };
    let Some(handed) = handed else { return "none".to_owned() };
    let hash = handed.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{} {hash:016x}", handed.len())
}

fn json(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// The request line, or `None` at the end of the connection.
    fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        match (words.next(), words.next(), words.next()) {
            (Some(method), Some(target), Some(_)) => {
                Ok(Some(Self { method, target, headers: Vec::new() }))
            }
            _ => Err(bad("no request line")),
        }
    }

    fn read_headers(mut self, reader: &mut impl BufRead) -> io::Result<Self> {
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            if line.is_empty() {
                return Ok(self);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("no header"))?;
            self.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The length of the body, `None` when it is chunked.
    fn content_length(&self) -> Option<u64> {
        if self.header("transfer-encoding").is_some() {
            return None;
        }
        Some(self.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0))
    }
}

fn body_of(
    request: &Request,
    reader: &mut BufReader<&TcpStream>,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    if let Some(length) = request.content_length() {
        return pieces(reader, length, &mut take);
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).map_err(|_| bad("no chunk size"))?;
        pieces(reader, size, &mut take)?;
        line.clear();
        reader.read_line(&mut line)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn pieces(
    reader: &mut BufReader<&TcpStream>,
    mut left: u64,
    take: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let got = reader.read(&mut buffer[..want])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        take(&buffer[..got])?;
        left -= got as u64;
    }
    Ok(())
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

struct Answer<'a> {
    stream: &'a TcpStream,
    head: bool,
    close: bool,
    service: &'a Service,
}

impl Answer<'_> {
    fn whole(&mut self, status: u16, kind: &str, body: &str) -> io::Result<()> {
        self.begin(status, kind, Some(body.len() as u64))?;
        if self.head { Ok(()) } else { (&*self.stream).write_all(body.as_bytes()) }
    }

    /// The head of an answer; a body of unknown length follows in chunks.
    fn begin(&mut self, status: u16, kind: &str, length: Option<u64>) -> io::Result<()> {
        let reason = match status {
            200 => "OK",
            404 => "Not Found",
            _ => "Service Unavailable",
        };
        let framing = match length {
            Some(length) => format!("content-length: {length}"),
            None => "transfer-encoding: chunked".to_owned(),
        };
        let close = if self.close { "connection: close\r\n" } else { "" };
        let version = &self.service.conf.version;
        (&*self.stream).write_all(
            format!(
                "HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\n\
                 sample-version: {version}\r\n{framing}\r\n{close}\r\n"
            )
            .as_bytes(),
        )
    }

    fn chunk(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.head {
            return Ok(());
        }
        let mut framed = format!("{:x}\r\n", piece.len()).into_bytes();
        framed.extend_from_slice(piece);
        framed.extend_from_slice(b"\r\n");
        (&*self.stream).write_all(&framed)
    }
}

#[derive(Default)]
struct Conf {
    version: String,
    values: BTreeMap<String, String>,
}

impl Conf {
    fn load() -> Self {
        let path = env::current_exe()
            .ok()
            .and_then(|exe| Some(exe.parent()?.parent()?.join("share/service.conf")));
        let text = path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let values: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect();
        let version = values.get("version").cloned().unwrap_or_else(|| "unversioned".into());
        Self { version, values }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.text(key)?.parse().ok()
    }

    fn flag(&self, key: &str) -> bool {
        self.text(key) == Some("true")
    }
}

/// setsid(2), which the standard library does not have.
fn become_leader() {
    unsafe extern "C" {
        fn setsid() -> i32;
    }
    // SAFETY: it takes nothing and touches no memory.
    unsafe { setsid() };
}

/// Blocking SIGTERM in every thread and waiting for it in one: the standard library has no signals.
mod sigterm {
    use std::ffi::c_int;

    const SIGTERM: c_int = 15;
    const SIG_BLOCK: c_int = 0;

    /// `sigset_t` of Linux in glibc and musl: 1,024 bits.
    #[repr(C)]
    struct Set([u64; 16]);

    unsafe extern "C" {
        fn sigprocmask(how: c_int, set: *const Set, old: *mut Set) -> c_int;
        fn sigwait(set: *const Set, signal: *mut c_int) -> c_int;
    }

    const ONLY_TERM: Set = {
        let mut bits = [0; 16];
        bits[0] = 1 << (SIGTERM - 1);
        Set(bits)
    };

    /// To be called before the first thread: threads inherit the mask.
    pub fn block() {
        // SAFETY: the set lives for the call, and a null `old` is allowed.
        unsafe { sigprocmask(SIG_BLOCK, &ONLY_TERM, std::ptr::null_mut()) };
    }

    pub fn wait() {
        let mut signal = 0;
        // SAFETY: both pointers live for the call.
        unsafe { sigwait(&ONLY_TERM, &mut signal) };
    }
}
