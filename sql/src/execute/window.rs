//! Window functions: rows by partition and order, and for each row a value over its frame. Rows keep the order in which they came.

mod frame;
mod sort;

use self::frame::{Frames, Partition};
use super::{BATCH, Executor, Held, Pace, Params, Rows, Source, size};
use crate::aggregate::Accumulator;
use crate::diag::{Diag, SqlState};
use crate::expr::AggregateCall;
use crate::plan::{SortKey, WindowCall, WindowFunction};
use crate::value::{Row, SortValue, Value};

/// The partitions of a window: places of rows in the order of the window, cut where another partition begins.
struct Layout {
    /// Places of rows, sorted.
    order: Vec<usize>,
    /// Values of ORDER BY, by the place of the row.
    keys: Vec<Vec<Value>>,
    /// Where partitions begin in `order`, and its length.
    cuts: Vec<usize>,
}

impl<S: Source> Executor<'_, S> {
    pub(super) async fn windows(
        &self,
        input: Rows<'_>,
        calls: &[WindowCall],
        params: &Params,
    ) -> Result<Vec<Row>, S::Error> {
        let held = self.hold();
        let mut rows = self.all(input, "window functions", &held).await?;
        let mut columns: Vec<Vec<Value>> = Vec::with_capacity(calls.len());
        let mut pace = Pace::default();
        let mut known: Option<(&WindowCall, Layout)> = None;
        for call in calls {
            let layout = match known.take() {
                Some((other, layout)) if other.partition_by == call.partition_by && other.order_by == call.order_by => {
                    layout
                }
                other => {
                    if let Some((_, layout)) = other {
                        self.discard(layout.keys).await?;
                    }
                    self.layout(&rows, call, params).await?
                }
            };
            let mut column = vec![Value::Null; rows.len()];
            for pair in layout.cuts.windows(2) {
                let (Some(from), Some(to)) = (pair.first(), pair.get(1)) else { continue };
                let Some(places) = layout.order.get(*from..*to) else { continue };
                self.partition(&rows, places, &layout.keys, call, params, &mut column, &held).await?;
            }
            columns.push(column);
            known = Some((call, layout));
        }
        if let Some((_, layout)) = known {
            self.discard(layout.keys).await?;
        }
        for column in columns {
            for (row, value) in rows.iter_mut().zip(column) {
                row.push(value);
                pace.step(self.source).await?;
            }
        }
        Ok(rows)
    }

    async fn layout(&self, rows: &[Row], call: &WindowCall, params: &Params) -> Result<Layout, S::Error> {
        let mut pace = Pace::default();
        let held = self.hold();
        let mut partitions = Vec::with_capacity(rows.len());
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            let partition = call
                .partition_by
                .iter()
                .map(|expr| self.evaluate(expr, row, params).map(|value| SortValue::same(value).0))
                .collect::<Result<Vec<Value>, Diag>>()?;
            let key = call
                .order_by
                .iter()
                .map(|key| self.evaluate(&key.expr, row, params))
                .collect::<Result<Vec<Value>, Diag>>()?;
            held.add("window functions", size(&partition) + size(&key))?;
            partitions.push(partition);
            keys.push(key);
            pace.step(self.source).await?;
        }
        let by_value: Vec<SortKey> = call
            .partition_by
            .iter()
            .map(|expr| SortKey { expr: expr.clone(), descending: false, nulls_first: false })
            .collect();
        let compare = |left: &usize, right: &usize| {
            let partition = |at: &usize| partitions.get(*at).map(Vec::as_slice).unwrap_or_default();
            let key = |at: &usize| keys.get(*at).map(Vec::as_slice).unwrap_or_default();
            crate::pipeline::compare_keys(&by_value, partition(left), partition(right))
                .then_with(|| crate::pipeline::compare_keys(&call.order_by, key(left), key(right)))
        };
        let order = sort::sorted(self.source, (0..rows.len()).collect(), &compare).await?;
        let mut cuts = vec![0];
        for (at, pair) in order.windows(2).enumerate() {
            let (Some(left), Some(right)) = (pair.first(), pair.get(1)) else { continue };
            let partition = |at: &usize| partitions.get(*at).map(Vec::as_slice).unwrap_or_default();
            if crate::pipeline::compare_keys(&by_value, partition(left), partition(right)).is_ne() {
                cuts.push(at + 1);
            }
            pace.step(self.source).await?;
        }
        cuts.push(order.len());
        self.discard(partitions).await?;
        Ok(Layout { order, keys, cuts })
    }

    async fn partition(
        &self,
        rows: &[Row],
        places: &[usize],
        keys: &[Vec<Value>],
        call: &WindowCall,
        params: &Params,
        column: &mut [Value],
        held: &Held,
    ) -> Result<(), S::Error> {
        let mut partition = Partition::new(places, keys, &call.order_by);
        while !partition.go_on(BATCH) {
            self.source.pause().await?;
        }
        let count = places.len();
        let row_at = |at: usize| places.get(at).and_then(|place| rows.get(*place));
        let mut pace = Pace::default();
        let frames = Frames::new(&call.frame, |expr| self.evaluate(expr, &[], params))?;
        let mut running: Option<Running> = None;
        for at in 0..count {
            pace.step(self.source).await?;
            let Some(row) = row_at(at) else { continue };
            let (peers_from, peers_to, group) = partition.peers(at);
            let argument = |which: usize, row: &Row| -> Result<Option<Value>, Diag> {
                call.args.get(which).map(|expr| self.evaluate(expr, row, params)).transpose()
            };
            let value = match &call.function {
                WindowFunction::RowNumber => whole(at + 1),
                WindowFunction::Rank => whole(peers_from + 1),
                WindowFunction::DenseRank => whole(group + 1),
                WindowFunction::PercentRank => Value::Double(share(peers_from, count.saturating_sub(1))),
                WindowFunction::CumeDist => Value::Double(share(peers_to, count)),
                WindowFunction::Ntile => ntile(at, count, argument(0, row_at(0).unwrap_or(row))?)?,
                WindowFunction::Lag | WindowFunction::Lead => {
                    let offset = argument(1, row)?.unwrap_or(Value::BigInt(1));
                    match shifted(at, count, &offset, call.function == WindowFunction::Lag) {
                        Shift::Unknown => Value::Null,
                        Shift::Outside => argument(2, row)?.unwrap_or(Value::Null),
                        Shift::To(other) => argument(0, row_at(other).unwrap_or(row))?.unwrap_or(Value::Null),
                    }
                }
                WindowFunction::FirstValue | WindowFunction::LastValue | WindowFunction::NthValue => {
                    let bounds = frames.of(at, &partition, |expr| self.evaluate(expr, row, params))?;
                    let nth = match call.function {
                        WindowFunction::NthValue => match argument(1, row)?.as_ref().map(Value::as_i64) {
                            Some(Some(nth)) if nth >= 1 => usize::try_from(nth).ok(),
                            Some(None) => None,
                            _ => return Err(positive("nth_value").into()),
                        },
                        _ => Some(1),
                    };
                    let mut bounds = bounds;
                    let found = match (&call.function, nth) {
                        (WindowFunction::LastValue, _) => bounds.next_back(),
                        (_, Some(nth)) => bounds.nth(nth - 1),
                        (_, None) => None,
                    };
                    match found.and_then(row_at) {
                        Some(row) => argument(0, row)?.unwrap_or(Value::Null),
                        None => Value::Null,
                    }
                }
                WindowFunction::Aggregate(aggregate) => {
                    let bounds = frames.of(at, &partition, |expr| self.evaluate(expr, row, params))?;
                    let kept = running.take().filter(|running| running.continues(&bounds));
                    let mut state = kept.unwrap_or_else(|| Running::new(aggregate, bounds.start));
                    while state.to < bounds.end {
                        pace.step(self.source).await?;
                        if let Some(row) = row_at(state.to) {
                            let args = aggregate
                                .args
                                .iter()
                                .map(|arg| self.evaluate(arg, row, params))
                                .collect::<Result<Vec<Value>, Diag>>()?;
                            state.accumulator.update(&args)?;
                            state.result = None;
                        }
                        state.to += 1;
                    }
                    let value = match &state.result {
                        Some(value) => value.clone(),
                        None => state.accumulator.clone().finish()?,
                    };
                    state.result = Some(value.clone());
                    running = Some(state);
                    value
                }
            };
            if let Some(place) = places.get(at).and_then(|place| column.get_mut(*place)) {
                held.add("window functions", value.size())?;
                *place = value;
            }
        }
        Ok(())
    }
}

/// An aggregate over a frame that grows at its end.
struct Running {
    accumulator: Accumulator,
    from: usize,
    to: usize,
    result: Option<Value>,
}

impl Running {
    fn new(call: &AggregateCall, from: usize) -> Self {
        Self { accumulator: Accumulator::new(call), from, to: from, result: None }
    }

    fn continues(&self, bounds: &std::ops::Range<usize>) -> bool {
        self.from == bounds.start && self.to <= bounds.end
    }
}

fn whole(number: usize) -> Value {
    Value::BigInt(i64::try_from(number).unwrap_or(i64::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows in memory are far below 2^53")]
fn share(part: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

fn positive(function: &str) -> Diag {
    Diag::new(SqlState::INVALID_PARAMETER, format!("the argument of {function} must be greater than zero"))
}

fn ntile(at: usize, count: usize, buckets: Option<Value>) -> Result<Value, Diag> {
    let buckets = match buckets {
        None | Some(Value::Null) => return Ok(Value::Null),
        Some(value) => value.as_i64().and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0),
    };
    let buckets = buckets.ok_or_else(|| positive("ntile"))?;
    let (small, larger) = (count / buckets, count % buckets);
    let in_larger = larger * (small + 1);
    let bucket = if at < in_larger { at / (small + 1) } else { larger + (at - in_larger) / small.max(1) };
    Ok(Value::Int(i32::try_from(bucket + 1).unwrap_or(i32::MAX)))
}

enum Shift {
    Unknown,
    Outside,
    To(usize),
}

fn shifted(at: usize, count: usize, offset: &Value, back: bool) -> Shift {
    let Some(offset) = offset.as_i64() else { return Shift::Unknown };
    let here = i64::try_from(at).unwrap_or(i64::MAX);
    let there = if back { here.checked_sub(offset) } else { here.checked_add(offset) };
    match there.and_then(|there| usize::try_from(there).ok()) {
        Some(there) if there < count => Shift::To(there),
        Some(_) | None => Shift::Outside,
    }
}
