#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use madsim::runtime::Handle;

use super::{
    ClockFaults, crash, crash_after, cut_link, fault_counts, heal_network, is_down, jump_clock, launch, mend_link,
    network_counts, pause, reset_connections, restart, resume, run, set_clock, set_link, settle, stop_reason,
    trace_hash, with_disk,
};
use crate::disk::{CrashKind, Fault, Faults};
use crate::network::{Link, NetworkFault};
use crate::rng::Rng;
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
        let seed = seed.parse().unwrap();
        eprintln!("trace {:016x}{:016x}", crashes(seed).0, talks(seed).0);
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

/// Machines that echo and ask one another over links that break, drawn from the seed: the trace hash, echoes, faults by kind.
fn talks(seed: u64) -> (u64, u64, crate::network::NetworkCounts) {
    run(seed, Faults::none(), move || async move {
        let echoes = Arc::new(Mutex::new(0_u64));
        let ip = |number: usize| std::net::IpAddr::from([10, 0, 1, u8::try_from(number).unwrap()]);
        let mut nodes = Vec::new();
        for number in 0..3 {
            let echoes = Arc::clone(&echoes);
            let life = move || {
                let echoes = Arc::clone(&echoes);
                async move {
                    let env = super::env();
                    let listener = env.listen(SocketAddr::new(ip(number), 80)).await.unwrap();
                    let server = env.clone();
                    env.spawn("serve", async move {
                        loop {
                            let (mut stream, _) = listener.accept().await.unwrap();
                            server.spawn("echo", async move {
                                let mut chunk = [0; 300];
                                while let Ok(count @ 1..) = stream.read(&mut chunk).await {
                                    if stream.write_all(&chunk[..count]).await.is_err() {
                                        break;
                                    }
                                }
                            });
                        }
                    });
                    loop {
                        let other = usize::try_from(env.random() % 3).unwrap();
                        let Ok(mut stream) = env.connect(SocketAddr::new(ip(other), 80)).await else {
                            env.sleep(10_000).await;
                            continue;
                        };
                        let asking = async {
                            for _ in 0..20 {
                                let word = vec![7; 1 + usize::try_from(env.random() % 3_000).unwrap()];
                                let mut back = vec![0; word.len()];
                                stream.write_all(&word).await?;
                                stream.read_exact(&mut back).await?;
                                assert!(word == back, "bytes came back changed");
                                *echoes.lock().unwrap() += 1;
                            }
                            std::io::Result::Ok(())
                        };
                        let _ = asking.await;
                    }
                }
            };
            let node = Handle::current().create_node().init(life).build().id();
            settle(node, ip(number));
            nodes.push(node);
        }
        let mut rng = Rng::new(seed);
        for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            let link = Link { refuse: 0.05, reset: 0.002, loss: 0.01, ..Link::swarm(&mut rng, false) };
            set_link(nodes[from], nodes[to], link);
        }
        for step in 0..60_u64 {
            madsim::time::sleep(Duration::from_millis(50 + rng.below(200))).await;
            let (one, other) =
                (nodes[usize::try_from(step % 3).unwrap()], nodes[usize::try_from(rng.below(3)).unwrap()]);
            match rng.below(9) {
                0..3 if one != other => cut_link(one, other),
                3..5 => mend_link(one, other),
                5 => reset_connections(one, other),
                6 => {
                    crash(one, if rng.chance(0.5) { CrashKind::Power } else { CrashKind::Process });
                    restart(one);
                }
                7 => {
                    pause(one);
                    madsim::time::sleep(Duration::from_millis(300)).await;
                    resume(one);
                }
                _ => jump_clock(one, 1_000_000),
            }
        }
        heal_network();
        let before = *echoes.lock().unwrap();
        madsim::time::sleep(Duration::from_secs(20)).await;
        let after = *echoes.lock().unwrap();
        assert!(after > before + 100, "seed {seed}: nobody talks after the network was healed: {before}, {after}");
        (trace_hash(), after, network_counts())
    })
}

#[test]
fn talk_goes_on_after_every_kind_of_network_fault() {
    let mut fired = std::collections::BTreeMap::new();
    for seed in 0..12 {
        let (_, echoes, counts) = talks(seed);
        assert!(echoes > 200, "seed {seed}: {echoes}");
        for (fault, count) in counts.iter() {
            *fired.entry(fault).or_insert(0) += count;
        }
    }
    for (fault, count) in fired {
        let needs_more = [NetworkFault::Corrupted, NetworkFault::Full].contains(&fault);
        assert!(count > 0 || needs_more, "{fault:?} never fired");
    }
}

#[test]
fn a_one_way_cut_lets_the_other_way_through() {
    run(9, Faults::none(), || async {
        let addr: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let server = Handle::current().create_node().build();
        let client = Handle::current().create_node().build();
        settle(client.id(), "10.0.0.2".parse().unwrap());
        let heard = server.spawn(async move {
            let env = super::env();
            let listener = env.listen(addr).await.unwrap();
            let (mut stream, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.ip(), "10.0.0.2".parse::<std::net::IpAddr>().unwrap());
            stream.write_all(b"x").await.unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            env.now()
        });
        let (from, to) = (client.id(), server.id());
        let asked = client.spawn(async move {
            let env = super::env();
            env.sleep(10_000).await;
            let mut stream = env.connect(addr).await.unwrap();
            cut_link(from, to);
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            stream.write_all(b"y").await.unwrap();
            env.sleep(1_000_000).await;
            mend_link(from, to);
            std::future::pending::<()>().await;
        });
        assert!(heard.await.unwrap().0 > 1_000_000);
        drop(asked);
    });
}

#[test]
fn each_machine_has_its_own_clocks() {
    run(4, Faults::none(), || async {
        let (one, other) = (Handle::current().create_node().build(), Handle::current().create_node().build());
        set_clock(one.id(), ClockFaults { offset: 250_000, drift: 0 });
        set_clock(other.id(), ClockFaults { offset: 0, drift: 100_000 });
        let look = |node: &madsim::runtime::NodeHandle| {
            node.spawn(async {
                let env = super::env();
                (env.now().0, env.wall().0)
            })
        };
        let (before, fast_before) = (look(&one).await.unwrap(), look(&other).await.unwrap());
        assert!((200_000..300_000).contains(&(before.1 - fast_before.1)));
        let slept = other.spawn(async {
            super::env().sleep(11_000_000).await;
            madsim::time::TimeHandle::current().elapsed().as_micros()
        });
        let slept = slept.await.unwrap();
        assert!((10_000_000..10_010_000).contains(&slept), "a fast clock's sleep is short: {slept}");
        jump_clock(one.id(), -5_000_000);
        let after = look(&one).await.unwrap();
        assert!(after.0 > before.0 + 9_000_000, "monotonic");
        assert!(after.1 - before.1 < 6_000_000, "the wall clock went back");
    });
}
