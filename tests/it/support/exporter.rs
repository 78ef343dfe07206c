//! The built binary as a process, and an HTTP client that can misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a debug build on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running exporter. Dropping it ends it.
pub struct Exporter {
    pub child: Child,
    pub address: SocketAddr,
    log: Mutex<Receiver<String>>,
}

/// The binary, without this machine's settings for AWS, certificates and proxies, and without
/// metadata services.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iam-key-exporter"));
    for (name, _) in std::env::vars() {
        let is_known =
            ["AWS_", "IAM_KEY_EXPORTER_", "SSL_CERT_"].iter().any(|p| name.starts_with(p))
                || name.to_ascii_uppercase().ends_with("_PROXY");
        if is_known {
            command.env_remove(name);
        }
    }
    command.args(arguments).env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// Runs the binary to its end.
pub fn output(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary runs")
}

impl Exporter {
    /// Starts it on a free port.
    pub fn start(arguments: &[&str]) -> Exporter {
        let mut command = command(arguments);
        command.args(["--web.listen-address", "127.0.0.1:0"]);
        Exporter::spawn(command)
    }

    /// Starts it as the command says, which must listen on one address.
    pub fn spawn(mut command: Command) -> Exporter {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let (sender, log) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        // It ends with this value, even if it never listens.
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut exporter = Exporter { child, address, log: Mutex::new(log) };
        let line = exporter.log_line("listening");
        let port = line.rsplit_once("127.0.0.1:").expect("an address").1;
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        exporter.address.set_port(port.parse().expect("a port"));
        exporter
    }

    /// GETs a path and returns the body.
    pub fn get(&self, path: &str) -> String {
        let response = self.request("GET", path, &[]);
        String::from_utf8(response.body).expect("UTF-8")
    }

    /// One request on its own connection.
    pub fn request(&self, method: &str, path: &str, headers: &[&str]) -> Response {
        let mut stream = self.connect();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).expect("a request is written");
        Response::read(&mut stream)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Waits until the page passes the check, and returns it.
    pub fn page_where(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.page_within(PATIENCE, wanted)
    }

    /// The same with this time limit.
    pub fn page_within(&self, patience: Duration, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + patience;
        loop {
            let page = self.get("/metrics");
            if wanted(&page) {
                return page;
            }
            assert!(Instant::now() < end, "not the page that was waited for:\n{page}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until every account was tried.
    pub fn wait_until_ready(&self) {
        let end = Instant::now() + PATIENCE;
        while self.request("GET", "/-/ready", &[]).status != 200 {
            assert!(Instant::now() < end, "never ready");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a line of the log that holds this.
    pub fn log_line(&self, wanted: &str) -> String {
        let end = Instant::now() + PATIENCE;
        let log = self.log.lock().expect("the log");
        loop {
            match log.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(wanted) => return line,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {wanted:?} in the log")
                }
            }
        }
    }

    /// Ends it, and returns the unread lines of the log.
    pub fn end(mut self) -> Vec<String> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.log.lock().expect("the log").iter().collect()
    }

    /// Sends a signal by its name, such as TERM.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().expect("kill runs");
        assert!(status.success());
    }

    /// Waits for its end and returns the exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < end, "the exporter does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP response.
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    /// Reads until the other side closes.
    pub fn read(stream: &mut TcpStream) -> Response {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a response");
        Response::parse(bytes)
    }

    /// Parses the bytes of a whole response.
    pub fn parse(mut bytes: Vec<u8>) -> Response {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let body = bytes.split_off(end);
        let head = String::from_utf8(bytes).expect("a head of text");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Response { status: status.expect("a status"), head, body }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// The value of the first sample whose line begins so.
pub fn value(page: &str, series: &str) -> Option<f64> {
    page.lines()
        .find(|line| line.starts_with(series))
        .and_then(|line| line.rsplit_once(' '))
        .and_then(|(_, value)| value.parse().ok())
}
