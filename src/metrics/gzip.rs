//! One gzip member (RFC 1952) from two parts, which are compressed apart: a large one that stays
//! for up to a minute, and a small one that is new with each scrape.
//!
//! Two members would be as valid, but some clients stop after the first. So the first part's deflate
//! stream is flushed to a byte boundary without being ended, the second part follows as further
//! blocks of the same stream, and the checksum of both is combined from the checksums of each.
//!
//! The large part comes in pieces, and each is compressed without regard to the others. Most pieces of
//! a page are those of the page before it, and are not compressed again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use flate2::write::GzEncoder;
use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

/// The gzip header: deflate, no flags, no time, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The large part, compressed.
#[derive(Debug)]
pub struct Head {
    /// Header and blocks.
    pub bytes: Bytes,
    /// The number of bytes that it unpacks to.
    pub length: usize,
    crc: Crc,
    pieces: HashMap<u64, Piece>,
}

/// A piece of the large part, by the hash of its text in [`Head::pieces`].
#[derive(Debug)]
struct Piece {
    /// Its place in [`Head::bytes`].
    blocks: Range<usize>,
    crc: Arc<Crc>,
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
pub struct Compressor<'a> {
    before: Option<&'a Head>,
    compress: Compress,
    head: Vec<u8>,
    length: usize,
    crc: Crc,
    pieces: HashMap<u64, Piece>,
}

impl<'a> Compressor<'a> {
    /// Takes the pieces that have not changed from the head before this one, if there is one.
    pub fn new(before: Option<&'a Head>) -> Compressor<'a> {
        Compressor {
            before,
            compress: compressor(),
            head: HEADER.to_vec(),
            length: 0,
            crc: Crc::new(),
            pieces: HashMap::new(),
        }
    }

    /// Takes the next piece.
    pub fn push(&mut self, text: &[u8]) {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        let start = self.head.len();
        let known = self.before.and_then(|head| Some((head, head.pieces.get(&hash)?)));
        let crc = match known {
            Some((head, piece)) => {
                self.head.extend_from_slice(&head.bytes[piece.blocks.clone()]);
                piece.crc.clone()
            }
            None => {
                self.compress.reset();
                deflate(&mut self.compress, text, FlushCompress::Sync, &mut self.head);
                let mut crc = Crc::new();
                crc.update(text);
                Arc::new(crc)
            }
        };
        self.length += text.len();
        self.crc.combine(&crc);
        self.pieces.insert(hash, Piece { blocks: start..self.head.len(), crc });
    }

    /// That was the last piece.
    pub fn finish(mut self) -> Head {
        self.head.shrink_to_fit();
        Head { bytes: self.head.into(), length: self.length, crc: self.crc, pieces: self.pieces }
    }
}

impl Head {
    /// The end of the member after [`Head::bytes`] and [`Tail::blocks`]: checksum and length of both
    /// texts.
    pub fn trailer(&self, tail: &Tail) -> [u8; 8] {
        let mut both = Crc::new();
        both.combine(&self.crc);
        both.combine(&tail.crc);
        let [a, b, c, d] = both.sum().to_le_bytes();
        let [e, f, g, h] = both.amount().to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// The first part as it was, piece by piece.
    pub fn unpacking(&self) -> Unpacking {
        Unpacking {
            packed: self.bytes.slice(HEADER.len()..),
            remaining: self.length,
            decompress: Decompress::new(false),
        }
    }
}

/// The large part as text, unpacked piece by piece. It keeps only the compressed bytes and some
/// fifty kilobytes, however slowly somebody reads it.
#[derive(Debug)]
pub struct Unpacking {
    packed: Bytes,
    remaining: usize,
    decompress: Decompress,
}

/// The length of a piece.
const UNPACKED: usize = 32 << 10;

impl Unpacking {
    /// The number of bytes of text that are still to come.
    pub fn remaining(&self) -> usize {
        self.remaining
    }
}

impl Iterator for Unpacking {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.remaining == 0 {
            return None;
        }
        let mut text = Vec::with_capacity(UNPACKED.min(self.remaining));
        let before = self.decompress.total_in();
        self.decompress
            .decompress_vec(&self.packed, &mut text, FlushDecompress::None)
            .expect("what was compressed here can be unpacked");
        self.packed.advance((self.decompress.total_in() - before) as usize);
        self.remaining = self.remaining.saturating_sub(text.len());
        Some(text.into())
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

/// A member that holds this text and nothing else. A page for people is an eighth smaller than with the level
/// of metrics, for some milliseconds more. A file of megabytes would take several times as long.
pub fn member(text: Bytes) -> Vec<u8> {
    let level = if text.len() < 1 << 20 { 6 } else { 3 };
    let mut member = GzEncoder::new(Vec::new(), Compression::new(level));
    member.write_all(&text).expect("memory takes every byte");
    member.finish().expect("memory takes every byte")
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
        // The output has space left, so everything was flushed.
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

    fn whole(head: &Head, tail: &Tail) -> Vec<u8> {
        [&head.bytes, &tail.blocks, &head.trailer(tail)[..]].concat()
    }

    fn inflate(bytes: &[u8]) -> Vec<u8> {
        // Not the decoder that goes on to a second member.
        let mut decoder = flate2::read::GzDecoder::new(bytes);
        let mut text = Vec::new();
        decoder.read_to_end(&mut text).expect("a gzip member");
        text
    }

    fn unpack(head: &Head) -> Vec<u8> {
        let mut unpacking = head.unpacking();
        let mut text = Vec::new();
        while let Some(piece) = unpacking.next() {
            assert!(!piece.is_empty());
            text.extend_from_slice(&piece);
            assert_eq!(unpacking.remaining(), head.length - text.len());
        }
        text
    }

    proptest! {
        #[test]
        fn both_parts_come_back_from_one_member_and_pieces_are_used_again(
            mut pieces in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..20_000), 0..8,
            ),
            changed in proptest::collection::vec(any::<u8>(), 0..10_000),
            place in any::<proptest::sample::Index>(),
            // Few different bytes are easy to compress, many are not.
            alphabet in prop_oneof![2..5u8, 200..255u8],
            tail in proptest::collection::vec(any::<u8>(), 0..10_000),
        ) {
            let compress = |pieces: &[Vec<u8>], before| {
                let mut compressor = Compressor::new(before);
                pieces.iter().for_each(|piece| compressor.push(piece));
                compressor.finish()
            };
            pieces.iter_mut().flatten().for_each(|byte| *byte %= alphabet);
            let before = compress(&pieces, None);
            prop_assert_eq!(unpack(&before), pieces.concat());
            pieces.insert(place.index(pieces.len() + 1), changed);
            let head = compress(&pieces, Some(&before));
            // Each piece unpacks alone, so it can stand anywhere in a stream.
            for text in &pieces {
                let mut hasher = DefaultHasher::new();
                text[..].hash(&mut hasher);
                let blocks = head.pieces[&hasher.finish()].blocks.clone();
                let mut alone = Vec::with_capacity(text.len());
                Decompress::new(false)
                    .decompress_vec(&head.bytes[blocks], &mut alone, FlushDecompress::None)
                    .expect("blocks of one piece");
                prop_assert_eq!(&alone, text);
            }
            prop_assert_eq!(unpack(&head), pieces.concat());
            let member = whole(&head, &Tail::new(tail.clone().into()));
            prop_assert_eq!(inflate(&member), [pieces.concat(), tail].concat());
        }
    }

    #[test]
    fn a_known_piece_is_not_compressed_again() {
        let mut first = Compressor::new(None);
        first.push(b"piece");
        let first = first.finish();
        let mut second = Compressor::new(Some(&first));
        second.push(b"piece");
        assert_eq!(second.compress.total_in(), 0);
        assert_eq!(second.finish().bytes, first.bytes);
    }

    #[test]
    fn every_tail_fits_every_head() {
        let head = |parts: &[&str]| {
            let mut compressor = Compressor::new(None);
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
