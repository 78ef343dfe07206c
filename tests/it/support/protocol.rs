//! Requests to AWS and its answers, as they go through a connection.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The fake's reaction to a request.
#[derive(Debug, Clone)]
pub enum Answer {
    Reply(u16, String),
    /// A reply with this date.
    Dated(DateTime<Utc>, u16, String),
    /// Never answers.
    Hang,
    /// Closes the connection.
    Drop,
}

impl Answer {
    /// The same reply with this date, and with the id that AWS gives a request.
    pub fn dated(self, date: DateTime<Utc>) -> Answer {
        match self {
            Answer::Reply(status, body) => Answer::Dated(date, status, body),
            other => other,
        }
    }

    /// Writes it. Returns false if the connection cannot be used any more.
    pub async fn write(self, stream: &mut BufReader<TcpStream>) -> bool {
        let (date, status, body) = match self {
            Answer::Reply(status, body) => (String::new(), status, body),
            Answer::Dated(date, status, body) => {
                (format!("date: {}\r\nx-amzn-requestid: an-id\r\n", http_date(date)), status, body)
            }
            Answer::Hang => std::future::pending().await,
            Answer::Drop => return false,
        };
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: text/xml\r\n{date}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.is_ok()
    }
}

/// A date as HTTP has it.
pub fn http_date(date: DateTime<Utc>) -> String {
    date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A request to AWS.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The operation's name.
    pub operation: String,
    /// The parameters: of a form, or JSON.
    pub body: String,
    /// The id of the access key that signed it.
    pub access_key: String,
    /// The region that it was signed for.
    pub region: String,
}

impl Request {
    /// A request with this body and these headers.
    pub fn new<'a>(body: String, header: impl Fn(&str) -> Option<&'a str>) -> Request {
        let credential = header("authorization")
            .and_then(|value| value.split_once("Credential="))
            .map_or("", |(_, scope)| scope);
        let mut scope = credential.split('/');
        let access_key = scope.next().unwrap_or_default().to_owned();
        let region = scope.nth(1).unwrap_or_default().to_owned();
        // Organizations has its operation in a header, IAM and STS in the form.
        let operation = match header("x-amz-target").and_then(|target| target.split_once('.')) {
            Some((_, operation)) => operation.to_owned(),
            None => field(&body, "Action").unwrap_or_default(),
        };
        Request { operation, body, access_key, region }
    }

    /// The next request. `None` at the end.
    pub async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) => {
                    headers.insert(name.to_ascii_lowercase(), value.to_owned());
                }
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        let length = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let body = String::from_utf8(body).ok()?;
        Some(Request::new(body, |name| headers.get(name).map(String::as_str)))
    }

    /// A parameter of a form.
    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.body, name)
    }

    /// The operation's name, and if there is one the user's or the marker's, as
    /// in `ListAccessKeys alpha`.
    pub fn call(&self) -> String {
        match self.field("UserName").or_else(|| self.field("Marker")) {
            Some(about) => format!("{} {about}", self.operation),
            None => self.operation.clone(),
        }
    }
}

fn field(form: &str, name: &str) -> Option<String> {
    let value = form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.replace("%3A", ":").replace("%2F", "/").replace("%40", "@"))
}
