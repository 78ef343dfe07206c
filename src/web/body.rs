//! A response's body in parts, which are sent one after the other without copying.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::places::Answering;
use crate::metrics::gzip::Unpacking;

/// The parts that are still to be sent.
#[derive(Debug, Default)]
pub struct Body {
    parts: VecDeque<Part>,
    answering: Option<Answering>,
}

/// The last bytes of a response. The response counts as running until they are dropped, because
/// with HTTP/2 it can wait in memory for a slow reader.
struct Last {
    bytes: Bytes,
    _answering: Option<Answering>,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A part of a body.
#[derive(Debug)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Text that is unpacked while it is sent.
    Packed(Box<Unpacking>),
}

impl From<Bytes> for Part {
    fn from(bytes: Bytes) -> Part {
        Part::Bytes(bytes)
    }
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::Packed(text) => text.remaining(),
        }
    }
}

impl Body {
    /// A body of these parts.
    pub fn new<P: Into<Part>>(parts: impl IntoIterator<Item = P>) -> Body {
        let parts = parts.into_iter().map(Into::into).filter(|part: &Part| part.len() > 0);
        Body { parts: parts.collect(), answering: None }
    }

    /// Ties this body to a running response.
    pub fn set_answering(&mut self, answering: Answering) {
        self.answering = Some(answering);
    }

    fn next(&mut self) -> Option<Bytes> {
        if let Some(Part::Packed(text)) = self.parts.front_mut()
            && let Some(bytes) = text.next()
        {
            if text.remaining() == 0 {
                self.parts.pop_front();
            }
            return Some(bytes);
        }
        match self.parts.pop_front() {
            Some(Part::Bytes(bytes)) => Some(bytes),
            Some(Part::Packed(_)) | None => None,
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(mut bytes) = self.next() else { return Poll::Ready(None) };
        if self.parts.is_empty() {
            bytes = Bytes::from_owner(Last { bytes, _answering: self.answering.take() });
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.parts.iter().map(|part| part.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use http_body_util::BodyExt;

    use super::*;
    use crate::metrics::exporter::ExporterMetrics;
    use crate::metrics::filter::Filter;
    use crate::web::places::{Limits, Places};

    #[tokio::test]
    async fn an_answer_is_under_way_until_its_last_bytes_are_gone() {
        let metrics = ExporterMetrics::new(Filter::default(), []);
        let places = Arc::new(Places::new(Limits::new(1024), metrics));
        let place = places.admit(IpAddr::from([10, 0, 0, 1])).expect("a place");
        let mut body = Body::new([Bytes::from("first"), Bytes::from("last")]);
        body.set_answering(place.begin());
        let first = body.frame().await.expect("a frame");
        let last = body.frame().await.expect("a frame");
        drop((body, first));
        assert_eq!(place.waits_since(), None);
        drop(last);
        assert!(place.waits_since().is_some());
    }
}
