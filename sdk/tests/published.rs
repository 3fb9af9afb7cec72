//! KalamDB's published Rust SDK, as it is, against a real `highwaterd`. `HIGHWATERD` names the program; `target/debug/highwaterd` of the
//! workspace unless told.
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kalam_client::{AuthProvider, AutoOffsetReset, KalamLinkClient, KalamLinkError, QueryParam, QueryResponse, TopicConsumer};

const PASSWORD: &str = "correct horse";

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let program = std::env::var("HIGHWATERD")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/debug/highwaterd").into());
        let mut child = Command::new(program)
            .args(["--data-dir", folder.to_str().unwrap(), "--http-addr", "127.0.0.1:0", "--cores", "1"])
            .args(["--user-shards", "2", "--shared-shards", "2", "--root-password", PASSWORD])
            .args(["--set", "auth.scram_iterations=4096", "--set", "topics.visibility_timeout=4s"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("highwaterd starts; build it, or name it in HIGHWATERD");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| line.unwrap().trim().strip_prefix("HTTP").map(|url| url.trim().to_owned()));
        // Nobody may block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: url.unwrap() }
    }

    /// A client of a user, once the server is ready.
    async fn client(&self, user: &str, password: &str) -> KalamLinkClient {
        let bare = KalamLinkClient::builder().base_url(&self.url).build().unwrap();
        for _ in 0..200 {
            if bare.health_check().await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let login = bare.login(user, password).await.unwrap();
        assert_eq!(login.user.id.as_str(), user);
        let renewed = bare.refresh_access_token(login.refresh_token.as_deref().unwrap()).await.unwrap();
        KalamLinkClient::builder().base_url(&self.url).jwt_token(renewed.access_token).build().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn run(client: &KalamLinkClient, sql: &str) -> QueryResponse {
    let answer = client.execute_query(sql, None, None, None).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert!(answer.success(), "{sql}: {answer:?}");
    answer
}

/// Status and code of a statement that must fail.
async fn refused(client: &KalamLinkClient, sql: &str) -> (u16, String) {
    match client.execute_query(sql, None, None, None).await {
        Err(KalamLinkError::ServerError { status_code, message }) => {
            let body: serde_json::Value = serde_json::from_str(&message).unwrap();
            (status_code, body["error"]["code"].as_str().unwrap().to_owned())
        }
        other => panic!("{sql}: {other:?}"),
    }
}

#[tokio::test]
async fn statements_parameters_batches_and_codes() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let root = server.client("root", PASSWORD).await;
    run(&root, "CREATE NAMESPACE app; CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT, score DOUBLE, ok BOOLEAN)").await;
    let params = vec![QueryParam::from(7_i64), QueryParam::from("seven"), QueryParam::from(0.5_f64), QueryParam::from(true)];
    let inserted = root
        .execute_query("INSERT INTO t (id, name, score, ok) VALUES ($1, $2, $3, $4)", None, Some(params), Some("app"))
        .await
        .unwrap();
    assert_eq!((inserted.row_count(), inserted.results[0].message.as_deref()), (1, Some("Inserted 1 row(s)")));
    let found = root
        .execute_query("SELECT id, name, score, ok FROM app.t WHERE id = $1", None, Some(vec![7_i64.into()]), None)
        .await
        .unwrap();
    assert_eq!((found.get_i64("id"), found.get_string("name").as_deref()), (Some(7), Some("seven")));
    let row = found.first_row_as_map().unwrap();
    assert_eq!((row["score"].as_double(), row["ok"].as_boolean(), row["id"].as_big_int()), (Some(0.5), Some(true), Some(7)));
    assert_eq!(found.results[0].schema.len(), 4);
    assert!(found.took.is_some() && found.results[0].as_user.as_deref() == Some("root"));
    let batch = run(&root, "INSERT INTO app.t (id) VALUES (1); INSERT INTO app.t (id) VALUES (2); SELECT count(*) AS n FROM app.t").await;
    assert_eq!(batch.get_i64("n"), Some(3));
    assert_eq!(batch.results.last().unwrap().message.as_deref(), Some("Inserted 2 row(s)"));
    // More rows than are sent in one piece.
    let rows: Vec<String> = (100..2100).map(|id| format!("({id}, 'x')")).collect();
    run(&root, &format!("INSERT INTO app.t (id, name) VALUES {}", rows.join(","))).await;
    let all = run(&root, "SELECT id, name FROM app.t").await;
    assert_eq!((all.rows().len(), all.row_count()), (2003, 2003));

    run(&root, "CREATE USER anna WITH PASSWORD 'a password' ROLE user").await;
    let anna = server.client("anna", "a password").await;
    assert_eq!(refused(&anna, "CREATE NAMESPACE mine").await, (403, "PERMISSION_DENIED".into()));
    assert_eq!(refused(&root, "SELEC 1").await, (400, "INVALID_SQL".into()));
    assert_eq!(refused(&root, "SELECT * FROM app.none").await, (400, "TABLE_NOT_FOUND".into()));
    assert_eq!(refused(&root, "INSERT INTO app.t (id) VALUES (1)").await, (400, "SQL_EXECUTION_ERROR".into()));
    assert_eq!(refused(&root, "SELECT 1; SELECT nothing").await.0, 400);
    let wrong = KalamLinkClient::builder().base_url(&server.url).build().unwrap();
    assert!(matches!(wrong.login("anna", "a guess").await, Err(KalamLinkError::AuthenticationError(_))));
    // The SDK exchanges a user and password for a token by itself.
    let by_password =
        KalamLinkClient::builder().base_url(&server.url).auth(AuthProvider::BasicAuth("anna".into(), "a password".into()));
    let answer = by_password.build().unwrap().execute_query("SELECT current_user AS me", None, None, None).await.unwrap();
    assert_eq!(answer.get_string("me").as_deref(), Some("anna"));
}

fn consumer(client: &KalamLinkClient, limit: u32) -> TopicConsumer {
    client
        .consumer()
        .group_id("readers")
        .topic("app.events")
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .enable_auto_commit(false)
        .max_poll_records(limit)
        .poll_timeout(Duration::from_secs(2))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_consumer_commits_and_another_resumes_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let root = server.client("root", PASSWORD).await;
    run(&root, "CREATE NAMESPACE app; CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY); CREATE TOPIC app.events").await;
    run(&root, "CREATE USER anna WITH PASSWORD 'a password' ROLE user").await;
    run(&root, "ALTER TOPIC app.events ADD SOURCE app.t ON INSERT WITH (payload = 'full')").await;
    run(&root, "INSERT INTO app.t VALUES (1), (2), (3), (4), (5)").await;
    let mut first = consumer(&root, 3);
    let records = first.poll().await.unwrap();
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1, 2]);
    let payload: serde_json::Value = serde_json::from_slice(&records[0].payload).unwrap();
    assert_eq!(payload["_table"], "app.t");
    records.iter().for_each(|record| first.mark_processed(record));
    assert_eq!(first.commit_sync().await.unwrap().acknowledged_offset, 2);
    first.close().await.unwrap();

    let mut second = consumer(&root, 10);
    let records = second.poll().await.unwrap();
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [3, 4]);
    records.iter().for_each(|record| second.mark_processed(record));
    assert_eq!(second.commit_sync().await.unwrap().acknowledged_offset, 4);
    // A poll waits for what comes.
    let (waiting, _) = tokio::join!(second.poll_with_timeout(Duration::from_secs(20)), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        run(&root, "INSERT INTO app.t VALUES (6)").await;
    });
    assert_eq!(waiting.unwrap().iter().map(|record| record.offset).collect::<Vec<_>>(), [5]);
    // Nothing of it is committed, and the server begins anew: it comes again, and nothing before it.
    drop((second, server));
    let server = Server::start(folder.path());
    let mut third = consumer(&server.client("root", PASSWORD).await, 10);
    let again = async {
        loop {
            // What the one before had claimed is its own until the claim ends or its process is known to be gone.
            let records = third.poll_with_timeout(Duration::from_secs(20)).await.unwrap();
            if !records.is_empty() {
                break records;
            }
        }
    };
    let records = tokio::time::timeout(Duration::from_secs(100), again).await.unwrap();
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [5]);
    // Who may not consume is told so.
    let anna = server.client("anna", "a password").await;
    assert!(consumer(&anna, 1).poll().await.is_err());
}
