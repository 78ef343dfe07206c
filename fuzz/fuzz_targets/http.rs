//! Bytes of a client, through hyper and the routes, with the limits of the listener.

#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use bytes::BytesMut;
use iam_key_exporter::metrics::exporter::ExporterMetrics;
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::report::Report;
use iam_key_exporter::web::connection::Connection;
use iam_key_exporter::web::documents::Documents;
use iam_key_exporter::web::gate::Gate;
use iam_key_exporter::web::client_service::{ClientService, Scope};
use iam_key_exporter::web::places::{Limits, Places};
use iam_key_exporter::web::routes::Site;
use iam_key_exporter_fuzz::{REPORT, account, settings, snapshot};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

static SITE: LazyLock<Arc<Site>> = LazyLock::new(|| {
    let snapshot = snapshot(account(Report::parse(REPORT).expect("a report")));
    let metrics = ExporterMetrics::new(Filter::default(), []);
    Arc::new(Site {
        snapshot: watch::channel(Arc::new(snapshot)).1,
        gate: Gate::new(watch::channel(Arc::default()).1, metrics.clone()),
        metrics,
        status: Arc::new(settings()),
        documents: Documents::default(),
        reloader: None,
    })
});

/// Time jumps forward while all tasks wait.
fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

fuzz_target!(|input: &[u8]| {
    thread_local! {
        static RUNTIME: Runtime = runtime();
    }
    let output = RUNTIME.with(|runtime| runtime.block_on(converse(input)));
    if output.is_empty() {
        return;
    }
    if is_http2(input) {
        return check_frames(&output);
    }
    let text = String::from_utf8_lossy(&output);
    let status = text.strip_prefix("HTTP/1.1 ").or_else(|| text.strip_prefix("HTTP/1.0 "));
    let status = status.and_then(|rest| rest.split([' ', '\r']).next()).unwrap_or_default();
    assert!(status.parse().is_ok_and(|status: u16| (200..500).contains(&status)), "{text}");
});

fn is_http2(input: &[u8]) -> bool {
    input.starts_with(b"PRI * HTTP/2")
}

/// HTTP/2 answers with frames, of which the last can be cut off.
fn check_frames(mut output: &[u8]) {
    const HEAD: usize = 9;
    const SETTINGS: u8 = 4;
    let mut is_first = true;
    while let Some((head, rest)) = output.split_at_checked(HEAD) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        assert!(length <= 16 << 10 && head[3] <= 9, "{head:?}");
        assert!(!is_first || head[3] == SETTINGS, "{head:?}");
        is_first = false;
        output = rest.get(length..).unwrap_or_default();
    }
}

/// Sends the input, and no more. Returns all that comes back.
async fn converse(input: &[u8]) -> BytesMut {
    let (client, server) = duplex(64 << 10);
    let peer: SocketAddr = ([127, 0, 0, 1], 1).into();
    let places = Arc::new(Places::new(Limits::new(1024), SITE.metrics.clone()));
    let place = places.admit(peer.ip()).expect("the first connection has a place");
    let service = ClientService { site: SITE.clone(), scope: Scope::Site, peer, place };
    let connection = Connection::new(server, is_http2(input), service);
    let (mut from, mut to) = split(client);
    let send = async {
        // The server may hang up before it has read everything.
        let _ = to.write_all(input).await;
        let _ = to.shutdown().await;
    };
    let receive = async {
        let mut output = BytesMut::new();
        // It hangs up after the last byte.
        while from.read_buf(&mut output).await.is_ok_and(|read| read > 0) {}
        output
    };
    let (_, (), output) = tokio::join!(connection, send, receive);
    output
}
