//! Rings and chains in a memory that the input has written, at places that it has chosen.

use super::{Chain, Layout, Queue};
use crate::fuzzing::{Input, memory};
use vm_memory::{GuestAddress, GuestMemoryBackend};

/// Most chains of one input.
const CHAINS: usize = 64;

/// Follows every chain of a queue.
pub fn queue(input: &[u8]) {
    let mut input = Input::new(input);
    let size = input.pick(&[1, 2, 4, 8, 16, 32, 128, 256]);
    let [descriptors, available, used] = [0; 3].map(|_: u8| u64::from(input.u16()));
    let layout = Layout { size, descriptors, available, used };
    let features = u64::from(input.u8()) << 28;
    let (next_available, actions) = (input.u16(), input.u64());
    let memory = memory(input.rest());
    let Ok(mut queue) = Queue::new(memory, layout, features, next_available) else { return };
    let mut chain = Chain::default();
    for turn in 0..CHAINS {
        match queue.pop(&mut chain) {
            Ok(true) => check(&chain, &queue),
            Ok(false) | Err(_) => return,
        }
        let action = actions >> (turn % 32 * 2);
        if action & 3 == 3 {
            queue.undo_pop();
        } else if queue.push(chain.head(), chain.readable(queue.memory()).len()).is_err() {
            return;
        }
        let told = match action & 3 {
            0 => queue.wants_interrupt(),
            1 => queue.enable_kicks(),
            _ => queue.disable_kicks().map(|()| false),
        };
        if told.is_err() {
            return;
        }
    }
}

/// A chain that was popped keeps its promises.
fn check(chain: &Chain, queue: &Queue) {
    let memory = queue.memory();
    let (mut readable, writable) = (chain.readable(memory), chain.writable(memory));
    assert!(readable.len() as u64 + writable.len() as u64 <= u64::from(u32::MAX));
    let mut total = 0;
    for (address, length) in chain.writable_ranges() {
        assert!(length > 0 && memory.check_range(GuestAddress(address), length));
        total += length;
    }
    assert_eq!(total, writable.len());
    for buffers in [&readable, &writable] {
        // The pieces of 4 GiB would be too many to look at.
        let pieces = buffers.clone().split(1 << 20).slices().map(|piece| piece.expect("the walk has checked it").len());
        assert_eq!(pieces.sum::<usize>(), buffers.len().min(1 << 20));
    }
    let mut bytes = [0; 64];
    let count = readable.len().min(bytes.len());
    let before = readable.len();
    assert_eq!(readable.read(&mut bytes).expect("the walk has checked it"), count);
    assert_eq!(readable.len(), before - count);
}
