//! Documents for people: rendered one at a time, and shared by all who read the same one.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hyper::StatusCode;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;

use super::places::Answering;
use super::status::choices::InvalidQuery;
use super::status::query::Query;
use super::status::{self, StatusSettings};
use crate::metrics::gzip;
use crate::render::Snapshot;

/// A document, ready to be sent.
#[derive(Debug)]
pub struct Document {
    /// 200, unless the query names something that is not known.
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
    /// That of a route.
    pub path: String,
    /// The parameters that count, so that a URL cannot be made new by others.
    pub query: Query,
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
    /// With their sizes in memory.
    last: VecDeque<(usize, Arc<Document>)>,
}

/// The total size of recent documents and of their keys to keep for the next readers of the same pages.
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
            let document = make(&settings, &snapshot, &query).packed(gzip);
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
        shared.last.push_back((request.bytes() + document.bytes.len(), document.clone()));
        while shared.last.iter().map(|(bytes, _)| bytes).sum::<usize>() > KEPT {
            shared.last.pop_front();
        }
        shared.documents.retain(|_, document| document.strong_count() > 0);
        shared.documents.insert(request, Arc::downgrade(document));
    }
}

impl DocumentKey {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        size_of::<DocumentKey>() + self.path.len() + self.query.link().len()
    }
}

/// The page about an invalid query. It is small, and not shared: there can be a new one each time.
pub fn invalid(
    settings: &StatusSettings,
    now: DateTime<Utc>,
    error: &InvalidQuery,
    gzip: bool,
) -> Document {
    let page = status::page::invalid(settings, now, &error.to_string());
    Document::page(StatusCode::BAD_REQUEST, page).packed(gzip)
}

impl Document {
    /// A page of HTML.
    pub fn page(status: StatusCode, page: String) -> Document {
        let kind = "text/html; charset=utf-8";
        Document { status, kind, file_name: None, bytes: page.into_bytes() }
    }

    /// Compressed if the client takes that.
    fn packed(mut self, gzip: bool) -> Document {
        if gzip {
            self.bytes = gzip::member(self.bytes.into());
        }
        self.bytes.shrink_to_fit();
        self
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(query: &str) -> DocumentKey {
        let query = Query::parse(query).expect("a query");
        DocumentKey { path: "/".to_owned(), query, gzip: true }
    }

    #[test]
    fn parameters_that_do_not_count_make_no_document_of_their_own() {
        assert_eq!(key("x=1&page=1"), key("x=2&show=unrotated"));
        assert_ne!(key(""), key("page=2"));
    }

    #[test]
    fn long_keys_of_short_documents_are_not_kept_without_end() {
        let documents = Documents::default();
        for number in 0..1_000 {
            let tag = |it| format!("tag=t:{number}-{it}-{}", "%C3%BC".repeat(180));
            let request = key(&(0..10).map(tag).collect::<Vec<_>>().join("&"));
            let document = Document::page(StatusCode::NOT_FOUND, "no such key".to_owned());
            documents.share(Weak::new(), request, &Arc::new(document));
        }
        let shared = documents.shared.lock().expect("no panic");
        let bytes: usize = shared.documents.keys().map(DocumentKey::bytes).sum();
        assert!(!shared.documents.is_empty() && bytes <= KEPT, "{bytes}");
    }
}
