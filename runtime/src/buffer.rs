//! Owned, zero-filled, 4 KiB-aligned buffers: the only thing that file I/O takes or gives.
//!
//! Zero-filled on allocation, so that no stale heap ever reaches the disk (glommio defect G5, "buffer bleed").

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Alignment of memory, offsets and lengths of all file I/O, in bytes.
pub const BLOCK: usize = 4096;

/// A heap buffer whose address and length are multiples of [`BLOCK`].
pub struct AlignedBuf {
    memory: NonNull<u8>,
    len: usize,
}

impl AlignedBuf {
    /// A zero-filled buffer of at least `len` bytes, rounded up to whole blocks (at least one).
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let len = len.max(1).next_multiple_of(BLOCK);
        let layout = Self::layout(len);
        // SAFETY: the layout has a non-zero size.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        Self { memory, len }
    }

    /// A buffer that starts with `data` and is zero from there to its end.
    #[must_use]
    pub fn from_slice(data: &[u8]) -> Self {
        let mut buffer = Self::zeroed(data.len());
        if let Some(head) = buffer.get_mut(..data.len()) {
            head.copy_from_slice(data);
        }
        buffer
    }

    #[expect(clippy::expect_used, reason = "a multiple of BLOCK below isize::MAX always is a valid layout")]
    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len, BLOCK).expect("block-multiple layout")
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `memory` is valid for `len` initialised bytes for the life of `self`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with the same layout.
        unsafe { dealloc(self.memory.as_ptr(), Self::layout(self.len)) }
    }
}

impl Clone for AlignedBuf {
    fn clone(&self) -> Self {
        Self::from_slice(self)
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.len)
    }
}

// SAFETY: the buffer owns its memory exclusively, like a `Box<[u8]>`.
unsafe impl Send for AlignedBuf {}
// SAFETY: a shared reference gives shared bytes only.
unsafe impl Sync for AlignedBuf {}
