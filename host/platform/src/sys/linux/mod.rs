//! What Linux does in its own way.

pub(crate) mod base;
pub(crate) mod code;
pub(crate) mod event;
pub(crate) mod family;
pub(crate) mod jail;
pub(crate) mod kin;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod number;
pub(crate) mod space;
pub(crate) mod wait;
