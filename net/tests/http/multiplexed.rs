//! The same over HTTP/2: requests beside each other on one connection.

use futures_lite::FutureExt as _;
use highwater_net::http::HyperIo;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};

use super::*;

#[derive(Clone)]
struct Spawner(InProcEnv);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, task: F) {
        self.0.spawn("client's part", task);
    }
}

type Sender = SendRequest<Full<Bytes>>;

async fn sender(env: &InProcEnv) -> Sender {
    let io = HyperIo(connect(env).await);
    let (sender, connection) = Builder::new(Spawner(env.clone())).handshake(io).await.unwrap();
    env.spawn("client's connection", async move {
        let _ = connection.await;
    });
    sender
}

async fn begin(
    sender: &Sender,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
) -> hyper::Result<hyper::Response<Incoming>> {
    let request = hyper::Request::builder().method(method).uri(format!("http://highwater{path}"));
    sender.clone().send_request(request.body(Full::new(body.into())).unwrap()).await
}

async fn ask(sender: &Sender, method: Method, path: &str, body: impl Into<Bytes>) -> Result<(u16, Bytes), String> {
    let (head, body) = begin(sender, method, path, body).await.map_err(|error| error.to_string())?.into_parts();
    assert!(!head.headers.contains_key("connection"));
    assert!(head.headers["date"].to_str().unwrap().ends_with(" GMT"));
    Ok((head.status.as_u16(), body.collect().await.map_err(|error| error.to_string())?.to_bytes()))
}

#[test]
fn requests_are_answered_beside_each_other() {
    with_server(Limits::default(), |env, ends| async move {
        let sender = sender(&env).await;
        let start = env.now();
        let slow = ask(&sender, Method::GET, "/slow", "");
        let others = async {
            for size in [0, 1, 16 << 10, 65_537, 2 << 20] {
                let sent = vec![b'a'; size];
                assert_eq!(ask(&sender, Method::POST, "/echo", sent.clone()).await.unwrap(), (200, Bytes::from(sent)));
            }
            assert_eq!(ask(&sender, Method::GET, "/x?a=1", "").await.unwrap().1, "GET /x Some(\"a=1\")");
            assert_eq!(ask(&sender, Method::GET, "/chunks", "").await.unwrap().1, "one two");
            assert!(ask(&sender, Method::GET, "/broken", "").await.is_err(), "and the connection goes on");
            assert_eq!(ask(&sender, Method::GET, "/large", "").await.unwrap().1.len(), 4 << 20);
            env.now().micros_since(start)
        };
        let (slow, took) = future::zip(slow, others).await;
        assert_eq!(slow.unwrap().1, "at last");
        assert!(took < 5_000_000, "{took}");
        assert!(ends.borrow().is_empty());
    });
}

#[test]
fn large_bodies_of_one_connection_come_one_after_the_other_and_all_do() {
    with_server(Limits::default(), |env, _| async move {
        let sender = sender(&env).await;
        let done = Rc::new(Cell::new(0));
        for part in 0..30_u8 {
            let (sender, done) = (sender.clone(), Rc::clone(&done));
            env.spawn("a part", async move {
                let sent = vec![part; 500_000 + usize::from(part)];
                assert_eq!(ask(&sender, Method::POST, "/echo", sent.clone()).await.unwrap().1, sent);
                done.set(done.get() + 1);
            });
        }
        env.sleep(20_000_000).await;
        assert_eq!(done.get(), 30);
    });
}

#[test]
fn a_body_beyond_the_limit_is_refused_and_the_connection_goes_on() {
    with_server(Limits { body_bytes: 1000, ..Limits::default() }, |env, ends| async move {
        let sender = sender(&env).await;
        assert_eq!(ask(&sender, Method::POST, "/v1/api/sql", vec![b'x'; 1001]).await.unwrap().0, 413);
        assert_eq!(ask(&sender, Method::POST, "/echo", vec![b'x'; 1000]).await.unwrap().0, 200);
        assert!(ends.borrow().is_empty());
    });
}

#[test]
fn a_client_that_leaves_one_answer_of_several_is_cut_off() {
    with_server(Limits::default(), |env, ends| async move {
        let sender = sender(&env).await;
        let left = begin(&sender, Method::GET, "/large", "").await.unwrap();
        for _ in 0..25 {
            if ask(&sender, Method::GET, "/", "").await.is_err() {
                break;
            }
            env.sleep(2_000_000).await;
        }
        assert!(matches!(ends.borrow()[0], Err(HttpError::TimedOut { .. })));
        drop(left);
    });
}

#[test]
fn idle_connections_are_closed_without_complaint_whatever_they_say_meanwhile() {
    with_server(Limits::default(), |env, ends| async move {
        let mut stream = connect(&env).await;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let ping = b"\0\0\x08\x06\0\0\0\0\0pingping";
        for _ in 0..7 {
            env.sleep(10_000_000).await;
            stream.write_all(ping).await.unwrap();
        }
        assert!(ends.borrow().is_empty());
        env.sleep(10_000_000).await;
        assert!(ends.borrow()[0].is_ok());
        // As long as it is not clear what it is, it is a head that does not come.
        let mut stream = connect(&env).await;
        stream.write_all(b"PRI * HT").await.unwrap();
        env.sleep(11_000_000).await;
        assert!(matches!(ends.borrow()[1], Err(HttpError::TimedOut { .. })));
    });
}

#[test]
fn work_ends_with_the_stream_or_connection_that_asked_for_it() {
    let mut sim = Sim::new(9, Faults::none());
    sim.run(|env| async move {
        let listener = env.listen(address()).await.unwrap();
        let at_work = Rc::new(Cell::new(0));
        let (task_env, work) = (env.clone(), Rc::clone(&at_work));
        struct Count(Rc<Cell<i32>>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        env.spawn("accept", async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let (env, work) = (task_env.clone(), Rc::clone(&work));
                task_env.spawn("connection", async move {
                    let handler = move |_: Request| {
                        work.set(work.get() + 1);
                        let count = Count(Rc::clone(&work));
                        async move {
                            let () = future::pending().await;
                            drop(count);
                            Response::new(200, "text/plain", "")
                        }
                    };
                    let _ = serve_connection(
                        &env,
                        stream,
                        peer,
                        &Intake::of(Limits::default()),
                        future::pending(),
                        refused,
                        handler,
                    )
                    .await;
                });
            }
        });
        let first = sender(&env).await;
        let wait = |count: i32| {
            let (env, at_work) = (env.clone(), Rc::clone(&at_work));
            async move {
                for _ in 0..1000 {
                    if at_work.get() == count {
                        return;
                    }
                    env.sleep(1_000).await;
                }
                panic!("{} at work, not {count}", at_work.get());
            }
        };
        let mut asked: Vec<_> = (0..3).map(|_| begin(&first, Method::GET, "/", "").boxed_local()).collect();
        for request in &mut asked {
            assert!(future::poll_once(request).await.is_none());
        }
        wait(3).await;
        drop(asked.pop());
        wait(2).await;
        // More than may be at work at a time wait at the client.
        let mut more: Vec<_> = (0..200).map(|_| begin(&first, Method::GET, "/", "").boxed_local()).collect();
        for request in &mut more {
            assert!(future::poll_once(request).await.is_none());
        }
        wait(100).await;
        drop((asked, more));
        drop(first);
        wait(0).await;
    })
    .unwrap();
}

/// A flag's wait that can be cloned.
struct Raised(Pin<Box<dyn Future<Output = ()>>>, Flag);

impl Clone for Raised {
    fn clone(&self) -> Self {
        Self(self.1.clone().wait().boxed_local(), self.1.clone())
    }
}

impl Future for Raised {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

#[test]
fn shutdown_answers_what_is_at_hand_and_closes() {
    let mut sim = Sim::new(3, Faults::none());
    sim.run(|env| async move {
        let flag = Flag(Rc::new(Cell::new(false)), env.clone());
        let ends =
            serve(&env, Intake::of(Limits::default()), Raised(flag.clone().wait().boxed_local(), flag.clone())).await;
        let (idle, busy) = (sender(&env).await, sender(&env).await);
        ask(&idle, Method::GET, "/", "").await.unwrap();
        let silent = connect(&env).await;
        let raise = async {
            env.sleep(1_000_000).await;
            flag.0.set(true);
        };
        let (answer, ()) = future::zip(ask(&busy, Method::GET, "/slow", ""), raise).await;
        assert_eq!(answer.unwrap().1, "at last");
        env.sleep(1_000_000).await;
        assert_eq!(ends.borrow().len(), 3, "{:?}", ends.borrow());
        assert!(ends.borrow().iter().all(Result::is_ok), "{:?}", ends.borrow());
        drop(silent);
    })
    .unwrap();
}

quickcheck::quickcheck! {
    fn no_bytes_behind_the_preface_disturb_the_server(bytes: Vec<u8>, frame: Option<(u8, u8, u8)>) -> bool {
        with_server(Limits::default(), |env, _| async move {
            let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
            if let Some((kind, flags, stream)) = frame {
                sent.extend([0, 0, u8::try_from(bytes.len().min(255)).unwrap(), kind % 11, flags, 0, 0, 0, stream]);
            }
            sent.extend(bytes);
            raw(&env, &sent, true).await;
            let sender = sender(&env).await;
            ask(&sender, Method::GET, "/", "").await.unwrap().0 == 200
        })
    }
}
