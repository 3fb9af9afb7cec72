//! `Env` on a madsim node.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures_channel::oneshot;
use madsim::runtime::Handle;
use madsim::task::NodeId;

use super::net::{MadsimListener, MadsimStream};
use super::world::{World, number, world};
use crate::buffer::AlignedBuf;
use crate::disk::{CrashKind, Disk, Handle as DiskHandle, Incarnation, Operation};
use crate::env::{CoreId, Env, File, Monotonic, OpenOptions, WallMicros};
use crate::network::Machine;
use crate::trace::text;

/// madsim's wall clock starts in 2022, before the epoch of our own stamps: this many seconds (four years) are added.
const WALL_SHIFT_SECONDS: u64 = 1461 * 86_400;
/// madsim's shortest sleep. I/O takes this plus the disk's latency, so that latencies still decide the order.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// One core of a simulated machine, in one life.
#[derive(Clone, Debug)]
pub struct MadsimEnv {
    world: World,
    node: NodeId,
    life: Incarnation,
    core: CoreId,
    core_count: u16,
}

/// The run's state.
#[expect(
    clippy::expect_used,
    reason = "a simulation without its plugin is a mistake in the test's set-up, which must not go on"
)]
pub(super) fn installed() -> World {
    world().expect("runtime::sim::install was not called on this runtime")
}

impl MadsimEnv {
    pub(super) fn of_current_node() -> Self {
        let (world, node) = (installed(), madsim::plugin::node());
        let life = world.with_disk(node, |disk| disk.incarnation());
        Self { world, node, life, core: CoreId(0), core_count: 1 }
    }

    pub(super) fn on_core(&self, core: CoreId, core_count: u16) -> Self {
        Self { core, core_count, ..self.clone() }
    }

    pub(super) const fn world(&self) -> &World {
        &self.world
    }

    /// The machine and its life, for what ends with it.
    pub(super) fn place(&self) -> (Machine, Incarnation) {
        (number(self.node), self.life)
    }

    /// Lets `effect` happen on the disk after its latency. A task of the node completes it even if the caller stops waiting.
    async fn io<T: 'static>(
        &self,
        event: &'static str,
        a: u64,
        b: u64,
        effect: impl FnOnce(&mut Disk) -> T + 'static,
    ) -> T {
        let (done, result) = oneshot::channel();
        let (world, node) = (self.world.clone(), self.node);
        world.trace(event, a, b);
        let latency = SHORTEST_SLEEP + Duration::from_micros(world.with_disk(node, Disk::latency));
        drop(madsim::task::spawn_local(async move {
            world.time().sleep(latency).await;
            if let Some(kind) = world.next_completion(node) {
                super::crash(node, kind);
                return;
            }
            let outcome = world.with_disk(node, effect);
            world.trace(event, a, u64::MAX);
            // The caller may have stopped waiting.
            let _ = done.send(outcome);
        }));
        match result.await {
            Ok(outcome) => outcome,
            // The machine has crashed: this task is about to be dropped.
            Err(oneshot::Canceled) => std::future::pending().await,
        }
    }
}

/// An open file on a simulated disk.
#[derive(Debug)]
pub struct MadsimFile {
    env: MadsimEnv,
    handle: DiskHandle,
}

impl MadsimFile {
    async fn operate(
        &self,
        event: &'static str,
        a: u64,
        b: u64,
        operation: Operation,
    ) -> io::Result<Option<AlignedBuf>> {
        let id = self.env.world.with_disk(self.env.node, |disk| disk.submit(self.handle, operation))?;
        self.env.io(event, a, b, move |disk| disk.complete(id)).await
    }
}

fn buffer_of(outcome: Option<AlignedBuf>) -> io::Result<AlignedBuf> {
    outcome.ok_or_else(|| io::Error::other("the disk model gave no buffer for a read or write"))
}

impl File for MadsimFile {
    async fn write_at(&self, buffer: AlignedBuf, offset: u64) -> io::Result<AlignedBuf> {
        let len = buffer.len() as u64;
        self.operate("write", offset, len, Operation::Write { buffer, offset }).await.and_then(buffer_of)
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<AlignedBuf> {
        self.operate("read", offset, len as u64, Operation::Read { offset, len }).await.and_then(buffer_of)
    }

    async fn sync(&self) -> io::Result<()> {
        self.operate("sync", 0, 0, Operation::Sync).await.map(|_| ())
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        self.operate("allocate", len, 0, Operation::Allocate { len }).await.map(|_| ())
    }

    async fn len(&self) -> io::Result<u64> {
        self.env.world.with_disk(self.env.node, |disk| disk.len(self.handle))
    }
}

impl Drop for MadsimFile {
    fn drop(&mut self) {
        self.env.world.with_disk(self.env.node, |disk| disk.close(self.handle));
    }
}

impl Env for MadsimEnv {
    type File = MadsimFile;
    type Stream = MadsimStream;
    type Listener = MadsimListener;

    fn core(&self) -> CoreId {
        self.core
    }

    fn core_count(&self) -> u16 {
        self.core_count
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + 'static) {
        self.world.trace("spawn", name.len() as u64, u64::from(self.core.0));
        let count = self.world.begin_task(self.node, self.life, name);
        drop(madsim::task::spawn_local(async move {
            task.await;
            drop(count);
        }));
    }

    fn now(&self) -> Monotonic {
        Monotonic(self.world.monotonic(self.node))
    }

    fn wall(&self) -> WallMicros {
        let since = self.world.time().now_time().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let shifted = since + Duration::from_secs(WALL_SHIFT_SECONDS);
        WallMicros(
            i64::try_from(shifted.as_micros()).unwrap_or(i64::MAX).saturating_add(self.world.wall_ahead(self.node)),
        )
    }

    async fn sleep_until(&self, at: Monotonic) {
        loop {
            let left = at.micros_since(self.now());
            if left == 0 {
                return;
            }
            let left = self.world.virtual_micros(self.node, left);
            self.world.time().sleep(Duration::from_micros(left)).await;
        }
    }

    async fn yield_if_needed(&self) {
        // The seed decides whether the time slice is used up.
        if self.world.random().is_multiple_of(4) {
            futures_lite::future::yield_now().await;
        }
    }

    fn random(&self) -> u64 {
        self.world.random()
    }

    fn buggify(&self, site: &'static str) -> bool {
        self.world.buggify(site)
    }

    fn mutant(&self, number: u32) -> bool {
        crate::mutant(number)
    }

    fn trace(&self, event: &'static str, a: u64, b: u64) {
        self.world.trace(event, a, b);
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        futures_lite::future::yield_now().await;
        work()
    }

    async fn fail_stop(&self, reason: &str) -> Infallible {
        self.world.trace("fail_stop", 0, 0);
        self.world.set_stop_reason(self.node, reason);
        if self.world.prepare_crash(self.node, CrashKind::Power) {
            Handle::current().kill(self.node);
        }
        std::future::pending().await
    }

    async fn open(&self, path: &Path, options: OpenOptions) -> io::Result<MadsimFile> {
        let (life, owned) = (self.life, path.to_path_buf());
        let handle = self.io("open", text(path), 0, move |disk| disk.open(life, &owned, options)).await?;
        Ok(MadsimFile { env: self.clone(), handle })
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let (life, owned) = (self.life, path.to_path_buf());
        self.io("create_dir_all", text(path), 0, move |disk| disk.create_dir_all(life, &owned)).await
    }

    async fn list_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let (life, owned) = (self.life, path.to_path_buf());
        self.io("list_dir", text(path), 0, move |disk| disk.list_dir(life, &owned)).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (life, old, new) = (self.life, from.to_path_buf(), to.to_path_buf());
        self.io("rename", text(from), text(to), move |disk| disk.rename(life, &old, &new)).await
    }

    async fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (life, old, new) = (self.life, from.to_path_buf(), to.to_path_buf());
        self.io("hard_link", text(from), text(to), move |disk| disk.hard_link(life, &old, &new)).await
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        let (life, owned) = (self.life, path.to_path_buf());
        self.io("remove_file", text(path), 0, move |disk| disk.remove_file(life, &owned)).await
    }

    async fn free_space(&self, _path: &Path) -> io::Result<u64> {
        self.world.with_disk(self.node, |disk| disk.free(self.life))
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let (life, owned) = (self.life, path.to_path_buf());
        let point = self.world.with_disk(self.node, |disk| disk.sync_point());
        self.io("sync_dir", text(path), 0, move |disk| disk.sync_dir(life, &owned, point)).await
    }

    async fn listen(&self, addr: SocketAddr) -> io::Result<MadsimListener> {
        MadsimListener::bind(self, addr)
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<MadsimStream> {
        MadsimStream::connect(self, addr).await
    }
}
