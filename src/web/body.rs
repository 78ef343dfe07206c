//! A response's body: parts that are sent one after the other and never copied together.

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

/// A part of a body.
#[derive(Debug)]
pub enum Part {
    /// Bytes that are there.
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

    /// The body is what is left of this answer.
    pub fn set_answering(&mut self, answering: Answering) {
        self.answering = Some(answering);
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(Part::Packed(text)) = self.parts.front_mut()
            && let Some(bytes) = text.next()
        {
            if text.remaining() == 0 {
                self.parts.pop_front();
            }
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        Poll::Ready(match self.parts.pop_front() {
            Some(Part::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Part::Packed(_)) | None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.parts.iter().map(|part| part.len() as u64).sum())
    }
}
