//! How the lab and the agent inside a node talk: frames of a kind, a length and that many bytes.
//!
//! One connection runs one command. The lab sends [`COMMAND`], then [`INPUT`] frames, an empty one at the end; the agent
//! sends [`OUTPUT`] and [`ERRORS`] as they come and [`EXIT`] last. A connection that breaks before that kills the command.

use std::io::{self, Read, Write};

/// The port that the agent listens on, on every network of its node.
pub(crate) const PORT: u16 = 7001;

/// A command line for `/bin/sh -c`.
pub(crate) const COMMAND: u8 = b'c';
/// Bytes for the command's standard input; none: its end.
pub(crate) const INPUT: u8 = b'i';
/// Bytes that the command wrote to standard output.
pub(crate) const OUTPUT: u8 = b'o';
/// Bytes that the command wrote to standard error.
pub(crate) const ERRORS: u8 = b'e';
/// The command's exit code, four bytes, big-endian; 128 and the number when a signal ended it.
pub(crate) const EXIT: u8 = b'x';

/// The largest frame that is sent in one piece.
pub(crate) const LARGEST: usize = 256 * 1024;

/// Sends one frame, with a single write where it is small.
pub(crate) fn write_frame(to: &mut impl Write, kind: u8, content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(5 + content.len());
    frame.push(kind);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(content);
    to.write_all(&frame)
}

/// Receives one frame.
pub(crate) fn read_frame(from: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let mut content = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut content)?;
    Ok((kind, content))
}
