//! The memory allocator of the C library.

/// Large buffers go back to the system when they are freed, and threads share what is kept of small ones. For a process
/// that works in bursts and stays. Best before other threads begin; other allocators than glibc's do as they do.
pub fn keep_little() {
    /// From this size on a buffer is a map of its own. glibc raises its limit up to 32 MiB when such buffers are freed,
    /// unless it is set.
    #[cfg(target_env = "gnu")]
    const OWN_MAP: i32 = 256 << 10;
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers, and locks what it changes.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MAP);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}
