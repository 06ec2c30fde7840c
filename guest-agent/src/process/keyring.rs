//! Session keyrings (keyrings(7)): a container's processes must not share the agent's.

#![expect(unsafe_code, reason = "keyctl(2) has no safe wrapper")]

/// Puts the caller into a session keyring of its own. A kernel without keyrings has nothing to share.
pub(super) fn join_a_new_one() {
    let unnamed = std::ptr::null::<libc::c_char>();
    // SAFETY: the name, the call's only pointer, may be null.
    let _absent = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, unnamed) };
}
