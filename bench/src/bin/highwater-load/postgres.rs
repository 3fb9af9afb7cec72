//! The same operations on PostgreSQL, for comparison: its address, its tables, and one connection that never blocks, with prepared
//! statements. `postgres-protocol` knows the bytes.
//!
//! Rows of a user are rows with an `owner`. There are no topics: what an insert feeds on Highwater it does not feed here.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::IsNull;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorFields, Message};
use postgres_protocol::message::frontend;
use serde_json::json;

use crate::failure::Failure;
use crate::plan::Plan;
use crate::wire::{self, Reply};

/// Rows of one statement of the set-up.
const SETUP_ROWS: usize = 500;

/// A PostgreSQL server, and the tables of the load in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Postgres {
    user: String,
    password: String,
    /// `host:port`.
    pub(crate) authority: String,
    database: String,
    namespace: String,
}

impl Postgres {
    /// From `postgres://user:password@host:port/database`.
    pub(crate) fn parse(url: &str, namespace: &str) -> Result<Self, Failure> {
        let wrong = || Failure::Usage {
            message: format!("{url:?} is no address of a PostgreSQL server"),
            hint: Some("an address looks like postgres://user:password@127.0.0.1:5432/database".into()),
        };
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")).ok_or_else(wrong)?;
        let (login, rest) = rest.rsplit_once('@').unwrap_or(("postgres", rest));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, user));
        if user.is_empty() || authority.is_empty() || database.is_empty() {
            return Err(wrong());
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:5432") };
        let (user, password, database) = (user.to_owned(), password.to_owned(), database.to_owned());
        Ok(Self { user, password, authority, database, namespace: namespace.to_owned() })
    }

    /// The statements that every connection prepares, by name.
    fn statements(&self) -> [(&'static str, String); 4] {
        let name = &self.namespace;
        let rows = format!("INSERT INTO {name}.rows (owner, id, run, sent_at, body) VALUES ($1, $2, $3, $4, $5)");
        [
            ("insert", rows),
            ("put", format!("INSERT INTO {name}.pairs (owner, id, body) VALUES ($1, $2, $3)")),
            ("update", format!("UPDATE {name}.items SET body = $3 WHERE owner = $1 AND id = $2")),
            ("select", format!("SELECT body FROM {name}.items WHERE owner = $1 AND id = $2")),
        ]
    }

    /// Looks whether it is there and lets us in.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.run(&["SELECT 1".to_owned()])
    }

    /// Refuses to start when tables are missing.
    pub(crate) fn probe(&self) -> Result<(), Failure> {
        self.run(&[format!("SELECT 1 FROM {}.items LIMIT 1", self.namespace)]).map_err(|failure| Failure::Refused {
            message: format!("the load's tables cannot be read: {failure}"),
            hint: Some("--setup with the same --namespace makes them".into()),
        })
    }

    /// Makes everything that is missing.
    pub(crate) fn set_up(&self, plan: &Plan) -> Result<(), Failure> {
        let name = &self.namespace;
        let plain = "(owner INT, id BIGINT, body TEXT NOT NULL, PRIMARY KEY (owner, id))";
        let mut statements = vec![
            format!("CREATE SCHEMA IF NOT EXISTS {name}"),
            format!("CREATE TABLE IF NOT EXISTS {name}.items {plain}"),
            format!("CREATE TABLE IF NOT EXISTS {name}.pairs {plain}"),
            format!(
                "CREATE TABLE IF NOT EXISTS {name}.rows (owner INT, id BIGINT, copy BIGINT GENERATED ALWAYS AS IDENTITY, \
                 run TEXT NOT NULL, sent_at BIGINT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (owner, id, copy))"
            ),
        ];
        self.run(&statements)?;
        statements.clear();
        let values: Vec<String> = (0..plan.rows)
            .map(|index| plan.item(index))
            .map(|place| format!("({}, {}, '{}')", place.user, place.id, plan.body(place.id)))
            .collect();
        let inserts = values.chunks(SETUP_ROWS).map(|values| {
            format!("INSERT INTO {name}.items (owner, id, body) VALUES {} ON CONFLICT DO NOTHING", values.join(", "))
        });
        self.run(&inserts.collect::<Vec<_>>())
    }

    /// Drops what [`Postgres::set_up`] makes; the schema only when nothing else is in it.
    pub(crate) fn clean_up(&self) -> Result<(), Failure> {
        let name = &self.namespace;
        self.run(&[format!("DROP TABLE IF EXISTS {name}.rows, {name}.items, {name}.pairs")])?;
        // Something else in it keeps it.
        let _kept = self.run(&[format!("DROP SCHEMA IF EXISTS {name} RESTRICT")]);
        Ok(())
    }

    /// Runs statements on a connection of their own.
    fn run(&self, statements: &[String]) -> Result<(), Failure> {
        let unreachable = |error: io::Error| Failure::Connection {
            message: format!("no PostgreSQL at {}: {error}", self.authority),
            hint: Some("--postgres names another".into()),
        };
        let stream = TcpStream::connect(&self.authority).map_err(unreachable)?;
        let mut wire = PostgresWire::of(stream, Arc::new(self.clone()), false).map_err(unreachable)?;
        for statement in statements {
            let mut query = BytesMut::new();
            frontend::query(statement, &mut query)?;
            wire.send(&query).map_err(unreachable)?;
            // The socket blocks: one call goes on to the end of the answer.
            while wire.advance().map_err(|error| self.refused(&error))?.is_none() {}
            if let Some((code, message)) = wire.failure.take() {
                let start: String = statement.chars().take(80).collect();
                return Err(Failure::Refused { message: format!("{start} ...: {message} ({code})"), hint: None });
            }
        }
        Ok(())
    }

    fn refused(&self, error: &io::Error) -> Failure {
        let message = format!("PostgreSQL at {} does not let us in: {error}", self.authority);
        match error.kind() {
            ErrorKind::PermissionDenied => Failure::Login {
                message,
                hint: "user and password stand in the URL: --postgres postgres://user:password@host:port/database",
            },
            _ => Failure::Connection { message, hint: None },
        }
    }
}

/// Writes the request for a prepared statement: its values as texts.
pub(crate) fn request(statement: &str, values: &[&str], out: &mut Vec<u8>) {
    let mut bytes = BytesMut::with_capacity(256);
    let text = |value: &&str, bytes: &mut BytesMut| {
        bytes.put_slice(value.as_bytes());
        Ok(IsNull::No)
    };
    let none = std::iter::empty::<i16>;
    // Into memory, with names and values that fit: nothing can fail.
    let _ = frontend::bind("", statement, none(), values.iter(), text, none(), &mut bytes);
    let _ = frontend::execute("", 0, &mut bytes);
    frontend::sync(&mut bytes);
    out.extend_from_slice(&bytes);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    /// Until the server lets us in.
    Greeting,
    /// Until the statements are prepared.
    Preparing,
    Idle,
    Asked,
}

/// A connection.
pub(crate) struct PostgresWire {
    stream: TcpStream,
    of: Arc<Postgres>,
    phase: Phase,
    prepares: bool,
    scram: Option<ScramSha256>,
    out: Vec<u8>,
    written: usize,
    input: BytesMut,
    /// A request that waits until the connection is ready.
    pending: Vec<u8>,
    /// First cells of the rows of the answer under way.
    rows: Vec<String>,
    failure: Option<(String, String)>,
    body: Vec<u8>,
}

impl std::fmt::Debug for PostgresWire {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PostgresWire").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl PostgresWire {
    /// Begins to connect.
    pub(crate) fn connect(address: SocketAddr, of: Arc<Postgres>) -> io::Result<Self> {
        let (stream, is_connecting) = wire::begin(address)?;
        let mut wire = Self::of(stream, of, true)?;
        if is_connecting {
            wire.phase = Phase::Connecting;
        }
        Ok(wire)
    }

    fn of(stream: TcpStream, of: Arc<Postgres>, prepares: bool) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let mut hello = BytesMut::new();
        let parameters = [("user", of.user.as_str()), ("database", of.database.as_str()), ("client_encoding", "UTF8")];
        frontend::startup_message(parameters, &mut hello)?;
        Ok(Self {
            stream,
            of,
            phase: Phase::Greeting,
            prepares,
            scram: None,
            out: hello.to_vec(),
            written: 0,
            input: BytesMut::with_capacity(16 << 10),
            pending: Vec::new(),
            rows: Vec::new(),
            failure: None,
            body: Vec::new(),
        })
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.phase == Phase::Connecting
    }

    /// Begins a request. The answer to the one before must have come.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        if self.phase == Phase::Idle {
            self.phase = Phase::Asked;
            self.say(request)
        } else {
            self.pending = request.to_vec();
            if self.is_connecting() { Ok(()) } else { self.write() }
        }
    }

    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.drain(..self.written);
        self.written = 0;
        self.out.extend_from_slice(bytes);
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Goes on as far as the socket lets it: the answer, once all of it is there.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) fn advance(&mut self) -> io::Result<Option<Reply>> {
        if self.is_connecting() {
            if !wire::is_connected(&self.stream)? {
                return Ok(None);
            }
            self.phase = Phase::Greeting;
        }
        self.write()?;
        let mut room = [0; 16 << 10];
        loop {
            while let Some(message) = Message::parse(&mut self.input)? {
                if let Some(reply) = self.take(message)? {
                    return Ok(Some(reply));
                }
            }
            match self.stream.read(&mut room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.input.extend_from_slice(room.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, message: Message) -> io::Result<Option<Reply>> {
        let mut answer = BytesMut::new();
        let of = Arc::clone(&self.of);
        match message {
            Message::AuthenticationCleartextPassword => {
                frontend::password_message(of.password.as_bytes(), &mut answer)?
            }
            Message::AuthenticationMd5Password(body) => {
                let hash = md5_hash(of.user.as_bytes(), of.password.as_bytes(), body.salt());
                frontend::password_message(hash.as_bytes(), &mut answer)?;
            }
            Message::AuthenticationSasl(_) => {
                let scram = ScramSha256::new(of.password.as_bytes(), ChannelBinding::unsupported());
                frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut answer)?;
                self.scram = Some(scram);
            }
            Message::AuthenticationSaslContinue(body) => {
                if let Some(scram) = &mut self.scram {
                    scram.update(body.data())?;
                    frontend::sasl_response(scram.message(), &mut answer)?;
                }
            }
            Message::AuthenticationSaslFinal(body) => {
                if let Some(scram) = &mut self.scram {
                    scram.finish(body.data())?;
                }
            }
            Message::ErrorResponse(body) => {
                let (code, message) = error_of(body.fields())?;
                match self.phase {
                    Phase::Connecting | Phase::Greeting => {
                        return Err(io::Error::new(ErrorKind::PermissionDenied, message));
                    }
                    Phase::Preparing => return Err(io::Error::other(message)),
                    Phase::Idle | Phase::Asked => self.failure = Some((code, message)),
                }
            }
            Message::DataRow(body) => {
                let first = body.ranges().next()?.flatten();
                let cell = first.and_then(|range| body.buffer().get(range)).unwrap_or_default();
                self.rows.push(String::from_utf8_lossy(cell).into_owned());
            }
            Message::ReadyForQuery(_) => return self.ready(),
            _ => {}
        }
        if !answer.is_empty() {
            self.say(&answer)?;
        }
        Ok(None)
    }

    fn ready(&mut self) -> io::Result<Option<Reply>> {
        if self.phase == Phase::Asked {
            self.phase = Phase::Idle;
            return Ok(Some(self.reply()));
        }
        if self.phase == Phase::Greeting && self.prepares {
            let mut all = BytesMut::new();
            for (name, sql) in self.of.statements() {
                frontend::parse(name, &sql, std::iter::empty(), &mut all)?;
            }
            frontend::sync(&mut all);
            self.phase = Phase::Preparing;
            self.say(&all)?;
            return Ok(None);
        }
        self.phase = Phase::Idle;
        if !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            self.phase = Phase::Asked;
            self.say(&pending)?;
        }
        Ok(None)
    }

    /// The answer as Highwater would give it.
    fn reply(&mut self) -> Reply {
        let rows = std::mem::take(&mut self.rows);
        let (status, body) = match &self.failure {
            None => {
                let rows: Vec<[String; 1]> = rows.into_iter().map(|cell| [cell]).collect();
                (200, json!({"results": [{"rows": rows}]}))
            }
            // Conflicts and what is short for a while: again.
            Some((code, message)) => {
                let is_passing = ["40", "53", "57P03"].iter().any(|class| code.starts_with(class));
                (if is_passing { 429 } else { 400 }, json!({"error": {"code": code, "message": message}}))
            }
        };
        if self.prepares {
            self.failure = None;
        }
        self.body = body.to_string().into_bytes();
        Reply {
            status,
            retry_after: (status == 429).then_some(Duration::from_millis(5)),
            is_kept: true,
            head: 0,
            length: self.body.len(),
        }
    }

    /// The body of the last answer.
    pub(crate) fn body(&self, _: &Reply) -> &[u8] {
        &self.body
    }
}

impl AsFd for PostgresWire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// SQLSTATE and sentence.
fn error_of(mut fields: ErrorFields<'_>) -> io::Result<(String, String)> {
    let (mut code, mut message) = (String::new(), String::new());
    while let Some(field) = fields.next()? {
        let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = text(),
            b'M' => message = text(),
            _ => {}
        }
    }
    Ok((code, message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_have_a_user_a_port_and_a_database() {
        let parsed = Postgres::parse("postgres://ann:s@cret@h:6000/db", "load").unwrap();
        assert_eq!((parsed.user.as_str(), parsed.password.as_str()), ("ann", "s@cret"));
        assert_eq!((parsed.authority.as_str(), parsed.database.as_str()), ("h:6000", "db"));
        let short = Postgres::parse("postgres://h", "load").unwrap();
        assert_eq!(
            (short.user.as_str(), short.authority.as_str(), short.database.as_str()),
            ("postgres", "h:5432", "postgres")
        );
        for wrong in ["http://h", "postgres://", "postgres://:p@h/d"] {
            assert_eq!(Postgres::parse(wrong, "load").unwrap_err().code(), 2, "{wrong}");
        }
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32 + 4).to_be_bytes();
        [&[tag][..], &length, body].concat()
    }

    /// Reads until so many messages with this tag have come.
    fn read_until(stream: &mut TcpStream, tag: u8, mut count: usize) {
        while count > 0 {
            let mut head = [0; 5];
            stream.read_exact(&mut head).unwrap();
            let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
            stream.read_exact(&mut body).unwrap();
            count -= usize::from(head[0] == tag);
        }
    }

    #[test]
    fn a_refused_login_says_that_the_password_stands_in_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4]).unwrap();
            let error = message(b'E', b"SFATAL\0C28P01\0Mpassword authentication failed\0\0");
            stream.write_all(&error).unwrap();
        });
        let of = Postgres::parse(&format!("postgres://ann:wrong@{address}/db"), "load").unwrap();
        let failure = of.check().unwrap_err();
        server.join().unwrap();
        let text = failure.text();
        assert!(failure.code() == 4 && text.contains("password authentication failed"), "{text}");
        assert!(text.contains("stand in the URL") && !text.contains("HIGHWATER_PASSWORD"), "{text}");
    }

    #[test]
    fn a_connection_greets_prepares_and_then_asks() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4]).unwrap();
            let ready = message(b'Z', b"I");
            stream.write_all(&[message(b'R', &[0, 0, 0, 3])].concat()).unwrap();
            read_until(&mut stream, b'p', 1);
            stream.write_all(&[message(b'R', &[0, 0, 0, 0]), ready.clone()].concat()).unwrap();
            read_until(&mut stream, b'S', 1);
            stream.write_all(&[message(b'1', b"").repeat(4), ready.clone()].concat()).unwrap();
            read_until(&mut stream, b'S', 1);
            let row = message(b'D', &[&[0, 1, 0, 0, 0, 2][..], b"hi"].concat());
            stream.write_all(&[message(b'2', b""), row, message(b'C', b"SELECT 1\0"), ready.clone()].concat()).unwrap();
            read_until(&mut stream, b'S', 1);
            let error = message(b'E', b"SERROR\0C40001\0Mtry again\0\0");
            stream.write_all(&[error, ready].concat()).unwrap();
        });
        let of = Postgres::parse(&format!("postgres://ann:secret@{address}/db"), "load").unwrap();
        let mut wire = PostgresWire::connect(address, Arc::new(of)).unwrap();
        let ask = |wire: &mut PostgresWire| {
            let mut bytes = Vec::new();
            request("select", &["0", "7"], &mut bytes);
            wire.send(&bytes).unwrap();
            loop {
                if let Some(reply) = wire.advance().unwrap() {
                    return (reply.status, String::from_utf8(wire.body(&reply).to_vec()).unwrap());
                }
            }
        };
        assert_eq!(ask(&mut wire), (200, r#"{"results":[{"rows":[["hi"]]}]}"#.to_owned()));
        assert_eq!(ask(&mut wire), (429, r#"{"error":{"code":"40001","message":"try again"}}"#.to_owned()));
        server.join().unwrap();
    }
}
