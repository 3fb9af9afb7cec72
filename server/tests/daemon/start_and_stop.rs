//! A server's life: first start, later starts, refusals, signals.
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::running::{PASSWORD, Server, highwaterd, run};

#[test]
fn a_first_start_makes_a_root_password_shows_it_once_and_keeps_it() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("data");
    let server = Server::start_bare(&folder, &[]);
    let kept = std::fs::read_to_string(folder.join("root-password")).unwrap().trim().to_owned();
    assert_eq!(kept.len(), 24);
    assert!(server.banner.contains(&kept), "{}", server.banner);
    assert_eq!(std::fs::metadata(folder.join("root-password")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let token = server.login("root", &kept);
    assert!(server.banner.contains("core 0 on CPU "), "{}", server.banner);
    server.stop();

    let server = Server::start_bare(&folder, &[]);
    assert!(!server.banner.contains(&kept), "{}", server.banner);
    let me = server.get("/v1/api/auth/me", &[("authorization", &format!("Bearer {token}"))]);
    assert_eq!((me.status, me.json["user"]["id"].as_str()), (200, Some("root")));
    server.stop();
}

#[test]
fn a_given_root_password_is_not_written_down_and_outlives_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    assert!(!folder.path().join("root-password").exists());
    assert!(!server.banner.contains(PASSWORD));
    server.login("root", PASSWORD);
    server.kill();
    let server = Server::start_bare(folder.path(), &[]);
    server.login("root", PASSWORD);
    assert_eq!(server.try_login("root", "").status, 401);
}

#[test]
fn a_folder_that_never_got_its_first_entry_is_not_set_up_without_a_password() {
    let folder = tempfile::tempdir().unwrap();
    Server::start(folder.path(), &[]).stop();
    // What a crash between making the shape and the first entry leaves.
    std::fs::remove_dir_all(folder.path().join("store-0")).unwrap();
    let path = folder.path().to_str().unwrap();
    let (code, _, why) = run(&["--data-dir", path, "--http-addr", "127.0.0.1:0", "--cores", "1"]);
    assert_eq!(code, 1);
    assert!(why.contains("root has no password yet") && why.contains("--root-password"), "{why}");
    Server::start(folder.path(), &[]).login("root", PASSWORD);
}

#[test]
fn one_folder_and_one_port_have_one_server() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(one.path(), &[]);
    let (code, _, said) = run(&["--data-dir", one.path().to_str().unwrap(), "--http-addr", "127.0.0.1:0"]);
    assert_eq!(code, 1);
    assert!(said.contains("is in use by process "), "{said}");
    let (code, _, said) = run(&["--data-dir", two.path().to_str().unwrap(), "--http-addr", server.address()]);
    assert_eq!(code, 1);
    assert!(said.contains("cannot listen on ") && said.contains("--http-addr"), "{said}");
    assert_eq!(server.get("/ready", &[]).status, 200);
}

#[test]
fn a_refused_start_says_why_in_one_sentence_and_exits_with_78() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("hw.toml");
    std::fs::write(&file, "[http]\nadress = '127.0.0.1:1'\n").unwrap();
    let refused: [(&[&str], &str); 3] = [
        (&["--config", file.to_str().unwrap()], "unknown setting http.adress"),
        (&["--config", "/nowhere/hw.toml"], "cannot read the configuration file /nowhere/hw.toml"),
        (&["--http-addr", "somewhere"], "--http-addr: 'somewhere' is no address"),
    ];
    for (arguments, reason) in refused {
        let (code, said, why) = run(arguments);
        assert_eq!((code, said.as_str()), (78, ""), "{why}");
        assert!(why.starts_with("highwaterd: ") && why.contains(reason), "{why}");
        assert_eq!(why.trim_end().lines().count(), 1, "{why}");
    }
    let (code, _, why) = run(&["--cores", "9999"]);
    assert_eq!(code, 78);
    assert!(why.contains("ask for at most"), "{why}");
}

#[test]
fn what_a_folder_was_made_with_cannot_be_set_otherwise_later() {
    let folder = tempfile::tempdir().unwrap();
    Server::start(folder.path(), &[]).stop();
    let path = folder.path().to_str().unwrap();
    let (code, _, why) = run(&["--data-dir", path, "--http-addr", "127.0.0.1:0", "--user-shards", "5"]);
    assert_eq!(code, 78);
    assert!(why.contains("user_shards is 5 (--user-shards), but this data folder was made with 2"), "{why}");
    Server::start_bare(folder.path(), &[]).stop();
}

#[test]
fn settings_are_printed_and_checked_without_starting_anything() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("data");
    let path = folder.to_str().unwrap();
    let (code, said, _) = run(&["--data-dir", path, "--root-password", "hush", "--print-config"]);
    assert_eq!(code, 0);
    assert!(said.contains("http.addr = \"127.0.0.1:2900\"") && said.contains("# default"), "{said}");
    assert!(said.contains("# --data-dir") && !said.contains("hush"), "{said}");
    assert!(said.contains("# root_password = \"***\" "), "{said}");
    let (code, said, why) = run(&["--data-dir", path, "--http-addr", "127.0.0.1:0", "--check-config"]);
    assert_eq!(code, 0, "{why}");
    assert!(said.contains("are fine"), "{said}");
    assert!(!folder.exists());
}

#[test]
fn who_reads_its_log_may_stop_reading() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, log) = std::io::pipe().unwrap();
    drop(reader);
    let path = folder.path().to_str().unwrap();
    let arguments = ["--data-dir", path, "--http-addr", "127.0.0.1:0", "--cores", "1", "--log-level", "debug"];
    let mut server = highwaterd(&arguments).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut banner = BufReader::new(server.stdout.take().unwrap()).lines();
    let is_up = banner.any(|line| line.unwrap().starts_with("  stop"));
    assert!(Command::new("kill").arg(server.id().to_string()).status().unwrap().success() && is_up);
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn an_interrupt_stops_it_as_a_termination_does() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(0));
}
