//! HTTP connections over the in-process network: what a client may do, and what it gets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

mod multiplexed;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, future, stream};
use highwater_net::api::refusal_response;
use highwater_net::client::Client;
use highwater_net::http::{Body, HttpError, Intake, Limits, Method, Refusal, Request, Response, serve_connection};
use highwater_runtime::disk::Faults;
use highwater_runtime::inproc::{InProcEnv, InProcStream, Sim};
use highwater_runtime::{Env, Listener};
use highwater_sql::memory::Pool;

fn address() -> SocketAddr {
    "127.0.0.1:2900".parse().unwrap()
}

/// How the connections of a server ended.
type Ends = Rc<RefCell<Vec<Result<(), HttpError>>>>;

async fn answer(env: InProcEnv, request: Request) -> Response {
    match request.path.as_str() {
        "/echo" => Response::new(200, "application/octet-stream", request.body),
        "/slow" => {
            env.sleep(5_000_000).await;
            Response::new(200, "text/plain", "at last")
        }
        "/chunks" => Response {
            body: Body::Chunks(Box::pin(stream::iter([Ok(Bytes::from("one ")), Ok(Bytes::from("two"))]))),
            ..Response::new(200, "text/plain", "")
        },
        "/broken" => Response {
            body: Body::Chunks(Box::pin(stream::iter([Ok(Bytes::from("one ")), Err(io::Error::other("no more"))]))),
            ..Response::new(200, "text/plain", "")
        },
        "/large" => Response::new(200, "text/plain", vec![b'x'; 4 << 20]),
        path => Response::new(200, "text/plain", format!("{} {path} {:?}", request.method, request.query)),
    }
}

fn refused(request: &Request, refusal: &Refusal) -> Response {
    refusal_response(&request.path, refusal)
}

async fn serve(env: &InProcEnv, intake: Intake, shutdown: impl Future<Output = ()> + Clone + 'static) -> Ends {
    let ends = Ends::default();
    let listener = env.listen(address()).await.unwrap();
    let (task_env, task_ends) = (env.clone(), Rc::clone(&ends));
    env.spawn("accept", async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let (env, ends, shutdown, intake) =
                (task_env.clone(), Rc::clone(&task_ends), shutdown.clone(), intake.clone());
            task_env.spawn("connection", async move {
                let handler_env = env.clone();
                let handler = move |request| answer(handler_env.clone(), request);
                let end = serve_connection(&env, stream, peer, &intake, shutdown, refused, handler).await;
                ends.borrow_mut().push(end);
            });
        }
    });
    ends
}

fn with_server<T, F: Future<Output = T>>(limits: Limits, body: impl FnOnce(InProcEnv, Ends) -> F) -> T {
    with_intake(Intake::of(limits), body)
}

fn with_intake<T, F: Future<Output = T>>(intake: Intake, body: impl FnOnce(InProcEnv, Ends) -> F) -> T {
    let mut sim = Sim::new(7, Faults::none());
    sim.run(|env| async move {
        let ends = serve(&env, intake, future::pending()).await;
        body(env, ends).await
    })
    .unwrap()
}

async fn connect(env: &InProcEnv) -> InProcStream {
    env.connect(address()).await.unwrap()
}

async fn client(env: &InProcEnv) -> Client<InProcStream> {
    Client::new(connect(env).await, "highwater").await.unwrap()
}

/// Sends raw bytes, perhaps closes the sending side, and reads until the server closes.
async fn raw(env: &InProcEnv, bytes: &[u8], close: bool) -> String {
    let mut stream = connect(env).await;
    stream.write_all(bytes).await.unwrap();
    if close {
        stream.close().await.unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_connection_is_kept_for_many_requests() {
    with_server(Limits::default(), |env, ends| async move {
        let mut client = client(&env).await;
        for size in [0, 1, 100_000] {
            let sent = vec![b'a'; size];
            let answer = client.request(Method::POST, "/echo", &[], sent.clone()).await.unwrap();
            assert_eq!((answer.status, answer.body.as_ref()), (200, sent.as_slice()));
            assert_eq!(answer.headers["content-length"].to_str().unwrap(), size.to_string());
            assert!(answer.headers["date"].to_str().unwrap().ends_with(" GMT"));
        }
        let answer = client.request(Method::GET, "/x/y?a=1&b", &[], "").await.unwrap();
        assert_eq!(answer.body, "GET /x/y Some(\"a=1&b\")");
        assert!(ends.borrow().is_empty() && !client.is_closed());
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    with_server(Limits::default(), |env, _| async move {
        let requests = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let answers = raw(&env, requests.as_bytes(), false).await;
        let at = |text: &str| answers.find(text).unwrap_or_else(|| panic!("{text} is not in {answers}"));
        assert!(at("GET /1") < at("abc") && at("abc") < at("GET /3"));
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3);
    });
}

#[test]
fn a_body_above_the_limit_is_refused_in_words() {
    let limits = Limits { body_bytes: 1000, ..Limits::default() };
    with_server(limits, |env, _| async move {
        let mut first = client(&env).await;
        let answer = first.request(Method::POST, "/v1/api/sql", &[], vec![b' '; 1001]).await.unwrap();
        assert_eq!(answer.status, 413);
        assert_eq!(
            answer.body,
            r#"{"status":"error","results":[],"took":0.0,"error":{"code":"FILE_TOO_LARGE","message":"the request's body is larger than 1000 bytes"}}"#
        );
        let mut second = client(&env).await;
        let answer = second.request(Method::POST, "/echo", &[], vec![b' '; 1000]).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 1000));
        let large = second.request(Method::POST, "/echo", &[], vec![b' '; 10 << 20]).await.unwrap();
        assert_eq!(large.status, 413, "ten megabytes too are read before they are refused");

        let chunked = format!(
            "POST /v1/api/topics/ack HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n{}\r\n0\r\n\r\n",
            "x".repeat(2000)
        );
        let answer = raw(&env, chunked.as_bytes(), false).await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("INVALID_INPUT"), "{answer}");
    });
}

#[test]
fn an_announced_body_above_the_limit_is_refused_before_it_is_sent() {
    let limits = Limits { body_bytes: 1000, ..Limits::default() };
    with_server(limits, |env, _| async move {
        let head = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n";
        let answer = raw(&env, head.as_bytes(), false).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        let head = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nabc";
        let answer = raw(&env, head.as_bytes(), false).await;
        assert!(answer.starts_with("HTTP/1.1 100 Continue") && answer.ends_with("abc"), "{answer}");
    });
}

#[test]
fn a_body_that_is_not_wanted_is_not_kept_and_all_together_have_a_bound() {
    let memory = Pool::of(300_000);
    let wanted = |request: &Request| if request.path == "/echo" { 1 << 20 } else { 0 };
    let intake = Intake { memory: memory.clone(), wanted: Rc::new(wanted), ..Intake::of(Limits::default()) };
    with_intake(intake, |env, _| async move {
        let mut first = client(&env).await;
        for sent in [100, 1 << 20] {
            let answer = first.request(Method::POST, "/nix", &[], vec![b' '; sent]).await.unwrap();
            assert_eq!((answer.status, answer.body.as_ref()), (200, b"POST /nix None".as_slice()), "{sent}");
        }
        for (sent, status) in [(200_000, 200), (400_000, 503)] {
            let answer = first.request(Method::POST, "/echo", &[], vec![b' '; sent]).await.unwrap();
            assert_eq!(answer.status, status, "{sent}");
            assert_eq!(memory.taken(), 0, "{sent}: it is given back with the answer");
        }
        let head = "POST /nix HTTP/1.1\r\nHost: h\r\nContent-Length: 999999\r\nExpect: 100-continue\r\n\r\n";
        let answer = raw(&env, head.as_bytes(), false).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");

        // Half of a body is held, and of a second one there is no room for as much.
        let mut half = connect(&env).await;
        half.write_all(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n").await.unwrap();
        half.write_all(&[b' '; 200_000]).await.unwrap();
        while memory.taken() < 200_000 {
            env.sleep(1_000).await;
        }
        let mut second = client(&env).await;
        let answer = second.request(Method::POST, "/echo", &[], vec![b' '; 200_000]).await.unwrap();
        assert_eq!(answer.status, 503);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains("http.max_bodies"), "{text}");
        drop(half);
        while memory.taken() > 0 {
            env.sleep(1_000).await;
        }
        let mut third = client(&env).await;
        assert_eq!(third.request(Method::POST, "/echo", &[], vec![b' '; 200_000]).await.unwrap().status, 200);
    });
}

#[test]
fn a_body_cut_in_half_is_refused_in_words() {
    with_server(Limits::default(), |env, _| async move {
        let cut = "POST /v1/api/sql HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{\"sql\":\"SEL";
        let answer = raw(&env, cut.as_bytes(), true).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("INVALID_INPUT"), "{answer}");
        let cut = "POST /v1/api/auth/login HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab";
        let answer = raw(&env, cut.as_bytes(), true).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("invalid_request"), "{answer}");
    });
}

#[test]
fn what_is_not_http_is_answered_400_and_too_large_a_head_431() {
    with_server(Limits { head_bytes: 8192, ..Limits::default() }, |env, _| async move {
        assert!(raw(&env, b"\x16\x03\x01hello\r\n\r\n", false).await.starts_with("HTTP/1.1 400"));
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(20_000));
        assert!(raw(&env, head.as_bytes(), false).await.starts_with("HTTP/1.1 431"));
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(200));
        assert!(raw(&env, head.as_bytes(), false).await.starts_with("HTTP/1.1 431"));
    });
}

#[test]
fn a_head_that_trickles_in_is_cut_off() {
    with_server(Limits::default(), |env, ends| async move {
        let mut stream = connect(&env).await;
        let began = env.now();
        for byte in b"GET / HTTP/1.1\r\nHost: h" {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            env.sleep(1_000_000).await;
        }
        assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0, "closed without an answer");
        let seconds = env.now().micros_since(began) / 1_000_000;
        assert!((10..=21).contains(&seconds), "{seconds} s");
        assert!(matches!(ends.borrow()[0], Err(HttpError::TimedOut { .. })));
    });
}

#[test]
fn a_body_that_trickles_in_is_answered_408() {
    with_server(Limits::default(), |env, _| async move {
        let began = env.now();
        let answer = raw(&env, b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc", false).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert_eq!(env.now().micros_since(began) / 1_000_000, 30);
    });
}

#[test]
fn an_idle_connection_is_closed_without_complaint() {
    with_server(Limits::default(), |env, ends| async move {
        let answer = raw(&env, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", false).await;
        assert!(answer.starts_with("HTTP/1.1 200"));
        assert!(ends.borrow()[0].is_ok());
    });
}

#[test]
fn a_handler_may_take_its_time() {
    with_server(
        Limits { idle_micros: 1_000_000, head_micros: 1_000_000, write_micros: 1_000_000, ..Limits::default() },
        |env, _| async move {
            let answer = client(&env).await.request(Method::GET, "/slow", &[], "").await.unwrap();
            assert_eq!(answer.body, "at last");
        },
    );
}

#[test]
fn a_client_that_does_not_read_its_answer_is_cut_off() {
    with_server(Limits::default(), |env, ends| async move {
        let mut stream = connect(&env).await;
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        env.sleep(70_000_000).await;
        assert!(matches!(ends.borrow()[0], Err(HttpError::TimedOut { .. })));
        drop(stream);
        let answer = client(&env).await.request(Method::GET, "/large", &[], "").await.unwrap();
        assert_eq!(answer.body.len(), 4 << 20, "one that reads gets all of it");
    });
}

#[test]
fn chunks_arrive_whole_or_as_an_error() {
    with_server(Limits::default(), |env, _| async move {
        let answer = client(&env).await.request(Method::GET, "/chunks", &[], "").await.unwrap();
        assert_eq!(answer.body, "one two");
        assert!(client(&env).await.request(Method::GET, "/broken", &[], "").await.is_err());
    });
}

/// Ready once the flag is up; looks every virtual millisecond.
#[derive(Clone)]
struct Flag(Rc<Cell<bool>>, InProcEnv);

impl Flag {
    async fn wait(self) {
        while !self.0.get() {
            self.1.sleep(1_000).await;
        }
    }
}

#[test]
fn shutdown_answers_the_request_at_hand_and_closes() {
    let mut sim = Sim::new(3, Faults::none());
    sim.run(|env| async move {
        let flag = Flag(Rc::new(Cell::new(false)), env.clone());
        let listener = env.listen(address()).await.unwrap();
        let ended = Rc::new(Cell::new(0));
        let (task_env, task_flag, task_ended) = (env.clone(), flag.clone(), Rc::clone(&ended));
        env.spawn("accept", async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let (env, flag, ended) = (task_env.clone(), task_flag.clone(), Rc::clone(&task_ended));
                task_env.spawn("connection", async move {
                    let handler_env = env.clone();
                    let handler = move |request| answer(handler_env.clone(), request);
                    let limits = Limits::default();
                    serve_connection(&env, stream, peer, &Intake::of(limits), flag.wait(), refused, handler)
                        .await
                        .unwrap();
                    ended.set(ended.get() + 1);
                });
            }
        });
        let mut idle = client(&env).await;
        idle.request(Method::GET, "/", &[], "").await.unwrap();
        let busy_env = env.clone();
        let busy = async move {
            let mut busy = client(&busy_env).await;
            busy.request(Method::GET, "/slow", &[], "").await.unwrap()
        };
        let raise = async {
            env.sleep(1_000_000).await;
            flag.0.set(true);
        };
        let (answer, ()) = future::zip(busy, raise).await;
        assert_eq!(answer.body, "at last");
        assert_eq!(answer.headers["connection"], "close");
        env.sleep(1_000_000).await;
        assert_eq!(ended.get(), 2, "the idle one and the busy one are closed");
    })
    .unwrap();
}

/// Gives some bytes, then an error.
struct Failing(&'static [u8]);

impl AsyncRead for Failing {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.0.is_empty() {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
        }
        let count = self.0.len().min(target.len());
        target[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Failing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn an_error_of_a_stream_is_never_the_end_of_an_answer() {
    future::block_on(async {
        // A body without a length ends where the connection does: here a reset must not pass for that end.
        let mut client =
            Client::new(Failing(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of an ans"), "h").await.unwrap();
        assert!(client.request(Method::GET, "/", &[], "").await.is_err());
        assert!(client.is_closed());
        assert!(client.request(Method::GET, "/", &[], "").await.is_err(), "and asking again is an error too");
    });
}

quickcheck::quickcheck! {
    fn no_bytes_disturb_the_server(bytes: Vec<u8>, head: bool) -> bool {
        with_server(Limits::default(), |env, _| async move {
            let mut sent = if head { b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec() } else { Vec::new() };
            sent.extend(bytes);
            raw(&env, &sent, true).await;
            client(&env).await.request(Method::GET, "/", &[], "").await.unwrap().status == 200
        })
    }
}
