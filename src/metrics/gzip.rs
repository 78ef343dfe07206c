//! One gzip member (RFC 1952) from two parts, which are compressed apart: a large one that holds for up
//! to a minute, and a small one that is new with almost every scrape.
//!
//! Two members would be as valid, but some clients stop after the first. So the first part's deflate
//! stream is flushed to a byte boundary without being ended, the second part follows as further
//! blocks of the same stream, and the checksum of both is combined from the checksums of each.

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

/// The gzip header: deflate, no flags, no time, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The large part, compressed.
#[derive(Debug)]
pub struct Head {
    /// Header and blocks.
    pub bytes: Bytes,
    /// How many bytes it unpacks to.
    pub length: usize,
    crc: Crc,
}

/// The small part, as text and compressed. It fits every head.
#[derive(Debug)]
pub struct Tail {
    /// The text.
    pub text: Bytes,
    /// The last blocks of the stream.
    pub blocks: Bytes,
    crc: Crc,
}

/// Compresses the large part, which comes in pieces.
pub struct Compressor {
    compress: Compress,
    bytes: Vec<u8>,
    length: usize,
    crc: Crc,
}

impl Default for Compressor {
    fn default() -> Compressor {
        let (compress, crc) = (compressor(), Crc::new());
        Compressor { compress, bytes: HEADER.to_vec(), length: 0, crc }
    }
}

impl Compressor {
    /// Takes the next piece.
    pub fn push(&mut self, text: &[u8]) {
        deflate(&mut self.compress, text, FlushCompress::None, &mut self.bytes);
        self.length += text.len();
        self.crc.update(text);
    }

    /// That was the last piece.
    pub fn finish(mut self) -> Head {
        deflate(&mut self.compress, &[], FlushCompress::Sync, &mut self.bytes);
        self.bytes.shrink_to_fit();
        Head { bytes: self.bytes.into(), length: self.length, crc: self.crc }
    }
}

impl Head {
    /// What ends the member after [`Head::bytes`] and [`Tail::blocks`]: checksum and length of both
    /// texts.
    pub fn trailer(&self, tail: &Tail) -> [u8; 8] {
        let mut both = Crc::new();
        both.combine(&self.crc);
        both.combine(&tail.crc);
        let [a, b, c, d] = both.sum().to_le_bytes();
        let [e, f, g, h] = both.amount().to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// The first part as it was.
    pub fn unpack(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.length);
        Decompress::new(false)
            .decompress_vec(&self.bytes[HEADER.len()..], &mut text, FlushDecompress::None)
            .expect("what was compressed here can be unpacked");
        text
    }
}

impl Tail {
    /// Compresses the small part.
    pub fn new(text: Bytes) -> Tail {
        let mut blocks = Vec::with_capacity(text.len() / 2 + 64);
        deflate(&mut compressor(), &text, FlushCompress::Finish, &mut blocks);
        let mut crc = Crc::new();
        crc.update(&text);
        Tail { text, blocks: blocks.into(), crc }
    }
}

/// A member that holds this text and nothing else.
pub fn member(text: Bytes) -> Vec<u8> {
    whole(&Compressor::default().finish(), &Tail::new(text))
}

fn whole(head: &Head, tail: &Tail) -> Vec<u8> {
    [&head.bytes, &tail.blocks, &head.trailer(tail)[..]].concat()
}

fn compressor() -> Compress {
    Compress::new(Compression::new(3), false)
}

/// Appends `text` to `bytes` as raw deflate blocks.
fn deflate(compress: &mut Compress, text: &[u8], flush: FlushCompress, bytes: &mut Vec<u8>) {
    let start = compress.total_in();
    loop {
        bytes.reserve(4096.max(text.len() / 32));
        let rest = &text[(compress.total_in() - start) as usize..];
        let status = compress.compress_vec(rest, bytes, flush).expect("deflate takes any input");
        let all = (compress.total_in() - start) as usize == text.len();
        // The output has room left over, so everything was flushed.
        if status == Status::StreamEnd
            || (flush != FlushCompress::Finish && all && bytes.len() < bytes.capacity())
        {
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
            let mut compressor = Compressor::default();
            head.chunks(10_000).for_each(|piece| compressor.push(piece));
            let compressed = compressor.finish();
            prop_assert_eq!(&compressed.unpack(), &head);
            let member = whole(&compressed, &Tail::new(tail.clone().into()));
            prop_assert_eq!(inflate(&member), [head, tail].concat());
        }
    }

    #[test]
    fn every_tail_fits_every_head() {
        let head = |parts: &[&str]| {
            let mut compressor = Compressor::default();
            parts.iter().for_each(|piece| compressor.push(piece.as_bytes()));
            compressor.finish()
        };
        let heads = [head(&["he", "ad "]), head(&["another "]), head(&[])];
        let tails = ["one", "two", ""].map(|text| Tail::new(text.into()));
        for (head, start) in heads.iter().zip(["head ", "another ", ""]) {
            for tail in &tails {
                let expected = [start.as_bytes(), &tail.text].concat();
                assert_eq!(inflate(&whole(head, tail)), expected);
            }
        }
        assert_eq!(inflate(&member("text".into())), b"text");
    }
}
