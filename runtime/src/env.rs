//! The `Env` contract: everything that Highwater asks of the outside world.
//!
//! One implementation per backend (glommio, in-process, madsim); one conformance suite runs on all of them.
//! Everything here is `!Send` and lives on one core; only the queues in [`crate::queue`] cross cores.
//!
//! Rules that every backend keeps and every caller may rely on:
//!
//! * Every buffer given to I/O is owned by the operation until it completes.
//! * I/O is exact: a short read or write is an error ([`std::io::ErrorKind::UnexpectedEof`], [`std::io::ErrorKind::WriteZero`]),
//!   never a smaller success.
//! * Writes submitted together may complete in any order. What a completed [`File::sync`] covers is durable, nothing else;
//!   on a handle opened with [`OpenOptions::synchronous`] every completed write is durable by itself.
//! * A created, linked, renamed or removed name is durable after [`Env::sync_dir`] of its folder, not before.
//! * Dropping a future of a write leaves the range undefined: log writes live in tasks that nobody cancels.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use futures_lite::{AsyncRead, AsyncWrite};

use crate::buffer::AlignedBuf;

/// Index of an executor of this node, from 0; core `i` is pinned to the `i`-th configured CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(pub u16);

/// Microseconds on this node's monotonic clock; comparable only within one process life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// This instant plus `micros`, saturating.
    #[must_use]
    pub const fn after_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this instant, zero when `earlier` is later.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Microseconds since 1970-01-01 UTC on this node's wall clock, which may jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallMicros(pub i64);

/// How a file is opened. All data files are opened for direct I/O where the file system allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Open for writing too (else read-only).
    pub write: bool,
    /// Create the file; it must not exist.
    pub create_new: bool,
    /// Every completed write is durable (`O_DSYNC`).
    pub synchronous: bool,
}

impl OpenOptions {
    /// An existing file, for reading.
    pub const READ: Self = Self { write: false, create_new: false, synchronous: false };
    /// An existing file, for reading and writing.
    pub const WRITE: Self = Self { write: true, create_new: false, synchronous: false };
    /// A new file, for reading and writing.
    pub const CREATE: Self = Self { write: true, create_new: true, synchronous: false };

    /// The same with every completed write durable by itself.
    #[must_use]
    pub const fn synchronous(self) -> Self {
        Self { synchronous: true, ..self }
    }
}

/// An open file for aligned, positioned, direct I/O. Handles are closed on drop.
#[expect(clippy::len_without_is_empty, reason = "the length is asked of the system, and emptiness is of no interest")]
pub trait File: 'static {
    /// Writes the whole buffer at `offset` (a multiple of [`crate::BLOCK`], as is the buffer's length) and gives it back.
    ///
    /// # Errors
    /// Any I/O error, and `WriteZero` for a short write. What reached the file is then undefined.
    fn write_at(&self, buffer: AlignedBuf, offset: u64) -> impl Future<Output = io::Result<AlignedBuf>>;

    /// Reads exactly `len` bytes at `offset`; both are multiples of [`crate::BLOCK`].
    ///
    /// # Errors
    /// Any I/O error, and `UnexpectedEof` when the file ends before `offset + len`.
    fn read_at(&self, offset: u64, len: usize) -> impl Future<Output = io::Result<AlignedBuf>>;

    /// Makes every write that completed before this call durable (`fdatasync`).
    ///
    /// # Errors
    /// After an error the state of the file's unsynced writes is unknown: the caller must stop the node ([`Env::fail_stop`]).
    fn sync(&self) -> impl Future<Output = io::Result<()>>;

    /// Reserves and extends the file to `len` bytes; new bytes read as zero. Never shrinks.
    ///
    /// # Errors
    /// `StorageFull` when the space cannot be reserved; any other I/O error.
    fn allocate(&self, len: u64) -> impl Future<Output = io::Result<()>>;

    /// Length of the file in bytes.
    ///
    /// # Errors
    /// Any I/O error.
    fn len(&self) -> impl Future<Output = io::Result<u64>>;
}

/// A bound listening socket.
pub trait Listener: 'static {
    /// The stream that a connection becomes.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Waits for the next connection.
    ///
    /// # Errors
    /// An I/O error of this accept; the listener stays usable. A loop waits a little before it tries again, or it spins while the
    /// process is out of file descriptors.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>>;

    /// The address that is really bound (port 0 was resolved).
    ///
    /// # Errors
    /// Any I/O error.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// The world as one core sees it. Cloning is cheap and gives the same core.
pub trait Env: Clone + 'static {
    /// Files of this backend.
    type File: File;
    /// Streams of this backend.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;
    /// Listening sockets of this backend.
    type Listener: Listener<Stream = Self::Stream>;

    /// The core that this task runs on.
    fn core(&self) -> CoreId;
    /// Number of cores of this node.
    fn core_count(&self) -> u16;

    /// Starts a detached task on this core. A panic in it stops the process.
    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + 'static);
    /// Starts a detached task for work that nobody waits for, such as compaction. In production it runs on a queue of its own, with a
    /// smaller share of the core than all other tasks have together; elsewhere it is an ordinary task.
    fn spawn_background(&self, name: &'static str, task: impl Future<Output = ()> + 'static) {
        self.spawn(name, task);
    }

    /// The monotonic clock.
    fn now(&self) -> Monotonic;
    /// The wall clock.
    fn wall(&self) -> WallMicros;
    /// Waits until the monotonic clock reaches `at`.
    fn sleep_until(&self, at: Monotonic) -> impl Future<Output = ()>;
    /// Waits for `micros` microseconds.
    fn sleep(&self, micros: u64) -> impl Future<Output = ()> {
        self.sleep_until(self.now().after_micros(micros))
    }
    /// Lets other tasks of this core run if this one has used up its time slice. Loops over data call it once per block.
    fn yield_if_needed(&self) -> impl Future<Output = ()>;

    /// 64 random bits from this core's generator (seeded in simulation).
    fn random(&self) -> u64;
    /// Whether the named place should misbehave this time. Always false outside simulation.
    fn buggify(&self, site: &'static str) -> bool;
    /// Whether the planted bug `number` is switched on. Always false without the `mutants` feature.
    fn mutant(&self, number: u32) -> bool {
        let _ = number;
        false
    }
    /// Folds an event into the simulation's trace hash; free outside simulation.
    fn trace(&self, event: &'static str, a: u64, b: u64);

    /// Runs `work` on the pinned blocking pool (inline in simulation).
    fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T>;

    /// Stops the whole node at once, as a power cut would, after saying why on standard error. Used where going on could
    /// break a promise: a failed sync, a broken invariant. In simulation the node is killed and this future never completes.
    fn fail_stop(&self, reason: &str) -> impl Future<Output = std::convert::Infallible>;

    /// Ends the whole node in good order, after saying why on standard error: there is nothing left for it to do. Who watches the process
    /// need not start it again.
    fn leave(&self, reason: &str) -> impl Future<Output = std::convert::Infallible> {
        self.fail_stop(reason)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists` (with `create_new`), any I/O error.
    fn open(&self, path: &Path, options: OpenOptions) -> impl Future<Output = io::Result<Self::File>>;
    /// Creates a folder and its parents, durably; existing ones are fine.
    ///
    /// # Errors
    /// Any I/O error.
    fn create_dir_all(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// File names (not folders) in a folder, sorted.
    ///
    /// # Errors
    /// Any I/O error.
    fn list_dir(&self, path: &Path) -> impl Future<Output = io::Result<Vec<PathBuf>>>;
    /// Renames a file within one file system, replacing the target.
    ///
    /// # Errors
    /// Any I/O error.
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;
    /// Gives a file a second name in the same file system; the bytes live until the last name and handle are gone. Every name is
    /// equal: writes through one are seen through the other.
    ///
    /// # Errors
    /// `NotFound` for the file or the new name's folder, `AlreadyExists` when the new name is taken, `CrossesDevices` when it
    /// lies in another file system; any other I/O error. Nothing was changed then.
    fn hard_link(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;
    /// Removes a file's name.
    ///
    /// # Errors
    /// Any I/O error.
    fn remove_file(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Bytes that may still be written in the file system of a folder; `u64::MAX` where it has no limit. Others write there too, so this is
    /// for plans and not a promise: what needs space meets `StorageFull` all the same.
    ///
    /// # Errors
    /// Any I/O error.
    fn free_space(&self, path: &Path) -> impl Future<Output = io::Result<u64>>;
    /// Makes the names in a folder durable (`fsync` of the folder).
    ///
    /// # Errors
    /// As [`File::sync`]: the caller must stop the node.
    fn sync_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// Listens on an address. Every core of a node may listen on the same one; the kernel spreads connections. Another process of the
    /// same user could too: the lock on the data folder is what keeps a second server out.
    ///
    /// # Errors
    /// `AddrInUse` and other I/O errors.
    fn listen(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>>;
    /// Connects to an address.
    ///
    /// # Errors
    /// `ConnectionRefused` and other I/O errors.
    fn connect(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>>;
}
