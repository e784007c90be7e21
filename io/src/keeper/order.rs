//! What supervisor and keeper say to each other: frames on a pipe, a length and a value.

use std::io;
use std::os::fd::AsFd;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use steersman_engine::Time;
use steersman_engine::id::LockId;

use crate::limits::KEEPER_FRAME_BYTES_MAX;
use crate::process::Identity;

/// Both are the same program: it differs only when somebody starts the one by hand.
pub(super) const VERSION: u16 = 1;

/// What the keeper is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Comes first.
    Begin {
        /// Of this protocol.
        version: u16,
        /// Who sends.
        supervisor: i32,
    },
    /// Everything of these jobs must be gone at this time, in place of what was said before.
    Guard { lock: LockId, until: Time, jobs: Vec<Box<str>> },
    /// The same jobs, another time.
    Move { lock: LockId, until: Time },
    /// There is nothing left that it could be about.
    Lift { lock: LockId },
    /// A guarded job has this first process.
    Began { job: Box<str>, leader: Identity },
    /// A run has gone, with all that it had left behind.
    Over { leader: Identity },
}

/// Adds a frame.
pub(super) fn put(buffer: &mut Vec<u8>, value: &impl Serialize) -> io::Result<()> {
    let body = postcard::to_allocvec(value).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    if body.len() > KEEPER_FRAME_BYTES_MAX {
        return Err(io::Error::other("it is too long for the keeper"));
    }
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&body);
    Ok(())
}

/// Takes the first frame out, if it is there as a whole.
///
/// # Errors
/// What is there is not one.
pub(super) fn take<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > KEEPER_FRAME_BYTES_MAX {
        return Err(io::Error::other("a frame that is too long"));
    }
    let Some(body) = buffer.get(4..4 + length) else { return Ok(None) };
    let value = postcard::from_bytes(body).map_err(io::Error::other)?;
    buffer.drain(..4 + length);
    Ok(Some(value))
}

/// What a look into a pipe has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// There may be more, later.
    Open,
    /// Nobody writes to it any more.
    Ended,
}

/// Reads all that is there from a descriptor that does not block.
pub(super) fn fill(from: impl AsFd, buffer: &mut Vec<u8>) -> io::Result<Flow> {
    let mut piece = [0; 4096];
    loop {
        match nix::unistd::read(from.as_fd(), &mut piece) {
            Ok(0) => return Ok(Flow::Ended),
            Ok(count) => buffer.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(nix::errno::Errno::EAGAIN) => return Ok(Flow::Open),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_out_as_they_went_in_however_they_are_cut() {
        let orders = [
            Order::Begin { version: VERSION, supervisor: 7 },
            Order::Guard {
                lock: LockId(2),
                until: Time(u64::MAX),
                jobs: vec!["a".into(), "b c\n".into()],
            },
            Order::Began { job: "a".into(), leader: Identity { pid: 9, start: 10 } },
            Order::Lift { lock: LockId(2) },
        ];
        let mut sent = Vec::new();
        orders.iter().for_each(|order| put(&mut sent, order).unwrap());
        let (mut buffer, mut seen) = (Vec::new(), Vec::new());
        for byte in sent {
            buffer.push(byte);
            while let Some(order) = take::<Order>(&mut buffer).unwrap() {
                seen.push(order);
            }
        }
        assert_eq!(seen, orders);
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_is_no_order_is_refused() {
        assert!(take::<Order>(&mut vec![255; 8]).is_err());
        assert!(take::<Order>(&mut vec![1, 0, 0, 0, 200]).is_err());
        assert_eq!(take::<Order>(&mut vec![9, 0, 0, 0, 1]).unwrap(), None);
        let long = vec![0_u8; KEEPER_FRAME_BYTES_MAX + 1];
        assert!(put(&mut Vec::new(), &long).is_err());
    }
}
