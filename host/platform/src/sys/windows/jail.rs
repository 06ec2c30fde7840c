//! No jail on this system yet: nothing is given up, and [`Jail::layers`] says so.

use crate::jail::{Attempt, Jail, JailError, Role};

pub(crate) fn confine(_: u32) -> Result<Jail, JailError> {
    Ok(Jail { layers: Vec::new() })
}

pub(crate) fn narrow(_: Role) -> Result<(), JailError> {
    Ok(())
}

pub(crate) fn attempts() -> Vec<Attempt> {
    Vec::new()
}
