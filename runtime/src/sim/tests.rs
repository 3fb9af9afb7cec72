#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use madsim::runtime::Handle;

use super::{crash, crash_after, fault_counts, is_down, launch, restart, run, stop_reason, trace_hash, with_disk};
use crate::disk::{CrashKind, Fault, Faults};
use crate::{AlignedBuf, BLOCK, CpuSet, Env, File, Listener, OpenOptions};

#[test]
fn madsim_keeps_the_contract() {
    for seed in 0..5 {
        run(seed, Faults { reorder: 0.3, ..Faults::none() }, || async {
            let node = Handle::current().create_node().name("n").ip("10.0.0.1".parse().unwrap()).build();
            node.spawn(async {
                let cores = launch(&CpuSet::numbered(1), |env| async move {
                    env.create_dir_all(Path::new("/data")).await.unwrap();
                    crate::conformance::all(env, Path::new("/data")).await;
                })
                .unwrap();
                cores.wait().await;
            })
            .await
            .unwrap();
        });
    }
}

/// Appends blocks until it crashes; what was acknowledged is reported outside.
fn appender(acknowledged: &Arc<Mutex<u64>>) -> madsim::runtime::NodeHandle {
    let acknowledged = Arc::clone(acknowledged);
    Handle::current()
        .create_node()
        .init(move || {
            let acknowledged = Arc::clone(&acknowledged);
            async move {
                let env = super::env();
                let path = Path::new("/log");
                let file = match env.open(path, OpenOptions::WRITE).await {
                    Ok(file) => file,
                    Err(_) => env.open(path, OpenOptions::CREATE).await.unwrap(),
                };
                env.sync_dir(Path::new("/")).await.unwrap();
                let mut next = file.len().await.unwrap() / BLOCK as u64;
                assert!(next >= *acknowledged.lock().unwrap(), "an acknowledged block is lost");
                loop {
                    file.write_at(AlignedBuf::from_slice(&[7; BLOCK]), next * BLOCK as u64).await.unwrap();
                    file.sync().await.unwrap();
                    next += 1;
                    *acknowledged.lock().unwrap() = next;
                }
            }
        })
        .build()
}

fn crashes(seed: u64) -> (u64, u64, u64) {
    run(seed, Faults::crashes(seed), move || async move {
        let acknowledged = Arc::default();
        let node = appender(&acknowledged).id();
        for i in 0..10 {
            let kind = if i % 3 == 0 { CrashKind::Process } else { CrashKind::Power };
            if i % 2 == 0 {
                madsim::time::sleep(Duration::from_millis(20 + i)).await;
                crash(node, kind);
            } else {
                crash_after(node, 5 + i, kind);
                while !is_down(node) {
                    madsim::time::sleep(Duration::from_millis(1)).await;
                }
            }
            restart(node);
        }
        let counts = fault_counts();
        let lost = counts.of(Fault::LostUnsynced) + counts.of(Fault::KeptSubset);
        let total = *acknowledged.lock().unwrap();
        (trace_hash(), total, lost)
    })
}

#[test]
fn synced_blocks_survive_kills_and_restarts() {
    let mut lost = 0;
    for seed in 0..20 {
        let (_, acknowledged, losses) = crashes(seed);
        assert!(acknowledged > 10, "seed {seed}");
        lost += losses;
    }
    assert!(lost > 0, "no crash ever lost anything");
}

#[test]
fn one_seed_gives_one_trace_hash_in_two_processes() {
    let seed = std::env::var("HIGHWATER_TEST_TRACE_SEED").ok();
    if let Some(seed) = seed {
        eprintln!("trace {:016x}", crashes(seed.parse().unwrap()).0);
        return;
    }
    let in_child = |seed: u64| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sim::tests::one_seed_gives_one_trace_hash_in_two_processes", "--nocapture"])
            .env("HIGHWATER_TEST_TRACE_SEED", seed.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        text.lines().find_map(|line| line.strip_prefix("trace ")).expect("the child prints its hash").to_owned()
    };
    for seed in [1, 2, 3] {
        assert_eq!(in_child(seed), in_child(seed), "seed {seed}");
    }
    assert_ne!(in_child(1), in_child(2));
}

#[test]
fn a_fail_stop_ends_the_node_and_says_why() {
    run(1, Faults::none(), || async {
        let node = Handle::current().create_node().build();
        node.spawn(async {
            super::env().fail_stop("sync failed").await;
        });
        madsim::time::sleep(Duration::from_secs(1)).await;
        assert!(is_down(node.id()));
        assert_eq!(stop_reason(node.id()).as_deref(), Some("sync failed"));
        restart(node.id());
        assert!(!is_down(node.id()));
    });
}

#[test]
fn an_operation_of_a_dead_life_changes_nothing() {
    run(1, Faults::none(), || async {
        let node = Handle::current().create_node().build();
        let id = node.id();
        node.spawn(async {
            let env = super::env();
            let file = env.open(Path::new("/f"), OpenOptions::CREATE).await.unwrap();
            env.sync_dir(Path::new("/")).await.unwrap();
            file.write_at(AlignedBuf::zeroed(BLOCK), 0).await.unwrap();
            std::future::pending::<()>().await;
        });
        madsim::time::sleep(Duration::from_millis(2)).await;
        crash(id, CrashKind::Power);
        restart(id);
        madsim::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(with_disk(id, |disk| disk.contents(Path::new("/f"))), None);
    });
}

#[test]
fn machines_talk_and_see_each_other_go() {
    run(3, Faults::none(), || async {
        let addr: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let server = Handle::current()
            .create_node()
            .ip(addr.ip())
            .init(move || async move {
                let cores = launch(&CpuSet::numbered(3), move |env| async move {
                    let listener = env.listen(addr).await.unwrap();
                    loop {
                        let (mut stream, _) = listener.accept().await.unwrap();
                        let core = u8::try_from(env.core().0).unwrap();
                        env.spawn("connection", async move {
                            let mut byte = [0];
                            while stream.read_exact(&mut byte).await.is_ok() {
                                stream.write_all(&[core]).await.unwrap();
                            }
                        });
                    }
                });
                cores.unwrap().wait().await;
            })
            .build();
        let client = Handle::current().create_node().ip("10.0.0.2".parse().unwrap()).build();
        let server_id = server.id();
        client
            .spawn(async move {
                let env = super::env();
                env.sleep(100_000).await;
                let mut cores = std::collections::BTreeSet::new();
                let mut streams = Vec::new();
                for _ in 0..30 {
                    let mut stream = env.connect(addr).await.unwrap();
                    stream.write_all(b"x").await.unwrap();
                    let mut byte = [0];
                    stream.read_exact(&mut byte).await.unwrap();
                    cores.insert(byte[0]);
                    streams.push(stream);
                }
                assert_eq!(cores.len(), 3, "every core takes connections");
                crash(server_id, CrashKind::Power);
                let mut rest = Vec::new();
                assert_eq!(streams[0].read_to_end(&mut rest).await.unwrap_or(0), 0);
                assert!(env.connect(addr).await.is_err());
                restart(server_id);
                env.sleep(100_000).await;
                env.connect(addr).await.unwrap();
            })
            .await
            .unwrap();
    });
}
