//! The tests, by what they are about.

mod ends;
mod errors;
mod further;
mod inside;
mod limits;
mod streams;
mod users;

use crate::runner::{Need, Test};

/// Short for [`Test`].
const fn test(name: &'static str, needs: &'static [Need], body: fn(&crate::assets::Assets)) -> Test {
    Test { name, needs, body }
}

pub(crate) fn all() -> Vec<Test> {
    [ends::TESTS, errors::TESTS, further::TESTS, inside::TESTS, limits::TESTS, streams::TESTS, users::TESTS]
        .into_iter()
        .flatten()
        .map(|Test { name, needs, body }| Test { name, needs, body: *body })
        .collect()
}
