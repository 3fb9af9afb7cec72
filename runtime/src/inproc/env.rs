//! `Env` on the in-process executor.

use std::cell::RefMut;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::Poll;

use super::Stopped;
use super::executor::World;
use super::net::{InProcListener, InProcStream, Network};
use crate::buffer::AlignedBuf;
use crate::disk::{Handle, Incarnation, Operation};
use crate::env::{CoreId, Env, File, Monotonic, OpenOptions, WallMicros};
use crate::rng::Rng;
use crate::trace::text;

/// One core of an in-process node, in one life: after a crash, an environment of an earlier life reaches the disk no more.
#[derive(Clone, Debug)]
pub struct InProcEnv {
    world: Rc<World>,
    core: CoreId,
    life: Incarnation,
}

impl InProcEnv {
    pub(super) fn new(world: &Rc<World>, core: CoreId) -> Self {
        let life = world.disk().incarnation();
        Self { world: Rc::clone(world), core, life }
    }

    /// The same node seen from another core.
    #[must_use]
    pub fn on_core(&self, core: CoreId) -> Self {
        Self { core, ..self.clone() }
    }

    pub(super) fn network(&self) -> Option<RefMut<'_, Network>> {
        self.world.net.try_borrow_mut().ok()
    }
}

/// An open file on the simulated disk.
#[derive(Debug)]
pub struct InProcFile {
    world: Rc<World>,
    handle: Handle,
}

impl InProcFile {
    async fn operate(
        &self,
        event: &'static str,
        a: u64,
        b: u64,
        operation: Operation,
    ) -> io::Result<Option<AlignedBuf>> {
        let id = self.world.disk().submit(self.handle, operation)?;
        self.world.io(event, a, b, move |disk| disk.complete(id)).await
    }
}

fn buffer_of(outcome: Option<AlignedBuf>) -> io::Result<AlignedBuf> {
    outcome.ok_or_else(|| io::Error::other("the disk model gave no buffer for a read or write"))
}

impl File for InProcFile {
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
        self.world.disk().len(self.handle)
    }
}

impl Drop for InProcFile {
    fn drop(&mut self) {
        self.world.disk().close(self.handle);
    }
}

impl Env for InProcEnv {
    type File = InProcFile;
    type Stream = InProcStream;
    type Listener = InProcListener;

    fn core(&self) -> CoreId {
        self.core
    }

    fn core_count(&self) -> u16 {
        self.world.cores()
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + 'static) {
        self.world.spawn(name, Box::pin(task));
    }

    fn now(&self) -> Monotonic {
        Monotonic(self.world.now())
    }

    fn wall(&self) -> WallMicros {
        WallMicros(self.world.wall())
    }

    async fn sleep_until(&self, at: Monotonic) {
        poll_fn(|context| {
            if self.world.now() >= at.0 {
                return Poll::Ready(());
            }
            self.world.wake_at(at.0, context.waker());
            Poll::Pending
        })
        .await;
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
        self.world.mutant(number)
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
        self.world.stop(Stopped::FailStop(reason.to_owned()));
        std::future::pending().await
    }

    async fn open(&self, path: &Path, options: OpenOptions) -> io::Result<InProcFile> {
        let (life, owned) = (self.life, path.to_path_buf());
        let handle = self.world.io("open", text(path), 0, move |disk| disk.open(life, &owned, options)).await?;
        Ok(InProcFile { world: Rc::clone(&self.world), handle })
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let (life, owned) = (self.life, path.to_path_buf());
        self.world.io("create_dir_all", text(path), 0, move |disk| disk.create_dir_all(life, &owned)).await
    }

    async fn list_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let (life, owned) = (self.life, path.to_path_buf());
        self.world.io("list_dir", text(path), 0, move |disk| disk.list_dir(life, &owned)).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (life, old, new) = (self.life, from.to_path_buf(), to.to_path_buf());
        self.world.io("rename", text(from), text(to), move |disk| disk.rename(life, &old, &new)).await
    }

    async fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (life, old, new) = (self.life, from.to_path_buf(), to.to_path_buf());
        self.world.io("hard_link", text(from), text(to), move |disk| disk.hard_link(life, &old, &new)).await
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        let (life, owned) = (self.life, path.to_path_buf());
        self.world.io("remove_file", text(path), 0, move |disk| disk.remove_file(life, &owned)).await
    }

    async fn free_space(&self, _path: &Path) -> io::Result<u64> {
        self.world.disk().free(self.life)
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let (life, owned, point) = (self.life, path.to_path_buf(), self.world.disk().sync_point());
        self.world.io("sync_dir", text(path), 0, move |disk| disk.sync_dir(life, &owned, point)).await
    }

    async fn listen(&self, addr: SocketAddr) -> io::Result<InProcListener> {
        let mut net = self.world.net.borrow_mut();
        net.listen(self, self.core, addr)
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<InProcStream> {
        let latency = 20 + self.world.random() % 100;
        self.sleep(latency).await;
        let rng = Rng::new(self.world.random());
        let mut net = self.world.net.borrow_mut();
        net.connect(addr, rng)
    }
}
