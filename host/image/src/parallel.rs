//! Doing the same to several things at once, on a few threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does `action` to each of `items`, on at most `threads` threads, and returns the first failure. After a failure nothing
/// new is begun, and `cancelled` is set, for actions under way to notice.
///
/// # Errors
/// The first one of `action`.
pub(crate) fn for_each<T: Sync, E: Send>(
    items: &[T],
    threads: usize,
    cancelled: &AtomicBool,
    action: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let work = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if cancelled.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = action(item) {
                // Under the lock: whoever is cancelled by this comes after it.
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(error);
                cancelled.store(true, Ordering::Relaxed);
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            scope.spawn(work);
        }
        work();
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once() {
        let items = (0..100_u32).collect::<Vec<_>>();
        let sum = Mutex::new(0);
        let done: Result<(), ()> = for_each(&items, 4, &AtomicBool::new(false), |item| {
            *sum.lock().unwrap() += item;
            Ok(())
        });
        assert_eq!((done, sum.into_inner().unwrap()), (Ok(()), 4950));
        let none: Result<(), ()> = for_each::<u8, _>(&[], 4, &AtomicBool::new(false), |_| Err(()));
        assert_eq!(none, Ok(()));
    }

    #[test]
    fn the_first_failure_ends_it() {
        let cancelled = AtomicBool::new(false);
        let calls = AtomicUsize::new(0);
        let result = for_each(&[1, 2, 3, 4], 1, &cancelled, |item| {
            calls.fetch_add(1, Ordering::Relaxed);
            if *item == 2 { Err(*item) } else { Ok(()) }
        });
        assert_eq!((result, calls.into_inner(), cancelled.into_inner()), (Err(2), 2, true));
    }
}
