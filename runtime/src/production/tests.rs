#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::mpsc;

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
fn queues_cross_cores() {
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
fn a_write_that_the_system_cuts_short_is_an_error() {
    // G4: a file-size limit of one and a half blocks makes the kernel write short. In a child process, since the limit is
    // process-wide.
    if std::env::var_os("HIGHWATER_TEST_FSIZE").is_none() {
        let exe = std::env::current_exe().unwrap();
        let status = std::process::Command::new(exe)
            .args(["--exact", "production::tests::a_write_that_the_system_cuts_short_is_an_error"])
            .env("HIGHWATER_TEST_FSIZE", "1")
            .status()
            .unwrap();
        assert!(status.success());
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
