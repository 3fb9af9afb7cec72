//! Rings that do not interrupt a running core.
//!
//! When a socket of a core becomes readable by work of another CPU, the kernel interrupts the core to tell its ring, even while it runs
//! tasks and will look soon anyway. On a virtual machine each such interrupt leaves the machine, and there are 0.3 to 0.4 of them per
//! small write. `IORING_SETUP_COOP_TASKRUN` (Linux 5.19) leaves the news for the core's next entry into the kernel: at every turn of
//! the executor there is one, and the timer that ends a turn fires on the core itself, which is an entry, too.
//!
//! glommio makes its rings without the flag and has no setting for it. All rings are made by way of the C library's function `syscall`,
//! so this crate brings its own, which adds the flag to the one call and hands every call on to the library's
//! (docs/decisions/rings-without-interrupts.md).

use std::ffi::{c_long, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// `IORING_SETUP_COOP_TASKRUN` of `linux/io_uring.h`.
const COOP_TASKRUN: u32 = 1 << 8;

/// How many rings this process has made with the flag.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// Number and six arguments: as many as any call has. Which of them a call uses is its own matter.
type Syscall = unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

/// The C library's function behind this one.
fn library() -> Syscall {
    static FOUND: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
    let mut found = FOUND.load(Ordering::Relaxed);
    if found.is_null() {
        // SAFETY: the name is a C string.
        found = unsafe { libc::dlsym(libc::RTLD_NEXT, c"syscall".as_ptr()) };
        if found.is_null() {
            // Nothing of this process works without it: memory and locks of the standard library are among its callers.
            std::process::abort();
        }
        FOUND.store(found, Ordering::Relaxed);
    }
    // SAFETY: it is the library's `syscall`. That takes its arguments after the first as a variable list, which on x86-64 and AArch64
    // Linux are passed where fixed ones of the same types are.
    unsafe { std::mem::transmute::<*mut c_void, Syscall>(found) }
}

/// The head of `struct io_uring_params`.
#[repr(C)]
struct Params {
    submission_entries: u32,
    completion_entries: u32,
    flags: u32,
}

/// `long syscall(long number, ...)`, in place of the C library's.
///
/// # Safety
/// As that one: the arguments are what the call expects.
#[cfg(all(not(target_feature = "crt-static"), any(target_arch = "x86_64", target_arch = "aarch64")))]
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let library = library();
    if number == libc::SYS_io_uring_setup && b != 0 {
        let params = ptr::with_exposed_provenance_mut::<Params>(b.cast_unsigned() as usize);
        // SAFETY: the caller's second argument is the address of parameters that the kernel reads and writes.
        unsafe { (*params).flags |= COOP_TASKRUN };
        // SAFETY: the caller's arguments.
        let ring = unsafe { library(number, a, b, c, d, e, f) };
        if ring >= 0 {
            MADE.fetch_add(1, Ordering::Relaxed);
            return ring;
        }
        // A kernel before 5.19, or other flags that do not go with it.
        // SAFETY: as above.
        unsafe { (*params).flags &= !COOP_TASKRUN };
    }
    // SAFETY: the caller's arguments.
    unsafe { library(number, a, b, c, d, e, f) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_rings_of_an_executor_are_made_with_the_flag() {
        let before = MADE.load(Ordering::Relaxed);
        let executor = glommio::LocalExecutorBuilder::default().make().unwrap();
        assert!(MADE.load(Ordering::Relaxed) >= before + 3);
        drop(executor);
    }

    #[test]
    fn what_the_kernel_refuses_with_the_flag_is_made_without_it() {
        // A ring with a thread of its own in the kernel has nobody to interrupt.
        let ring: io_uring::IoUring = io_uring::IoUring::builder().setup_sqpoll(10).build(8).unwrap();
        assert!(ring.params().is_setup_sqpoll());
    }

    #[test]
    fn other_calls_are_handed_on_with_their_results_and_errors() {
        // SAFETY: the call takes nothing.
        let id = unsafe { libc::syscall(libc::SYS_getpid) };
        assert_eq!(u32::try_from(id), Ok(std::process::id()));
        // SAFETY: no descriptor has this number, so that nothing is closed.
        let refused = unsafe { libc::syscall(libc::SYS_close, -1) };
        assert_eq!((refused, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EBADF)));
    }
}
