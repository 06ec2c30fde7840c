//! Exit statuses with a meaning of their own: Docker's, which are the shell's.

/// hull itself failed.
pub const HULL: u8 = 125;
/// The command cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command does not exist.
pub const NOT_FOUND: u8 = 127;
/// `SIGKILL` ended it; so it is for a process whose VM died under it.
pub const KILLED: u8 = 128 + 9;
