//! An answer to statements, read as it comes: rows go to whoever takes them, one by one, and are never held here.

use std::fmt;
use std::io::{self, Read};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::answer::{Column, ErrorBody, StatementResult};
use crate::timing::Phase;

/// Takes the results of an answer, in order. An error ends the reading.
pub(crate) trait Rows {
    /// A result begins. `schema` is as it came, `columns` what is understood of it; both empty where there are no columns.
    fn begin(&mut self, schema: &[Value], columns: &[Column]) -> io::Result<()>;
    /// A row of the result that began.
    fn row(&mut self, row: Vec<Value>) -> io::Result<()>;
    /// The result has ended.
    fn end(&mut self, ending: Ending) -> io::Result<()>;
}

/// What follows the rows of a result.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    /// It is a query's: it has rows, be they none.
    pub(crate) is_query: bool,
    pub(crate) row_count: u64,
    pub(crate) message: Option<String>,
    /// Every field but the schema and the rows, as it came.
    pub(crate) fields: Map<String, Value>,
}

/// What an answer says beside its results.
#[derive(Clone, Debug, Default)]
pub(crate) struct Envelope {
    pub(crate) status: String,
    /// Milliseconds in the server.
    pub(crate) took: f64,
    /// The phases of that time, if they were asked for.
    pub(crate) phases: Vec<Phase>,
    pub(crate) token: Option<String>,
    /// How old the rows may be, where that was allowed.
    pub(crate) as_of: Option<String>,
    /// The session of an open transaction.
    pub(crate) session: Option<String>,
    pub(crate) error: Option<ErrorBody>,
}

/// Why an answer could not be read.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Who takes the rows does not.
    Taker(io::Error),
    /// It is no answer, or it broke off.
    Answer(serde_json::Error),
}

/// Reads an answer.
pub(crate) fn read(body: impl Read, rows: &mut dyn Rows) -> Result<Envelope, Broken> {
    let mut refusal = None;
    let mut document = serde_json::Deserializer::from_reader(body);
    let envelope = EnvelopeSeed { rows, refusal: &mut refusal }.deserialize(&mut document);
    match (envelope, refusal) {
        (_, Some(refusal)) => Err(Broken::Taker(refusal)),
        (Err(error), None) => Err(Broken::Answer(error)),
        (Ok(envelope), None) => document.end().map(|()| envelope).map_err(Broken::Answer),
    }
}

/// Results in memory, for what is drawn as a whole.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) results: Vec<StatementResult>,
    current: StatementResult,
}

impl Rows for Collected {
    fn begin(&mut self, _: &[Value], columns: &[Column]) -> io::Result<()> {
        self.current = StatementResult { schema: columns.to_vec(), ..StatementResult::default() };
        Ok(())
    }

    fn row(&mut self, row: Vec<Value>) -> io::Result<()> {
        self.current.rows.get_or_insert_default().push(row);
        Ok(())
    }

    fn end(&mut self, ending: Ending) -> io::Result<()> {
        let mut result = std::mem::take(&mut self.current);
        if ending.is_query {
            result.rows.get_or_insert_default();
        }
        result.row_count = ending.row_count;
        result.message = ending.message;
        self.results.push(result);
        Ok(())
    }
}

struct EnvelopeSeed<'a> {
    rows: &'a mut dyn Rows,
    refusal: &'a mut Option<io::Error>,
}

impl<'de> DeserializeSeed<'de> for EnvelopeSeed<'_> {
    type Value = Envelope;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Envelope, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EnvelopeSeed<'_> {
    type Value = Envelope;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an answer to statements")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "results" => map.next_value_seed(ResultsSeed { rows: &mut *self.rows, refusal: &mut *self.refusal })?,
                "status" => envelope.status = map.next_value()?,
                "took" => envelope.took = map.next_value()?,
                "token" => envelope.token = map.next_value()?,
                "as_of" => envelope.as_of = map.next_value()?,
                "session_id" => envelope.session = map.next_value()?,
                "error" => envelope.error = map.next_value()?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(envelope)
    }
}

struct ResultsSeed<'a> {
    rows: &'a mut dyn Rows,
    refusal: &'a mut Option<io::Error>,
}

impl<'de> DeserializeSeed<'de> for ResultsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ResultsSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of results")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element_seed(ResultSeed { rows: &mut *self.rows, refusal: &mut *self.refusal })?.is_some() {
        }
        Ok(())
    }
}

struct ResultSeed<'a> {
    rows: &'a mut dyn Rows,
    refusal: &'a mut Option<io::Error>,
}

/// Keeps a taker's error where [`read`] finds it.
fn kept<E: serde::de::Error>(outcome: io::Result<()>, refusal: &mut Option<io::Error>) -> Result<(), E> {
    outcome.map_err(|error| {
        *refusal = Some(error);
        E::custom("the rows are not taken")
    })
}

impl<'de> DeserializeSeed<'de> for ResultSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ResultSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the result of a statement")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut ending = Ending::default();
        let mut has_begun = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "schema" => {
                    let schema: Vec<Value> = map.next_value()?;
                    let columns = schema.iter().map(|column| serde_json::from_value(column.clone()));
                    let columns: Vec<Column> = columns.collect::<Result<_, _>>().map_err(serde::de::Error::custom)?;
                    kept(self.rows.begin(&schema, &columns), self.refusal)?;
                    has_begun = true;
                }
                "rows" => {
                    if !has_begun {
                        kept(self.rows.begin(&[], &[]), self.refusal)?;
                        has_begun = true;
                    }
                    ending.is_query =
                        map.next_value_seed(RowsSeed { rows: &mut *self.rows, refusal: &mut *self.refusal })?;
                }
                _ => {
                    let value: Value = map.next_value()?;
                    match (key.as_str(), &value) {
                        ("row_count", value) => ending.row_count = value.as_u64().unwrap_or_default(),
                        ("message", Value::String(message)) => ending.message = Some(message.clone()),
                        _ => {}
                    }
                    ending.fields.insert(key, value);
                }
            }
        }
        if !has_begun {
            kept(self.rows.begin(&[], &[]), self.refusal)?;
        }
        kept(self.rows.end(ending), self.refusal)
    }
}

struct RowsSeed<'a> {
    rows: &'a mut dyn Rows,
    refusal: &'a mut Option<io::Error>,
}

impl<'de> DeserializeSeed<'de> for RowsSeed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("rows or null")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<bool, A::Error> {
        while let Some(row) = sequence.next_element::<Vec<Value>>()? {
            kept(self.rows.row(row), self.refusal)?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn collected(text: &str) -> Result<(Envelope, Vec<StatementResult>), Broken> {
        let mut rows = Collected::default();
        read(text.as_bytes(), &mut rows).map(|envelope| (envelope, rows.results))
    }

    #[test]
    fn results_come_in_order_with_their_rows() {
        let text = r#"{"status":"success","new":{"x":[1]},"results":[{"schema":[{"name":"n","data_type":"Int"}],"rows":[[1],[null]],"row_count":2,"as_user":"root"},
            {"row_count":3,"message":"Inserted 3 row(s)"},{"rows":[],"row_count":0}],"took":1.5,"token":"t"}"#;
        let (envelope, results) = collected(text).unwrap();
        assert_eq!((envelope.status.as_str(), envelope.took, envelope.token.as_deref()), ("success", 1.5, Some("t")));
        assert_eq!(results.len(), 3);
        assert_eq!((results[0].schema[0].name.as_str(), results[0].rows.as_ref().unwrap().len()), ("n", 2));
        assert_eq!((results[1].rows.is_none(), results[1].message.as_deref()), (true, Some("Inserted 3 row(s)")));
        assert_eq!(results[2].rows.as_ref().map(Vec::len), Some(0));
    }

    #[test]
    fn what_is_no_answer_or_breaks_off_is_an_error() {
        for text in ["", "no", "[]", r#"{"status":"success","results":[{"rows":[[1]"#, "{} x", r#"{"results":7}"#] {
            assert!(matches!(collected(text), Err(Broken::Answer(_))), "{text}");
        }
    }

    #[test]
    fn a_taker_that_fails_ends_the_reading() {
        struct Full;
        impl Rows for Full {
            fn begin(&mut self, _: &[Value], _: &[Column]) -> io::Result<()> {
                Ok(())
            }
            fn row(&mut self, _: Vec<Value>) -> io::Result<()> {
                Err(io::Error::other("full"))
            }
            fn end(&mut self, _: Ending) -> io::Result<()> {
                Ok(())
            }
        }
        let text = r#"{"results":[{"rows":[[1],[2]]}]}"#;
        assert!(matches!(read(text.as_bytes(), &mut Full), Err(Broken::Taker(error)) if error.to_string() == "full"));
    }
}
