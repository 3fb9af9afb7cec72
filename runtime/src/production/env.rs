//! `Env` on glommio.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use super::blocking::BlockingPool;
use super::file::GlommioFile;
use super::net::{GlommioListener, GlommioStream};
use super::pulse::note_activity;
use super::slice::{LOOK_AT_RINGS, ReadUnderWay, Slice, TIME_SLICE};
use super::timers::Timers;
use crate::env::{CoreId, Env, Monotonic, OpenOptions, WallMicros};

/// One core of this process.
#[derive(Clone, Debug)]
pub struct GlommioEnv(Rc<Core>);

#[derive(Debug)]
struct Core {
    id: CoreId,
    count: u16,
    pool: BlockingPool,
    entropy: RefCell<Entropy>,
    /// Made when it is first used.
    background: Cell<Option<glommio::TaskQueueHandle>>,
    slice: Slice,
    timers: Rc<Timers>,
}

/// The background queue's share of a core, the queue of all other tasks having 1000: enough that compaction keeps up with a
/// foreground that never pauses.
const BACKGROUND_SHARES: usize = 400;

/// Random bytes of the kernel, fetched 256 at a time: such a request is never short and, once booted, never waits.
struct Entropy {
    bytes: [u8; 256],
    used: usize,
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy")
    }
}

impl Entropy {
    const fn new() -> Self {
        Self { bytes: [0; 256], used: 256 }
    }

    fn next(&mut self) -> u64 {
        if self.used >= self.bytes.len() {
            // SAFETY: the pointer and length describe our own array.
            let got = unsafe { libc::getrandom(self.bytes.as_mut_ptr().cast(), self.bytes.len(), 0) };
            if usize::try_from(got) != Ok(self.bytes.len()) {
                die("the kernel gave no random bytes");
            }
            self.used = 0;
        }
        let (word, rest) = self.bytes.get_mut(self.used..).and_then(|rest| rest.split_first_chunk_mut::<8>()).map_or(
            ([0; 8], 0),
            |(word, rest)| {
                // Given out once, then gone.
                (std::mem::take(word), rest.len())
            },
        );
        self.used = self.bytes.len() - rest;
        u64::from_le_bytes(word)
    }
}

pub(super) fn die(reason: &str) -> ! {
    let _ = writeln!(io::stderr(), "highwater: stopping at once: {reason}");
    std::process::abort()
}

/// The zero of every core's monotonic clock.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// This process's monotonic clock.
fn now() -> Monotonic {
    Monotonic(u64::try_from(start().elapsed().as_micros()).unwrap_or(u64::MAX))
}

impl GlommioEnv {
    pub(super) fn new(id: CoreId, count: u16, pool: BlockingPool) -> Self {
        Self(Rc::new(Core {
            id,
            count,
            pool,
            entropy: RefCell::new(Entropy::new()),
            background: Cell::new(None),
            slice: Slice::new(),
            timers: Rc::default(),
        }))
    }

    async fn on_pool<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        self.0.pool.run(work).await
    }
}

/// A full fsync: glommio's own folder sync is an fdatasync, which not every file system takes to cover the names.
fn sync_folder(path: &Path) -> io::Result<()> {
    // The parent of a bare name is the working folder.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    fs::File::open(path)?.sync_all()
}

fn free_space(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    // A tmpfs without a limit has no blocks at all.
    Ok(if found.f_blocks == 0 { u64::MAX } else { found.f_bavail.saturating_mul(found.f_frsize) })
}

fn create_durably(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    create_durably(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    sync_folder(parent)
}

impl Env for GlommioEnv {
    type File = GlommioFile;
    type Stream = GlommioStream;
    type Listener = GlommioListener;

    fn core(&self) -> CoreId {
        self.0.id
    }

    fn core_count(&self) -> u16 {
        self.0.count
    }

    fn spawn(&self, _name: &'static str, task: impl Future<Output = ()> + 'static) {
        note_activity();
        glommio::spawn_local(task).detach();
    }

    fn spawn_background(&self, _name: &'static str, task: impl Future<Output = ()> + 'static) {
        note_activity();
        let queue = self.0.background.get().unwrap_or_else(|| {
            let shares = glommio::Shares::Static(BACKGROUND_SHARES);
            // While something runs there, the executor itself looks up after each time slice.
            glommio::executor().create_task_queue(shares, glommio::Latency::Matters(TIME_SLICE), "background")
        });
        self.0.background.set(Some(queue));
        match glommio::spawn_local_into(task, queue) {
            Ok(task) => drop(task.detach()),
            Err(error) => die(&format!("the background queue of this core is gone: {error}")),
        }
    }

    fn now(&self) -> Monotonic {
        now()
    }

    fn wall(&self) -> WallMicros {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        WallMicros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    async fn sleep_until(&self, at: Monotonic) {
        self.0.timers.sleep_until(at, now).await;
    }

    async fn yield_if_needed(&self) {
        // Who runs next gets a whole slice.
        if glommio::executor().need_preempt() {
            self.0.slice.restart();
            glommio::yield_if_needed().await;
        } else if self.0.slice.is_over() {
            self.0.slice.restart();
            if ReadUnderWay::any() {
                glommio::timer::sleep(LOOK_AT_RINGS).await;
            } else {
                glommio::executor().yield_task_queue_now().await;
            }
        }
    }

    fn random(&self) -> u64 {
        self.0.entropy.borrow_mut().next()
    }

    fn buggify(&self, _site: &'static str) -> bool {
        false
    }

    fn mutant(&self, number: u32) -> bool {
        crate::mutant(number)
    }

    fn trace(&self, _event: &'static str, _a: u64, _b: u64) {}

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.0.pool.run(work).await
    }

    async fn fail_stop(&self, reason: &str) -> Infallible {
        die(reason)
    }

    async fn leave(&self, reason: &str) -> Infallible {
        let _ = writeln!(io::stderr(), "highwater: stopping: {reason}");
        std::process::exit(0)
    }

    async fn open(&self, path: &Path, options: OpenOptions) -> io::Result<GlommioFile> {
        GlommioFile::open(path, options).await
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = path.to_path_buf();
        self.on_pool(move || create_durably(&path)).await
    }

    async fn list_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let path = path.to_path_buf();
        self.on_pool(move || {
            let mut names = Vec::new();
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    names.push(PathBuf::from(entry.file_name()));
                }
            }
            names.sort();
            Ok(names)
        })
        .await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        self.on_pool(move || fs::rename(from, to)).await
    }

    async fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        self.on_pool(move || fs::hard_link(from, to)).await
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = path.to_path_buf();
        self.on_pool(move || fs::remove_file(path)).await
    }

    async fn free_space(&self, path: &Path) -> io::Result<u64> {
        let path = path.to_path_buf();
        self.on_pool(move || free_space(&path)).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = path.to_path_buf();
        self.on_pool(move || sync_folder(&path)).await
    }

    async fn listen(&self, addr: SocketAddr) -> io::Result<GlommioListener> {
        GlommioListener::bind(addr)
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<GlommioStream> {
        GlommioStream::connect(addr).await
    }
}
