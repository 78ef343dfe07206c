//! Documents for people: rendered one at a time, and shared by all who read the same one.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;

use super::places::Answering;
use super::status::query::Query;
use super::status::{self, StatusSettings};
use crate::metrics::gzip;
use crate::render::Snapshot;

/// A document, ready to be sent.
#[derive(Debug)]
pub struct Document {
    /// The answer's status.
    pub status: StatusCode,
    /// The type of its content.
    pub kind: &'static str,
    /// The name to save it under.
    pub file_name: Option<String>,
    /// As text, or compressed if that was asked for.
    pub bytes: Vec<u8>,
}

/// Renders a document as text.
pub type MakeDocument = fn(&StatusSettings, &Snapshot, &Query) -> Document;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DocumentKey {
    /// The path.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// Whether the client takes gzip.
    pub gzip: bool,
}

/// The documents that are being sent, and some recent ones. Most are kept in memory by their
/// responses.
#[derive(Debug)]
pub struct Documents {
    /// Held while a document is rendered, so that many readers take no more than one thread from the
    /// rest.
    permit: Arc<Semaphore>,
    shared: Mutex<Shared>,
    /// Tells the documents apart that requests wait for.
    hasher: RandomState,
}

/// Why there is no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDocument {
    /// Too many others are to be rendered before.
    Busy,
    /// Rendering failed.
    Failed,
}

/// Those of one snapshot.
#[derive(Debug, Default)]
struct Shared {
    snapshot: Weak<Snapshot>,
    documents: HashMap<DocumentKey, Weak<Document>>,
    last: VecDeque<Arc<Document>>,
}

/// The total size of recent documents to keep for the next readers of the same pages.
const KEPT: usize = 4 << 20;

impl Default for Documents {
    fn default() -> Documents {
        Documents {
            permit: Arc::new(Semaphore::new(1)),
            shared: Mutex::default(),
            hasher: RandomState::new(),
        }
    }
}

impl Documents {
    /// The document of the newest snapshot, rendered by `make` unless somebody is reading the same.
    pub async fn get(
        &self,
        answering: &Answering,
        settings: &Arc<StatusSettings>,
        snapshots: &watch::Receiver<Arc<Snapshot>>,
        request: DocumentKey,
        make: MakeDocument,
    ) -> Result<Arc<Document>, NoDocument> {
        // A snapshot is large, so waiting requests keep none.
        if let Some(document) = self.find(&snapshots.borrow(), &request) {
            return Ok(document);
        }
        let turn = self.permit.clone().acquire_owned();
        let turn = answering.queue(self.hasher.hash_one(&request), turn).await;
        let permit = turn.ok_or(NoDocument::Busy)?.map_err(|_| NoDocument::Failed)?;
        let snapshot = snapshots.borrow().clone();
        if let Some(document) = self.find(&snapshot, &request) {
            return Ok(document);
        }
        let (settings, newest) = (settings.clone(), Arc::downgrade(&snapshot));
        let (query, gzip) = (request.query.clone(), request.gzip);
        let rendered = spawn_blocking(move || {
            let document = render(&settings, &snapshot, &query, gzip, make);
            // Held to the end of the rendering, even if the client has gone away meanwhile.
            (document, permit)
        });
        let (document, _permit) = rendered.await.map_err(|_| NoDocument::Failed)?;
        let document = Arc::new(document);
        self.share(newest, request, &document);
        Ok(document)
    }

    fn find(&self, snapshot: &Arc<Snapshot>, request: &DocumentKey) -> Option<Arc<Document>> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = shared.snapshot.as_ptr() == Arc::as_ptr(snapshot);
        shared.documents.get(request).filter(|_| is_same)?.upgrade()
    }

    fn share(&self, snapshot: Weak<Snapshot>, request: DocumentKey, document: &Arc<Document>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if !shared.snapshot.ptr_eq(&snapshot) {
            *shared = Shared { snapshot, ..Shared::default() };
        }
        shared.last.push_back(document.clone());
        while shared.last.iter().map(|document| document.bytes.len()).sum::<usize>() > KEPT {
            shared.last.pop_front();
        }
        shared.documents.retain(|_, document| document.strong_count() > 0);
        shared.documents.insert(request, Arc::downgrade(document));
    }
}

fn render(
    settings: &StatusSettings,
    snapshot: &Snapshot,
    query: &str,
    gzip: bool,
    make: MakeDocument,
) -> Document {
    let mut document = match Query::parse(query) {
        Ok(query) => make(settings, snapshot, &query),
        Err(error) => {
            let page = status::page::error(settings, snapshot.now, &error.to_string());
            Document::page(StatusCode::BAD_REQUEST, page)
        }
    };
    if gzip {
        document.bytes = gzip::member(document.bytes.into());
    }
    document.bytes.shrink_to_fit();
    document
}

impl Document {
    /// A page of HTML.
    pub fn page(status: StatusCode, page: String) -> Document {
        let kind = "text/html; charset=utf-8";
        Document { status, kind, file_name: None, bytes: page.into_bytes() }
    }
}

/// The bytes of a document, which is shared until they are dropped.
pub fn bytes_of(document: Arc<Document>) -> Bytes {
    struct Owner(Arc<Document>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0.bytes
        }
    }
    Bytes::from_owner(Owner(document))
}
