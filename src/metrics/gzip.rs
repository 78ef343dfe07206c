//! One gzip member (RFC 1952) from two parts: a large one that is compressed once and a small one
//! that is compressed for each scrape.
//!
//! Two members would be as valid, but some clients stop after the first. So the first part's deflate
//! stream is flushed to a byte boundary without being ended, the second part follows as further
//! blocks of the same stream, and the checksum of both is combined from the checksums of each.

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// The gzip header: deflate, no flags, no time, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The large part, compressed.
#[derive(Debug)]
pub struct Head {
    /// Header and blocks.
    pub bytes: Bytes,
    crc: Crc,
}

impl Head {
    /// Compresses the first part.
    pub fn new(text: &[u8]) -> Head {
        let mut bytes = Vec::with_capacity(text.len() / 16 + 64);
        bytes.extend_from_slice(&HEADER);
        deflate(text, FlushCompress::Sync, &mut bytes);
        bytes.shrink_to_fit();
        Head { bytes: bytes.into(), crc: crc(text) }
    }

    /// What to send after [`Head::bytes`] so that the member holds the first part and then `text`.
    pub fn tail(&self, text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len() / 2 + 64);
        deflate(text, FlushCompress::Finish, &mut bytes);
        let mut whole = Crc::new();
        whole.combine(&self.crc);
        whole.combine(&crc(text));
        bytes.extend_from_slice(&whole.sum().to_le_bytes());
        bytes.extend_from_slice(&whole.amount().to_le_bytes());
        bytes
    }
}

fn crc(text: &[u8]) -> Crc {
    let mut crc = Crc::new();
    crc.update(text);
    crc
}

/// Appends `text` to `bytes` as raw deflate blocks.
fn deflate(text: &[u8], flush: FlushCompress, bytes: &mut Vec<u8>) {
    let mut compress = Compress::new(Compression::new(3), false);
    loop {
        bytes.reserve(4096.max(text.len() / 32));
        let rest = &text[compress.total_in() as usize..];
        let status = compress.compress_vec(rest, bytes, flush).expect("deflate takes any input");
        // The output has room left over, so everything was flushed.
        let flushed = compress.total_in() as usize == text.len() && bytes.len() < bytes.capacity();
        if status == Status::StreamEnd || (flush == FlushCompress::Sync && flushed) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn inflate(bytes: &[u8]) -> Vec<u8> {
        // Not the decoder that goes on to a second member.
        let mut decoder = flate2::read::GzDecoder::new(bytes);
        let mut text = Vec::new();
        decoder.read_to_end(&mut text).expect("a gzip member");
        text
    }

    proptest! {
        #[test]
        fn both_parts_come_back_from_one_member(
            head in proptest::collection::vec(any::<u8>(), 0..100_000),
            tail in proptest::collection::vec(any::<u8>(), 0..10_000),
        ) {
            let compressed = Head::new(&head);
            let member = [&compressed.bytes[..], &compressed.tail(&tail)].concat();
            prop_assert_eq!(inflate(&member), [head, tail].concat());
        }
    }

    #[test]
    fn one_head_serves_many_tails() {
        let head = Head::new(b"head ");
        for tail in ["one", "two", ""] {
            let member = [&head.bytes[..], &head.tail(tail.as_bytes())].concat();
            assert_eq!(inflate(&member), format!("head {tail}").as_bytes());
        }
    }
}
