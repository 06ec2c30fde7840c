//! Doing one thing to many containers: all at once, as Docker does it, each told of in the order in which it was named.

use crate::failure::Failure;
use crate::output;
use std::thread;

/// How many at once: each is a connection and a thread that waits.
const AT_ONCE: usize = 16;

/// Does `act` to each reference and prints what it says, or what went wrong. The exit status is 1 if anything did.
pub fn each<A>(references: &[String], act: A) -> Result<u8, Failure>
where
    A: Fn(&str) -> Result<String, Failure> + Sync,
{
    let mut code = 0;
    for batch in references.chunks(AT_ONCE) {
        let results: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = batch.iter().map(|reference| scope.spawn(|| act(reference))).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        for result in results {
            match result {
                Ok(Ok(line)) => output::print_line(line)?,
                Ok(Err(failure)) => {
                    failure.message.iter().for_each(|line| output::say(line));
                    code = code.max(failure.code.min(1));
                }
                // The panic has been reported.
                Err(_) => code = 1,
            }
        }
    }
    Ok(code)
}
