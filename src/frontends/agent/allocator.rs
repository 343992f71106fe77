//! A process that lives long beside a database and has ten threads that do little.

/// One pool of memory for all threads: the C library's default is one for each, of which most stays unused and resident (0.5 MB of 12,
/// measured by `make bench-agent`). To be called before the first thread is started.
pub(super) fn share_one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two integers, and no other thread allocates yet.
    #[allow(unsafe_code)]
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1);
    }
}
