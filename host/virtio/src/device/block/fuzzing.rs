//! Requests in a memory that the input has written.

use super::request::BlockHandler;
use super::{Access, BlockDevice, SharedLimits};
use crate::fuzzing::{Input, LAYOUT, memory};
use crate::queue::{Queue, QueueHandler};
use hull_platform::file::{read_exact_at, write_all_at};
use hull_platform::memory::shared;
use virtio_bindings::virtio_blk::VIRTIO_BLK_F_FLUSH;

const MIB: u64 = 1 << 20;
const LENGTH: u64 = 64 << 10;

/// Most requests of one input.
const REQUESTS: usize = 32;

/// Serves a queue of a window in which a file is mapped for writing at 1 MiB and one for reading behind it.
pub fn block(input: &[u8]) {
    let mut input = Input::new(input);
    let bits = u64::from(input.u8());
    // Ring features, and whether the driver flushes.
    let features = bits << 28 | (bits >> 7) << VIRTIO_BLK_F_FLUSH;
    let image = input.rest();
    let window = BlockDevice::new("fuzz", Access::ReadWrite).window();
    let [written, kept] = [(); 2].map(|()| shared("fuzz", LENGTH).expect("there is memory for 64 KiB"));
    write_all_at(&kept, &[0xee; 512], 0).expect("there is memory for 512 bytes");
    let own = || kept.try_clone().expect("there are files to open");
    for (start, file, access) in [(MIB, written, Access::ReadWrite), (MIB + LENGTH, own(), Access::ReadOnly)] {
        window.map(start..start + LENGTH, file, 0, access).expect("the extents do not overlap");
    }
    let Ok(mut queue) = Queue::new(memory(image), LAYOUT, features, 0) else { return };
    let mut handler = BlockHandler::new(window, "fuzz", SharedLimits::default());
    for _ in 0..REQUESTS {
        if !matches!(handler.serve_one(&mut queue), Ok(true)) {
            break;
        }
    }
    let mut sector = [0; 512];
    read_exact_at(&kept, &mut sector, 0).expect("it is as long as it was");
    assert_eq!(sector, [0xee; 512], "what is mapped for reading is not written");
}
