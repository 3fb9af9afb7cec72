#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;

use futures_lite::{AsyncReadExt, AsyncWriteExt};

use crate::queue::bounded;
use crate::{AlignedBuf, BLOCK, CpuSet, Env, File, OpenOptions, Rt, launch};

/// A folder on the file system that cargo builds on: a real disk, unlike the system's temporary folder.
fn folder() -> tempfile::TempDir {
    let target = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    tempfile::Builder::new().prefix("runtime-").tempdir_in(target).unwrap()
}

fn run_in<F, Fut>(cpus: usize, folder: &Path, body: F)
where
    F: Fn(Rt, PathBuf) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let folder = folder.to_path_buf();
    let cpus = CpuSet::parse(&cpus.to_string()).unwrap();
    launch(&cpus, move |env| body(env, folder.clone())).unwrap().join().unwrap();
}

#[test]
fn glommio_keeps_the_contract_on_a_disk() {
    let dir = folder();
    run_in(1, dir.path(), |env, folder| async move { crate::conformance::all(env, &folder).await });
}

#[test]
fn glommio_keeps_the_contract_in_memory() {
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() {
        return;
    }
    let dir = tempfile::tempdir_in(shm).unwrap();
    run_in(1, dir.path(), |env, folder| async move { crate::conformance::all(env, &folder).await });
}

#[test]
fn each_core_runs_on_its_own_cpu_and_says_so() {
    let all = CpuSet::all().unwrap();
    let (report, reports) = mpsc::channel();
    let cores = launch(&all, move |env| {
        let report = report.clone();
        async move {
            let mask = rustix::thread::sched_getaffinity(None).unwrap();
            report.send((env.core().0, rustix::thread::sched_getcpu(), mask.count())).unwrap();
        }
    })
    .unwrap();
    let pinned = cores.pinned().to_vec();
    cores.join().unwrap();
    assert_eq!(pinned, all.iter().collect::<Vec<_>>());
    for (core, cpu, allowed) in reports {
        assert_eq!(allowed, 1, "the thread may run on one CPU only");
        assert_eq!(cpu, pinned[usize::from(core)]);
    }
}

#[test]
fn the_blocking_pool_stays_on_the_executors_cpus() {
    let dir = folder();
    run_in(1, dir.path(), |env, _| async move {
        let mask = env.blocking(|| rustix::thread::sched_getaffinity(None).unwrap()).await;
        assert_eq!(mask.count(), 1);
    });
}

#[test]
fn wake_ups_between_busy_cores_are_never_lost_for_good() {
    // G17: with its CPU contended, an executor soon parks although a task is runnable. Threads that only burn time contend for it.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let burners: Vec<_> = (0..4)
        .map(|_| {
            let stop = std::sync::Arc::clone(&stop);
            std::thread::spawn(move || while !stop.load(std::sync::atomic::Ordering::Relaxed) {})
        })
        .collect();
    for _ in 0..10 {
        pass_a_thousand_items_between_cores();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for burner in burners {
        burner.join().unwrap();
    }
}

#[test]
fn queues_cross_cores() {
    pass_a_thousand_items_between_cores();
}

fn pass_a_thousand_items_between_cores() {
    let all = CpuSet::all().unwrap();
    if all.len() < 2 {
        return;
    }
    let (sender, receiver) = bounded::<u32>(4);
    let receiver = std::sync::Mutex::new(Some(receiver));
    let shared = std::sync::Arc::new(receiver);
    let two = CpuSet::parse("2").unwrap();
    launch(&two, move |env| {
        let (sender, shared) = (sender.clone(), std::sync::Arc::clone(&shared));
        async move {
            if env.core().0 == 0 {
                for i in 0..1000 {
                    sender.send(i).await.unwrap();
                }
            } else {
                let receiver = shared.lock().unwrap().take().unwrap();
                for i in 0..1000 {
                    assert_eq!(receiver.recv().await, Some(i));
                }
            }
        }
    })
    .unwrap()
    .join()
    .unwrap();
}

#[test]
fn two_cores_wake_each_other_from_sleep() {
    // Wake-ups come from another thread here; each side parks between two messages.
    if CpuSet::all().unwrap().len() < 2 {
        return;
    }
    let (to_one, at_one) = bounded::<u32>(1);
    let (to_zero, at_zero) = bounded::<u32>(1);
    let ends = std::sync::Arc::new(std::sync::Mutex::new([Some((to_one, at_zero)), Some((to_zero, at_one))]));
    launch(&CpuSet::parse("2").unwrap(), move |env| {
        let ends = std::sync::Arc::clone(&ends);
        async move {
            let core = usize::from(env.core().0);
            let (sender, receiver) = ends.lock().unwrap()[core].take().unwrap();
            for i in 0..2000 {
                if core == 0 {
                    sender.send(i).await.unwrap();
                }
                assert_eq!(receiver.recv().await, Some(i));
                if core == 1 {
                    sender.send(i).await.unwrap();
                }
            }
        }
    })
    .unwrap()
    .join()
    .unwrap();
}

/// Runs the calling test again in a process of its own, for what changes or ends the whole process. `None` in that process.
fn in_child(test: &str) -> Option<std::process::Output> {
    const MARK: &str = "HIGHWATER_TEST_CHILD";
    if std::env::var_os(MARK).is_some() {
        return None;
    }
    let test = format!("production::tests::{test}");
    let exe = std::env::current_exe().unwrap();
    Some(std::process::Command::new(exe).args(["--exact", &test, "--nocapture"]).env(MARK, "1").output().unwrap())
}

fn aborted(output: &std::process::Output, message: &str) {
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(message), "{text}");
}

#[test]
fn a_panic_in_any_task_ends_the_process() {
    // G13.
    if let Some(output) = in_child("a_panic_in_any_task_ends_the_process") {
        return aborted(&output, "a detached task fell");
    }
    let dir = folder();
    run_in(1, dir.path(), |env, _| async move {
        env.spawn("doomed", async { panic!("a detached task fell") });
        std::future::pending().await
    });
}

#[test]
fn a_panic_on_the_blocking_pool_ends_the_process() {
    if let Some(output) = in_child("a_panic_on_the_blocking_pool_ends_the_process") {
        return aborted(&output, "blocking work fell");
    }
    let dir = folder();
    run_in(1, dir.path(), |env, _| async move { env.blocking(|| panic!("blocking work fell")).await });
}

#[test]
fn a_fail_stop_ends_the_process_and_says_why() {
    if let Some(output) = in_child("a_fail_stop_ends_the_process_and_says_why") {
        return aborted(&output, "stopping at once: the log could not be synced");
    }
    let dir = folder();
    run_in(1, dir.path(), |env, _| async move {
        env.fail_stop("the log could not be synced").await;
    });
}

#[test]
fn a_reset_connection_is_an_error_and_no_end_of_stream() {
    // G15.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let peer = std::thread::spawn(move || {
        use std::os::fd::AsRawFd;
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Read::read_exact(&mut stream, &mut [0; 5]).unwrap();
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let size = libc::socklen_t::try_from(size_of::<libc::linger>()).unwrap();
        // SAFETY: a valid socket and option value; closing then sends a reset.
        let set = unsafe {
            libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size)
        };
        assert_eq!(set, 0);
    });
    let dir = folder();
    run_in(1, dir.path(), move |env, _| async move {
        let mut stream = env.connect(addr).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let error = stream.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
    peer.join().unwrap();
}

#[test]
fn a_taken_address_is_refused_in_words() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let dir = folder();
    run_in(1, dir.path(), move |env, _| async move {
        assert_eq!(env.listen(addr).await.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    });
}

#[test]
fn what_reaches_the_disk_is_zero_after_the_data() {
    // G5: buffers that were full of something else are used again for a short write.
    let dir = folder();
    run_in(1, dir.path(), |env, folder| async move {
        let file = env.open(&folder.join("short"), OpenOptions::CREATE).await.unwrap();
        for _ in 0..16 {
            file.write_at(AlignedBuf::from_slice(&[0xAB; BLOCK]), 0).await.unwrap();
            file.read_at(0, BLOCK).await.unwrap();
        }
        file.write_at(AlignedBuf::from_slice(b"short"), 0).await.unwrap();
        let bytes = std::fs::read(folder.join("short")).unwrap();
        assert!(bytes.starts_with(b"short") && bytes[5..].iter().all(|byte| *byte == 0));
    });
}

#[test]
fn a_write_that_the_system_cuts_short_is_an_error() {
    // G4: a file-size limit of one and a half blocks makes the kernel write short.
    if let Some(output) = in_child("a_write_that_the_system_cuts_short_is_an_error") {
        assert!(output.status.success(), "{output:?}");
        return;
    }
    // SAFETY: plain system calls with valid arguments; the signal would otherwise end the process.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        let limit = libc::rlimit { rlim_cur: 6144, rlim_max: libc::RLIM_INFINITY };
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
    let dir = folder();
    run_in(1, dir.path(), |env, folder| async move {
        let file = env.open(&folder.join("limited"), OpenOptions::CREATE).await.unwrap();
        file.write_at(AlignedBuf::from_slice(&[1; 2 * BLOCK]), 0).await.unwrap_err();
    });
}

#[test]
fn executors_do_not_leak_file_descriptors() {
    // G7. Other tests of this process open files too, so only a leak per executor shows.
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let dir = folder();
    let before = count();
    for _ in 0..100 {
        run_in(1, dir.path(), |_, _| async {});
    }
    assert!(count() < before + 80, "{} descriptors before, {} after", before, count());
}

#[test]
fn a_task_may_wake_forty_thousand_waiters() {
    // G6: the reference count of a task's waker was 16 bits wide.
    let dir = folder();
    run_in(1, dir.path(), |env, _| async move {
        let mut slots = Vec::new();
        let mut answers = Vec::new();
        for _ in 0..40_000 {
            let (slot, answer) = crate::queue::reply::<()>();
            slots.push(slot);
            answers.push(answer);
        }
        env.spawn("filler", async move {
            for slot in slots {
                slot.fill(());
            }
        });
        let mut answers: Vec<_> = answers.into_iter().map(Some).collect();
        std::future::poll_fn(|context| {
            for slot in &mut answers {
                if let Some(answer) = slot
                    && std::pin::Pin::new(answer).poll(context).is_ready()
                {
                    *slot = None;
                }
            }
            if answers.iter().all(Option::is_none) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    });
}

#[test]
fn many_operations_at_once_do_not_disturb_each_other() {
    let dir = folder();
    run_in(1, dir.path(), |env, folder| async move {
        let file = std::rc::Rc::new(env.open(&folder.join("busy"), OpenOptions::CREATE).await.unwrap());
        let (done, finished) = bounded(1000);
        // More than the ring's entries, each of one to sixteen blocks.
        let place = |i: u64| (i * 16 * BLOCK as u64, (usize::try_from(i).unwrap() % 16 + 1) * BLOCK);
        for i in 0..600u64 {
            let (file, done) = (std::rc::Rc::clone(&file), done.clone());
            env.spawn("writer", async move {
                let (offset, len) = place(i);
                let buffer = AlignedBuf::from_slice(&vec![u8::try_from(i % 255 + 1).unwrap(); len]);
                file.write_at(buffer, offset).await.unwrap();
                let read = file.read_at(offset, len).await.unwrap();
                assert!(read.iter().all(|byte| u64::from(*byte) == i % 255 + 1));
                done.send(()).await.unwrap();
            });
        }
        for _ in 0..600 {
            finished.recv().await.unwrap();
        }
        file.sync().await.unwrap();
        for i in 0..600 {
            let (offset, len) = place(i);
            let read = file.read_at(offset, len).await.unwrap();
            assert!(read.iter().all(|byte| u64::from(*byte) == i % 255 + 1), "region {i}");
        }
    });
}

#[test]
fn disk_and_timers_reach_a_core_whose_background_work_never_waits() {
    let dir = folder();
    run_in(1, dir.path(), |env, folder| async move {
        let wanted = Rc::new(Cell::new(true));
        let (ended, ends) = bounded(1);
        let (inner, still) = (env.clone(), Rc::clone(&wanted));
        env.spawn_background("background", async move {
            while still.get() {
                inner.yield_if_needed().await;
            }
            ended.send(()).await.unwrap();
        });
        let file = env.open(&folder.join("file"), OpenOptions::CREATE).await.unwrap();
        for block in 0..20u64 {
            file.write_at(AlignedBuf::zeroed(BLOCK), block * BLOCK as u64).await.unwrap();
            env.sleep(1).await;
        }
        file.sync().await.unwrap();
        wanted.set(false);
        assert_eq!(ends.recv().await, Some(()));
    });
}

#[test]
fn tasks_that_never_wait_share_a_core_beside_background_work() {
    const STEPS: u64 = 60_000;
    let folder = folder();
    run_in(1, folder.path(), |env, _| async move {
        let counts: Rc<[Cell<u64>; 3]> = Rc::default();
        for number in 0..3 {
            let (counts, own) = (Rc::clone(&counts), env.clone());
            let task = async move {
                while counts.iter().all(|count| count.get() < STEPS) {
                    // A step of about a microsecond.
                    (0..1000_u64).for_each(|n| _ = std::hint::black_box(n));
                    counts[number].set(counts[number].get() + 1);
                    own.yield_if_needed().await;
                }
            };
            if number == 0 { env.spawn_background("steps", task) } else { env.spawn("steps", task) }
        }
        while counts.iter().all(|count| count.get() < STEPS) {
            env.sleep(1000).await;
        }
        let counts: Vec<u64> = counts.iter().map(Cell::get).collect();
        assert!(counts.iter().all(|count| *count > STEPS / 10), "{counts:?}");
    });
}
