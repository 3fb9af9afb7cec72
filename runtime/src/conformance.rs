//! The contract of [`crate::Env`] as executable promises, run on every backend.
//!
//! [`all`] takes an environment and an empty folder of its file system. It panics at the first broken promise, which every
//! backend's test turns into a failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "assertions of a test suite"
)]

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures_lite::{AsyncReadExt, AsyncWriteExt};

use crate::queue::{bounded, reply};
use crate::{AlignedBuf, BLOCK, Env, File, Listener, OpenOptions};

const BLOCK_U64: u64 = BLOCK as u64;

/// Every promise, in the order of the contract.
pub(crate) async fn all<E: Env>(env: E, folder: &Path) {
    clocks_and_timers(&env).await;
    tasks_and_queues(&env).await;
    background_work(&env).await;
    exact_aligned_io(&env, folder).await;
    large_io_comes_back_as_written(&env, folder).await;
    reads_past_the_end_are_errors(&env, folder).await;
    opening(&env, folder).await;
    allocation_reads_as_zero(&env, folder).await;
    synchronous_handles(&env, folder).await;
    names(&env, folder).await;
    hard_links(&env, folder).await;
    free_space(&env, folder).await;
    streams(&env).await;
    connecting_to_nobody_is_refused(&env).await;
    blocking_work(&env).await;
    randomness(&env);
}

fn pattern(block: u64) -> AlignedBuf {
    let mut buffer = AlignedBuf::zeroed(BLOCK);
    for (i, byte) in buffer.iter_mut().enumerate() {
        *byte = u8::try_from((i as u64 * 7 + block * 13) % 251).unwrap();
    }
    buffer
}

async fn clocks_and_timers<E: Env>(env: &E) {
    let start = env.now();
    let order = Rc::new(RefCell::new(Vec::new()));
    for millis in [30u64, 10, 20] {
        let (env, order, inner) = (env.clone(), Rc::clone(&order), env.clone());
        env.spawn("timer", async move {
            inner.sleep(millis * 1000).await;
            order.borrow_mut().push(millis);
        });
    }
    env.sleep(60_000).await;
    assert_eq!(*order.borrow(), [10, 20, 30], "timers fire in the order of their times");
    assert!(env.now().micros_since(start) >= 60_000, "a sleep is never shorter than asked");
    env.sleep_until(start).await;
    assert!(env.wall().0 > 1_600_000_000_000_000, "the wall clock is in this century, in microseconds");
    assert!(env.core().0 < env.core_count());
}

async fn tasks_and_queues<E: Env>(env: &E) {
    let (sender, receiver) = bounded(2);
    let inner = env.clone();
    env.spawn("producer", async move {
        for i in 0..100u32 {
            sender.send(i).await.unwrap();
            inner.yield_if_needed().await;
        }
    });
    for i in 0..100 {
        assert_eq!(receiver.recv().await, Some(i), "a queue keeps its order and loses nothing");
    }
    assert_eq!(receiver.recv().await, None, "a queue ends when its senders are gone");

    let (slot, answer) = reply();
    env.spawn("answerer", async move { slot.fill(7) });
    assert_eq!(answer.await, Ok(7));
    let (slot, answer) = reply::<u32>();
    drop(slot);
    assert!(answer.await.is_err(), "a dropped slot is reported");
}

/// A background task that never waits, only yields, runs, and keeps nobody from running.
async fn background_work<E: Env>(env: &E) {
    let (started, starts) = bounded(1);
    let (ended, ends) = bounded(1);
    let wanted = Rc::new(Cell::new(true));
    let (inner, still) = (env.clone(), Rc::clone(&wanted));
    env.spawn_background("background", async move {
        started.send(()).await.unwrap();
        let mut rounds = 0u64;
        while still.get() {
            rounds += 1;
            inner.yield_if_needed().await;
        }
        ended.send(rounds).await.unwrap();
    });
    assert_eq!(starts.recv().await, Some(()), "it runs while others wait");
    // Two tasks that need each other, hop by hop.
    let (ping, pings) = bounded(1);
    let (pong, pongs) = bounded(1);
    env.spawn("other", async move {
        while let Some(number) = pings.recv().await {
            pong.send(number).await.unwrap();
        }
    });
    for hop in 0..1000u32 {
        ping.send(hop).await.unwrap();
        assert_eq!(pongs.recv().await, Some(hop), "others go on while it runs");
    }
    wanted.set(false);
    assert!(ends.recv().await.is_some_and(|rounds| rounds > 0), "it ends like any other task");
}

async fn exact_aligned_io<E: Env>(env: &E, folder: &Path) {
    let file = env.open(&folder.join("exact"), OpenOptions::CREATE).await.unwrap();
    for block in [2u64, 0, 1] {
        file.write_at(pattern(block), block * BLOCK_U64).await.unwrap();
    }
    file.sync().await.unwrap();
    assert_eq!(file.len().await.unwrap(), 3 * BLOCK_U64);
    let all = file.read_at(0, 3 * BLOCK).await.unwrap();
    for block in 0..3u64 {
        let start = usize::try_from(block).unwrap() * BLOCK;
        assert_eq!(&all[start..start + BLOCK], &*pattern(block));
    }
    assert_eq!(file.write_at(pattern(0), 512).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(file.read_at(512, BLOCK).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(file.read_at(0, 100).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

async fn large_io_comes_back_as_written<E: Env>(env: &E, folder: &Path) {
    // Above the largest single operation, and no multiple of it.
    let blocks = 2 * 256 + 3;
    let mut buffer = AlignedBuf::zeroed(blocks * BLOCK);
    for (block, chunk) in buffer.chunks_mut(BLOCK).enumerate() {
        chunk.copy_from_slice(&pattern(block as u64));
    }
    let file = env.open(&folder.join("large"), OpenOptions::CREATE).await.unwrap();
    let written = file.write_at(buffer, BLOCK_U64).await.unwrap();
    let read = file.read_at(BLOCK_U64, blocks * BLOCK).await.unwrap();
    assert!(*read == *written);
    assert!(file.read_at(0, BLOCK).await.unwrap().iter().all(|byte| *byte == 0), "a hole reads as zero");
}

async fn reads_past_the_end_are_errors<E: Env>(env: &E, folder: &Path) {
    let file = env.open(&folder.join("end"), OpenOptions::CREATE).await.unwrap();
    assert_eq!(file.read_at(0, BLOCK).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    file.write_at(pattern(1), 0).await.unwrap();
    assert_eq!(file.read_at(0, 2 * BLOCK).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(file.read_at(9 * BLOCK_U64, BLOCK).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    file.read_at(0, BLOCK).await.unwrap();
}

async fn opening<E: Env>(env: &E, folder: &Path) {
    let path = folder.join("opening");
    assert_eq!(env.open(&path, OpenOptions::READ).await.err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(env.open(&path, OpenOptions::WRITE).await.err().unwrap().kind(), ErrorKind::NotFound);
    let missing = folder.join("no-such-folder").join("file");
    assert_eq!(env.open(&missing, OpenOptions::CREATE).await.err().unwrap().kind(), ErrorKind::NotFound);
    env.open(&path, OpenOptions::CREATE).await.unwrap().write_at(pattern(5), 0).await.unwrap();
    assert_eq!(env.open(&path, OpenOptions::CREATE).await.err().unwrap().kind(), ErrorKind::AlreadyExists);
    let reader = env.open(&path, OpenOptions::READ).await.unwrap();
    assert!(*reader.read_at(0, BLOCK).await.unwrap() == *pattern(5), "one handle sees what another wrote");
    assert!(reader.write_at(pattern(6), 0).await.is_err(), "a read-only handle does not write");
    assert!(*reader.read_at(0, BLOCK).await.unwrap() == *pattern(5));
}

async fn allocation_reads_as_zero<E: Env>(env: &E, folder: &Path) {
    let file = env.open(&folder.join("allocated"), OpenOptions::CREATE).await.unwrap();
    file.write_at(pattern(1), 0).await.unwrap();
    file.allocate(16 * BLOCK_U64).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 16 * BLOCK_U64);
    assert!(*file.read_at(0, BLOCK).await.unwrap() == *pattern(1), "allocation keeps what was there");
    assert!(file.read_at(BLOCK_U64, 15 * BLOCK).await.unwrap().iter().all(|byte| *byte == 0));
    file.allocate(BLOCK_U64).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 16 * BLOCK_U64, "allocation never shrinks");
}

async fn synchronous_handles<E: Env>(env: &E, folder: &Path) {
    let path = folder.join("synchronous");
    let file = env.open(&path, OpenOptions::CREATE.synchronous()).await.unwrap();
    file.allocate(4 * BLOCK_U64).await.unwrap();
    file.write_at(pattern(3), 2 * BLOCK_U64).await.unwrap();
    drop(file);
    let again = env.open(&path, OpenOptions::WRITE.synchronous()).await.unwrap();
    assert!(*again.read_at(2 * BLOCK_U64, BLOCK).await.unwrap() == *pattern(3));
}

async fn names<E: Env>(env: &E, folder: &Path) {
    let dir = folder.join("a").join("b");
    env.create_dir_all(&dir).await.unwrap();
    env.create_dir_all(&dir).await.unwrap();
    assert_eq!(env.list_dir(&dir).await.unwrap(), Vec::<PathBuf>::new());
    for (name, block) in [("two", 2), ("one", 1), ("three", 3)] {
        let file = env.open(&dir.join(name), OpenOptions::CREATE).await.unwrap();
        file.write_at(pattern(block), 0).await.unwrap();
    }
    env.create_dir_all(&dir.join("folder")).await.unwrap();
    let listed = env.list_dir(&dir).await.unwrap();
    assert_eq!(listed, ["one", "three", "two"].map(PathBuf::from), "names of files only, sorted");

    env.rename(&dir.join("one"), &dir.join("two")).await.unwrap();
    env.sync_dir(&dir).await.unwrap();
    assert_eq!(env.list_dir(&dir).await.unwrap(), ["three", "two"].map(PathBuf::from));
    let replaced = env.open(&dir.join("two"), OpenOptions::READ).await.unwrap();
    assert!(*replaced.read_at(0, BLOCK).await.unwrap() == *pattern(1), "a rename replaces its target");

    env.remove_file(&dir.join("two")).await.unwrap();
    assert!(*replaced.read_at(0, BLOCK).await.unwrap() == *pattern(1), "an open file outlives its name");
    assert_eq!(env.remove_file(&dir.join("two")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(env.rename(&dir.join("two"), &dir.join("one")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(env.list_dir(&dir.join("none")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(env.list_dir(&dir).await.unwrap(), [PathBuf::from("three")]);
}

async fn hard_links<E: Env>(env: &E, folder: &Path) {
    let (dir, other) = (folder.join("links"), folder.join("links").join("other"));
    env.create_dir_all(&other).await.unwrap();
    let (first, second) = (dir.join("first"), other.join("second"));
    let file = env.open(&first, OpenOptions::CREATE).await.unwrap();
    file.write_at(pattern(4), 0).await.unwrap();
    env.hard_link(&first, &second).await.unwrap();
    env.sync_dir(&other).await.unwrap();
    let linked = env.open(&second, OpenOptions::READ).await.unwrap();
    assert!(*linked.read_at(0, BLOCK).await.unwrap() == *pattern(4), "both names are of one file");
    file.write_at(pattern(5), 0).await.unwrap();
    assert!(*linked.read_at(0, BLOCK).await.unwrap() == *pattern(5), "what one writes the other reads");
    env.remove_file(&first).await.unwrap();
    drop((file, linked));
    assert_eq!(env.list_dir(&dir).await.unwrap(), Vec::<PathBuf>::new());
    let kept = env.open(&second, OpenOptions::READ).await.unwrap();
    assert!(*kept.read_at(0, BLOCK).await.unwrap() == *pattern(5), "the bytes live until the last name is gone");
    assert_eq!(env.hard_link(&first, &dir.join("third")).await.unwrap_err().kind(), ErrorKind::NotFound);
    let nowhere = dir.join("none").join("file");
    assert_eq!(env.hard_link(&second, &nowhere).await.unwrap_err().kind(), ErrorKind::NotFound);
    env.open(&first, OpenOptions::CREATE).await.unwrap();
    assert_eq!(env.hard_link(&second, &first).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

async fn free_space<E: Env>(env: &E, folder: &Path) {
    assert!(env.free_space(folder).await.unwrap() > 0);
}

async fn streams<E: Env>(env: &E) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = env.listen(any).await.unwrap();
    let addr = listener.local_addr().unwrap();
    assert_ne!(addr.port(), 0);
    env.spawn("echo", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut chunk = [0u8; 1000];
        loop {
            let count = stream.read(&mut chunk).await.unwrap();
            if count == 0 {
                break;
            }
            stream.write_all(&chunk[..count]).await.unwrap();
        }
        stream.write_all(b"end").await.unwrap();
        stream.flush().await.unwrap();
        stream.close().await.unwrap();
    });
    let mut stream = env.connect(addr).await.unwrap();
    let message: Vec<u8> = (0..20_000u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let mut echoed = vec![0; message.len()];
    for (sent, received) in message.chunks(5_000).zip(echoed.chunks_mut(5_000)) {
        stream.write_all(sent).await.unwrap();
        stream.flush().await.unwrap();
        stream.read_exact(received).await.unwrap();
    }
    assert!(message == echoed);
    stream.close().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"end", "closing one direction leaves the other open");
}

async fn connecting_to_nobody_is_refused<E: Env>(env: &E) {
    // Above the ports that systems (and madsim, from the bottom) give out by themselves.
    let nobody: SocketAddr = "127.0.0.1:64999".parse().unwrap();
    assert_eq!(env.connect(nobody).await.err().unwrap().kind(), ErrorKind::ConnectionRefused);
}

async fn blocking_work<E: Env>(env: &E) {
    assert_eq!(env.blocking(|| 6 * 7).await, 42);
}

fn randomness<E: Env>(env: &E) {
    let draws: std::collections::BTreeSet<u64> = (0..1000).map(|_| env.random()).collect();
    assert_eq!(draws.len(), 1000, "64 random bits do not repeat in a thousand draws");
    assert!(!env.buggify("conformance"), "sites are quiet unless a simulation switches them on");
}
