//! Parameters: the types that the binder infers, and the values that a client gives.

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::tokenizer::Token;

use crate::cast;
use crate::datetime::DAY;
use crate::diag::{Diag, Span, SqlState};
use crate::embedding;
use crate::json::{self, JsonType};
use crate::lexer;
use crate::limits;
use crate::plan::Bound;
use crate::value::{Array, DataType, Value};

/// A parameter's value as a client gave it.
#[derive(Clone, Debug, PartialEq)]
pub enum ParamValue {
    /// null.
    Null,
    /// true or false.
    Boolean(bool),
    /// A number, in the digits that the client wrote.
    Number(String),
    /// A text.
    Text(String),
    /// A JSON array or object, as the client wrote it.
    Json(String),
    /// A value whose type is known already.
    Typed(Value),
}

/// What is known of a statement's parameters while it is bound.
pub(super) struct Params {
    seen: Vec<Option<DataType>>,
    /// Places of relations whose rows are not each user's own, with whether they are system tables.
    not_owned: Vec<(Span, bool)>,
    /// How often each query of WITH is read, by the place of its name; twice where one reader reads it again and again.
    reads: BTreeMap<u32, u32>,
    /// Those that stand in their readers' place.
    in_place: BTreeSet<u32>,
    /// Calls of volatile functions so far.
    volatile: u32,
    allowed: bool,
    /// Values of enclosing queries that subqueries see.
    slots: u16,
    /// Relations of the statement that are known by a number.
    numbers: u32,
}

impl Params {
    pub(super) fn allowed() -> Self {
        Self {
            seen: Vec::new(),
            not_owned: Vec::new(),
            reads: BTreeMap::new(),
            in_place: BTreeSet::new(),
            volatile: 0,
            allowed: true,
            slots: 0,
            numbers: 0,
        }
    }

    /// Definitions are stored: a parameter in them would mean nothing later.
    pub(super) fn forbidden() -> Self {
        Self { allowed: false, ..Self::allowed() }
    }

    /// For binding the statement once more, when it has queries of WITH that one reader reads once: each then stands in that reader's place,
    /// where conditions reach into it.
    pub(super) fn with_queries_in_place(&self) -> Option<Self> {
        let read_once = self.reads.iter().filter(|(_, times)| **times == 1).map(|(place, _)| *place);
        let in_place: BTreeSet<u32> = read_once.collect();
        (!in_place.is_empty()).then(|| Self { in_place, ..Self::allowed() })
    }

    /// A query of WITH is read: whether it stands in this reader's place.
    pub(super) fn reads(&mut self, place: u32, once: bool) -> bool {
        let times = self.reads.entry(place).or_default();
        *times = times.saturating_add(if once { 1 } else { 2 });
        once && self.in_place.contains(&place)
    }

    /// A volatile function is called.
    pub(super) fn calls_volatile(&mut self) {
        self.volatile = self.volatile.saturating_add(1);
    }

    /// How many such calls there are so far.
    pub(super) fn volatile_calls(&self) -> u32 {
        self.volatile
    }

    /// The statement names a relation, here, whose rows are not each user's own.
    pub(super) fn names_not_owned(&mut self, is_system: bool, span: Span) {
        self.not_owned.push((span, is_system));
    }

    /// Where the statement names the first such relation.
    pub(super) fn not_owned(&self, is_system: bool) -> Option<Span> {
        self.not_owned.iter().find(|(_, of_system)| *of_system == is_system).map(|(span, _)| *span)
    }

    /// A parameter of the statement's own making, behind those that a client gives.
    pub(super) fn slot(&mut self) -> Result<u16, Diag> {
        if self.slots >= limits::MAX_SLOTS {
            return Err(Diag::new(
                SqlState::PROGRAM_LIMIT,
                format!("the subqueries of a statement look at more than {} outer values", limits::MAX_SLOTS),
            ));
        }
        self.slots += 1;
        Ok(crate::plan::FIRST_SLOT + (self.slots - 1))
    }

    /// A number that no other relation of the statement has.
    pub(super) fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// `$n`: its position from 0, and its type if it is known already.
    pub(super) fn take(&mut self, written: &str, span: Option<Span>) -> Result<(u16, Option<DataType>), Diag> {
        let place = |diag: Diag| match span {
            Some(span) => diag.at(span),
            None => diag,
        };
        let Some(number) = written.strip_prefix('$').and_then(|digits| digits.parse::<u64>().ok()) else {
            return Err(place(
                Diag::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{written}\""))
                    .hint("Parameters are $1, $2 ..."),
            ));
        };
        if !self.allowed {
            return Err(place(Diag::new(SqlState::UNDEFINED_PARAMETER, "a definition cannot hold a parameter")));
        }
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        if index == 0 {
            return Err(place(Diag::new(SqlState::UNDEFINED_PARAMETER, "parameters are counted from $1")));
        }
        if index > limits::MAX_PARAMETERS {
            return Err(place(Diag::new(
                SqlState::TOO_MANY_ARGUMENTS,
                format!("${number} is beyond the limit of {} parameters", limits::MAX_PARAMETERS),
            )));
        }
        if self.seen.len() < index {
            self.seen.resize(index, None);
        }
        let known = self.seen.get(index - 1).copied().flatten();
        Ok((u16::try_from(index - 1).unwrap_or(u16::MAX), known))
    }

    /// The parameter at `index` has this type from here on.
    pub(super) fn infer(&mut self, index: u16, data_type: DataType) {
        if let Some(slot) = self.seen.get_mut(usize::from(index)) {
            slot.get_or_insert(data_type);
        }
    }

    /// The types, TEXT where nothing was said.
    pub(super) fn types(&self) -> Vec<DataType> {
        self.seen.iter().map(|seen| seen.unwrap_or(DataType::Text)).collect()
    }
}

/// The values of a statement's parameters, cast to the types that the binder inferred. `sql` is the text that holds the statement, `within`
/// its place there unless it is all of the text.
///
/// # Errors
/// 42P02 when one is missing, 54023 when there are too many, and the cast's error, naming `$n` and where it stands first.
pub fn coerce_params(
    bound: &Bound,
    params: Vec<ParamValue>,
    sql: &str,
    within: Option<Span>,
) -> Result<Vec<Value>, Diag> {
    let wanted = bound.parameters.len();
    let given = params.len();
    let at = |number: usize, diag: Diag| match place_of(number, sql, within) {
        Some(span) => diag.at(span),
        None => diag,
    };
    if given < wanted {
        let number = given + 1;
        let diag = Diag::new(SqlState::UNDEFINED_PARAMETER, format!("there is no value for parameter ${number}"));
        let given = if given == 1 { "1 value was".to_owned() } else { format!("{given} values were") };
        let wanted = if wanted == 1 { "1 parameter".to_owned() } else { format!("{wanted} parameters") };
        return Err(at(number, diag.detail(format!("The statement has {wanted}, {given} given."))));
    }
    if given > wanted {
        return Err(Diag::new(
            SqlState::TOO_MANY_ARGUMENTS,
            format!("the statement has {wanted} parameters, but {given} values were given"),
        ));
    }
    bound
        .parameters
        .iter()
        .zip(params)
        .enumerate()
        .map(|(index, (data_type, value))| {
            coerce(value, *data_type).map_err(|mut diag| {
                diag.message = format!("parameter ${}: {}", index + 1, diag.message);
                at(index + 1, diag)
            })
        })
        .collect()
}

/// Where the parameter of this number stands first; if it stands nowhere, the next one.
///
/// Read from the text again: plans are shared among texts that differ in a name, so that a plan knows no places.
fn place_of(number: usize, sql: &str, within: Option<Span>) -> Option<Span> {
    let lexed = lexer::lex(sql).ok()?;
    let is_within = |span: &Span| within.is_none_or(|whole| whole.start <= span.start && span.end <= whole.end);
    let placeholders = lexed.tokens.iter().zip(&lexed.places).filter_map(|(token, place)| match &token.token {
        Token::Placeholder(written) => Some((written.strip_prefix('$')?.parse::<usize>().ok()?, place.span)),
        _ => None,
    });
    let candidates = placeholders.filter(|(found, span)| *found >= number && is_within(span));
    candidates.min_by_key(|(found, span)| (*found, span.start)).map(|(_, span)| span)
}

fn coerce(value: ParamValue, wanted: DataType) -> Result<Value, Diag> {
    match value {
        ParamValue::Null => Ok(Value::Null),
        ParamValue::Boolean(value) => match wanted {
            DataType::Boolean => Ok(Value::Boolean(value)),
            DataType::Text | DataType::Json => cast::cast(Value::Text(value.to_string()), wanted, true),
            _ => Err(mismatch("a boolean", wanted)),
        },
        ParamValue::Number(digits) => match wanted {
            DataType::Boolean | DataType::Bytes | DataType::Interval | DataType::Uuid => {
                Err(mismatch("a number", wanted))
            }
            DataType::Embedding(_) | DataType::Array(_) => Err(mismatch("a number", wanted).hint(array_form(wanted))),
            DataType::Timestamp | DataType::DateTime | DataType::Time | DataType::Date => {
                of_wire_number(&digits, wanted).ok_or_else(|| {
                    let unit = if wanted == DataType::Date { "days" } else { "microseconds" };
                    mismatch(&format!("a number that is no whole count of {unit}"), wanted)
                })
            }
            _ => cast::cast(Value::Text(digits), wanted, true),
        },
        ParamValue::Text(text) if text.contains('\0') => {
            Err(Diag::new(SqlState::INVALID_ENCODING, "the text holds a NUL character"))
        }
        ParamValue::Text(text) => cast::cast(Value::Text(text), wanted, true),
        ParamValue::Json(text) => of_json(&text, wanted),
        ParamValue::Typed(value) => cast::cast(value, wanted, true),
    }
}

/// How an array or an embedding is given.
fn array_form(wanted: DataType) -> String {
    match wanted {
        DataType::Embedding(_) => {
            "Give an embedding as a JSON array of numbers, or as a text such as \"[1, 0.5]\".".to_owned()
        }
        _ => "Give an array as a JSON array, or as a text such as \"{1,2}\".".to_owned(),
    }
}

/// An array or object as a value: an array's elements each as a parameter of the element's type, an embedding's numbers,
/// the numbers of bytes, or a JSON document.
fn of_json(text: &str, wanted: DataType) -> Result<Value, Diag> {
    let json = json::compact(text)
        .map_err(|error| Diag::new(SqlState::INVALID_TEXT, "the value is no valid JSON").detail(error.to_string()))?;
    if wanted == DataType::Json {
        return Ok(Value::Json(json));
    }
    if json::type_of(&json) != JsonType::Array {
        return Err(mismatch("a JSON object", wanted));
    }
    match wanted {
        DataType::Array(element) => {
            let item = |item| of_item(item, element.data_type());
            let items =
                json::elements(&json).enumerate().map(|(at, json)| item(json).map_err(|diag| in_element(diag, at)));
            Ok(Value::Array(Box::new(Array::new(element, items.collect::<Result<_, Diag>>()?))))
        }
        DataType::Embedding(_) => {
            let number = |item: &str| match of_item(item, DataType::Float)? {
                Value::Float(number) if number.is_finite() => Ok(number),
                _ => Err(Diag::new(SqlState::INVALID_PARAMETER, "an embedding holds finite numbers")),
            };
            let numbers =
                json::elements(&json).enumerate().map(|(at, json)| number(json).map_err(|diag| in_element(diag, at)));
            let vector = numbers.collect::<Result<Vec<f32>, Diag>>()?;
            embedding::checked(vector.len())?;
            cast::cast(Value::Embedding(vector), wanted, true)
        }
        DataType::Bytes => {
            let byte = |item: &str| {
                item.parse::<u8>().map_err(|_| mismatch("an array of other than numbers 0 to 255", wanted))
            };
            json::elements(&json).map(byte).collect::<Result<_, _>>().map(Value::Bytes)
        }
        DataType::Text => {
            Err(mismatch("a JSON array", wanted).hint("Say the parameter's type, as in $1::INT[] or $1::JSON."))
        }
        _ => Err(mismatch("a JSON array", wanted)),
    }
}

/// One element, as a parameter of its own would be.
fn of_item(json: &str, wanted: DataType) -> Result<Value, Diag> {
    coerce(
        match json::type_of(json) {
            JsonType::Null => ParamValue::Null,
            JsonType::Boolean => ParamValue::Boolean(json == "true"),
            JsonType::Number => ParamValue::Number(json.to_owned()),
            JsonType::String => ParamValue::Text(json::unquote(json).unwrap_or_default()),
            JsonType::Array if !matches!(wanted, DataType::Json | DataType::Bytes) => {
                return Err(Diag::not_supported("an array of arrays"));
            }
            JsonType::Array | JsonType::Object => ParamValue::Json(json.to_owned()),
        },
        wanted,
    )
}

fn in_element(mut diag: Diag, at: usize) -> Diag {
    diag.message = format!("element {}: {}", at + 1, diag.message);
    diag
}

/// Points in time as they travel in cells: microseconds since 1970 or midnight, days since 1970.
fn of_wire_number(digits: &str, wanted: DataType) -> Option<Value> {
    let number: i64 = digits.parse().ok()?;
    match wanted {
        DataType::Timestamp => Some(Value::Timestamp(number)),
        DataType::DateTime => Some(Value::DateTime(number)),
        DataType::Time => (0..=DAY).contains(&number).then_some(Value::Time(number)),
        DataType::Date => i32::try_from(number).ok().map(Value::Date),
        _ => None,
    }
}

fn mismatch(what: &str, wanted: DataType) -> Diag {
    Diag::new(SqlState::DATATYPE_MISMATCH, format!("{what} does not fit type {wanted}"))
}
