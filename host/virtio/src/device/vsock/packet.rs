//! The packet header (virtio 1.2 §5.10.6), parsed by hand: 44 bytes, little-endian.
//!
//! The `virtio-vsock` crate is not used: it wants the payload in one buffer, which a driver need not give.

use crate::queue::{Buffers, QueueError};

/// Length of a header.
pub(super) const HEADER: usize = 44;

/// The host's CID (`VMADDR_CID_HOST`).
pub(super) const HOST_CID: u64 = 2;

/// `VIRTIO_VSOCK_TYPE_STREAM`.
pub(super) const STREAM: u16 = 1;

/// Operations (`VIRTIO_VSOCK_OP_*`).
pub(super) mod op {
    pub(in super::super) const REQUEST: u16 = 1;
    pub(in super::super) const RESPONSE: u16 = 2;
    pub(in super::super) const RST: u16 = 3;
    pub(in super::super) const SHUTDOWN: u16 = 4;
    pub(in super::super) const RW: u16 = 5;
    pub(in super::super) const CREDIT_UPDATE: u16 = 6;
    pub(in super::super) const CREDIT_REQUEST: u16 = 7;
}

/// The flags of [`op::SHUTDOWN`]: what its sender will not do any more.
pub(super) mod shut {
    pub(in super::super) const RECEIVE: u32 = 1;
    pub(in super::super) const SEND: u32 = 2;
    pub(in super::super) const BOTH: u32 = RECEIVE | SEND;
}

/// `struct virtio_vsock_hdr`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) src_cid: u64,
    pub(super) dst_cid: u64,
    pub(super) src_port: u32,
    pub(super) dst_port: u32,
    pub(super) len: u32,
    pub(super) kind: u16,
    pub(super) op: u16,
    pub(super) flags: u32,
    pub(super) buf_alloc: u32,
    pub(super) fwd_cnt: u32,
}

impl Header {
    /// Takes a header off the front; `None` if there is no room for one.
    pub(super) fn read(from: &mut Buffers<'_>) -> Option<Self> {
        let mut bytes = [0; HEADER];
        match from.read(&mut bytes) {
            Ok(HEADER) => Some(Self::parse(&bytes)),
            _ => None,
        }
    }

    pub(super) fn parse(bytes: &[u8; HEADER]) -> Self {
        Self {
            src_cid: u64::from_le_bytes(field(bytes, 0)),
            dst_cid: u64::from_le_bytes(field(bytes, 8)),
            src_port: u32::from_le_bytes(field(bytes, 16)),
            dst_port: u32::from_le_bytes(field(bytes, 20)),
            len: u32::from_le_bytes(field(bytes, 24)),
            kind: u16::from_le_bytes(field(bytes, 28)),
            op: u16::from_le_bytes(field(bytes, 30)),
            flags: u32::from_le_bytes(field(bytes, 32)),
            buf_alloc: u32::from_le_bytes(field(bytes, 36)),
            fwd_cnt: u32::from_le_bytes(field(bytes, 40)),
        }
    }

    pub(super) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &self.src_cid.to_le_bytes());
        put(8, &self.dst_cid.to_le_bytes());
        put(16, &self.src_port.to_le_bytes());
        put(20, &self.dst_port.to_le_bytes());
        put(24, &self.len.to_le_bytes());
        put(28, &self.kind.to_le_bytes());
        put(30, &self.op.to_le_bytes());
        put(32, &self.flags.to_le_bytes());
        put(36, &self.buf_alloc.to_le_bytes());
        put(40, &self.fwd_cnt.to_le_bytes());
        bytes
    }
}

/// Cuts a packet to send into header and payload; what the driver gave must hold a header and at least one byte.
pub(super) fn room<'a>(head: u16, mut buffers: Buffers<'a>) -> Result<(Buffers<'a>, Buffers<'a>), QueueError> {
    let header = buffers.split(HEADER);
    if buffers.is_empty() {
        return Err(QueueError::Request { head, problem: "has no room for a packet" });
    }
    Ok((header, buffers))
}

fn field<const N: usize>(bytes: &[u8; HEADER], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_specification_puts_them() {
        let bytes: [u8; HEADER] = std::array::from_fn(|index| u8::try_from(index).unwrap());
        let header = Header::parse(&bytes);
        assert_eq!(header.src_cid, 0x0706_0504_0302_0100);
        assert_eq!(header.dst_port, 0x1716_1514);
        assert_eq!((header.len, header.kind, header.op), (0x1b1a_1918, 0x1d1c, 0x1f1e));
        assert_eq!((header.flags, header.fwd_cnt), (0x2322_2120, 0x2b2a_2928));
        assert_eq!(header.to_bytes(), bytes);
    }
}
